"""The integers of a network: for each array of a step, its binary point and its range.

In a network that is quantised with powers of two, each number is an integer times a power of two. The grid and the
range of an array follow from those of what it is computed from (``fixed_rules.py``). A state comes back as its own
input: its range is the smallest that a step leads back into, which a quantiser that saturates makes finite.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Dict, List, Mapping, NoReturn, Optional, Tuple, Union

import numpy as np

from spikecore import Model
from spikecore.api.core.graph import Value, named
from spikecore.api.layers.containers import walk
from spikecore.api.neurons.stepper import noise_seed
from spikecore.export.c.fixed import Fixed, fixed
from spikecore.export.c.fixed_inputs import input_format
from spikecore.export.c.fixed_rules import RULES, KnownTask, NoGrid, partial_sums
from spikecore.export.c.fixed_simplify import simplified
from spikecore.export.c.lowering import lowered
from spikecore.export.c.tasks import Operand, Task, TaskList
from spikecore.export.c.views import View
from spikecore.export.errors import ExportError
from spikecore.export.recording import step_graph
from spikecore.export.step_graph import StepGraph, StepState

PATIENCE = 6  # rounds in which a range may grow by itself; after them it is doubled, so that bounds are reached soon
ROUNDS = 100  # a grid that becomes finer, or a range that grows, for so many rounds has no end
TIGHTER = 24  # rounds in which doubled ranges shrink again

REMEDY = (
    "quantise with scales that are powers of two, e.g. by sc.compression.quantize(model, states=16, parameters=8, "
    "inputs=8, x=x, num_steps=25) or state_quant=sc.compression.FixedPoint(16, 8) of a neuron; or export in floating "
    'point, dtype="float32"'
)


@dataclass(frozen=True, eq=False)
class FixedStep:
    """A step in integers.

    Args:
        graph: the step.
        tasks: what it computes.
        formats: what the numbers of each array are.
        results: what each task gives, in the order of the tasks: on a coarser grid than the array it writes to if
            several tasks write to that.
        sums: for tasks that sum, a range that holds every partial sum.
        calls: each task with what is known of its operands.
    """

    graph: StepGraph
    tasks: TaskList
    formats: Mapping[Value, Fixed]
    results: Mapping[Task, Fixed]
    sums: Mapping[Task, Fixed]
    calls: Mapping[Task, KnownTask]

    def inexact(self) -> Optional[Task]:
        """The first task that the step's floating-point type computes with rounding; None: all of it is exact."""
        for task, result in self.results.items():
            if result.rounds_in(self.graph.dtype) or self.sums.get(task, result).rounds_in(self.graph.dtype):
                return task
        return None

    def connections(self) -> List[Tuple[Task, Fixed]]:
        """The tasks that add up weights, with the ranges of their sums."""
        return [(task, part) for task, part in self.sums.items() if task.word in ("product", "convolve", "matmul")]

    def table(self) -> str:
        """A line for the input, the sums of each connection, each state and the output: bits, binary point, range."""
        rows = [("value", "bits", "fraction", "range")]
        rows += [_row("input", self.formats[self.graph.x])]
        rows += [_row(f"{task.layer or task.kind}: sums", part) for task, part in self.connections()]
        rows += [_row(state.name, self.formats[state.before]) for state in self.graph.states]
        rows += [_row("output", self.formats[self.tasks.output])]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        return "\n".join("  ".join(cell.ljust(n) for cell, n in zip(row, widths)).rstrip() for row in rows)


def _row(name: str, part: Fixed) -> Tuple[str, str, str, str]:
    low, high = part.span
    return name, f"{part.width}", f"{part.fraction}", f"{low:g} to {high:g}"


def fixed_step(model: Model, inputs: Any = None) -> FixedStep:
    """One step of a model in integers that give exactly what the model gives.

    Args:
        model: a model with weights.
        inputs: the numbers that the input has: "spikes" (0 and 1), or a ``FixedPoint``, or None: those of the quantiser
            that the network begins with.

    Returns:
        the step. Its graph is in float32, or in float64 where float32 would round.

    Raises:
        ExportError: an array is on no grid of integers, or has no bound, or is not exact in float64; the message names
            the layer and says what to do.
    """
    for path, layer in walk(model.network):
        if noise_seed(layer) is not None:
            raise ExportError(
                f"{named(path, type(layer).__name__)}: sc.Noisy draws by quotients, which have no exact form in "
                'integers: export in floating point, dtype="float32", with the same noise; or leave sc.Noisy out'
            )
    for dtype in ("float32", "float64"):
        graph = step_graph(model, dtype=dtype)
        step = analysed(graph, input_format(graph, inputs))
        task = step.inexact()
        if task is None:
            return step
    assert task is not None
    widest = step.sums.get(task, step.results[task])
    raise ExportError(
        f"{task.where}: {task.word} gives integers of {widest.largest.bit_length() + 1} bits, {widest.fraction} of "
        "them behind the binary point: more than float64 has, so the model itself would round. A number that it "
        f"multiplies with or adds is no short binary fraction; fold batch norms (compression.fold_batch_norm); {REMEDY}"
    )


def analysed(graph: StepGraph, x: Fixed) -> FixedStep:
    """The grids and ranges of all arrays of a step.

    Args:
        graph: the step.
        x: what the input is.

    Raises:
        ExportError: as for ``fixed_step``.
    """
    rules = _Rules(graph, x)
    states = [fixed(state.rest) for state in graph.states]
    for turn in range(ROUNDS):
        formats, _ = rules.apply(states)
        grown = [before.union(after) for before, after in zip(states, rules.after(formats))]
        if grown == states:
            break
        states = [_doubled(new) if new != old and turn >= PATIENCE else new for old, new in zip(states, grown)]
    else:
        _refuse_growth(graph, grown, rules.after(rules.apply(grown)[0]))
    for _ in range(TIGHTER):
        tighter = [fixed(s.rest).union(after) for s, after in zip(graph.states, rules.after(rules.apply(states)[0]))]
        if tighter == states:
            break
        states = tighter
    formats, _ = rules.apply(states)
    rules.tasks = simplified(rules.tasks, formats, {task: rules.call(task, formats) for task in rules.tasks.tasks})
    formats, results = rules.apply(states)
    formats.update((s.after, part) for s, part in zip(rules.tasks.states, states))  # it takes the place of the old one
    calls = {task: rules.call(task, formats) for task in rules.tasks.tasks}
    sums = {task: part for task, call in calls.items() for part in [partial_sums(call)] if part}
    for task, result in results.items():
        if not (result.width and formats[task.out].width and sums.get(task, result).width):
            raise ExportError(f"{task.where}: {task.word} gives integers of more than 64 bits; {REMEDY}")
    return FixedStep(graph, rules.tasks, formats, results, sums, calls)


def _doubled(part: Fixed) -> Fixed:
    return Fixed(part.fraction, 2 * part.low, 2 * part.high)


def _refuse_growth(graph: StepGraph, before: List[Fixed], after: List[Fixed]) -> NoReturn:
    """Say which state has no grid or no bound: the first that keeps growing."""
    growing = (found for found in zip(graph.states, before, after) if found[1].union(found[2]) != found[1])
    state, old, new = next(growing)
    if new.fraction > old.fraction:
        raise ExportError(
            f"{_layer_of(graph, state)}: its state {state.name} is on no grid of integers: each step needs more bits "
            f"behind the binary point than the one before, e.g. because a decay multiplies it; {REMEDY}"
        )
    raise ExportError(
        f"{_layer_of(graph, state)}: no bound is known for its state {state.name}, so no integer type is wide enough "
        f"for certain; {REMEDY}"
    )


def _layer_of(graph: StepGraph, state: StepState) -> str:
    kinds, path = dict(graph.layers), state.name.rpartition(".")[0]
    return named(path, kinds[path]) if path in kinds else graph.ops[-1].where


class _Rules:
    """The rules applied to a step, with what is known of its constants."""

    def __init__(self, graph: StepGraph, x: Fixed) -> None:
        self.graph, self.x = graph, x
        self.tasks = lowered(graph)
        self.known: Dict[Value, Fixed] = {}
        for value, array in self.tasks.constants.items():
            readers = [task for task in self.tasks.tasks if any(view.root == value for view in task.views())]
            try:
                self.known[value] = fixed(array)
            except ValueError as error:
                raise ExportError(f"{readers[0].where}: a constant of {readers[0].word} {error}; {REMEDY}") from None

    def after(self, formats: Mapping[Value, Fixed]) -> List[Fixed]:
        """The formats of the states after a step."""
        return [formats[state.after] for state in self.tasks.states]

    def apply(self, states: List[Fixed]) -> Tuple[Dict[Value, Fixed], Dict[Task, Fixed]]:
        """The formats of all arrays and the results of all tasks, from the states before the step."""
        formats = {self.graph.x: self.x, **self.known}
        formats.update((s.before, part) for s, part in zip(self.tasks.states, states))
        results: Dict[Task, Fixed] = {}
        for task in self.tasks.tasks:
            if task.word not in RULES:
                raise ExportError(
                    f"{task.where}: {task.word} has no exact form in integers: use a layer or neuron without it, or "
                    'export in floating point, dtype="float32"'
                )
            try:
                result = results[task] = RULES[task.word](self.call(task, formats))
            except NoGrid as error:
                raise ExportError(f"{task.where} {error}") from None
            formats[task.out] = formats[task.out].union(result) if task.out in formats else result
        return formats, results

    def call(self, task: Task, formats: Mapping[Value, Fixed]) -> KnownTask:
        """A task with what is known of its operands."""
        of_operands = tuple(formats[r.root] if isinstance(r, View) else _kind(r, self.graph.dtype) for r in task.reads)
        return KnownTask(task, of_operands, tuple(self._constant(r) for r in task.reads))

    def _constant(self, operand: Operand) -> Optional[np.ndarray]:
        if isinstance(operand, View):
            return self.tasks.constants.get(operand.root)
        return number(operand, self.graph.dtype)


@lru_cache(maxsize=None)
def _kind(operand: Union[float, int], dtype: str) -> Fixed:
    """The format of a number of Python."""
    try:
        return fixed(number(operand, dtype))
    except ValueError:
        raise NoGrid(f"computes with {operand}, which no integer is: use a finite number") from None


def number(operand: Any, dtype: str) -> np.ndarray:
    """A number as an array of the type in which words compute: a Python float gets the step's floating-point type."""
    return np.asarray(operand, dtype) if type(operand) is float else np.asarray(operand)

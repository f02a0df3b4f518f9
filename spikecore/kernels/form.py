"""``Step``: what code for a step is generated from. Neurons that differ in constants and names alone share that code.

A constant becomes an input, like a parameter that is one number: another value needs no other code. States and
parameters are called by their indices, so generated code has no names of the user's, which may look alike, collide or
be no identifiers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np

from spikecore.api.core.graph import Value, WordGraph
from spikecore.api.core.recorder import Untraceable
from spikecore.api.neurons.stepper import step_name
from spikecore.kernels.adjoint import adjoint
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.trace import Trace, trace

PLAIN = (-1.0, 0.0, 1.0, 2.0)  # stay in the code: compilers simplify what is done with them
MANY = 24  # constants of a step
CONSTANT = "k_"  # begins the names of inputs that are constants
WEIGHT = "connection.weight"  # of a dense recurrence, among the parameters
ParamValues = Tuple[Tuple[str, Optional[float]], ...]  # parameters by name: a constant's value, or None for an array


@dataclass(frozen=True, eq=False)
class Step:
    """A neuron's step and its derivative for one kind of parameters, as kernels are made of them.

    Args:
        trace: the step; states and parameters are called "0", "1", ..., constants are inputs "k_0", "k_1", ...
        gradients: its derivative: values of the trace's graph, or None for zero, by the name of the input.
        constants: the values of the constants, in order.
        states, params: the neuron's own names of its states and of the parameters that are arrays, in order.
        record: the states that are returned for every step, by their own names.
        rows: the parameters that have one value per neuron, by their indices; the others are one number.
        dtype: "float32" or "float64".
    """

    trace: Trace
    gradients: Dict[str, Any]
    constants: Tuple[float, ...]
    states: Tuple[str, ...]
    params: Tuple[str, ...]
    record: Tuple[str, ...]
    rows: Tuple[str, ...]
    dtype: str

    @cached_property
    def recorded(self) -> Tuple[str, ...]:
        """The states that are returned for every step, by their indices."""
        return indices_of(self.states, self.record)

    @cached_property
    def scalars(self) -> Tuple[str, ...]:
        """The parameters that are one number, as inputs of the graph."""
        return tuple(f"p_{p}" for p in self.trace.params if p not in self.rows)

    @cached_property
    def constant_array(self) -> Any:
        """The constants as an array."""
        return np.array(self.constants, self.dtype)

    @cached_property
    def inputs(self) -> Dict[str, Value]:
        """The inputs of the graph that are no constants: those of the step and, for its derivative, the gradients
        ``g``, ``c_<state>`` and ``r_<state>``, see ``adjoint``.
        """
        return {name: value for name, value in self.trace.graph.inputs.items() if not name.startswith(CONSTANT)}

    @cached_property
    def known(self) -> Dict[str, Value]:
        """The inputs of a step backwards that are no constants: those of the step, and the states after it as
        ``a_<state>``, since the derivative may read them.
        """
        inputs = self.trace.graph.inputs.values()
        after = {f"a_{s}": v for s, v in zip(self.trace.states, self.trace.after) if v not in inputs}
        return {**after, **self.inputs}

    def way_back(self, by_x: bool, by_params: Iterable[str], output: bool = False) -> Tuple[Dict[str, Any], Any, Any]:
        """A step backwards: the gradients that it computes, by name, its operations, and the leaves that these read.

        Args:
            by_x: whether it computes the gradient by the input; those by the states before the step it always does.
            by_params: the parameters whose gradients it computes, by their indices.
            output: whether it computes the step's output, too.
        """
        names = *(["x"] if by_x else []), *(f"s_{s}" for s in self.trace.states), *(f"p_{p}" for p in by_params)
        results = {name: self.gradients[name] for name in names}
        ends = [*results.values(), *([self.trace.output] if output else [])]
        return (results, *self.trace.graph.needed(ends, self.trace.after))


@Remembered  # a cache that forgets a result together with its first argument, see ``lifetimes.py``
def traced(stepper: Any, param_values: ParamValues, record: Tuple[str, ...], sparse_backward: float = 0.0) -> Any:
    """Trace and derivative of a neuron's step, or a text that says why there are none; arguments as for ``step_of``."""
    try:
        step = trace(stepper, dict(param_values), sparse_backward)
        return step, adjoint(step, record)
    except Untraceable as reason:
        return f"{step_name(stepper)}.step is not elementwise: {reason}"


def step_of(
    stepper: Any,
    param_values: ParamValues,
    record: Tuple[str, ...],
    rows: Tuple[str, ...],
    dtype: str,
    sparse_backward: float = 0.0,
) -> Union[Step, str]:
    """A neuron's step as kernels are made of it, or a text that says why there can be none.

    Args:
        stepper: the neuron.
        param_values: its prepared parameters by dotted name: a float is a constant, None stands for an array.
        record: the states to return for every step.
        rows: the parameters with more than one value.
        dtype: "float32" or "float64", of states and parameters.
        sparse_backward: derivatives of spikes up to this magnitude count as zero.
    """
    trace_and_gradients = traced(stepper, param_values, record, sparse_backward)
    if isinstance(trace_and_gradients, str):
        return trace_and_gradients
    step, gradients = trace_and_gradients
    states, params = indices_of(step.states, step.states), indices_of(step.params, step.params)
    numbered = {"x": "x", "g": "g", **{f"p_{p}": f"p_{i}" for p, i in zip(step.params, params)}}
    for kind in ("s", "c", "r"):  # states, and the gradients by them that are carried and recorded, see ``adjoint``
        numbered.update({f"{kind}_{s}": f"{kind}_{i}" for s, i in zip(step.states, states)})
    inputs = {numbered[name]: value for name, value in step.graph.inputs.items() if name in numbered}
    graph, values = without_constants(WordGraph(inputs, step.graph.ops, step.graph.types))
    gradients = {numbered[name]: value for name, value in gradients.items()}
    row_params = indices_of(step.params, [p for p in step.params if p in rows])
    form = Trace(graph, states, params, step.output, step.after)
    return Step(form, gradients, values, step.states, step.params, record, row_params, dtype)


def without_constants(graph: WordGraph) -> Tuple[WordGraph, Tuple[float, ...]]:
    """The graph with inputs instead of constants, and their values.

    Each place gets an input of its own, even where two constants are equal, so that the generated code does not depend
    on their values. Of more than ``MANY``, equal ones share an input: registers would not hold all of them. So many
    belong to noise and the like, whose constants are the library's own and always the same.
    """
    values: List[float] = []
    made = WordGraph(dict(graph.inputs), [], list(graph.types))
    many = sum(not _stays(op.word, i, a) for op in graph.ops for i, a in enumerate(op.args)) > MANY
    moved: Dict[float, Value] = {}

    def input_of(value: Any) -> Value:
        if not (many and value in moved):
            values.append(value)
            moved[value] = made.input(f"{CONSTANT}{len(values) - 1}")
        return moved[value]

    for op in graph.ops:
        made.ops.append(
            op._replace(args=tuple([a if _stays(op.word, i, a) else input_of(a) for i, a in enumerate(op.args)]))
        )
    return made, tuple(values)


def _stays(word: str, place: int, value: Any) -> bool:
    """Whether an argument stays in the code: it is no constant, or is simplified there, or is an exponent that
    compilers may simplify.
    """
    if type(value) is Value:
        return True
    exponent = word == "pow" and place == 1 and abs(value) <= 3.0 and value % 0.5 == 0.0
    return value in PLAIN or not math.isfinite(value) or exponent


def indices_of(names: Sequence[str], some: Iterable[str]) -> Tuple[str, ...]:
    """The indices of ``some`` of the names, as text: what a ``Step`` calls them."""
    return tuple(str(names.index(name)) for name in some)


@Remembered
def reads_products(step: Step) -> bool:
    """Whether a step backwards of a dense recurrence reads its products P, or only the states."""
    return step.trace.graph.inputs["s_0"] in step.way_back(False, step.trace.params)[2]


def constants_in(graph: WordGraph) -> Dict[str, int]:
    """The inputs that are constants, each with its place among them."""
    names = (name for name in graph.inputs if name.startswith(CONSTANT))
    return {name: int(name[len(CONSTANT) :]) for name in names}


# ---- steps that may change: a notebook cell runs again, a global that a step reads gets a new value ------------------
# What is of this library stays as it is. Everything else is traced again at each run over time, a fraction of a
# millisecond, and if the result is another, all kernels are chosen anew; those that were compiled are used again.


def refresh(stepper: Any, param_values: ParamValues, record: Tuple[str, ...], sparse_backward: float) -> bool:
    """Forget all traces if this neuron's step is not what it was; returns whether it is another one.

    Then whoever has kept kernels by their neurons must forget them, too.
    """
    arguments = stepper, param_values, record, sparse_backward
    if _unchanged(traced(*arguments), *arguments):
        return False
    traced.cache_clear()
    return True


def _unchanged(
    known: Any, stepper: Any, param_values: ParamValues, record: Tuple[str, ...], sparse_backward: float
) -> bool:
    """Whether a step and its derivative are still those in ``known``, a result of ``traced``."""
    if not isinstance(known, str):
        try:
            now = trace(stepper, dict(param_values), sparse_backward)
        except Untraceable:
            return False
        # if all surrogates are the library's, equal steps have equal derivatives, which are then not computed
        if all(never_changes(o) for op in now.graph.ops for o in op.options.values()):
            return now.begins(known[0])
    return bool(known == traced.function(stepper, param_values, record, sparse_backward))


def never_changes(part: Any) -> bool:
    """Whether a neuron and its parts, such as its surrogate, are of classes of this library, which never change."""
    inside = (value for value in vars(part).values() if hasattr(value, "__dict__"))
    return type(part).__module__.startswith("spikecore.") and all(map(never_changes, inside))

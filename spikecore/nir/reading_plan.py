"""``ReadingPlan``: a graph and an input, run by the rules of NIR or of its readers."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple

import nir
import numpy as np

from spikecore import Delay, Graph, Recurrent, get_engine
from spikecore.api.core.layer import Shape
from spikecore.api.layers.nodes import INPUT
from spikecore.base import Params
from spikecore.errors import ShapeError
from spikecore.nir.dialects import NIR, PARTS, Dialect, NodeRule
from spikecore.nir.flat import Flat
from spikecore.nir.imports import checked_shape, input_shapes, loaded, unique_name
from spikecore.nir.members import Unit
from spikecore.nir.notes import NirError
from spikecore.nir.read_layers import READERS, Read, connection
from spikecore.nir.rules import equal, neuron_of, numbers_of, same_reset, told
from spikecore.nir.units import Units
from spikecore.nir.wiring import START, units_in_order


@dataclass(frozen=True)
class NodeTrace:
    """Spikes and membranes of a neuron node over time.

    Args:
        spikes: (time, *features), the number of spikes of each step.
        mem: (time, *features), the membrane after each step.
    """

    spikes: np.ndarray
    mem: np.ndarray

    def steps(self) -> List[int]:
        """The steps in which any of its neurons fires."""
        return np.flatnonzero(self.spikes.reshape(len(self.spikes), -1).any(axis=1)).tolist()


@dataclass(frozen=True)
class Departure:
    """A rule of a reader that is not NIR's.

    Args:
        node: name and kind of the node.
        part: what it is about, one of ``PARTS``, e.g. "input" or "reset".
        reader: the reader's rule, with its number.
        nir: NIR's rule, with its number.
        first: the first step whose spikes this rule alone changes; None: it changes none of this input's.
    """

    node: str
    part: str
    reader: str
    nir: str
    first: Optional[int]


class ReadingPlan:
    """The layers of a graph in order, and an input: what it takes to run them by any rules.

    Args:
        graph: the graph.
        inputs: (time, *features).

    Raises:
        NirError, ShapeError: the graph cannot be run, or the inputs do not fit it.
    """

    def __init__(self, graph: nir.NIRGraph, inputs: np.ndarray) -> None:
        self.flat, self.outer = Flat(graph), set(graph.nodes)
        self.order, self.outputs = units_in_order(self.flat)
        given = tuple(inputs.shape[1:])
        shapes = input_shapes(self.flat, None)
        fitting_shapes = [shape for shape in shapes if given == shape or (given == () and int(np.prod(shape)) == 1)]
        if not fitting_shapes or not len(inputs):
            wanted = " or ".join(f"(time, {', '.join(map(str, shape))})" for shape in shapes)
            raise ShapeError(f"inputs of shape {tuple(inputs.shape)}: the graph takes {wanted}")
        if not bool(np.isfinite(inputs).all()):
            raise NirError("inputs: hold NaN or infinity; give finite numbers")
        self.shape = fitting_shapes[0]
        self.inputs = inputs.reshape(len(inputs), *self.shape)
        self.shapes: Dict[str, Shape] = {}

    def refuse(self, dialect: Dialect) -> None:
        """Refuse what a reader does not read.

        Raises:
            NirError: names the node, and what the reader takes.
        """
        limits, reads = dialect.limits, (*dialect.passes, *dialect.rules)
        for unit in self.order:
            fires = unit.kind in dialect.rules
            extra = [type(part).__name__ for part in (unit.threshold, unit.graded) if part is not None]
            odd = next(iter(extra if unit.kind in reads else [unit.kind]), "")
            why = dialect.refuses.get(odd, f"does not read {odd}, or is not predicted for it")
            inner = unit.name not in self.outer and dialect.feedback == "through"
            biased = unit.recurrent and np.asarray(getattr(unit.connection, "bias", 0.0)).any()
            before = [type(self.flat.nodes.get(source)).__name__ for source in unit.sources]
            objections = {
                f"{why}; predicted are {', '.join(reads)}": bool(odd),
                "leaves the padding of a SumPool2d out; set it 0": unit.kind == "SumPool2d"
                and np.any(unit.node.padding),
                f"does not take feedback of {unit.kind}": fires and dialect.rule(unit.kind, unit.recurrent) is None,
                "is not predicted with feedback; cut the loop at this node": unit.recurrent and not dialect.feedback,
                "is not predicted with feedback in a subgraph; put its nodes into the graph": unit.recurrent and inner,
                "leaves the bias of feedback out of the first step; set it 0": biased and dialect.feedback == "plain",
                "reads groups=1 only": getattr(unit.node, "groups", 1) != 1,
                "takes connections without bias": "no bias" in limits and np.any(getattr(unit.node, "bias", 0.0)),
                "fails at an IF that other nodes follow": unit.kind == "IF"
                and "last IF" in limits
                and unit.name not in self.outputs,
                "takes one weight of at least 1/128 in a node": "strong" in limits
                and hasattr(unit.node, "weight")
                and (np.size(unit.node.weight) > 1 or np.abs(unit.node.weight).min() < 1 / 128),
                "takes one neuron in a node": fires and "one" in limits and np.size(unit.node.v_threshold) > 1,
                "takes a neuron behind an Affine or Linear node only": fires
                and "connected" in limits
                and not set(before) <= set(dialect.passes),
            }
            for objection, applies in objections.items():
                if applies:
                    raise NirError(f"{unit.place}: {dialect.title} {objection}")
        chain = [START, *(unit.name for unit in self.order)]
        linked = all(unit.sources == (before,) for before, unit in zip(chain, self.order))
        if "chain" in limits and not (linked and {"input", "output"} <= set(self.flat.nodes)):
            raise NirError(f'{dialect.title} reads a chain of nodes from one called "input" to one called "output"')
        if "spikes" in limits and not bool(np.isin(self.inputs, (0.0, 1.0)).all()):
            raise NirError(f"{dialect.title} takes spikes: each input must be 0 or 1")

    def run(self, rule_of: Callable[[Unit], Any], dt: float, dtype: str = "float64") -> Dict[str, NodeTrace]:
        """Spikes and membranes by neuron node, with the rule and the dialect that ``rule_of`` gives for each unit."""
        rows: List[Tuple[str, Any, Params, Tuple[str, ...]]] = []
        self.shapes = {START: self.shape}
        sender, named = {START: INPUT}, {}
        for unit in self.order:
            now = self.shapes[unit.sources[0]]
            sources = tuple(sender[source] for source in unit.sources)
            for layer, params in self._layers(unit, now, dt, *rule_of(unit)):
                name = unique_name(unit.name, rows)
                now = checked_shape(unit, layer, params, now)
                rows.append((name, layer, params, sources))
                sources = (name,)
            sender[unit.name], self.shapes[unit.name] = sources[0], now
            if layer.state and hasattr(unit.node, "v_threshold"):
                named[unit.name] = name, getattr(layer, "graded_spikes_factor", 1.0)
        names = tuple(row[0] for row in rows)
        outputs = tuple(sender[name] for name in self.outputs)
        network = Graph(names, tuple(row[1] for row in rows), tuple(row[3] for row in rows), outputs)
        params = Params({row[0]: row[2] for row in rows})
        model = loaded(network, params, self.shape, get_engine("numpy", dtype=dtype))
        states = model(self.inputs[:, None].astype(dtype), record=True).states
        return {
            node: NodeTrace(
                np.round(np.asarray(states[name]["spikes"])[:, 0] / size), np.asarray(states[name]["mem"])[:, 0]
            )
            for node, (name, size) in named.items()
        }

    def _layers(
        self, unit: Unit, shape: Shape, dt: float, rule: Optional[NodeRule], dialect: Optional[Dialect]
    ) -> List[Read]:
        waits = (dialect.delay, dialect.own) if dialect is not None else (0, 0)
        if rule is None:
            read = READERS[type(unit.node)](unit.node, unit.place, shape, Units(dt=dt))
            return [*_waiting(waits[0]), read]
        neuron: Any = neuron_of(numbers_of(rule, unit, shape, dt))
        params = Params()
        before: List[Read] = []
        if unit.recurrent:
            back: Any
            back, weights = connection(unit.connection, unit.place, shape, np.ones(shape), Units(dt=dt))
            if dialect is not None and dialect.feedback == "through":
                before = [(back, weights)]
                if "bias" in weights:
                    back, weights = replace(back, bias=False), Params(weight=weights.weight)
            neuron, params = Recurrent(neuron, back), Params(neuron=params, connection=weights)
        return [*_waiting(waits[1]), *before, (neuron, params)]

    def all_departures(self, dialect: Dialect, dt: float, solved: Mapping[str, NodeTrace]) -> Tuple[Departure, ...]:
        """The rules of a reader that are not NIR's; ``solved`` is what NIR's equations give."""
        plain = self.run(lambda unit: (_stepped(unit), None), dt)
        found = [self.departures(unit, dialect, dt, solved, plain) for unit in self.order if unit.kind in dialect.rules]
        return tuple(departure for each in found for departure in each)

    def departures(
        self, unit: Unit, dialect: Dialect, dt: float, solved: Mapping[str, NodeTrace], plain: Mapping[str, NodeTrace]
    ) -> List[Departure]:
        """The rules of a reader for one node that are not NIR's, each with the first step that it alone changes."""
        own: Any = dialect.rule(unit.kind, unit.recurrent)
        ideal = replace(NIR[unit.kind], within=False)
        shape = self.shapes[unit.sources[0]]
        found = []

        def depart(part: str, reader: str, nir_says: str, first: Optional[int]) -> None:
            found.append(Departure(unit.place, part, reader, nir_says, first))

        def alone(rule: Optional[NodeRule], own: Optional[Dialect] = None) -> Optional[int]:
            """The first step that changes if only this node has a rule, or a dialect."""
            now = self.run(lambda other: (rule, own) if other is unit else (_stepped(other), None), dt)
            return first_of(now, plain)

        for part, names in PARTS.items():
            rule = replace(ideal, **{name: getattr(own, name) for name in names})
            theirs, ours = (numbers_of(each, unit, shape, dt) for each in (rule, ideal))
            changed = [name for name in names if not equal(theirs[name], ours[name])]
            if changed and not (part == "reset" and same_reset(theirs, ours)):
                depart(part, told(rule, theirs, changed), told(ideal, ours, changed), alone(rule))
        if NIR[unit.kind].within:
            first = first_apart(plain[unit.name].spikes, solved[unit.name].spikes)
            depart("within", "at the end of the step", "at the moment of the spike", first)
        if unit.recurrent and dialect.feedback == "through":
            depart("feedback", "the input passes through its weights, too", "it does not", alone(ideal, dialect))
        waits = dialect.own + dialect.delay * bool(unit.sources != (START,))
        if waits:
            late = f"the spike takes {waits} step{'s' * (waits > 1)}"
            depart("delay", late, "at once", next(iter(plain[unit.name].steps()), None))
        return found


def _stepped(unit: Unit) -> Optional[NodeRule]:
    rule = NIR.get(unit.kind)
    return None if rule is None else replace(rule, within=False)


def _waiting(steps: int) -> List[Read]:
    return [(Delay(float(steps)), Params())] if steps else []


def first_of(a: Mapping[str, NodeTrace], b: Mapping[str, NodeTrace]) -> Optional[int]:
    """The first step in which any node's spikes differ."""
    return min(
        (at for at in (first_apart(a[name].spikes, b[name].spikes) for name in a) if at is not None), default=None
    )


def first_apart(a: np.ndarray, b: np.ndarray) -> Optional[int]:
    """The first step in which two arrays over time differ."""
    apart = np.flatnonzero((a != b).reshape(len(a), -1).any(axis=1))
    return int(apart[0]) if apart.size else None

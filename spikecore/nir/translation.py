"""``translate``: the graph from which one reader computes what another one computes from a given graph."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Optional, Tuple

import nir
import numpy as np

from spikecore.api.core.layer import Shape
from spikecore.arguments import unknown
from spikecore.nir.dialects import DIALECTS, NIR, Dialect, NodeRule
from spikecore.nir.files import Written, opened
from spikecore.nir.flat import Flat
from spikecore.nir.imports import checked_shape, input_shapes
from spikecore.nir.members import Unit
from spikecore.nir.notes import NirError, checked
from spikecore.nir.prediction import shape_of, step_of
from spikecore.nir.read_layers import READERS
from spikecore.nir.reading_plan import ReadingPlan
from spikecore.nir.rules import equal, numbers_of, told
from spikecore.nir.units import Units
from spikecore.nir.wiring import START, units_in_order

WEIGHTED = (nir.Affine, nir.Linear, nir.Conv1d, nir.Conv2d)
EQUATIONS = "nir"  # the name of NIR's own equations among the dialects
#: Here a CubaLIF of NIR's equations has the input factors of exponential Euler: their product is what counts.
_STEPPED = {
    **{kind: replace(rule, within=False) for kind, rule in NIR.items()},
    "CubaLIF": replace(NIR["CubaLIF"], gain="r (1 - decay)", carry="0", direct="0", within=False),
}


@dataclass(frozen=True)
class Translation:
    """A graph for another reader.

    Args:
        graph: the graph, with other numbers in its neuron nodes.
        notes: what no number can carry over, a line each: resets, delays.
    """

    graph: nir.NIRGraph
    notes: Tuple[str, ...]


@checked
def translate(
    graph: Written,
    source: str,
    target: str,
    *,
    dt: Optional[float] = None,
    target_dt: Optional[float] = None,
) -> Translation:
    """Rewrite a graph so that ``target`` computes from it, step by step, what ``source`` computes from the given one.

    Time constants are those with which the target has the source's decays; r and w_in give its input factors. Where the
    target does not read them, v_threshold, v_leak and v_reset are divided by what is missing, which leaves all spikes
    as they are; where it needs one threshold for a node, the weights before the node are scaled, neuron by neuron. What
    no number can carry over is noted: resets by subtraction and to a value, spikes that come late, thresholds that
    count.

    Args:
        graph: a ``nir.NIRGraph``, one node, or the path of a file.
        source, target: names of readers, as ``predict`` takes them, or "nir" for NIR's equations.
        dt: duration of a step in the graph's unit of time, > 0. Default: that of the graph, else the source's.
        target_dt: duration of a step in the new graph. Default: ``dt``, or the target's where it has its own.

    Returns:
        ``Translation``: the new graph, and notes.

    Raises:
        NirError: there is no such reader, source or target refuses a node, or no numbers of it give the target the same
            steps.
    """
    for name in (source, target):
        if name != EQUATIONS and name not in DIALECTS:
            raise NirError(unknown("reader", name, (EQUATIONS, *DIALECTS)))
    ours, theirs = DIALECTS.get(source), DIALECTS.get(target)
    if theirs is not None and theirs.fixed and target_dt is not None:
        raise NirError(f"target_dt={target_dt!r} is not for {theirs.title}: {theirs.fixed}; leave it out")
    graph = copy.deepcopy(opened(graph))
    step = step_of(ours, dt, graph.metadata)
    to = step_of(theirs, target_dt, {} if theirs is not None and theirs.fixed else {"dt": step})
    _accepted(ours, graph)
    flat = Flat(graph)
    order, _ = units_in_order(flat)
    notes: List[str] = []
    new: Dict[int, Any] = {}
    shapes: Dict[str, Shape] = {START: input_shapes(flat, None)[0]}
    for unit in order:
        shape = shapes[unit.sources[0]]
        if hasattr(unit.node, "v_threshold"):
            before = [other for other in order if other.name in unit.sources]
            own = all(isinstance(each.node, WEIGHTED) and len(flat.after[each.name]) == 1 for each in before)
            own = own and bool(before) and START not in unit.sources and not unit.recurrent
            node, said = _neuron(unit, shape, _rules(ours), _rules(theirs), step, to, before if own else [])
            if unit.recurrent:
                notes += _of_feedback(unit, ours, theirs)
            new[id(unit.node)] = node
            notes += said
        elif type(unit.node) in READERS:
            if type(unit.node) is nir.Linear and theirs is not None and "Linear" not in theirs.passes:
                old, weight = id(unit.node), unit.node.weight
                unit.node = new[old] = nir.Affine(weight=weight, bias=np.zeros(len(weight), weight.dtype))
            if isinstance(unit.node, nir.Delay):
                unit.node.delay = unit.node.delay * (to / step)
            shape = checked_shape(unit, *READERS[type(unit.node)](unit.node, unit.place, shape, Units(dt=to)), shape)
        else:
            raise NirError(f"{unit.place}: cannot be translated; known are connections, LIF, IF and CubaLIF")
        shapes[unit.name] = shape
    notes += _of_connections(ours, theirs)
    if ours is None and theirs is not None:
        notes.append("within a step: NIR's resets and currents act at once, the target's at its end")
    _replaced(graph, new)
    graph.metadata = {**graph.metadata, "dt": to}
    _accepted(theirs, graph)
    return Translation(graph, tuple(notes))


def _accepted(dialect: Optional[Dialect], graph: nir.NIRGraph) -> None:
    """Refuse a graph that a reader refuses."""
    if dialect is not None:
        ReadingPlan(graph, np.zeros((1, *shape_of(graph)))).refuse(dialect)


def _rules(dialect: Optional[Dialect]) -> Any:
    return _STEPPED if dialect is None else dialect.rules


def _neuron(
    unit: Unit, shape: Shape, source: Any, target: Any, dt: float, to: float, connections: List[Unit]
) -> Tuple[Any, List[str]]:
    """The node from which the target has the same numbers, and what it cannot have.

    ``connections`` are those that lead to nothing but this node: their weights may be scaled.
    """
    if unit.kind not in source:
        raise NirError(f"{unit.place}: the source does not read {unit.kind}; it reads {', '.join(source)}")
    now = numbers_of(source[unit.kind], unit, shape, dt)
    still = unit.kind != "CubaLIF" and bool(np.all(np.asarray(now["decay"]) == 1.0))
    kind = unit.kind if unit.kind == "CubaLIF" else ("IF" if still else "LIF")
    if kind not in target:
        raise NirError(f"{unit.place}: as {kind}: the target does not read {kind}; it reads {', '.join(target)}")
    rule = target[kind]
    why: List[NirError] = []
    for before in ([], connections) if connections else ([],):
        for made in _candidates(kind, rule, now, shape, to):
            try:
                asked = numbers_of(replace(rule, uniform=(), needs=()), replace(unit, node=made), shape, to)
                ratio = _ratio(now, asked, shape)
                factor = now["threshold"] / now["threshold"].reshape(-1)[0] if before else ratio
                _check_unit(unit, factor)
                node = _scaled(made, rule, now, asked, factor, shape)
                then = numbers_of(rule, replace(unit, node=node), shape, to)
            except NirError as error:
                why.append(error)
                continue
            if not equal(then["decay"], now["decay"]):
                why.insert(0, _no_decay(unit, kind, now, then))
            elif all(_take(each.node, ratio / factor) for each in before):
                return node, _notes(unit, source[unit.kind], rule, now, then, factor)
    raise why[0] if why else NirError(f"{unit.place}: its connections cannot be scaled neuron by neuron")


def _no_decay(unit: Unit, kind: str, now: Dict[str, Any], then: Dict[str, Any]) -> NirError:
    return NirError(
        f"{unit.place}: decays by {_range(now['decay'])} per step; of {kind} the target makes {_range(then['decay'])}"
    )


def _take(node: Any, rows: Any) -> bool:
    """Scale the outputs of a connection, if all of a channel have one scale; returns whether they have."""
    flat = rows.reshape(rows.shape[0], -1)
    if not equal(flat, flat[:, :1]):
        return False
    node.weight = node.weight * flat[:, 0].reshape(-1, *(1,) * (node.weight.ndim - 1))
    if hasattr(node, "bias"):
        node.bias = node.bias * flat[:, 0]
    return True


def _input(numbers: Dict[str, Any]) -> Any:
    """The factor of an input in the membrane, through the current."""
    return (np.asarray(numbers["gain"]) + np.asarray(numbers["carry"])) * np.asarray(numbers["received"])


def _ratio(now: Dict[str, Any], asked: Dict[str, Any], shape: Shape) -> Any:
    """The input's factor in the source, divided by that in the target; 1 where both are 0."""
    ours, theirs = np.asarray(_input(now)), np.asarray(_input(asked))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.broadcast_to(np.where(ours == theirs, 1.0, ours / theirs), shape)


def _check_unit(unit: Unit, factor: Any) -> None:
    """Refuse to measure a membrane in units of 0, or of infinity."""
    if bool(np.all(factor)) and bool(np.isfinite(factor).all()):
        return
    zero = [name for name in ("r", "w_in") if not np.all(getattr(unit.node, name, 1.0))]
    named = " and ".join(f"{name}={_range(getattr(unit.node, name))}" for name in zero)
    raise NirError(
        f"{unit.place}: {named or 'a factor of 0'}: its input counts nothing, for which no threshold of the target "
        f"stands; set the weights before the node to 0, and {' and '.join(zero) or 'the factor'} to 1"
    )


def _tau(formula: str, decay: Any, dt: float) -> Any:
    """The time constant for which a formula of a decay gives this value."""
    decay = np.clip(np.asarray(decay, dtype=np.float64), 1e-300, 1 - 1e-12)
    return -dt / np.log(decay) if formula.startswith("exp") else dt / (1.0 - decay)


def _candidates(kind: str, rule: NodeRule, now: Dict[str, Any], shape: Shape, to: float) -> List[Any]:
    """Nodes with the right decays, and input factors of which readers take one or another."""
    full = lambda value: np.broadcast_to(np.asarray(value, np.float64), shape).copy()  # noqa: E731
    dt = {"1": 1.0, "0.0001": 1e-4}.get(rule.dt, to)
    theta, zero = full(now["threshold"]), full(0.0)
    plain = {"v_threshold": theta, "v_reset": zero}
    if kind == "IF":
        rates = (now["gain"] / np.asarray(dt), now["gain"], 1.0, 1.0 / dt)
        return [nir.IF(r=full(r), **plain) for r in rates]
    tau = full(_tau(rule.decay, now["decay"], dt))
    steps, free = tau / dt, (full(now["gain"]) + full(now["carry"])) / (1.0 - full(now["decay"]))
    if kind == "LIF":
        return [nir.LIF(tau=tau, r=full(r), v_leak=zero, **plain) for r in (free, 1.0, steps)]
    syn = full(_tau(rule.syn, now["syn"], dt))
    full_in = full(now["received"]) / (1.0 - full(now["syn"]))
    pairs = ((free, full_in), (steps, full_in * free / steps), (steps, syn / dt), (steps - 1.0, 1.0), (1.0, full_in))
    return [
        nir.CubaLIF(tau_syn=syn, tau_mem=tau, r=full(r), v_leak=zero, w_in=full(w), **plain) for r, w in pairs
    ]  # fmt: skip


def _scaled(node: Any, rule: NodeRule, now: Dict[str, Any], then: Dict[str, Any], factor: Any, shape: Shape) -> Any:
    """The node with its membrane in units of ``factor``: threshold, leak and reset are divided by it."""
    node = copy.copy(node)
    theta = node.v_threshold / factor
    node.v_threshold = np.full(shape, theta.reshape(-1)[0]) if equal(theta, theta.reshape(-1)[0]) else theta
    node.v_reset = np.broadcast_to(np.asarray(now["rho"]) / factor, shape) * (now["reset"] == "value")
    if hasattr(node, "v_leak"):
        per_unit = {"v_leak": 1.0, "0": np.inf}.get(rule.leak, 1.0 - np.asarray(then["decay"]))
        node.v_leak = np.broadcast_to(np.asarray(now["leak"]) / factor / per_unit, shape).copy()
    return node


def _notes(
    unit: Unit, source: NodeRule, target: NodeRule, now: Dict[str, Any], then: Dict[str, Any], factor: Any
) -> List[str]:
    """Differences that no number makes up for, a line each."""
    found = []
    for name in ("fires_at", "reset", "late", "binary"):
        if now[name] != then[name]:
            found.append(f"{unit.place}: {told(source, now, [name])}; the target: {told(target, then, [name])}")
    for name, called in (("leak", "v_leak"), ("start", "the first membrane"), ("floor", "the lowest membrane")):
        there = np.asarray(then[name]) * (factor if name != "floor" or np.max(then[name]) > -1e29 else 1.0)
        if not equal(now[name], there):
            found.append(
                f"{unit.place}: {called} is not carried over: {_range(now[name])}, the target has {_range(there)}"
            )
    if now["reset"] == then["reset"] == "value" and not equal(now["rho"], np.asarray(then["rho"]) * factor):
        found.append(f"{unit.place}: a spike resets to {_range(now['rho'])}, in the target to {_range(then['rho'])}")
    return found


def _range(value: Any) -> str:
    low, high = float(np.min(value)), float(np.max(value))
    return "none" if high < -1e29 else f"{low:.6g}" if low == high else f"{low:.6g} to {high:.6g}"


def _of_connections(source: Optional[Dialect], target: Optional[Dialect]) -> List[str]:
    waits = [0 if each is None else each.delay + each.own for each in (source, target)]
    return (
        [] if waits[0] == waits[1] else [f"a spike takes {waits[0]} steps to the next neuron, in the target {waits[1]}"]
    )


def _of_feedback(unit: Unit, source: Optional[Dialect], target: Optional[Dialect]) -> List[str]:
    """A note where the two lead spikes back in different ways.

    Raises:
        NirError: one of them does not, as far as is known.
    """
    ways = ["plain" if each is None else each.feedback for each in (source, target)]
    if not all(ways):
        raise NirError(f"{unit.place}: feedback is not predicted for the {'source' if not ways[0] else 'target'}")
    return (
        [] if ways[0] == ways[1] else [f"{unit.place}: one of the two leads its input through the feedback's weights"]
    )


def _replaced(graph: Any, new: Dict[int, Any]) -> None:
    """Put new nodes in the places of old ones, in subgraphs, too."""
    for name, node in graph.nodes.items():
        if isinstance(node, nir.NIRGraph):
            _replaced(node, new)
        elif id(node) in new:
            made = new[id(node)]
            made.metadata = node.metadata if type(made) is type(node) else {}
            made.input_type, made.output_type = node.input_type, node.output_type
            graph.nodes[name] = made

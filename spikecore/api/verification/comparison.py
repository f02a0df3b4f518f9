"""Two engines compared: loss, spikes, states and gradients of one batch; and what one of them leaves out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Dict, List, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import float64, host
from spikecore.api.core.layer import Layer, layer_name
from spikecore.api.core.tree import Params, flatten
from spikecore.api.core.variants import approximates
from spikecore.api.layers.containers import walk
from spikecore.api.neurons.base import Neuron, value_at
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.verification.clear_maxima import with_clear_maxima
from spikecore.api.verification.gradient import LossGradient, Problem, gradient
from spikecore.api.verification.report import (
    APPROXIMATION,
    FAIL,
    OK,
    UNAVAILABLE,
    UNCHECKED,
    Divergence,
    Report,
    Row,
    listed,
)

LIMITS = {"float64": 1e-11, "float32": 1e-4}  # largest relative error max|a - b| / max|b|
NOISE = {"float64": 1e-12, "float32": 1e-5}  # a gradient below this fraction of the largest gradient counts as zero
ROUNDING = 1e-5  # in float32 a spike may differ if |U - threshold| <= 1e-5 max(1, |threshold|)


def compare(report: Report, check: str, problem: Problem, engine: Engine, reference: Engine) -> None:
    """Add a row for the loss and for each layer's spikes and states and each gradient of two engines, in one dtype.

    In float32, a convolution may give equal pixels numbers that differ in their last digits, on every engine others.
    Where pooling takes the largest of them, the gradient goes to one pixel or to its neighbour, and both are right. So
    gradients that differ, but are equal in float64, are compared again without maxima that rounding decides.
    """
    ours, theirs = gradient(engine, problem), gradient(reference, problem)
    limit = LIMITS[check]
    same = _compare_spikes(report, check, problem, ours, theirs)
    if not same:
        report.notes.append(f"{check}: spikes differ, so loss, states and gradients are not comparable")
    largest = _largest(theirs)
    _note_silence(report, check, problem, theirs, largest)
    states = _states(problem.network, ours, theirs)
    pairs = [("loss", _array(ours.loss, theirs.loss)), *states, *_gradients(ours, theirs)]
    exact = {row.name for row in report.rows if row.check == "float64" and row.verdict == OK}
    clear: Optional[Dict[str, Tuple[float, float]]] = None
    for name, (a, b) in pairs:
        if a is None:
            report.note(check, name, tuple(b.shape), UNAVAILABLE)
        elif not same or (largest == 0.0 and name.startswith("gradient") and not abs(a).any()):
            report.note(check, name, tuple(b.shape), UNCHECKED)
        else:
            floor = NOISE[check] * largest if name.startswith("gradient") else 0.0
            errors = _errors(a, b, floor)
            if name.startswith("gradient") and name in exact and not errors[1] <= limit:
                clear = _without_close_maxima(problem, engine, reference) if clear is None else clear
                if name in clear and clear[name][1] <= limit:
                    report.notes.append(f"{check}: {name} is off by {errors[1]:.2g} where rounding decides maxima")
                    name, errors = f"{name}, where maxima are clear", clear[name]
            report.add(check, name, tuple(b.shape), errors, limit)


def _without_close_maxima(problem: Problem, engine: Engine, reference: Engine) -> Dict[str, Tuple[float, float]]:
    """The errors of gradients that do not count where the largest values of a window are equal up to rounding.

    Empty for a network without max pooling, and if spikes differ. A gradient that is zero then is left out.
    """
    try:
        network = with_clear_maxima(problem.network)
    except TypeError:  # a container of a user's own, whose layers cannot be replaced
        return {}
    if network is problem.network:
        return {}
    problem = replace(problem, network=network)
    ours, theirs = gradient(engine, problem), gradient(reference, problem)
    if _spikes_differ(network, ours, theirs):
        return {}
    floor = NOISE[engine.dtype] * _largest(theirs)
    return {name: _errors(a, b, floor) for name, (a, b) in _gradients(ours, theirs) if a is not None and abs(b).any()}


def _spikes_differ(network: Layer, ours: LossGradient, theirs: LossGradient) -> bool:
    """Whether a neuron fires on one engine and not on the other; False if an engine returns no spikes."""
    if ours.out is None or theirs.out is None:
        return False
    a, b = ours.out.states, theirs.out.states
    layers = [name for name, layer in walk(network) if _spiking(layer) and name in b]
    return any((a[name].spikes != b[name].spikes).any() for name in layers)


def _note_silence(report: Report, check: str, problem: Problem, theirs: LossGradient, largest: float) -> None:
    """Say which layers never fire, and which gradients are zero for that reason."""
    zero = [name for name, g in theirs.grads.items() if g is not None and g.size and not abs(g).any()]
    silent = _silent(problem.network, theirs)
    if silent and zero:
        which = ", ".join(name or "(the network)" for name in silent)
        remark = (
            f"nothing fires in layer {which}: all gradients of {listed(zero)} are zero, so the check says little about "
            "them: scale the input up, lower the threshold, or verify a trained model"
        )
        if remark not in report.remarks:
            report.remarks.append(remark)
        report.silent = report.silent or largest == 0.0
    elif largest == 0.0:
        report.remarks.append(f"{check}: every gradient is zero, so none was compared: no derivative reaches a weight")


def _silent(network: Layer, theirs: LossGradient) -> List[str]:
    """The names of the layers that could spike and do not."""
    if theirs.out is None:
        return []
    states = theirs.out.states
    layers = [name for name, layer in walk(network) if _spiking(layer) and name in states]
    return [name for name in layers if not states[name].spikes.any()]


def _array(a: float, b: float) -> Tuple[Any, Any]:
    return float64(a), float64(b)


def _states(network: Layer, ours: LossGradient, theirs: LossGradient) -> List[Tuple[str, Tuple[Any, Any]]]:
    """Pairs of the recorded states of both engines, and of outputs that are not spikes."""
    if ours.out is None or theirs.out is None:
        return []
    layers, pairs = dict(walk(network)), []
    for layer, state in theirs.out.states.items():
        for name, b in state.items():
            if name != "spikes":
                pairs.append((f"state {layer}.{name}".replace(" .", " "), (ours.out.states[layer][name], b)))
            elif not _spiking(layers[layer]):
                pairs.append((f"output {layer}".rstrip(), (ours.out.states[layer][name], b)))
    return pairs


def _spiking(layer: Layer) -> bool:
    return isinstance(layer, Stepper) and layer.spiking


def _gradients(ours: LossGradient, theirs: LossGradient) -> List[Tuple[str, Tuple[Any, Any]]]:
    return [(f"gradient {name}", (ours.grads[name], b)) for name, b in theirs.grads.items() if b is not None]


def _largest(theirs: LossGradient) -> float:
    """The largest entry of all gradients."""
    return max((float(abs(g).max()) for g in theirs.grads.values() if g is not None and g.size), default=0.0)


def _errors(a: Any, b: Any, floor: float) -> Tuple[float, float]:
    """The errors max|a - b| and max|a - b| / max|b|.

    The relative error is 0 if both are rounding noise below ``floor``, e.g. the gradient of a bias before BatchNorm.
    """
    if a.size == 0:
        return 0.0, 0.0
    worst, size = float(abs(a.astype("float64") - b).max()), float(abs(b).max())
    if size <= floor and float(abs(a).max()) <= floor:
        return worst, 0.0
    return worst, worst / size if size > 0 else worst


def _compare_spikes(report: Report, check: str, problem: Problem, ours: LossGradient, theirs: LossGradient) -> bool:
    """Add rows for every layer's spikes and the first difference; return whether all spikes are equal."""
    if ours.out is None or theirs.out is None:
        report.note(check, "spikes", (), UNAVAILABLE)
        return True
    diverging: List[Divergence] = []
    for name, layer in walk(problem.network):
        if name not in theirs.out.states or not _spiking(layer):
            continue
        a, b = ours.out.states[name].spikes, theirs.out.states[name].spikes
        where = _divergence(
            check, name, layer, problem, ours.out.states[name], theirs.out.states[name], bool(diverging)
        )
        count = 0 if where is None else where.differing
        verdict = OK if where is None or where.rounding else FAIL
        share = count / max(1, b.size)
        report.rows.append(
            Row(check, f"spikes {name}".rstrip(), tuple(b.shape), float(abs(a - b).max()), share, 0.0, verdict)
        )
        if where is not None:
            diverging.append(where)
    report.divergences += diverging[:1]  # the first one causes those in later layers
    return not diverging


def _divergence(
    check: str, name: str, layer: Layer, problem: Problem, ours: Any, theirs: Any, upstream: bool
) -> Optional[Divergence]:
    """The first spike in which two engines differ; None if there is none.

    In float32, a difference is rounding if the neuron is near its threshold, or if spikes differ ``upstream``.
    """
    differs = ours.spikes != theirs.spikes
    if not differs.any():
        return None
    index = tuple(int(axis[0]) for axis in differs.nonzero())
    distance, near = float("nan"), False
    if isinstance(layer, Stepper) and "mem" in theirs:
        quiet = ours if ours.spikes[index] == 0 else theirs  # without a spike, the membrane has no reset
        neuron, fields = _fields(layer, name, problem)
        if quiet.mem.shape == quiet.spikes.shape:
            distance = abs(neuron.margin(fields, quiet, index))
            near = distance <= ROUNDING * max(1.0, abs(value_at(fields.threshold, quiet.mem, index)))
    rounding = check != "float64" and (upstream or near)
    return Divergence(check, name, layer_name(layer), index[0], index[1:], distance, int(differs.sum()), rounding)


def _fields(layer: Stepper, name: str, problem: Problem) -> Tuple[Neuron, Params]:
    """The neuron of a layer, and its prepared parameters as NumPy arrays."""
    neuron, inner = layer.core
    prefix = f"{name}.{inner}" if name else inner
    params = {path[len(prefix) :]: float64(x) for path, x in flatten(problem.params).items() if path.startswith(prefix)}
    return neuron, neuron.prepare(host(), Params(params))


# ---- what an engine leaves out -------------------------------------------------------------------------------------


def approximation(report: Report, problem: Problem, engine: Engine, exact: Engine) -> None:
    """Add a row for each gradient: how far the engine's is from that of the same engine without approximations."""
    report.notes.append(
        f"{APPROXIMATION}: gradients of {engine!r} against those of {exact!r}, which is what was verified"
    )
    report.approximates = approximates(engine)
    ours, theirs = gradient(engine, problem), gradient(exact, problem)
    if ours.loss != theirs.loss:
        report.measure(APPROXIMATION, "loss", (), _errors(*_array(ours.loss, theirs.loss), 0.0))
    largest = _largest(theirs)
    for name, (a, b) in _gradients(ours, theirs):
        if a is None:
            report.note(APPROXIMATION, name, tuple(b.shape), UNAVAILABLE)
        else:
            worst, relative = _errors(a, b, 0.0)
            noise = b.size and float(abs(b).max()) <= NOISE[exact.dtype] * largest  # e.g. of a bias before BatchNorm
            report.measure(APPROXIMATION, name, tuple(b.shape), (worst, worst / largest if noise else relative))

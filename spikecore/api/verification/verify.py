"""Gradient verification: checks that the engine you train on computes what the equations say.

There are two independent checks. First, the model's engine and the reference engine, whose backpropagation through time
is written by hand, compute loss, spikes, states and gradients of one batch in float64; they must agree to rounding.
Second, finite differences in smooth mode, which uses no derivative rules, check the reference itself. Then the first
comparison is repeated in the dtype in which the model trains. On an engine without float64, such as an IPU, this is the
only comparison between engines.

An engine may be told to leave out small parts of gradients. All comparisons are then made without that option, and what
it changes is measured and reported, without a verdict: how much is too much depends on what the gradients are for.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional, Tuple, Union, overload

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import EngineName, engines, get_engine
from spikecore.api.core.foreign import model_of
from spikecore.api.core.host import float64, host
from spikecore.api.core.layer import Key, Layer, layer_name, shapes_of
from spikecore.api.core.tree import Params, flatten, unflatten
from spikecore.api.functional.base import LossFunction
from spikecore.api.functional.loss import ce_rate_loss
from spikecore.api.layers.containers import check_engine, walk
from spikecore.api.learning.learning_rules import Kind, LearningRule
from spikecore.api.neurons.base import Neuron, value_at
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.batching import Encoder, Feed, check_targets
from spikecore.api.training.data import lengths_of
from spikecore.api.verification.gradient import Gradient, Problem, Slope, gradient, slopes
from spikecore.api.verification.learning import verify_learning
from spikecore.api.verification.learning_report import LearningReport
from spikecore.api.verification.report import (
    APPROXIMATION,
    DIFFERENCES,
    FAIL,
    OK,
    UNAVAILABLE,
    UNCHECKED,
    Divergence,
    Report,
    Row,
    listed,
)
from spikecore.arguments import ArrayLike, Size, checked

LIMITS = {"float64": 1e-11, "float32": 1e-4}  # largest relative error max|a - b| / max|b|
NOISE = {"float64": 1e-12, "float32": 1e-5}  # a gradient below this fraction of the largest gradient counts as zero
ROUNDING = 1e-5  # in float32 a spike may differ if |U - threshold| <= 1e-5 max(1, |threshold|)


@overload
def verify(
    model: Any,
    x: ArrayLike,
    targets: ArrayLike,
    loss: Optional[LossFunction] = None,
    against: Union[None, EngineName, Engine] = None,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
    *,
    lengths: Optional[ArrayLike] = None,
    differences: bool = True,
) -> Report: ...
@overload
def verify(
    model: Any,
    x: ArrayLike,
    targets: ArrayLike,
    loss: Optional[LossFunction] = None,
    against: Union[None, EngineName, Engine] = None,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
    *,
    learning: Union[Kind, LearningRule],
    window: Optional[int] = None,
) -> LearningReport: ...
@checked
def verify(
    model: Any,
    x: ArrayLike,
    targets: ArrayLike,
    loss: Optional[LossFunction] = None,
    against: Union[None, EngineName, Engine] = None,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
    *,
    lengths: Optional[ArrayLike] = None,
    differences: bool = True,
    learning: Union[None, Kind, LearningRule] = None,
    window: Optional[int] = None,
) -> Union[Report, LearningReport]:
    """Check a model's gradients against a reference engine and against finite differences; or, with ``learning``,
    measure how close a learning rule's gradient is to the exact one.

    Args:
        model: a ``Model``, or a torch module that ``spikecore.nn.from_torch`` can convert; its weights and states are
            not changed.
        x: the inputs of one batch, as for ``fit``.
        targets: the targets of the batch.
        loss: callable ``(out, targets) -> scalar``; default ``functional.ce_rate_loss()``.
        against: the reference engine or its name. None, the default: "numpy", for a model on "numpy" "torch" if it is
            installed. Without torch, the model's kernels are compared with its loop, and only finite differences are
            independent.
        num_steps, encoder, time_axis: as in ``fit``.
        lengths: number of steps of each sample that count, as in the batches of ``fit``; None, the default: all.
        differences: whether to compute finite differences (four forward passes per parameter, direction and step
            size); default True. Not with ``learning``.
        learning: a way of learning, as for ``fit``: "bptt", "eprop", "ottt", "sltt", "decolle", "rtrl", or a rule with
            options such as ``backprop.eprop(feedback="random")``. Its gradient is compared with that of BPTT on the
            reference engine, both in float64: direction, size and what is left out, for each parameter. None, the
            default: gradients are verified.
        window: with ``learning="bptt"``: no gradient crosses the steps window, 2 window, ...; None, the default: full
            BPTT.

    Returns:
        ``Report``: print it for the verdict, ``print(report.table())`` for every comparison, or read ``report.ok`` and
        ``report.worst``, the largest relative error of a gradient. If the engine has ``sparse_backward`` > 0 or a half
        ``precision``, gradients are verified without it; ``report.approximation`` is the largest relative change that
        it makes to one. With ``learning`` a ``LearningReport``: print it for a table, or read ``report.cosine``; where
        the rule leaves nothing out, its gradient must equal the exact one to 1e-10, or ``report.ok`` is False.

    Raises:
        TypeError: ``model`` is something else.
        ShapeError, ValueError: bad input, as in ``fit``.
        ValueError: the rule does not take the network or the loss; or ``lengths`` or ``differences`` is given with
            ``learning``, or ``window`` without it.
        NotImplementedError: ``lengths`` with an engine whose losses take none.
    """
    _check_options(learning, window, lengths, differences)
    loss = ce_rate_loss() if loss is None else loss
    feed = Feed(num_steps, encoder, time_axis)
    model = model_of(model, tuple(x.shape[1 if feed.static else 2 :]) if hasattr(x, "shape") else None)
    chosen = _independent_of(model.engine) if against is None else against
    reference = get_engine(chosen, **({} if isinstance(chosen, Engine) else {"dtype": "float64"}))
    reference = reference.with_dtype("float64").unfused().exact()
    check_engine(model.network, reference)
    if learning is not None:
        return verify_learning(model, x, targets, loss, reference, feed, learning, window)
    with reference.isolated():
        problem = _problem(model, reference, x, targets, loss, feed, lengths)
    title = f"verify {layer_name(model.network)}: {model.engine!r} against {reference!r}"
    engine = model.engine.exact()
    report = Report(title, engine.name, reference.name, independent=not isinstance(engine, type(reference)))
    if not report.independent:
        report.remarks.append(_same_engine(engine))
    if engine.has_double:
        _compare(report, "float64", problem, engine.with_dtype("float64"), reference)
    else:
        report.remarks.append(f"engine {engine.name!r} has no float64: compared in {engine.dtype} alone, to rounding")
    if differences:
        _differences(report, problem, reference)
    if engine.dtype != "float64":
        _compare(report, engine.dtype, problem, engine, reference.with_dtype(engine.dtype))
    if engine is not model.engine:
        _approximation(report, problem, model.engine, engine)
    for name, layer in walk(model.network):
        if layer.state:
            report.notes.append(f"layer {name or '(the network)'} runs as {model.engine.explain(layer)}")
    return report


def _check_options(learning: Any, window: Optional[int], lengths: Any, differences: bool) -> None:
    """Refuse options of the one kind of verification with the other.

    Raises:
        ValueError: names the option.
    """
    if learning is None and window is not None:
        raise ValueError(f"verify: window={window!r} truncates a rule's gradient: give it with learning='bptt'")
    if learning is not None and lengths is not None:
        raise ValueError("verify: lengths need whole sequences, which learning=... does not see: leave lengths out")
    if learning is not None and not differences:
        raise ValueError("verify: differences=False is for verification without learning, which computes none with it")


REFERENCES: Tuple[EngineName, ...] = ("numpy", "torch")  # in this order


def _independent_of(engine: Engine) -> Any:
    """The first reference engine that is not the code of ``engine``; "numpy" if no other one is installed."""
    usable = [status.name for status in engines() if status.available]
    others = (get_engine(name, dtype="float64") for name in REFERENCES if name in usable)
    return next((other for other in others if not isinstance(engine, type(other))), "numpy")


def _same_engine(engine: Engine) -> str:
    """What to say if the reference is the engine under test, whose results are no independent evidence."""
    same = f"finite differences only: both sides of the comparison are engine {engine.name!r}"
    other = _independent_of(engine)
    if isinstance(other, Engine):
        return f"{same}; pass against={other.name!r}"
    installs = [status.install for status in engines() if status.name in REFERENCES and not status.available]
    return f"{same}; install another engine, {installs[0]}" if installs else same


def _problem(
    model: Any, reference: Engine, x: Any, targets: Any, loss: Any, feed: Feed, lengths: Optional[ArrayLike]
) -> Problem:
    """Batch and weights as NumPy arrays; the batch is encoded once, so that all engines get the same spikes."""
    values, steps = feed(
        reference, reference.asarray(reference.to_numpy(x)), model.input_shape, Key((model.seed, "verify", "encoder"))
    )
    model.build(tuple(values.shape[2:]))
    labels = reference.to_numpy(feed.aims(reference, loss, reference.to_numpy(targets)))
    count = lengths_of(reference, lengths, values, steps)
    check_targets(reference, loss, values, steps, labels, model.classes, count)
    state = model.state()
    like = shapes_of(model.network, model.input_shape)
    params, buffers = unflatten(state["params"], like.params), unflatten(state["buffers"], like.buffers)
    arrays = reference.to_numpy(values)
    return Problem(model.network, loss, params, buffers, arrays, labels, steps, model.seed, lengths=count)


# ---- engine against engine -----------------------------------------------------------------------------------------


def _compare(report: Report, check: str, problem: Problem, engine: Engine, reference: Engine) -> None:
    ours, theirs = gradient(engine, problem), gradient(reference, problem)
    limit = LIMITS[check]
    same = _compare_spikes(report, check, problem, ours, theirs)
    if not same:
        report.notes.append(f"{check}: spikes differ, so loss, states and gradients are not comparable")
    largest = max((float(abs(g).max()) for g in theirs.grads.values() if g is not None and g.size), default=0.0)
    _note_silence(report, check, problem, theirs, largest)
    states = _states(problem.network, ours, theirs)
    pairs = [("loss", _array(ours.loss, theirs.loss)), *states, *_gradients(ours, theirs)]
    for name, (a, b) in pairs:
        if a is None:
            report.note(check, name, tuple(b.shape), UNAVAILABLE)
        elif not same or (largest == 0.0 and name.startswith("gradient") and not abs(a).any()):
            report.note(check, name, tuple(b.shape), UNCHECKED)
        else:
            floor = NOISE[check] * largest if name.startswith("gradient") else 0.0
            report.add(check, name, tuple(b.shape), _errors(a, b, floor), limit)


def _note_silence(report: Report, check: str, problem: Problem, theirs: Gradient, largest: float) -> None:
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


def _silent(network: Layer, theirs: Gradient) -> List[str]:
    """The names of the layers that could spike and do not."""
    if theirs.out is None:
        return []
    states = theirs.out.states
    layers = [name for name, layer in walk(network) if isinstance(layer, Stepper) and layer.spiking and name in states]
    return [name for name in layers if not states[name].spikes.any()]


def _array(a: float, b: float) -> Tuple[Any, Any]:
    return float64(a), float64(b)


def _states(network: Layer, ours: Gradient, theirs: Gradient) -> List[Tuple[str, Tuple[Any, Any]]]:
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


def _gradients(ours: Gradient, theirs: Gradient) -> List[Tuple[str, Tuple[Any, Any]]]:
    return [(f"gradient {name}", (ours.grads[name], b)) for name, b in theirs.grads.items() if b is not None]


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


def _compare_spikes(report: Report, check: str, problem: Problem, ours: Gradient, theirs: Gradient) -> bool:
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


def _approximation(report: Report, problem: Problem, engine: Engine, exact: Engine) -> None:
    """Add a row for each gradient: how far the engine's is from that of the same engine without approximations."""
    report.notes.append(
        f"{APPROXIMATION}: gradients of {engine!r} against those of {exact!r}, which is what was verified"
    )
    report.approximates = engine.approximates
    ours, theirs = gradient(engine, problem), gradient(exact, problem)
    if ours.loss != theirs.loss:
        report.measure(APPROXIMATION, "loss", (), _errors(*_array(ours.loss, theirs.loss), 0.0))
    largest = max((float(abs(g).max()) for g in theirs.grads.values() if g is not None and g.size), default=0.0)
    for name, (a, b) in _gradients(ours, theirs):
        if a is None:
            report.note(APPROXIMATION, name, tuple(b.shape), UNAVAILABLE)
        else:
            worst, relative = _errors(a, b, 0.0)
            noise = b.size and float(abs(b).max()) <= NOISE[exact.dtype] * largest  # e.g. of a bias before BatchNorm
            report.measure(APPROXIMATION, name, tuple(b.shape), (worst, worst / largest if noise else relative))


# ---- the reference against finite differences ----------------------------------------------------------------------


def _differences(report: Report, problem: Problem, reference: Engine) -> None:
    stuck = sorted({type(s).__name__ for s in _surrogates(problem.network) if not s.has_antiderivative})
    if stuck:
        report.note(DIFFERENCES, f"surrogate {', '.join(stuck)} has no antiderivative", (), UNCHECKED)
        return
    try:
        smooth = reference.smooth()
    except NotImplementedError:
        smooth = host().smooth()
    report.differentiated = smooth.name
    add_slopes(report, slopes(smooth, problem))


def add_slopes(report: Report, found: Iterable[Slope]) -> None:
    """Add a row for each parameter, with the worst of its slopes."""
    worst: Dict[str, Slope] = {}
    for slope in found:
        if slope.name not in worst or slope.error / slope.limit > worst[slope.name].error / worst[slope.name].limit:
            worst[slope.name] = slope
    for name, slope in worst.items():
        errors = (abs(slope.analytic - slope.numeric), slope.error)
        if slope.beside:
            name = f"{name}, beside the given values"
        if slope.error > slope.limit and slope.blurred:
            name = f"gradient {name}: too small to see in the loss, whose rounding is larger"
            report.note(DIFFERENCES, name, slope.shape, UNCHECKED)
        else:
            report.add(DIFFERENCES, f"gradient {name}", slope.shape, errors, slope.limit)


def _surrogates(network: Layer) -> List[Any]:
    return [layer.core[0].surrogate for _, layer in walk(network) if isinstance(layer, Stepper)]

"""Gradient verification: checks that the engine you train on computes what the equations say.

There are two independent checks. First, the model's engine and the reference engine, whose backpropagation through time
is written by hand, compute loss, spikes, states and gradients of one batch in float64; they must agree to rounding.
Second, finite differences, which use no derivative rules, check the reference itself in smooth mode: spikes are
replaced by functions whose derivative is the surrogate's. Then the first comparison is repeated in the dtype in which
the model trains. On an engine without float64, such as an IPU, this is the only comparison between engines.

An engine may be told to leave out small parts of gradients. All comparisons are then made without that option, and what
it changes is measured and reported, without a verdict: how much is too much depends on what the gradients are for.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, List, Optional, Tuple, Union, overload

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import EngineName, engines, get_engine
from spikecore.api.core.foreign import model_of
from spikecore.api.core.host import host
from spikecore.api.core.isolation import explaining
from spikecore.api.core.layer import Key, Layer, layer_name, shapes_of
from spikecore.api.core.tree import unflatten
from spikecore.api.core.variants import exact, smooth, unfused, with_dtype
from spikecore.api.functional.base import LossFunction
from spikecore.api.functional.loss import ce_rate_loss
from spikecore.api.layers.containers import check_engine, walk
from spikecore.api.learning.learning import Learning, LearningName
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.batching import Encoder, Feed, check_targets
from spikecore.api.training.data import lengths_of
from spikecore.api.verification.comparison import approximation, compare
from spikecore.api.verification.gradient import Problem, Slope, slopes
from spikecore.api.verification.learning import verify_learning
from spikecore.api.verification.learning_report import LearningReport
from spikecore.api.verification.report import DIFFERENCES, UNCHECKED, Report
from spikecore.arguments import ArrayLike, Size, checked


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
    learning: None = None,
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
    learning: Union[LearningName, Learning],
) -> LearningReport: ...
@checked
@explaining  # an error from a part of the user's own says what to write instead
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
    learning: Union[None, LearningName, Learning] = None,
) -> Union[Report, LearningReport]:
    """Check a model's gradients against a reference engine and against finite differences; or, with ``learning``,
    measure how close a learning rule's gradient is to the exact one.

    Args:
        model: a ``Model``, or a torch module that ``spikecore.nn.from_torch`` can convert; its weights and states are
            not changed.
        x: the inputs of one batch, as for ``fit``.
        targets: the targets of the batch.
        loss: callable ``(out, targets) -> scalar``; default ``functional.ce_rate_loss()``.
        against: the reference engine or its name. None, the default: "numpy"; for a model that itself runs on "numpy",
            "torch" if it is installed. Without torch, the model's kernels are compared with its loop, and only finite
            differences are independent.
        num_steps, encoder, time_axis: as in ``fit``.
        lengths: number of steps of each sample that count, as in the batches of ``fit``; None, the default: all.
        differences: whether to compute finite differences (four forward passes per parameter, direction and step
            size); default True. Not with ``learning``.
        learning: a way of learning, as for ``fit``: "bptt", "eprop", "ostl", "ottt", "ndot", "sltt", "decolle", "rtrl",
            or one with options such as ``sc.BPTT(window=10)`` or ``sc.EProp(feedback="random")``. Its gradient is
            compared with that of BPTT on the reference engine, both in float64: direction, size and what is left out,
            for each parameter. None, the default: gradients are verified.

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
            ``learning``.
        NotImplementedError: ``lengths`` with an engine whose losses take none.
    """
    _check_options(learning, lengths, differences)
    loss = ce_rate_loss() if loss is None else loss
    feed = Feed(num_steps, encoder, time_axis)
    model = model_of(model, tuple(x.shape[1 if feed.static else 2 :]) if hasattr(x, "shape") else None)
    chosen = _independent_of(model.engine) if against is None else against
    reference = get_engine(chosen, **({} if isinstance(chosen, Engine) else {"dtype": "float64"}))
    reference = exact(unfused(with_dtype(reference, "float64")))
    check_engine(model.network, reference)
    if learning is not None:
        return verify_learning(model, x, targets, loss, reference, feed, learning)
    with reference.isolated():
        problem = _problem(model, reference, x, targets, loss, feed, lengths)
    title = f"verify {layer_name(model.network)}: {model.engine!r} against {reference!r}"
    engine = exact(model.engine)
    report = Report(title, engine.name, reference.name, independent=not isinstance(engine, type(reference)))
    if not report.independent:
        report.remarks.append(_same_engine(engine))
    if "float64" not in engine.lacks:
        compare(report, "float64", problem, with_dtype(engine, "float64"), reference)
    else:
        report.remarks.append(f"engine {engine.name!r} has no float64: compared in {engine.dtype} alone, to rounding")
    if differences:
        _differences(report, problem, reference)
    if engine.dtype != "float64":
        compare(report, engine.dtype, problem, engine, with_dtype(reference, engine.dtype))
    if engine is not model.engine:  # else it has no option that approximates, see ``exact``
        approximation(report, problem, model.engine, engine)
    for name, layer in walk(model.network):
        if layer.state:
            report.notes.append(f"layer {name or '(the network)'} runs as {model.engine.explain(layer)}")
    return report


def _check_options(learning: Any, lengths: Any, differences: bool) -> None:
    """Refuse options of the one kind of verification with the other.

    Raises:
        ValueError: names the option.
    """
    if learning is not None and lengths is not None:
        raise ValueError("verify: lengths need whole sequences, which learning=... does not see: leave lengths out")
    if learning is not None and not differences:
        raise ValueError("verify: learning=... computes no finite differences: leave differences=False out")


REFERENCES: Tuple[EngineName, ...] = ("numpy", "torch")  # the first that is installed and independent is taken


def _independent_of(engine: Engine) -> Any:
    """The first reference engine that is not the code of ``engine``; "numpy" if no other one is installed."""
    usable = [status.name for status in engines() if status.available]
    others = (get_engine(name, dtype="float64") for name in REFERENCES if name in usable)
    return next((other for other in others if not isinstance(engine, type(other))), "numpy")


def _same_engine(engine: Engine) -> str:
    """Message for a reference that is the engine under test, whose results are no independent evidence."""
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
    labels = reference.to_numpy(feed.targets(reference, loss, reference.to_numpy(targets)))
    count = lengths_of(reference, lengths, values, steps)
    check_targets(reference, loss, values, steps, labels, model.classes, count)
    state = model.state()
    like = shapes_of(model.network, model.input_shape)
    params, buffers = unflatten(state["params"], like.params), unflatten(state["buffers"], like.buffers)
    arrays = reference.to_numpy(values)
    return Problem(model.network, loss, params, buffers, arrays, labels, steps, model.seed, lengths=count)


def _differences(report: Report, problem: Problem, reference: Engine) -> None:
    """Compare gradients with finite differences, in smooth mode: spikes are replaced by surrogates' antiderivatives."""
    missing = sorted({type(s).__name__ for s in _surrogates(problem.network) if not s.has_antiderivative})
    if missing:
        report.note(DIFFERENCES, f"surrogate {', '.join(missing)} has no antiderivative", (), UNCHECKED)
        return
    try:
        engine = smooth(reference)
    except NotImplementedError:
        engine = smooth(host())
    report.differentiated = engine.name
    add_slopes(report, slopes(engine, problem))


def add_slopes(report: Report, measured: Iterable[Slope]) -> None:
    """Add a row for each parameter, with the worst of its slopes."""
    worst: Dict[str, Slope] = {}
    for slope in measured:
        if slope.name not in worst or slope.error / slope.limit > worst[slope.name].error / worst[slope.name].limit:
            worst[slope.name] = slope
    for name, slope in worst.items():
        errors = (abs(slope.analytic - slope.numeric), slope.error)
        if slope.beside:  # at the given values the loss has a kink, so two points near them were checked: ``slopes``
            name = f"{name}, beside the given values"
        if slope.error > slope.limit and slope.blurred:
            name = f"gradient {name}: too small to see in the loss, whose rounding is larger"
            report.note(DIFFERENCES, name, slope.shape, UNCHECKED)
        else:
            report.add(DIFFERENCES, f"gradient {name}", slope.shape, errors, slope.limit)


def _surrogates(network: Layer) -> List[Any]:
    return [layer.core[0].surrogate for _, layer in walk(network) if isinstance(layer, Stepper)]

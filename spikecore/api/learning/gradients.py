"""Functions that compute the gradient of a model's loss over a sequence: BPTT, online learning, RTRL."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Dict, Iterable, Iterator, Optional, Tuple, Union, get_args

from spikecore.api.core.isolation import isolated
from spikecore.api.core.layer import Key, shapes_of
from spikecore.api.core.tree import flatten, map_leaves, unflatten
from spikecore.api.functional.base import LossFunction
from spikecore.api.functional.loss import ce_rate_loss, comparing
from spikecore.api.functional.targets import targets_on
from spikecore.api.layers.containers import readout
from spikecore.api.layers.network import Output
from spikecore.api.learning.bptt import BPTT
from spikecore.api.learning.learning import Learning, LearningName, learning_of
from spikecore.api.learning.learning_rules import OTTT, RTRL, EProp, LearningRule, Trace
from spikecore.api.learning.rule import LearningRun, joined
from spikecore.api.learning.steps import stepwise, targets_of
from spikecore.api.learning.streams import steps_of, streams
from spikecore.api.training.batching import Encoder, Feed, check_targets
from spikecore.api.training.executor import check_window
from spikecore.api.verification.gradient import LossGradient, Problem, gradient
from spikecore.arguments import ArrayLike, Size, checked

if TYPE_CHECKING:
    from spikecore.api.training.model import Model


@checked
def bptt(
    model: Model,
    x: ArrayLike,
    targets: ArrayLike,
    loss: Optional[LossFunction] = None,
    *,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
    window: Optional[int] = None,
) -> LossGradient:
    """Backpropagation through time: the exact gradient of the loss of a batch, or with ``window`` the truncated one.

    Args:
        model: a ``Model`` on any engine. If the engine returns no gradients, they are computed from one step of SGD.
        x, targets: a batch, as for ``Model.fit``.
        loss: callable ``(out, targets) -> scalar``; default ``functional.ce_rate_loss()``.
        num_steps, encoder, time_axis: as in ``Model.fit``.
        window: truncated BPTT: no gradient crosses the steps window, 2 window, ...; None, the default, or a window of
            at least the number of steps is full BPTT. Spikes and states are not affected.

    Returns:
        ``LossGradient``: ``loss``; ``grads``, NumPy arrays by parameter name; ``out``, the ``Output`` as NumPy arrays
        (None if the engine does not return it).

    Raises:
        ShapeError, ValueError: bad input, or ``window`` < 1.

    Memory: all states of all steps.
    """
    check_window(window)
    loss = ce_rate_loss() if loss is None else loss
    feed = Feed(num_steps, encoder, time_axis)
    values, steps = _fed(model, x, feed)
    targets = feed.targets(model.engine, loss, targets)
    check_targets(model.engine, loss, values, steps, targets, model.classes, None)
    host = model.engine.to_numpy
    state = model.state()
    like = shapes_of(model.network, tuple(values.shape[2:]))
    params, buffers = unflatten(state["params"], like.params), unflatten(state["buffers"], like.buffers)
    labels = host(targets_of(model.engine, loss, targets, None, None).values)
    problem = Problem(model.network, loss, params, buffers, host(values), labels, steps, model.seed, window)
    result = gradient(model.engine, problem)
    return LossGradient(result.loss, {name: result.grads[name] for name in state["params"]}, result.out)


@checked
def online(
    model: Model,
    x: Union[ArrayLike, Iterator[ArrayLike]],
    targets: ArrayLike,
    loss: Optional[LossFunction] = None,
    *,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
    trace: Trace = "exact",
    record: bool = True,
) -> LossGradient:
    """Online learning (e-prop, OTTT): the gradient without going back in time; ``learned`` has the other rules.

    The memory does not depend on the number of steps. The gradient equals BPTT's for the last layer of neurons, unless
    it is recurrent, and the layers after it. Otherwise it is an approximation, which leaves out the effect of a layer's
    earlier spikes on the states of later layers and, by recurrent weights, on its own.

    Args:
        model: a ``Model`` whose network is a stack (``Sequential``) of stateless layers and elementwise neurons.
        x: a batch, as for ``Model.fit``, or an iterator of steps (batch, *features); only one step is in memory.
        targets: the targets of the batch.
        loss: a loss of single steps, see ``per_step``; default ``functional.ce_rate_loss()``.
        num_steps: as in ``Model.fit``; for an iterator the number of steps, if known.
        encoder, time_axis: as in ``Model.fit``; not for an iterator.
        trace: "exact" (the default), one eligibility per synapse and sample (e-prop); "factorised", one trace per input
            and sample (OTTT), for layers whose neurons all have the same leak; pooling may follow a convolution.
        record: whether to return the outputs of all steps; default True.

    Returns:
        ``LossGradient``, as from ``bptt``; ``out.spikes`` is None without ``record``, ``out.states`` is always empty.

    Raises:
        ValueError: the network, a neuron or the loss does not fit; the message says what to use instead.
        NotImplementedError: the engine returns no gradients.

    Sources: Bellec et al. 2020; Xiao et al. 2022; Zenke & Neftci 2021.
    """
    if trace not in get_args(Trace):
        raise ValueError(f"trace={trace!r} must be one of {', '.join(get_args(Trace))}")
    rule = EProp() if trace == "exact" else OTTT()
    return _forward_in_time(model, rule, x, targets, loss, Feed(num_steps, encoder, time_axis), record)


@checked
def rtrl(
    model: Model,
    x: Union[ArrayLike, Iterator[ArrayLike]],
    targets: ArrayLike,
    loss: Optional[LossFunction] = None,
    *,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
    record: bool = True,
) -> LossGradient:
    """Real-time recurrent learning: the exact gradient, equal to BPTT's, from derivatives that are carried forward.

    Args:
        model: a ``Model`` with a small network, which may be recurrent, gated or branching.
        x, targets, loss, num_steps, encoder, time_axis, record: as in ``online``.

    Returns:
        ``LossGradient``, as from ``online``.

    Raises:
        ValueError: the network has running statistics, dropout or a stochastic surrogate, or the loss is not one of
            single steps.
        NotImplementedError: the engine returns no gradients.

    Memory: samples x states x parameters, independent of the steps. Source: Williams & Zipser 1989.
    """
    return _forward_in_time(model, RTRL(), x, targets, loss, Feed(num_steps, encoder, time_axis), record)


@checked
def learned(
    model: Model,
    x: Union[ArrayLike, Iterator[ArrayLike]],
    targets: ArrayLike,
    loss: Optional[LossFunction] = None,
    *,
    learning: Union[LearningName, Learning] = "bptt",
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
    record: bool = True,
) -> LossGradient:
    """The gradient by which ``model.fit(learning=...)`` changes the weights, for one batch.

    Args:
        model: a ``Model`` on any engine that this way of learning runs on.
        x, targets, loss, num_steps, encoder, time_axis: as in ``online``; an iterator of steps is for rules that learn
            forward in time.
        learning: as in ``Model.fit``: "bptt" (the default), "eprop", "ostl", "ottt", "ndot", "sltt", "decolle", "rtrl",
            or one with options, such as ``sc.BPTT(window=10)`` or ``sc.EProp(feedback="random")``.
        record: whether rules that learn forward in time return the outputs of all steps; default True.

    Returns:
        ``LossGradient``, as from ``bptt`` and ``online``.

    Raises:
        TypeError: it learns without a gradient.
        ValueError: the network, a neuron or the loss does not fit the rule, the rule's name is unknown, or it makes
            several updates of a batch.
        NotImplementedError: the engine returns no gradients.
    """
    way = gradient_of(learning)
    if isinstance(way, BPTT):
        how: Dict[str, Any] = {"num_steps": num_steps, "encoder": encoder, "time_axis": time_axis, "window": way.window}
        return bptt(model, x, targets, loss, **how)  # type: ignore[arg-type]  # which refuses an iterator
    return _forward_in_time(model, way, x, targets, loss, Feed(num_steps, encoder, time_axis), record)


def gradient_of(learning: Union[LearningName, Learning]) -> Union[BPTT, LearningRule]:
    """A way of learning that makes one gradient of a batch.

    Raises:
        TypeError: this one makes none.
        ValueError: there is none of this name, or it makes several of a batch.
    """
    way = learning_of(learning)
    if not isinstance(way, (BPTT, LearningRule)):
        raise TypeError(f"learning={way!r} makes no gradient of a batch that could be returned: use model.fit")
    if way.update_every is not None:
        raise ValueError(f"learning={way!r} makes several gradients of a batch: leave update_every out")
    return way


@isolated
def _fed(model: Any, x: Any, feed: Feed) -> Tuple[Any, Optional[int]]:
    values, steps = feed(model.engine, x, model.input_shape, Key((model.seed, "gradient", "encoder")))
    model.build(tuple(values.shape[2:]))
    return values, steps


@isolated
def _forward_in_time(
    model: Any, rule: LearningRule, x: Any, targets: Any, loss: Any, feed: Feed, record: bool
) -> LossGradient:
    engine, loss = model.engine, ce_rate_loss() if loss is None else loss
    single = stepwise(loss)
    constant: Optional[int] = None
    total, samples = feed.num_steps, None
    if not streams(x):
        x, constant = _fed(model, x, feed)
        pieces: Iterable[Any] = [x]
        targets = feed.targets(engine, loss, targets)
        check_targets(engine, loss, x, constant, targets, model.classes, None)
        total, samples = constant or int(x.shape[0]), int(x.shape[1])
    elif feed.encoder is not None or feed.time_axis != 0:
        raise ValueError(
            "x is an iterator of steps (batch, *features), which are not encoded: leave out encoder and time_axis"
        )
    else:
        following = steps_of(engine, x, model.input_shape, total)
        first = next(following, None)
        if first is None:
            raise ValueError("x is an iterator without a step")
        model.build(tuple(first.shape[2:]))
        pieces, samples = chain([first], following), int(first.shape[1])
        for term in comparing(loss):
            term.check_targets(engine, targets_on(engine, targets), samples, model.classes)
    on_engine = targets_of(engine, loss, targets, total, samples)
    state = model.state()
    like = shapes_of(model.network, model.input_shape)
    params = map_leaves(engine.asarray, unflatten(state["params"], like.params))
    run = LearningRun(
        rule.stepper(model.network, single, on_engine, total, state["step"]), engine, params, like.buffers
    )
    outputs = [out.spikes for out in (run.feed(piece, constant) for piece in pieces) if record]
    value, grads = run.take()
    host = engine.to_numpy
    by_name: Dict[str, Any] = {name: host(g) for name, g in flatten(grads).items()}
    final = map_leaves(host, run.state.net)  # type: ignore[union-attr]
    spikes: Any = host(joined(engine, outputs)) if outputs else None
    return LossGradient(value, by_name, Output(spikes, {}, final, readout(model.network)))

"""The gradient of a model's loss over a sequence, by each way of learning through time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Literal, Optional, Tuple, Union

from spikecore.api.core.isolation import isolated
from spikecore.api.core.layer import Key, shapes_of
from spikecore.api.core.tree import flatten, map_leaves, unflatten
from spikecore.api.functional.base import LossFunction
from spikecore.api.functional.loss import ce_rate_loss
from spikecore.api.layers.containers import readout
from spikecore.api.layers.network import Output
from spikecore.api.learning.forward_mode import ForwardMode
from spikecore.api.learning.online import online_rule
from spikecore.api.learning.rule import LearningRun, Rule, joined, pieces
from spikecore.api.learning.steps import stepwise, targets_of
from spikecore.api.training.batching import Encoder, Feed, check_targets
from spikecore.api.training.executor import check_window
from spikecore.api.verification.gradient import Gradient, Problem, gradient
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
) -> Gradient:
    """Backpropagation through time: the exact gradient of the loss of a batch, or with ``window`` the truncated one.

    Args:
        model: a ``Model`` on any engine. Where an engine gives no gradients, they are read off one step of SGD.
        x, targets: a batch, as ``Model.fit`` takes it.
        loss: callable ``(out, targets) -> scalar``; default ``functional.ce_rate_loss()``.
        num_steps, encoder, time_axis: as in ``Model.fit``.
        window: truncated BPTT: no gradient crosses the steps window, 2 window, ...; from the number of steps on it is
            BPTT. Spikes and states are not affected.

    Returns:
        ``Gradient``: ``loss``; ``grads``, NumPy arrays by parameter name; ``out``, the ``Output`` as NumPy arrays (None
        where the engine cannot give it).

    Raises:
        ShapeError, ValueError: bad input; ``window`` < 1.

    Memory: every state at every step.
    """
    check_window(window)
    loss = ce_rate_loss() if loss is None else loss
    feed = Feed(num_steps, encoder, time_axis)
    values, steps = _fed(model, x, feed)
    targets = feed.aims(model.engine, loss, targets)
    check_targets(model.engine, loss, values, steps, targets, model.classes)
    host = model.engine.to_numpy
    state = model.state()
    like = shapes_of(model.network, tuple(values.shape[2:]))
    params, buffers = unflatten(state["params"], like.params), unflatten(state["buffers"], like.buffers)
    labels = host(targets_of(model.engine, loss, targets, None, None).values)
    problem = Problem(model.network, loss, params, buffers, host(values), labels, steps, model.seed, window)
    found = gradient(model.engine, problem)
    return Gradient(found.loss, {name: found.grads[name] for name in state["params"]}, found.out)


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
    trace: Literal["exact", "factorised"] = "exact",
    record: bool = True,
) -> Gradient:
    """The gradient made on the way, without going back in time (e-prop, OSTL; OTTT): memory independent of the steps.

    Equal to BPTT for the last layer of neurons and everything behind it; an approximation below, which leaves out how a
    layer's earlier spikes acted on the states above.

    Args:
        model: a ``Model`` whose network is a stack (``Sequential``) of stateless layers and elementwise neurons.
        x: a batch, as ``Model.fit`` takes it, or an iterator of steps (batch, *features), of which only one is held.
        targets: of the batch.
        loss: one that is known step by step, see ``per_step``; default ``functional.ce_rate_loss()``.
        num_steps: as in ``Model.fit``; for an iterator the number of steps, if known.
        encoder, time_axis: as in ``Model.fit``; not for an iterator.
        trace: "exact", one eligibility per synapse and sample (e-prop, OSTL); "factorised", one trace per input and
            sample (OTTT), for layers whose neurons share one leak, convolutions followed by pooling included.
        record: whether to keep the outputs of all steps.

    Returns:
        ``Gradient``, as ``bptt`` does; ``out.spikes`` is None if nothing is recorded, states never are.

    Raises:
        ValueError: a network, neuron or loss of another kind; the message says what to use instead.
        NotImplementedError: the engine gives no gradients.

    Sources: Bellec et al. 2020; Bohnstingl et al. 2022; Xiao et al. 2022; Zenke & Neftci 2021.
    """
    return _forward_in_time(
        model, partial(online_rule, trace), x, targets, loss, Feed(num_steps, encoder, time_axis), record
    )


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
) -> Gradient:
    """Real-time recurrent learning: BPTT's gradient, exactly, by carrying its derivatives forward.

    Args:
        model: a ``Model`` whose network has a ``step``: recurrent, gated and branching ones included; small.
        x, targets, loss, num_steps, encoder, time_axis, record: as in ``online``.

    Returns:
        ``Gradient``, as ``online`` does.

    Raises:
        ValueError: running statistics, dropout, a stochastic surrogate, a loss that is not known step by step.
        NotImplementedError: the engine gives no gradients.

    Memory: samples x states x parameters, independent of the steps. Source: Williams & Zipser 1989.
    """
    return _forward_in_time(model, ForwardMode, x, targets, loss, Feed(num_steps, encoder, time_axis), record)


@isolated
def _fed(model: Any, x: Any, feed: Feed) -> Tuple[Any, Optional[int]]:
    values, steps = feed(model.engine, x, model.input_shape, Key((model.seed, "gradient", "encoder")))
    model.build(tuple(values.shape[2:]))
    return values, steps


@isolated
def _forward_in_time(
    model: Any, make: Callable[..., Rule], x: Any, targets: Any, loss: Any, feed: Feed, record: bool
) -> Gradient:
    engine, loss = model.engine, ce_rate_loss() if loss is None else loss
    single = stepwise(loss)
    constant: Optional[int] = None
    total, samples = feed.num_steps, None
    if not _streams(x):
        x, constant = _fed(model, x, feed)
        targets = feed.aims(engine, loss, targets)
        check_targets(engine, loss, x, constant, targets, model.classes)
        total, samples = constant or int(x.shape[0]), int(x.shape[1])
    elif feed.encoder is not None or feed.time_axis != 0:
        raise ValueError("an iterator gives steps (batch, *features) as they are: leave out encoder and time_axis")
    held = targets_of(engine, loss, targets, total, samples)
    state = model.state()
    like = shapes_of(model.network, model.input_shape)
    params = map_leaves(engine.asarray, unflatten(state["params"], like.params))
    run = LearningRun(make(model.network, single, held, total), engine, params, like.buffers)
    kept = [out.spikes for out in (run.feed(piece, constant) for piece in pieces(engine, x)) if record]
    value, grads = run.take()
    host = engine.to_numpy
    found: Dict[str, Any] = {name: host(g) for name, g in flatten(grads).items()}
    final = map_leaves(host, run.state.net)  # type: ignore[union-attr]
    spikes = host(joined(engine, kept)) if kept else None
    return Gradient(value, found, Output(spikes, {}, final, readout(model.network)))


def _streams(x: Any) -> bool:
    """Whether ``x`` gives steps one by one."""
    return not hasattr(x, "shape") and not isinstance(x, (list, tuple))

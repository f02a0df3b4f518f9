"""For training loops of a user's own: one update, one gradient, one step with a gradient."""

from __future__ import annotations

import contextlib
import math
from typing import TYPE_CHECKING, Any, Dict, Iterator, Literal, Mapping, Optional, Tuple, Union

from spikecore.api.core.isolation import isolated
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import Params, flatten
from spikecore.api.functional.base import LossFunction
from spikecore.api.functional.metrics import Metric, averaged, measured, metrics_of, needs_membrane
from spikecore.api.functional.targets import targets_on
from spikecore.api.layers.network import check_output, detached
from spikecore.api.learning.bptt import BPTT
from spikecore.api.training.batching import Encoder, Feed, Input
from spikecore.api.training.clipping import DivergedError, GradientError
from spikecore.api.training.data import DeviceBatch, placed
from spikecore.api.training.executor import recorded_for
from spikecore.api.training.history import Row
from spikecore.api.training.interrupt import uninterrupted
from spikecore.api.training.optimizers import Optimizer
from spikecore.arguments import ArrayLike, Seed, Size, checked, shown

if TYPE_CHECKING:
    from spikecore.api.core.engine import Executor
    from spikecore.api.training.model import Model


@checked
@isolated
def train_step(
    self: Model,
    x: Input,
    targets: ArrayLike,
    *,
    loss: Optional[LossFunction] = None,
    optimizer: Optional[Optimizer] = None,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
    metric: Optional[Metric] = None,
    learning: Union[Literal["bptt"], BPTT] = "bptt",
    lengths: Optional[ArrayLike] = None,
    seed: Union[None, Seed, Key] = None,
    check_finite: bool = True,
) -> Row:
    """Learn from one batch: one update of the weights, for a training loop of your own.

    Repeated with the same options it costs little more than the update itself; ``metric={}`` and
    ``check_finite=False`` save most of that. Other options are taken from the next call on. To change the learning
    rate, give the optimiser with another one: its moments continue.

    Args:
        x: the samples: (batch, *features) with ``num_steps`` or an encoder, else (time, batch, *features).
        targets: the targets of the batch.
        loss, optimizer, num_steps, encoder, time_axis, metric: as in ``fit``; loss and optimizer are by default those
            of the last update.
        learning: "bptt", the default, or truncated, ``sc.BPTT(window=...)``.
        lengths: how many steps of each sample count, (batch,); None, the default: all.
        seed: names the random draws of dropout and encoder; default: others at each step, from the model's seed
            and the number of the step. To draw for parts of a batch as for the whole batch, give a ``Key`` with the
            number of the part's first sample: ``Key(path, first=0)``, ``Key(path, first=32)``, ...
        check_finite: whether NaN and infinity in the input, and a loss that is not finite, are refused.

    Returns:
        {"loss": ..., "accuracy": ...}, of the batch before the update; or the columns of ``metric``.

    Raises:
        ShapeError, ValueError, TypeError: bad input, as in ``fit``.
        DivergedError: the loss or its gradient is NaN or infinite. On engines whose weights are on the host's side they
            stay as they were.

    Example:
        >>> for x, y in batches:
        ...     row = model.train_step(x, y, optimizer=sc.Adam(lr=1e-3), num_steps=25)
    """
    loss, optimizer = self.trainer.with_defaults(loss, optimizer)
    metrics = metrics_of(metric, loss)
    record = "last" if needs_membrane(metrics) and "last" not in recorded_for(loss) else ()
    feed = Feed(num_steps, encoder, time_axis, check_finite)
    window = _window(learning)
    batch = _batch(self, feed, loss, x, targets, lengths, seed)
    executor = self.trainer.ready(self, loss, optimizer, window=window, record=record)
    if executor.gradients is not None:
        executor.gradients.guarded = check_finite
    _set_lr(executor, optimizer)
    option = {} if batch.lengths is None else {"lengths": batch.lengths}
    if option and executor.gradients is None:
        raise NotImplementedError(f"lengths: engine {self.engine.name!r} takes whole sequences; use numpy or torch")
    with uninterrupted(), _diverging():
        self.trainer.unfinished = None
        value, out = executor.step(batch.x, batch.targets, steps=batch.steps, key=batch.key, **option)
    _check_loss(value, check_finite)
    check_output(self.output_shape, out)
    on_engine = targets_on(self.engine, batch.targets)
    return {"loss": value, **averaged(measured(metrics, detached(self.engine, out), on_engine, batch.lengths))}


@checked
@isolated
def value_and_grad(
    self: Model,
    x: Input,
    targets: ArrayLike,
    *,
    loss: Optional[LossFunction] = None,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
    learning: Union[Literal["bptt"], BPTT] = "bptt",
    lengths: Optional[ArrayLike] = None,
    seed: Union[None, Seed, Key] = None,
    check_finite: bool = True,
) -> Tuple[float, Dict[str, Any]]:
    """The loss of a batch and its gradient by the parameters, without an update.

    Change the gradients as you like and hand them to ``apply``. The pass is one of training: dropout drops, and
    running statistics of batch normalisation move. Until ``apply``, calls without a seed draw the same.

    Args:
        x, targets, loss, num_steps, encoder, time_axis, learning, lengths, seed, check_finite: as in
            ``train_step``.

    Returns:
        the loss, and the gradients as arrays of the engine by parameter name, e.g. "0.weight"; parameters that the
        optimiser of the last update has frozen have none.

    Raises:
        NotImplementedError: the engine keeps gradients on the device.
        ShapeError, ValueError, TypeError, DivergedError: as in ``train_step``.

    Example:
        >>> loss, grads = model.value_and_grad(x, y, num_steps=25)
        >>> model.apply({name: 0.5 * g for name, g in grads.items()}, optimizer=sc.SGD(lr=0.1))
    """
    loss, optimizer = self.trainer.with_defaults(loss, None)
    window = _window(learning)
    batch = _batch(self, Feed(num_steps, encoder, time_axis, check_finite), loss, x, targets, lengths, seed)
    executor: Any = self.trainer.ready(self, loss, optimizer)
    _check_gradients(self, executor)
    before, executor.window = executor.window, window  # a ``fit`` that calls this in a callback keeps its own
    try:
        with uninterrupted():
            executor.gradients.discard()
            option = {"steps": batch.steps, "key": batch.key, "lengths": batch.lengths}
            value, _ = executor.gradients.add(batch.x, batch.targets, **option)
            grads = executor.gradients.gradient()
    finally:
        executor.window = before
    _check_loss(value, check_finite)
    return value, flatten(grads)


@checked
@isolated
def apply(
    self: Model,
    grads: Mapping[str, Any],
    optimizer: Optional[Optimizer] = None,
) -> None:
    """Update the weights by given gradients: one step of the optimiser.

    Args:
        grads: an array for each parameter by name, as ``value_and_grad`` returns them: of the engine, or of NumPy.
        optimizer: as in ``fit``; default: that of the last update.

    Raises:
        NotImplementedError: the engine takes no gradient from outside.
        ValueError: a parameter that is trained has no gradient, a name is unknown, or a shape is another.
    """
    loss, optimizer = self.trainer.with_defaults(None, optimizer)
    executor: Any = self.trainer.ready(self, loss, optimizer)
    _check_gradients(self, executor)
    _set_lr(executor, optimizer)
    shapes: Dict[str, Any] = {name: tuple(x.shape) for name, x in flatten(executor.params).items()}
    trained = [name for name in shapes if optimizer.of(name) is not None]
    missing, unknown = sorted(set(trained) - set(grads)), sorted(set(grads) - set(shapes))
    if missing or unknown:
        raise ValueError(
            f"grads: names do not match: missing {missing or 'none'}, unknown {unknown or 'none'}; give an array "
            "for each parameter, as value_and_grad returns them"
        )
    given = {name: _gradient(self, name, grads[name], shapes[name]) for name in trained}
    with uninterrupted(), _diverging():
        self.trainer.unfinished = None
        executor.gradients.discard()
        executor.gradients.apply(Params(given))


def _gradient(model: Model, name: str, value: Any, shape: Tuple[int, ...]) -> Any:
    if tuple(getattr(value, "shape", ())) != shape:
        raise ValueError(f"grads: {name}={shown(value)} must be an array of shape {shape}")
    return model.engine.stop_gradient(model.engine.asarray(value))


def _check_gradients(model: Model, executor: Executor) -> None:
    if executor.gradients is None:
        raise NotImplementedError(
            f"engine {model.engine.name!r} keeps gradients on the device: use model.train_step, or train on numpy "
            "or torch"
        )


def _set_lr(executor: Executor, optimizer: Optimizer) -> None:
    if executor.lr != optimizer.lr:
        executor.set_lr(optimizer.lr)


def _window(learning: Any) -> Optional[int]:
    """The window of a single step of training."""
    if learning != "bptt" and not isinstance(learning, BPTT):
        raise TypeError(
            f"learning={shown(learning)}: a step of your own is 'bptt' or sc.BPTT(window=...); fit has more"
        )
    if learning != "bptt" and learning.update_every is not None:
        raise ValueError(f"learning={learning!r}: a step is one update: leave update_every out, and give parts of x")
    return None if learning == "bptt" else learning.window


def _batch(
    model: Model, feed: Feed, loss: Any, x: Any, targets: Any, lengths: Any, seed: Union[None, Seed, Key]
) -> DeviceBatch:
    """A user's batch, checked; it builds the model if need be."""
    if seed is None:
        seed = (model.seed, "step", model.trainer.executor.steps_done if model.built else 0)
    key = seed if isinstance(seed, Key) else Key(seed if isinstance(seed, tuple) else (seed,))
    return placed(model, feed, loss, (x, targets, lengths), key)


@contextlib.contextmanager
def _diverging() -> Iterator[None]:
    """A block with an update, which a gradient that is not finite ends."""
    try:
        yield
    except GradientError as error:
        raise DivergedError(f"{error}{_REMEDY}") from None


def _check_loss(value: float, check: bool) -> None:
    if check and not math.isfinite(value):
        raise DivergedError(f"the loss is {value}{_REMEDY}")


_REMEDY = (
    ": training has diverged. Continue from an earlier state with a smaller learning rate, or with clip_norm; "
    "check_finite=False goes on"
)

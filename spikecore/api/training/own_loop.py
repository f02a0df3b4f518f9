"""For training loops of a user's own: one update, one gradient, one step with a gradient."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Tuple

from spikecore.api.core.foreign import shown
from spikecore.api.core.isolation import isolated
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import Params, flatten
from spikecore.api.functional.base import LossFunction
from spikecore.api.functional.loss import ce_rate_loss
from spikecore.api.functional.metrics import Metric, measured, metrics_of, needs_membrane
from spikecore.api.functional.targets import targets_on
from spikecore.api.layers.network import constant
from spikecore.api.training.batching import Encoder, Feed, Input
from spikecore.api.training.data import Placed, placed
from spikecore.api.training.executor import check_window, recorded_for
from spikecore.api.training.fit import DivergedError
from spikecore.api.training.history import Row
from spikecore.api.training.interrupt import wholly
from spikecore.api.training.optimizers import Adam, Optimizer
from spikecore.arguments import ArrayLike, Count, Seed, Size, checked

if TYPE_CHECKING:
    from spikecore.api.core.engine import Engine, Executor
    from spikecore.api.core.layer import Shape


class OwnLoop:
    """The methods of ``Model`` for loops of a user's own. They leave ``history`` and ``epochs_done`` as they are."""

    if TYPE_CHECKING:  # of ``Model``
        engine: Engine
        seed: int
        input_shape: Optional[Shape]
        loss: Any
        optimizer: Optional[Optimizer]
        unfinished: Any
        #: The options that the executor has been compiled with; None: not for training.
        compiled: Optional[Dict[str, Any]]
        _executor: Optional[Executor]

        @property
        def executor(self) -> Executor: ...
        def _compile(self, loss: Any, optimizer: Any, resume: Optional[bool], **options: Any) -> None: ...

    @checked
    @isolated
    def train_step(
        self,
        x: Input,
        targets: ArrayLike,
        loss: Optional[LossFunction] = None,
        optimizer: Optional[Optimizer] = None,
        num_steps: Optional[Size] = None,
        encoder: Optional[Encoder] = None,
        time_axis: int = 0,
        *,
        metric: Optional[Metric] = None,
        clip_norm: Optional[float] = None,
        window: Optional[int] = None,
        lengths: Optional[ArrayLike] = None,
        seed: Optional[Seed] = None,
        first: Count = 0,
        check_finite: bool = True,
    ) -> Row:
        """Learn from one batch: one update of the weights, for a training loop of your own.

        Repeated with the same options it costs little more than the update itself; ``metric={}`` and
        ``check_finite=False`` save most of that. Other options are taken from the next call on. To change the learning
        rate, give the optimiser with another one: its moments go on.

        Args:
            x: the samples: (batch, *features) with ``num_steps`` or an encoder, else (time, batch, *features).
            targets: the targets of the batch.
            loss, optimizer, num_steps, encoder, time_axis, metric, clip_norm, window: as in ``fit``; loss and optimizer
                are by default those of the last update.
            lengths: how many steps of each sample count, (batch,); None, the default: all.
            seed: names the random draws of dropout and encoder; default: others at each step, from the model's seed
                and the number of the step.
            first: number of the batch's first sample within the draws of ``seed``; default 0. Batches with one seed
                draw as one batch does if ``first`` counts on.
            check_finite: whether NaN and infinity in the input, and a loss that is not finite, are refused.

        Returns:
            {"loss": ..., "accuracy": ...}, of the batch before the update; or the columns of ``metric``.

        Raises:
            ShapeError, ValueError, TypeError: bad input, as in ``fit``.
            DivergedError: the loss is NaN or infinite. On engines whose weights are on the host's side they stay as
                they were.

        Example:
            >>> for x, y in batches:
            ...     row = model.train_step(x, y, optimizer=sc.Adam(lr=1e-3), num_steps=25)
        """
        loss, optimizer = self._with_defaults(loss, optimizer)
        metrics = metrics_of(metric, loss)
        record = "last" if needs_membrane(metrics) and "last" not in recorded_for(loss) else ()
        feed = Feed(num_steps, encoder, time_axis, check_finite)
        batch = self._batch(feed, loss, x, targets, lengths, seed, first)
        executor = self._ready(loss, optimizer, clip_norm=clip_norm, window=window, record=record)
        executor.guarded = check_finite
        self._set_lr(optimizer)
        option = {} if batch.lengths is None else {"lengths": batch.lengths}
        if option and not executor.carries:
            raise NotImplementedError(f"lengths: engine {self.engine.name!r} takes whole sequences; use numpy or torch")
        with wholly():
            self.unfinished = None
            value, out = executor.step(batch.x, batch.targets, steps=batch.steps, key=batch.key, **option)
        _check_loss(value, check_finite)
        on_engine = targets_on(self.engine, batch.targets)
        return {"loss": value, **measured(metrics, constant(self.engine, out), on_engine, batch.lengths)}

    @checked
    @isolated
    def value_and_grad(
        self,
        x: Input,
        targets: ArrayLike,
        loss: Optional[LossFunction] = None,
        num_steps: Optional[Size] = None,
        encoder: Optional[Encoder] = None,
        time_axis: int = 0,
        *,
        window: Optional[int] = None,
        lengths: Optional[ArrayLike] = None,
        seed: Optional[Seed] = None,
        first: Count = 0,
        check_finite: bool = True,
    ) -> Tuple[float, Dict[str, Any]]:
        """The loss of a batch and its gradient by the parameters, without an update.

        Change the gradients as you like and hand them to ``apply``. The pass is one of training: dropout drops, and
        running statistics of batch normalisation move. Until ``apply``, calls without a seed draw the same.

        Args:
            x, targets, loss, num_steps, encoder, time_axis, window, lengths, seed, first, check_finite: as in
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
        loss, optimizer = self._with_defaults(loss, None)
        batch = self._batch(Feed(num_steps, encoder, time_axis, check_finite), loss, x, targets, lengths, seed, first)
        executor: Any = self._ready(loss, optimizer)
        self._check_carries(executor)
        check_window(window)
        before, executor.window = executor.window, window  # a ``fit`` that calls this in a callback keeps its own
        try:
            with wholly():
                executor.discard()
                option = {"steps": batch.steps, "key": batch.key, "lengths": batch.lengths}
                value, _ = executor.add(batch.x, batch.targets, **option)
                grads = executor.gradient()
        finally:
            executor.window = before
        _check_loss(value, check_finite)
        return value, flatten(grads)

    @checked
    @isolated
    def apply(
        self,
        grads: Mapping[str, Any],
        optimizer: Optional[Optimizer] = None,
        *,
        clip_norm: Optional[float] = None,
    ) -> None:
        """Update the weights by given gradients: one step of the optimiser.

        Args:
            grads: an array for each parameter by name, as ``value_and_grad`` returns them: of the engine, or of NumPy.
            optimizer: as in ``fit``; default: that of the last update.
            clip_norm: largest norm of the whole gradient, > 0; None, the default, does not clip.

        Raises:
            NotImplementedError: the engine takes no gradient from outside.
            ValueError: a parameter that is trained has no gradient, a name is unknown, or a shape is another.
        """
        loss, optimizer = self._with_defaults(None, optimizer)
        executor: Any = self._ready(loss, optimizer, clip_norm=clip_norm)
        self._check_carries(executor)
        self._set_lr(optimizer)
        shapes: Dict[str, Any] = {name: tuple(x.shape) for name, x in flatten(executor.params).items()}
        trained = [name for name in shapes if optimizer.of(name) is not None]
        missing, unknown = sorted(set(trained) - set(grads)), sorted(set(grads) - set(shapes))
        if missing or unknown:
            raise ValueError(
                f"grads: names do not match: missing {missing or 'none'}, unknown {unknown or 'none'}; give an array "
                "for each parameter, as value_and_grad returns them"
            )
        given = {name: self._gradient(name, grads[name], shapes[name]) for name in trained}
        with wholly():
            self.unfinished = None
            executor.discard()
            executor.apply(Params(given))

    def _gradient(self, name: str, value: Any, shape: Tuple[int, ...]) -> Any:
        if tuple(getattr(value, "shape", ())) != shape:
            raise ValueError(f"grads: {name}={shown(value)} must be an array of shape {shape}")
        return self.engine.stop_gradient(self.engine.asarray(value))

    def _check_carries(self, executor: Executor) -> None:
        if not executor.carries:
            raise NotImplementedError(
                f"engine {self.engine.name!r} keeps gradients on the device: use model.train_step, or train on numpy "
                "or torch"
            )

    def _last_loss(self) -> Any:
        """The loss of the last update, before the first one ``ce_rate_loss()``."""
        return ce_rate_loss() if self.loss is None else self.loss

    def _with_defaults(self, loss: Any, optimizer: Optional[Optimizer]) -> Tuple[Any, Optimizer]:
        loss = self._last_loss() if loss is None else loss
        if not callable(loss) or isinstance(loss, type):
            raise TypeError(
                f"loss={loss!r} must be a callable (out, targets), e.g. spikecore.functional.ce_rate_loss()"
            )
        if optimizer is None:
            optimizer = Adam(lr=5e-4) if self.optimizer is None else self.optimizer
        return loss, optimizer

    def _batch(
        self, feed: Feed, loss: Any, x: Any, targets: Any, lengths: Any, seed: Optional[Seed], first: int
    ) -> Placed:
        """A user's batch, checked; it builds the model if need be."""
        executor: Any = self._executor
        number = executor.steps_done if executor is not None else 0
        path = (self.seed, "step", number) if seed is None else seed if isinstance(seed, tuple) else (seed,)
        key = Key(path, first)
        return placed(self, feed, loss, (x, targets, lengths), key)

    def _ready(self, loss: Any, optimizer: Optimizer, **options: Any) -> Executor:
        """The executor, compiled anew only if an option is another one; options that are not given stay."""
        before = {"clip_norm": None, "window": None, "record": (), **(self.compiled or {})}
        wanted = {**before, "loss": loss, "optimizer": optimizer, **options}
        if self.compiled is None or not _same(before, wanted):
            unfinished = self.unfinished  # an update ends an interrupted epoch, a gradient does not
            rest = {name: value for name, value in wanted.items() if name not in ("loss", "optimizer")}
            self._compile(loss, optimizer, None, **rest)
            self.unfinished = unfinished
        self.optimizer = optimizer
        return self.executor

    def _set_lr(self, optimizer: Optimizer) -> None:
        if self.executor.lr != optimizer.lr:
            self.executor.set_lr(optimizer.lr)


def _same(before: Dict[str, Any], wanted: Dict[str, Any]) -> bool:
    """Whether an executor that was compiled with some options is one for others, given the rate."""
    if before.keys() != wanted.keys():
        return False
    a, b = before["optimizer"], wanted["optimizer"]
    if not (a is b or (type(a) is type(b) and {**vars(a), "lr": 0} == {**vars(b), "lr": 0} and not a.groups) or a == b):
        return False
    return all(before[name] is wanted[name] or before[name] == wanted[name] for name in wanted if name != "optimizer")


def _check_loss(value: float, check: bool) -> None:
    if check and not math.isfinite(value):
        raise DivergedError(
            f"the loss is {value}: training has diverged. Continue from an earlier state with a smaller learning rate, "
            "or with clip_norm; check_finite=False goes on"
        )

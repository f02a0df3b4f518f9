"""The training loop: epochs, validation, schedules, callbacks."""

from __future__ import annotations

import copy
import itertools
import math
import time
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Literal, Optional, Protocol, Sequence, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.foreign import shown
from spikecore.api.core.layer import Key, Shape
from spikecore.api.functional.loss import scalar
from spikecore.api.functional.metrics import COLUMNS, Metrics, measured
from spikecore.api.functional.steps import checked_lengths
from spikecore.api.functional.targets import target_dtype
from spikecore.api.layers.network import constant
from spikecore.api.training.batching import Feed, check_count, check_targets
from spikecore.api.training.diagnosis import APART, Diagnosis, Kept, broken, origin
from spikecore.api.training.history import History, Row
from spikecore.api.training.interrupt import wholly
from spikecore.api.training.learning import Learning
from spikecore.api.training.progress import Progress, length
from spikecore.arguments import Checked, Size
from spikecore.printing import Concise

if TYPE_CHECKING:
    from spikecore.api.training.model import Model

Lengths = Optional[List[int]]


class Callback(Protocol):
    """What is called after each epoch with the model and the epoch's row of the history; True stops training."""

    def __call__(self, model: Model, row: Row, /) -> Optional[bool]: ...


class Schedule(Protocol):
    """The learning rate's factor in an epoch, of all epochs."""

    def __call__(self, epoch: int, epochs: int, /) -> float: ...


REMEDY = "with a smaller learning rate, or with clip_norm; fit(..., check_finite=False) goes on"


class DivergedError(ArithmeticError):
    """Training has produced NaN or infinity; the message says where, and how to continue."""


@dataclass
class EarlyStopping(Concise, Checked):
    """Callback that ends training when a column of the history has not improved for ``patience`` epochs.

    It resets itself when an epoch does not follow the last one, e.g. when it is used for another model.

    Args:
        patience: epochs without improvement, >= 1; default 5.
        monitor: a column of the history; default "val_loss".
        min_delta: smallest change that counts as an improvement; default 0.
        restore_best: whether to restore the weights of the best epoch at the end; default True.
        mode: "min" if the column should fall, "max" if it should rise; "auto", the default, means "min" for losses and
            "max" for accuracies.

    Raises:
        KeyError: the history has no such column.
        ValueError: ``mode`` is something else, or "auto" for a column that is neither a loss nor an accuracy.
    """

    patience: Size = 5
    monitor: str = "val_loss"
    min_delta: float = 0.0
    restore_best: bool = True
    mode: Literal["min", "max", "auto"] = "auto"
    _best: Tuple[float, Any] = field(default=(float("-inf"), None), repr=False)
    _waited: int = field(default=0, repr=False)
    _epoch: int = field(default=0, repr=False)

    def __post_init__(self) -> None:
        if self.mode not in ("min", "max", "auto"):
            raise TypeError(f"EarlyStopping: mode={self.mode!r} must be 'min', 'max' or 'auto'")

    def __call__(self, model: Model, row: Row) -> Optional[bool]:
        if row.get(self.monitor) is None:
            raise KeyError(f"EarlyStopping: no {self.monitor!r} in the history ({', '.join(row)}); pass validation=...")
        following = self._epoch + 1
        self._epoch = row.get("epoch", following)
        if self._epoch != following:
            self._best, self._waited = (float("-inf"), None), 0
        value = row[self.monitor] if self._rises() else -row[self.monitor]
        if value > self._best[0] + self.min_delta:
            self._best, self._waited = (value, model.state() if self.restore_best else None), 0
            return None
        self._waited += 1
        if self._waited < self.patience:
            return None
        if self.restore_best and self._best[1] is None:
            message = f"EarlyStopping: {self.monitor} was never a number, so there are no best weights"
            warnings.warn(message, stacklevel=2)
        elif self.restore_best:
            model.load_state(self._best[1])
        return True

    def _rises(self) -> bool:
        """Whether larger values are better."""
        if self.mode != "auto":
            return self.mode == "max"
        if not ("loss" in self.monitor or "accuracy" in self.monitor):
            raise ValueError(
                f"EarlyStopping: monitor={self.monitor!r} is no loss and no accuracy: say mode='min' if it should "
                "fall, mode='max' if it should rise"
            )
        return "accuracy" in self.monitor


@dataclass
class Average:
    """Running means of loss and metrics over samples; for an interrupted epoch also where to continue.

    Attributes:
        samples, batches: how many have been counted.
        sums: sums over the samples, by column.
        seconds: how long they took.
        cut: whether a step was interrupted half done, so that training cannot continue from there.
    """

    samples: int = 0
    sums: Dict[str, float] = field(default_factory=lambda: {"loss": 0.0})
    batches: int = 0
    seconds: float = 0.0
    cut: bool = False

    def add(self, count: int, loss: float, metrics: Dict[str, float]) -> None:
        """Count one batch."""
        self.batches += 1
        self.samples += count
        for name, value in {"loss": loss, **metrics}.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * count

    def row(self, prefix: str = "") -> Row:
        """The means as columns of the history."""
        return {f"{prefix}{name}": total / max(1, self.samples) for name, total in self.sums.items()}

    def shown(self) -> Row:
        """The means as text, for a progress bar."""
        return shown_row(self.row())


def shown_row(row: Row) -> Row:
    """The loss and the metrics of a row of the history as text, for a progress bar."""
    return {name: f"{value:.4g}" for name, value in row.items() if name not in COLUMNS or name == "loss"}


def check_batches(name: str, data: Any) -> None:
    """Refuse data that cannot be iterated over, and arrays or samples in the place of batches.

    Raises:
        TypeError: the message names the argument and the value.
    """
    if not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
        raise TypeError(
            f"{name}={data!r} must be an iterable of batches, e.g. spikecore.datasets.Loader(inputs, targets)"
        )
    if isinstance(data, tuple) and len(data) in (2, 3) and all(hasattr(part, "shape") for part in data):
        raise TypeError(
            f"{name} must be an iterable of batches, not a tuple of arrays: pass them apart, fit(inputs, targets), or "
            "wrap them: spikecore.datasets.Loader(inputs, targets)"
        )
    if hasattr(data, "shape") and hasattr(data, "dtype"):
        raise TypeError(
            f"{name} is an array of shape {tuple(data.shape)}, and there are no targets: pass them, too, "
            f"{'fit(x, y)' if name == 'data' else f'{name}=(x, y)'}"
        )
    if type(data).__module__.startswith("spikecore.datasets.") and hasattr(data, "inputs"):
        raise TypeError(f"{name}={data!r} gives samples, not batches: wrap it, spikecore.datasets.Loader(data)")


def batches(data: Iterable[Any]) -> Iterable[Tuple[Any, Any, Any]]:
    """The batches of an iterable as (inputs, targets, lengths); lengths are None if a batch has none.

    Raises:
        TypeError: ``data`` are arrays or samples instead of batches, or a batch is neither a pair nor a triple.
    """
    check_batches("data", data)
    for i, batch in enumerate(data):
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise TypeError(
                f"batch {i} is a {type(batch).__name__}, expected a pair (inputs, targets) or a triple (inputs, "
                "targets, lengths)"
            )
        if not getattr(batch[1], "ndim", hasattr(batch[1], "__len__")):
            raise TypeError(
                f"batch {i} has one target, {batch[1]!r}: data={shown(data)} gives samples, not batches; wrap it in a "
                "torch DataLoader, or pass spikecore.datasets.Loader(inputs, targets)"
            )
        yield batch[0], batch[1], batch[2] if len(batch) == 3 else None


def first_sample_shape(engine: Engine, seed: int, data: Iterable[Any], feed: Feed, loss: Any) -> Shape:
    """The shape of one sample, from the first batch.

    Raises:
        ValueError: ``data`` can be read only once, so that reading the first batch would lose it.
    """
    check_batches("data", data)
    if iter(data) is data:
        raise ValueError(
            "data can be read only once, and its first batch is needed for the shape: pass input_shape to Model"
        )
    inputs, targets, _ = next(iter(batches(data)))
    x, steps = feed(engine, inputs, None, Key((seed, "shape")))
    check_count(loss, x, steps, targets)  # exchanged axes must not become the shape of a sample
    return tuple(x.shape[2:])


def behind(data: Iterable[Any], count: int) -> Iterable[Tuple[Any, Any, Any]]:
    """The batches after the first ``count``, with which an interrupted epoch was trained.

    Raises:
        ValueError: ``data`` have fewer batches.
    """
    given = iter(batches(data))
    seen = sum(1 for _ in itertools.islice(given, count))
    if seen < count:
        raise ValueError(
            f"resume=True continues after batch {count} of an epoch, but data has {seen}: give the data that the "
            "interrupted fit had"
        )
    return given


def lengths_of(engine: Engine, lengths: Any, x: Any, steps: Optional[int]) -> Lengths:
    """The lengths of a batch (time or 1, batch, *features), checked; None if all steps count."""
    if lengths is None:
        return None
    host = lengths.tolist() if hasattr(lengths, "tolist") else list(lengths)
    return checked_lengths(engine, host, steps or int(x.shape[0]), int(x.shape[1]))


@dataclass
class Training:
    """One call of ``Model.fit``."""

    model: Any
    data: Any
    loss: Any
    metrics: Metrics
    feed: Feed
    epochs: int
    base_lr: float
    schedule: Optional[Schedule]
    validation: Any
    callbacks: Sequence[Callback]
    progress: Optional[bool]
    learning: Learning = Learning()
    window: Optional[int] = None
    bar: Progress = field(init=False, repr=False)  # of all epochs
    validated: Row = field(default_factory=dict, init=False, repr=False)  # the last validation, which the bar shows

    def __post_init__(self) -> None:
        if self.schedule is not None and (not callable(self.schedule) or isinstance(self.schedule, type)):
            raise TypeError(
                f"schedule={self.schedule!r} must be a callable (epoch, epochs) -> factor, e.g. "
                "spikecore.schedule.cosine()"
            )
        if self.validation is not None:
            check_batches("validation", self.validation)
        several = hasattr(self.callbacks, "__iter__")
        given = tuple(self.callbacks) if several else ()
        if not several or not all(callable(callback) and not isinstance(callback, type) for callback in given):
            raise TypeError(
                f"callbacks={self.callbacks!r} must be a tuple of callables (model, row), e.g. (sc.EarlyStopping(),)"
            )
        self.callbacks = given

    def run(self) -> History:
        """Train until the model has ``epochs`` epochs, those already done included; return the history."""
        model, complete = self.model, False
        history: History = model.history
        if model.epochs_done >= self.epochs:
            return history
        model.executor.guarded = self.feed.check_finite
        looks = self.learning.whole and model.executor.carries
        self.diagnosis = Diagnosis(model, self.loss, self.window, looks)
        self.diagnosis.of_network()
        first, self.bar = model.epochs_done, self._bar()
        try:
            while model.epochs_done < self.epochs:
                epoch = model.epochs_done
                self.looking = epoch == first or (epoch == self.epochs - 1 and epoch - first >= APART)
                if self.schedule is not None:
                    model.executor.set_lr(self.base_lr * self._factor(self.schedule, epoch))
                row = self._epoch(epoch)
                if self.feed.check_finite:
                    self._check_finite(epoch)
                if self.validation is not None:
                    self.validated = self._validated()
                    row.update(self.validated)
                self.bar.note(**shown_row(row))
                with wholly():
                    history.append(row)
                    model.epochs_done += 1
                    model.unfinished = None
                if self.looking:
                    self.diagnosis.look(epoch + 1)
                if any([callback(model, row) for callback in self.callbacks]):  # a list, so that all are called
                    break
            complete = True
        finally:
            self.bar.close(complete=complete)
        return history

    def _bar(self) -> Progress:
        """One bar for all epochs; batches that an earlier fit has done are counted."""
        per_epoch, done = length(self.data), self.model.epochs_done
        begun = self.model.unfinished.batches if self.model.unfinished is not None else 0
        total, before = (None, 0) if per_epoch is None else (self.epochs * per_epoch, done * per_epoch + begun)
        return Progress(self._title(done), total, self.progress, done=before)

    def _title(self, epoch: int) -> str:
        return f"epoch {epoch + 1}/{self.epochs}"

    def _check_finite(self, epoch: int) -> None:
        """Refuse to go on after an epoch after which weights are not finite.

        The loss does not tell: a membrane that is NaN never fires, and a weight that no spike meets adds nothing.
        """
        found = broken(self.model.params())
        if found:
            raise DivergedError(
                f"{found[0]} holds NaN or infinity after epoch {epoch + 1}: training has diverged. Continue from an "
                f"earlier state {REMEDY}"
            )

    def _diverged(self, epoch: int, batch: int, loss: float, changed: bool, kept: Kept) -> DivergedError:
        """The error for a batch whose loss is not finite; ``changed``: whether it has changed the weights."""
        cause = origin(self.model, self.loss, kept)
        held = "Continue from an earlier state" if changed else "The weights are those before this batch: continue"
        return DivergedError(
            f"the loss of epoch {epoch + 1} is {loss} in batch {batch}{cause and ', where ' + cause}: training has "
            f"diverged. {held} {REMEDY}"
        )

    def _factor(self, schedule: Any, epoch: int) -> float:
        given = schedule(epoch, self.epochs)
        factor = float(given) if hasattr(given, "__float__") else math.nan
        if not 0.0 <= factor < math.inf:
            raise ValueError(
                f"schedule gave {given!r} in epoch {epoch} of {self.epochs}; expected a finite factor >= 0"
            )
        return factor

    def _epoch(self, epoch: int) -> Row:
        if hasattr(self.data, "set_epoch"):
            self.data.set_epoch(epoch)
        mean = self.model.unfinished = self.model.unfinished or Average()
        begun = time.perf_counter() - mean.seconds
        self.bar.say(self._title(epoch))
        for inputs, targets, lengths in behind(self.data, mean.batches):
            self._step(epoch, mean, inputs, targets, lengths)
            mean.seconds = time.perf_counter() - begun
            self.bar.update(**mean.shown(), **shown_row(self.validated))
        if not mean.samples:
            raise ValueError("data gave no batch: it is empty, or a generator that an earlier epoch has used up")
        return {
            "epoch": epoch + 1,
            **mean.row(),
            "lr": self.model.executor.lr,
            "seconds": round(mean.seconds, 3),
            "samples_per_s": round(mean.samples / mean.seconds, 1),
        }

    def _step(self, epoch: int, mean: Average, inputs: Any, targets: Any, lengths: Any) -> None:
        model = self.model
        key = Key((model.seed, "epoch", epoch), mean.samples)
        x, steps = self.feed(model.engine, inputs, model.input_shape, key.child("encoder"))
        model.build(tuple(x.shape[2:]))
        targets = self.feed.aims(model.engine, self.loss, targets)
        check_targets(model.engine, self.loss, x, steps, targets, model.classes)
        lengths = lengths_of(model.engine, lengths, x, steps)
        before = model.executor.steps_done
        with wholly():
            try:
                if self.looking and not mean.batches:
                    self.diagnosis.of_inputs(x, steps is not None)
                    self.diagnosis.keep(x, steps, targets, lengths, key)
                loss, out = self.learning.step(model.executor, self.loss, x, targets, steps, key, lengths)
                if self.feed.check_finite and not math.isfinite(loss):
                    changed = model.executor.steps_done != before
                    kept = Kept(x, steps, model.engine.asarray(targets, dtype=target_dtype(targets)), lengths, key)
                    raise self._diverged(epoch, mean.batches + 1, loss, changed, kept)
            except BaseException as error:
                mean.cut = not isinstance(error, Exception) or model.executor.steps_done != before
                raise
            targets = model.engine.asarray(targets, dtype=target_dtype(targets))
            mean.add(x.shape[1], loss, measured(self.metrics, constant(model.engine, out), targets, lengths))

    def _validated(self) -> Row:
        title = self._title(self.model.epochs_done)
        self.bar.say(f"{title}, validating", at_once=True)
        row = evaluate(self.model, self.validation, self.loss, self.metrics, self.feed, progress=False).row("val_")
        self.bar.say(title)
        return row


def evaluate(model: Any, data: Any, loss: Any, metrics: Metrics, feed: Feed, progress: Optional[bool]) -> Average:
    """The means of loss and metrics over all batches, without training.

    Args:
        model, data, loss, metrics, feed: as in ``Training``.
        progress: whether to show a bar of its own; None shows one where somebody watches.
    """
    mean = Average()
    bar = Progress("evaluate", length(data), progress)
    for inputs, targets, lengths in bar.over(batches(data)):
        key = Key((model.seed, "evaluate", "encoder"), mean.samples)
        x, steps = feed(model.engine, inputs, model.input_shape, key)
        model.build(tuple(x.shape[2:]))
        targets = feed.aims(model.engine, loss, targets)
        check_targets(model.engine, loss, x, steps, targets, model.classes)
        lengths = lengths_of(model.engine, lengths, x, steps)
        out = model.executor.run(x, steps=steps, record="last")
        targets = model.engine.asarray(targets, dtype=target_dtype(targets))
        value = float(model.engine.to_numpy(scalar(loss, model.engine, out, targets, lengths)))
        mean.add(x.shape[1], value, measured(metrics, out, targets, lengths))
        bar.update(**mean.shown())
    if not mean.samples:
        raise ValueError("data gave no batch: nothing to evaluate")
    return mean


def same_training(before: Any, after: Any) -> bool:
    """Whether two optimisers are equal except for the learning rate, so that the moments can be kept."""
    strip = lambda spec: {**copy.copy(spec.__dict__), "lr": None}  # noqa: E731
    return type(before) is type(after) and strip(before) == strip(after)


def check_resume(unfinished: Optional[Average], before: Any, optimizer: Any) -> None:
    """Refuse to resume after a step that was interrupted half done, or with another optimiser.

    Args:
        unfinished: the interrupted epoch; None if there is none.
        before: the optimiser of the last ``fit``; None if there was none.
        optimizer: the optimiser to continue with.
    """
    if unfinished is not None and unfinished.cut:
        raise ValueError(
            "resume=True: the last step was interrupted half done, so that the weights belong to no step; load "
            "what was saved before it, or fit without resume"
        )
    if not same_training(before, optimizer):
        raise ValueError(f"resume=True continues with {before!r}, not with {optimizer!r}")

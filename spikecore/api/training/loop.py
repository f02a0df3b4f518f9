"""The training loop: epochs, validation, schedules, callbacks."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from dataclasses import dataclass, field
from typing import Any, Callable, ContextManager, Generator, Iterator, List, NamedTuple, Optional

from spikecore.api.core.executor import changes
from spikecore.api.core.extras import TrainingOptions, extra
from spikecore.api.core.layer import Key
from spikecore.api.core.ranks import RankError, Ranks
from spikecore.api.functional.metrics import Metrics, averaged
from spikecore.api.layers.network import check_output
from spikecore.api.learning.bptt import BPTT
from spikecore.api.learning.learning import Learning
from spikecore.api.training.batching import Feed
from spikecore.api.training.callbacks import Callbacks, Schedule, Step
from spikecore.api.training.clipping import DivergedError, GradientError
from spikecore.api.training.data import DeviceBatch, begin_epoch, check_batches, placed
from spikecore.api.training.diagnosis import APART, Diagnosis, broken
from spikecore.api.training.evaluate import Average, Measuring, mean_over, shown_row
from spikecore.api.training.history import History, Row
from spikecore.api.training.interrupt import delaying, noted, noting, obey
from spikecore.api.training.shards import RankPart, parts, unequal
from spikecore.api.training.together import check_weights
from spikecore.progress import Progress, at_work, length


class Batch(NamedTuple):
    """A part of a batch on the engine, checked."""

    placed: DeviceBatch
    whole: int  # how many samples the batch has over all ranks


def _first_step(seconds: float) -> str:
    """The line shown during the first training step, which imports and compiles for all others."""
    return f"spikecore: the first training step, {seconds:.0f} s"


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
    callbacks: Callbacks
    progress: Optional[bool]
    learning: Learning = BPTT()
    accumulate: int = 1
    ranks: Ranks = field(default_factory=Ranks)
    bar: Progress = field(init=False, repr=False)  # of all epochs
    given: Optional[Generator[RankPart, None, None]] = field(default=None, init=False, repr=False)  # this epoch's
    uninterrupted: ContextManager[None] = field(init=False, repr=False)  # a block that Ctrl-C does not interrupt
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
        fit = [callable(getattr(one, "after_step", one)) and not isinstance(one, type) for one in given]
        if not several or not all(fit):
            raise TypeError(
                f"callbacks={self.callbacks!r} must be a tuple of callables (model, row), e.g. (sc.EarlyStopping(),), "
                "or of objects with a method after_step(model, step)"
            )
        self.callbacks = given
        self.together = self.accumulate > 1 or self.ranks.size > 1  # whether several parts make one update
        self.remedy = f"{self.learning.remedy}; fit(..., compute=sc.Compute(check_finite=False)) goes on"
        self.first_rank = self.ranks.rank == 0  # which alone shows, warns and looks
        each = getattr(self.schedule, "each", "epoch")
        if each not in ("epoch", "step"):
            raise ValueError(f"schedule={self.schedule!r} has each={each!r}, which must be 'epoch' or 'step'")
        self.each_step = each == "step"
        if self.each_step and not length(self.data):
            raise ValueError(
                f"schedule={self.schedule!r} changes the learning rate at each step, but data has no length that says "
                "how many there are: give a Loader or a list, or a schedule with each='epoch'"
            )

    def run(self) -> History:
        """Train until the model has ``epochs`` epochs, those already done included; return the history."""
        if self.model.epochs_done >= self.epochs:
            history: History = self.model.history
            return history
        noted_here = (signal.SIGTERM, *((signal.SIGINT,) if self.ranks.size > 1 else ()))
        with noting(*noted_here), delaying() as self.uninterrupted:
            return self._run()

    def _run(self) -> History:
        model, complete = self.model, False
        history: History = model.history
        if model.trainer.executor.gradients is not None:
            model.trainer.executor.gradients.guarded = self.feed.check_finite
        looks = (
            self.learning.whole
            and model.trainer.executor.gradients is not None
            and model.trainer.executor.divided is None
        )
        self.diagnosis = Diagnosis(model, self.loss, self.learning.window, looks)
        if self.first_rank:
            self.diagnosis.of_network()
            self.diagnosis.of_classes(self.data, self.validation)
        self._begin()
        first, self.bar = model.epochs_done, self._bar()
        late = extra(model.engine, TrainingOptions).queue(model.engine) is not None  # all values are read a step late
        at_once = late or self.together or self.steps_told or self.bar.visible
        self.measuring = Measuring(model.engine, self.metrics, not at_once)
        outer, model.trainer.settle = model.trainer.settle, self.measuring.measure
        try:
            while model.epochs_done < self.epochs:
                epoch = model.epochs_done
                looking = epoch == first or (epoch == self.epochs - 1 and epoch - first >= APART)
                self.looking = looking and self.first_rank
                if not self.each_step:
                    self._set_lr(epoch)
                row = self.ranks.shared(self._epoch(epoch))
                if row is None:  # a callback has stopped training within the epoch
                    break
                if self.feed.check_finite:
                    self._check_finite(epoch)
                if self.validation is not None:
                    self.validated = self._validated()
                    row.update(self.validated)
                self.bar.note(**shown_row(row))
                with self.uninterrupted:
                    history.append(row)
                    model.epochs_done += 1
                    model.trainer.unfinished = None
                with self.bar.aside():  # warnings and callbacks may print
                    if self.looking:
                        self.diagnosis.look(epoch + 1)
                    stops = self._called([call for call in self.callbacks if callable(call)], row)
                if getattr(self.schedule, "reads_history", False):  # callbacks may have added the column
                    self.schedule.check_row(row)  # type: ignore[union-attr]
                if self.called_anywhere:
                    check_weights(model, self.ranks)
                if stops:
                    break
            complete = True
        finally:
            self.bar.close(complete=complete)
            if self.given is not None:
                self.given.close()  # after an error, too: the data may have processes that load ahead
            with self.uninterrupted:
                self.measuring.measure()
            model.trainer.settle = outer
        return history

    def _begin(self) -> None:
        """Tell callbacks that training begins, on all ranks, which may have different ones."""
        self.after_step = [callback.after_step for callback in self.callbacks if hasattr(callback, "after_step")]
        told, called = self.ranks.sums([len(self.after_step), len(self.callbacks)])
        self.steps_told, self.called_anywhere = told > 0, called > 0
        begins = [callback.begin for callback in self.callbacks if hasattr(callback, "begin")]
        self.ranks.alike(lambda: [begin(self.model) for begin in begins])

    def _called(self, callbacks: List[Callable[..., Any]], said: Any) -> bool:
        """Call the callbacks, on all ranks; whether one of them, on any rank, ends training."""
        ends = self.ranks.alike(lambda: any([call(self.model, said) for call in callbacks]))  # all of them
        return bool(self.ranks.sums([float(ends)])[0])

    def _bar(self) -> Progress:
        """One bar for all epochs; batches that an earlier fit has done are counted."""
        per_epoch, done = length(self.data), self.model.epochs_done
        unfinished = self.model.trainer.unfinished
        begun = 0 if unfinished is None else unfinished.batches
        total, before = (None, 0) if per_epoch is None else (self.epochs * per_epoch, done * per_epoch + begun)
        return Progress(self._title(done), total, self.progress if self.first_rank else False, done=before)

    def _title(self, epoch: int) -> str:
        return f"epoch {epoch + 1}/{self.epochs}"

    def _check_finite(self, epoch: int) -> None:
        """Refuse to continue after an epoch after which weights are not finite.

        The loss does not tell: a membrane that is NaN never fires, and a weight that no spike meets adds nothing.
        """
        found = self._broken()
        if found:
            raise self._diverged(f"{found[0]} holds NaN or infinity after epoch {epoch + 1}", True)

    def _broken(self) -> List[str]:
        """The weights that are not finite, on any rank."""
        divided = self.model.trainer.executor.divided
        if divided is None:
            return broken(self.model.trainer.executor.weights())
        return next(filter(None, self.ranks.gathered(broken(divided.own_weights()))), [])

    def _set_lr(self, epoch: float) -> None:
        """Set the learning rate of an epoch, or of the step that far through an epoch."""
        before = self.model.trainer.start.epochs
        factor = 1.0 if self.schedule is None else self._factor(self.schedule, epoch - before, self.epochs - before)
        self.model.trainer.executor.set_lr(self.base_lr * factor)

    def _factor(self, schedule: Any, epoch: float, epochs: int) -> float:
        """The factor of a schedule, which counts epochs, and reads the history, from the start of this ``fit``."""
        reads = getattr(schedule, "reads_history", False)
        rows = [row for row in self.model.history if row["epoch"] > self.model.trainer.start.epochs] if reads else []
        given = schedule(epoch, epochs, *([rows] if reads else []))
        factor = float(given) if hasattr(given, "__float__") else math.nan
        if not 0.0 <= factor < math.inf:
            raise ValueError(f"schedule gave {given!r} in epoch {epoch} of {epochs}; expected a finite factor >= 0")
        return factor

    def _epoch(self, epoch: int) -> Optional[Row]:
        """Train an epoch, or what is left of it; return its row, or None if a callback has stopped training."""
        begin_epoch(self.data, epoch)
        mean = self.model.trainer.unfinished = self.model.trainer.unfinished or Average()
        begun = time.perf_counter() - mean.seconds
        self.bar.say(self._title(epoch))
        per_epoch = length(self.data) or 1
        self.pending, self.waiting = Average(), 0  # batches whose gradients wait for the next update; their samples
        for batch in self._batches(epoch, mean):
            if self.each_step and not self.pending.batches:
                self._set_lr(epoch + mean.batches / per_epoch)
            before = mean.batches
            with self.uninterrupted:  # an update and what callbacks make of it
                self._step(epoch, mean, batch)
                if self.pending.batches == self.accumulate:
                    self._update(epoch, mean)
                mean.seconds = time.perf_counter() - begun
                if self.bar.visible:
                    self.bar.update(**mean.shown(), **shown_row(self.validated))
                if mean.batches != before and self._stopped(epoch, mean):
                    return None
        if self.pending.batches:
            with self.uninterrupted:
                self._update(epoch, mean)
                if self._stopped(epoch, mean):
                    return None
        with self.uninterrupted:
            self.measuring.measure()
        if not mean.samples:
            raise ValueError("data gave no batch: it is empty, or a generator that an earlier epoch has used up")
        return {
            "epoch": epoch + 1,
            **mean.row(),
            **self._sparsity(),
            "lr": self.model.trainer.executor.lr,
            "seconds": round(mean.seconds, 3),
            "samples_per_s": round(mean.samples / mean.seconds, 1),
        }

    def _sparsity(self) -> Row:
        """The column "sparsity", if learning leaves the connections as they are."""
        rule: Any = self.model.trainer.optimizer if self.learning.gradients else self.learning
        if not rule.keep_zeros:
            return {}
        from spikecore.api.training.sparsity import sparsity

        return {"sparsity": sparsity(self.model).sparsity}

    def _batches(self, epoch: int, mean: Average) -> Iterator[Batch]:
        """The batches of an epoch from where it has come to, checked, on the engine: this rank's parts of them.

        Before each batch the ranks meet: all stop at the same one, for an error or a signal to one of them.
        """
        given = self.given = parts(self.data, self.feed, self.loss, self.ranks, mean.batches)
        while True:
            error, part, batch = None, None, None
            try:
                part = next(given, None)
                batch = None if part is None else self._batch(epoch, mean, part)
            except Exception as raised:
                error = raised
            if self.ranks.size > 1:
                mark = 0.0 if part is None else part.mark
                rows = self.ranks.meet(error, float(batch is None), float(noted()), mark)
                ended, signals, marks = zip(*rows)
                obey(int(max(signals)))
                if any(ended) and not all(ended) or len(set(marks)) > 1:
                    raise RankError(unequal(ended))
            elif error is not None:
                raise error
            else:
                obey(noted())
            if batch is None:
                return
            yield batch

    def _batch(self, epoch: int, mean: Average, part: RankPart) -> Batch:
        """A part of a batch as a training step takes it."""
        key = Key((self.model.seed, "epoch", epoch), mean.samples + self.waiting + part.before)
        batch = placed(self.model, self.feed, self.loss, part[:3], key)
        return Batch(batch, part.whole or int(batch.x.shape[1]))

    def _stopped(self, epoch: int, mean: Average) -> bool:
        """Call ``after_step`` of the callbacks; returns whether one of them stops training."""
        if not self.steps_told:
            return False
        loss, metrics = self.told
        update = -(-mean.batches // self.accumulate)
        step = Step(epoch + 1, mean.batches, mean.samples, loss, metrics, self.model.trainer.executor.lr, update)
        return self._called(self.after_step, step)

    def _step(self, epoch: int, mean: Average, batch: Batch) -> None:
        """Learn from a batch, or add its gradient to those that wait for an update."""
        model, executor = self.model, self.model.trainer.executor
        x, steps, targets, lengths, key = self.last = batch.placed
        count, pending = int(x.shape[1]), self.pending
        first = self.looking and not mean.batches and not pending.batches
        before = changes(executor)
        try:
            with at_work(_first_step, self.progress) if first else contextlib.nullcontext():
                if first:
                    model.trainer.sequence = int(x.shape[0]) if steps is None else 0
                    self.diagnosis.of_inputs(x, steps is not None)
                    self.diagnosis.keep(x, steps, targets, lengths, key)
                if self.together:
                    last = pending.batches + 1 == self.accumulate
                    loss, out = self.learning.add(executor, self.loss, batch.placed, count, batch.whole, last)
                else:
                    loss, out = self.learning.step(executor, self.loss, batch.placed)
                    self._check_loss(epoch, mean.batches + 1, loss, changes(executor) != before)
                    self.diagnosis.of_gradients(epoch + 1, mean.batches + 1, loss)
                check_output(model.output_shape, out)
                figures = self.measuring.of(mean, count, out, targets, lengths) if self.metrics else {}
                (pending if self.together else mean).add(count, loss, figures)
                self.waiting += batch.whole if self.together else 0
                if self.steps_told:
                    self.told = math.nan if loss is None else loss, averaged(figures)  # of an update, for callbacks
        except BaseException as error:
            self._note(error, mean, before, epoch, mean.batches + 1)
            raise

    def _update(self, epoch: int, mean: Average) -> None:
        """Update the weights by the mean gradient of the batches that wait, those of all ranks."""
        executor, pending, names = self.model.trainer.executor, self.pending, list(self.pending.sums)
        before, last = changes(executor), mean.batches + pending.batches
        try:
            samples, *sums = executor.gradients.collect([pending.samples, *pending.sums.values()])
            means = {name: total / samples for name, total in zip(names, sums)}
            self._check_loss(epoch, last, means["loss"], False)
            executor.gradients.update()
            loss = means.pop("loss")
            if self.first_rank:
                self.diagnosis.of_gradients(epoch + 1, last, loss)
            self.told = loss, averaged(means)
            mean.add(round(samples), loss, means, pending.batches)
            self.pending, self.waiting = Average(), 0
        except BaseException as error:
            self._note(error, mean, before, epoch, last)
            raise

    def _note(self, error: BaseException, mean: Average, before: int, epoch: int, batch: int) -> None:
        """Note whether an error has left a step half done; of a gradient that is not finite, say in which batch."""
        changed = changes(self.model.trainer.executor) != before
        mean.cut = changed or not isinstance(error, Exception)
        if isinstance(error, GradientError):
            raise self._exploded(error, epoch, batch, changed) from None

    def _exploded(self, error: GradientError, epoch: int, batch: int, changed: bool) -> DivergedError:
        found = self._broken()
        cause = f"{found[0]} holds NaN or infinity" if found else error
        return self._diverged(f"in batch {batch} of epoch {epoch + 1} {cause}", changed)

    def _check_loss(self, epoch: int, batch: int, loss: Optional[float], changed: bool) -> None:
        """Refuse to continue after a loss that is not finite; ``changed``: whether it has changed the weights."""
        if not self.feed.check_finite or loss is None or math.isfinite(loss):
            return
        cause = self._origin(self.last)
        where = f"batch {batch}, where {cause}" if cause else f"batch {batch}"
        raise self._diverged(f"the loss of epoch {epoch + 1} is {loss} in {where}", changed)

    def _diverged(self, what: str, changed: bool) -> DivergedError:
        held = "Continue from an earlier state" if changed else "The weights are those before this batch: continue"
        return DivergedError(f"{what}: training has diverged. {held} {self.remedy}")

    def _origin(self, kept: DeviceBatch) -> str:
        """Origin of a loss that is not finite, by the rank in whose part of the batch it has arisen."""
        from spikecore.api.training.origin import origin  # rarely needed

        own = self.together and math.isfinite(self.pending.sums["loss"])
        causes = self.ranks.gathered("" if own else origin(self.model, self.loss, kept))
        return next(filter(None, causes), "")

    def _validated(self) -> Row:
        title = self._title(self.model.epochs_done)
        self.bar.say(f"{title}, validating", at_once=True)
        mean = mean_over(self.model, self.validation, self.loss, self.metrics, self.feed, False, self.ranks)
        self.bar.say(title)
        return mean.row("val_")

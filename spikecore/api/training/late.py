"""Training on a device that works while the program goes on: values are read a step late.

A program that reads a value waits until the device has computed it, and the device then waits for the program. Here the
program gives the device its next batch first, and then reads the loss of the one before. Where that is not finite, the
device has left out the updates since, so that errors, weights and the place to continue are those of other engines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, Iterator

from spikecore.api.core.executor import changes
from spikecore.api.core.extras import TrainingOptions, extra
from spikecore.api.functional.metrics import averaged
from spikecore.api.layers.network import check_output, detached
from spikecore.api.training.clipping import GradientError
from spikecore.api.training.evaluate import Average
from spikecore.api.training.history import History
from spikecore.api.training.loop import Batch, Training
from spikecore.api.training.unread import DeviceQueue, Unread, asked
from spikecore.progress import length


@dataclass
class LateTraining(Training):
    """One call of ``Model.fit`` whose steps are read late, if the executor can leave them on the device."""

    def _run(self) -> History:
        executor, feed = self.model.trainer.executor, self.feed
        self.queue: DeviceQueue = extra(self.model.engine, TrainingOptions).queue(self.model.engine)
        self.unread = Unread(self.queue)
        self.deferred = self.queue.defer(executor, True)
        self.feed = self.unread.feed(feed) if self.deferred else feed
        try:
            return super()._run()
        finally:
            self.feed = feed
            self.queue.defer(executor, False)

    def _set_lr(self, epoch: float) -> None:
        behind = len(self.unread.waiting) / (length(self.data) or 1)  # steps that the means do not count yet
        super()._set_lr(epoch + behind if self.each_step else epoch)

    def _batches(self, epoch: int, mean: Average) -> Iterator[Batch]:
        try:
            yield from super()._batches(epoch, mean)
        finally:  # at the end of the epoch, and before an error or a signal goes on
            self.unread.settle()

    def _step(self, epoch: int, mean: Average, batch: Batch) -> None:
        model, executor = self.model, self.model.trainer.executor
        batches = mean.batches + len(self.unread.waiting)
        if not self.deferred:
            return super()._step(epoch, mean, batch)
        if self.looking and not batches:  # this one is looked at in many ways
            self.unread.ask([], lambda: None, 0)
            self.queue.defer(executor, False)
            super()._step(epoch, mean, batch)
            self.queue.defer(executor, True)
            return None
        executor.sound = self.unread.finite
        before = changes(executor)
        try:
            report, out = self.learning.step(executor, self.loss, batch.placed)
            check_output(model.output_shape, out)
            arrays, figures = asked(
                self.metrics, detached(model.engine, out), batch.placed.targets, batch.placed.lengths
            )
        except BaseException as error:
            self._note(error, mean, before, epoch, batches + 1)
            raise
        self.waiting += batch.whole
        count = partial(self._count, epoch, batches + 1, mean, batch, figures)
        self.unread.ask([report, *arrays], count, 0 if self.steps_told else 1)
        return None

    def _count(
        self, epoch: int, number: int, mean: Average, batch: Batch, figures: Callable[..., Any], report: Any, *read: Any
    ) -> None:
        """Count a step when its values have been read."""
        executor, self.last = self.model.trainer.executor, batch.placed
        self.waiting -= batch.whole
        try:
            loss, sound = self.queue.settle(executor, report)
        except GradientError as error:
            raise self._exploded(error, epoch, number, False) from None
        if not sound:
            return  # the input is not finite, which is said next
        self._check_loss(epoch, number, loss, False)
        self.diagnosis.of_gradients(epoch + 1, number, loss)
        found = figures(*read)
        mean.add(batch.whole, loss, found)
        self.told = loss, averaged(found)

"""Training and evaluation on a device that works while the program goes on: values are read a step late.

A program that reads a value waits until the device has computed it, and the device then waits for the program. Here the
program gives the device its next batch first, and then reads the loss of the one before. Where that is not finite, the
device has left out the updates since, so that errors, weights and the place to continue are those of other engines.
"""

from __future__ import annotations

from collections import deque
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any, Callable, Deque, Dict, Iterator, List, Protocol, Sequence, Tuple

from spikecore.api.core.extras import TrainingOptions, extra
from spikecore.api.core.ranks import Ranks
from spikecore.api.functional.loss import scalar
from spikecore.api.functional.metrics import Decided, Metrics, averaged, means_of, measured
from spikecore.api.layers.network import check_output, detached
from spikecore.api.learning.learning import UNSUPERVISED
from spikecore.api.training.batching import Feed
from spikecore.api.training.clipping import GradientError
from spikecore.api.training.evaluate import Average, on_engine
from spikecore.api.training.executor import recorded_for
from spikecore.api.training.history import History
from spikecore.api.training.loop import Batch, Training
from spikecore.api.training.shards import parts
from spikecore.progress import Progress, length

Check = Tuple[Any, Callable[[], None]]  # whether an input is finite, and the function that says where it is not
Asked = Tuple[List[Any], Callable[..., Any]]  # arrays of an engine, and a function of their values on the host


class DeviceQueue(Protocol):
    """The work that an engine's device has been given and not done."""

    def read(self, arrays: Sequence[Any]) -> Callable[[], List[Any]]:
        """Begin to read arrays; the function that is returned waits for them, and gives NumPy arrays."""

    def defer(self, executor: Any, on: bool) -> bool:
        """Let training steps leave what they compute on the device, or end this; returns whether they do.

        ``step`` then returns an array, the report of the step, in place of the loss. If steps are guarded, and loss or
        gradient are not finite, or ``executor.sound``, an array that the caller may set, is False, neither this step
        nor later ones change anything.
        """

    def settle(self, executor: Any, report: Any) -> Tuple[float, bool]:
        """The loss of the earliest step that was not settled, by its report, and whether its ``sound`` was True.

        Raises:
            GradientError: as ``step`` raises it. The executor is then as it was before that step, as it also is after a
                loss that is not finite or a False ``sound``.
        """


class Unread:
    """Arrays whose values are on their way to the host, each with a function that takes them: first in, first out.

    Args:
        queue: reads the arrays.
    """

    def __init__(self, queue: DeviceQueue) -> None:
        self.queue = queue
        self.checks: List[Check] = []  # of the inputs since the last question
        self.waiting: Deque[Tuple[Callable[[], List[Any]], Callable[..., None], List[Check]]] = deque()

    def feed(self, feed: Feed) -> Feed:
        """The same feed, whose checks of inputs belong to the next question."""
        return replace(feed, unread=self.checks)

    @property
    def finite(self) -> Any:
        """Whether the last input is finite, an array of the engine; None if nobody asks."""
        return self.checks[-1][0] if self.checks else None

    def ask(self, arrays: List[Any], then: Callable[..., None], most: int = 1) -> None:
        """Call ``then`` with the values of arrays, once ``most`` questions have followed.

        Raises:
            ValueError: an input was not finite; after ``then`` was called.
        """
        checks, self.checks[:] = self.checks[:], []
        self.waiting.append((self.queue.read([*(finite for finite, _ in checks), *arrays]), then, checks))
        self.settle(most)

    def settle(self, most: int = 0) -> None:
        """Make the calls that wait, but for the last ``most``; after an error there are none."""
        while len(self.waiting) > most:
            read, then, checks = self.waiting.popleft()
            try:
                values = read()
                then(*values[len(checks) :])
                for finite, (_, check) in zip(values, checks):
                    if not finite:
                        check()
            except BaseException:
                self.waiting.clear()
                raise


def asked(metrics: Metrics, out: Any, targets: Any, lengths: Any = None) -> Asked:
    """Arrays of the engine, and the function that makes of their values what ``measured`` returns."""
    arrays: List[Any] = []
    parts: List[Tuple[Callable[..., Dict[str, float]], int]] = []  # what makes numbers of arrays, and of how many
    for name, metric in metrics.items():
        if isinstance(metric, Decided):
            own, count = metric.asked(out, targets, lengths)
            samples = int(out.spikes.shape[1])
            parts.append((lambda *x, n=name, m=metric, c=count, s=samples: means_of(n, m, c(*x), s), len(own)))
            arrays += own
            continue
        value = measured({name: metric}, out, targets, lengths)
        parts.append((value.copy, 0))

    def figures(*values: Any) -> Dict[str, float]:
        found: Dict[str, float] = {}
        rest = iter(values)
        for numbers, count in parts:
            found.update(numbers(*islice(rest, count)))
        return found

    return arrays, figures


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
        with self._step_of(mean):
            report, out = self.learning.step(executor, self.loss, batch.placed)
            check_output(model.output_shape, out)
            arrays, figures = asked(
                self.metrics, detached(model.engine, out), batch.placed.targets, batch.placed.lengths
            )
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


def count_late(
    queue: DeviceQueue,
    mean: Average,
    model: Any,
    data: Any,
    loss: Any,
    metrics: Metrics,
    feed: Feed,
    bar: Progress,
    ranks: Ranks,
) -> None:
    """Add loss and metrics of all batches to ``mean``, those of each batch after the next one has been begun."""
    unread = Unread(queue)
    given = on_engine(model, unread.feed(feed), loss, bar.over(parts(data, feed, loss, ranks, empty=True)))
    with closing(given):
        for batch in filter(None, given):
            x, steps, targets, lengths, _ = batch
            record = ("last", *recorded_for(loss))
            out = model.trainer.executor.run(x, steps=steps, record=record)
            values = [] if loss == UNSUPERVISED else [scalar(loss, model.engine, out, targets, lengths)]
            arrays, figures = asked(metrics, out, targets, lengths)

            def add(*read: Any, samples: int = int(x.shape[1]), some: int = len(values), of: Any = figures) -> None:
                mean.add(samples, float(read[0]) if some else None, of(*read[some:]))
                bar.update(**mean.shown())

            unread.ask([*values, *arrays], add)
        unread.settle()

"""Values on a device that works while the program goes on: they are read when it has been given more to do."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Callable, Deque, Dict, Iterator, List, Protocol, Sequence, Tuple

from spikecore.api.functional.loss import scalar
from spikecore.api.functional.metrics import Decided, Metrics, means_of, measured
from spikecore.api.learning.learning import UNSUPERVISED
from spikecore.api.training.batching import Feed
from spikecore.api.training.data import DeviceBatch
from spikecore.api.training.executor import recorded_for

if TYPE_CHECKING:
    from spikecore.api.training.evaluate import Average

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


def count_late(
    unread: Unread, mean: Average, model: Any, batches: Iterator[DeviceBatch], loss: Any, metrics: Metrics, bar: Any
) -> None:
    """Add loss and metrics of all batches to ``mean``, those of each batch after the next one has been begun.

    Args:
        unread: the queue of what is read.
        mean, model, loss, metrics: as for ``mean_over``.
        batches: on the engine.
        bar: the progress bar.
    """
    for x, steps, targets, lengths, key in batches:
        out = model.trainer.executor.run(x, steps=steps, record=("last", *recorded_for(loss)), first=key.first)
        values = [] if loss == UNSUPERVISED else [scalar(loss, model.engine, out, targets, lengths)]
        arrays, figures = asked(metrics, out, targets, lengths)

        def add(*read: Any, samples: int = int(x.shape[1]), some: int = len(values), of: Any = figures) -> None:
            mean.add(samples, float(read[0]) if some else None, of(*read[some:]))
            bar.update(**mean.shown())

        unread.ask([*values, *arrays], add)
    unread.settle()

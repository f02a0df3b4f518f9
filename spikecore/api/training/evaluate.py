"""Means of loss and metrics over batches: of an epoch, and of an evaluation."""

from __future__ import annotations

import math
from collections import deque
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Deque, Dict, Generator, Iterable, List, Optional, Tuple, Union

from spikecore.api.core.extras import TrainingOptions, extra
from spikecore.api.core.isolation import isolated
from spikecore.api.core.layer import Key
from spikecore.api.core.ranks import Ranks
from spikecore.api.functional.base import LossFunction
from spikecore.api.functional.loss import scalar
from spikecore.api.functional.metrics import COLUMNS, Decided, Metric, Metrics, averaged, means_of, measured, metrics_of
from spikecore.api.functional.targets import targets_on
from spikecore.api.layers.network import detached
from spikecore.api.learning.learning import UNSUPERVISED
from spikecore.api.training.batching import Encoder, Feed
from spikecore.api.training.data import DeviceBatch, batches_for, placed
from spikecore.api.training.executor import recorded_for
from spikecore.api.training.history import Row
from spikecore.api.training.shards import RankPart, parts, sharded
from spikecore.api.training.together import Parallel, ranks_for
from spikecore.arguments import ArrayLike, Size, checked
from spikecore.progress import Progress, length

if TYPE_CHECKING:
    from spikecore.api.training.model import Model

SEVERAL, SMALL = 8, 1 << 15  # batches whose metrics are computed at once; numbers of an output that may wait


@dataclass
class Average:
    """Running means of loss and metrics over samples; for an interrupted epoch also where to continue.

    Attributes:
        samples, batches: how many have been counted.
        sums: sums over the samples, by column; of a measure of predictions, those that ``averaged`` makes it of.
        seconds: how long they took.
        cut: whether a step was interrupted half done, so that training cannot continue from there.
    """

    samples: int = 0
    sums: Dict[str, float] = field(default_factory=lambda: {"loss": 0.0})
    batches: int = 0
    seconds: float = 0.0
    cut: bool = False

    def add(self, count: int, loss: Optional[float], metrics: Dict[str, float], batches: int = 1) -> None:
        """Count a batch, or several with their means; a training without a loss (None) has no such column."""
        self.batches += batches
        self.samples += count
        if loss is None:
            self.sums.pop("loss", None)
        self.note(count, metrics if loss is None else {"loss": loss, **metrics})

    def note(self, count: int, figures: Dict[str, float]) -> None:
        """Add figures of a batch that is counted already."""
        for name, value in figures.items():
            self.sums[name] = self.sums.get(name, 0.0) + value * count

    def row(self, prefix: str = "") -> Row:
        """The means as columns of the history."""
        means = averaged({name: total / max(1, self.samples) for name, total in self.sums.items()})
        return {f"{prefix}{name}": value for name, value in means.items()}

    def shown(self) -> Row:
        """The means as text, for a progress bar."""
        return shown_row(self.row()) if self.samples else {}


class Measuring:
    """The metrics of training batches. Those of small batches are computed for several at once, in their order.

    Between two steps the processor's caches hold other code, so that an accuracy alone takes three times as long.

    Args:
        engine: the engine of the outputs.
        metrics: by column.
        waits: whether nobody reads the figures before the end of the epoch.
    """

    def __init__(self, engine: Any, metrics: Metrics, waits: bool) -> None:
        self.engine, self.metrics = engine, metrics
        measures = [metric for metric in metrics.values() if isinstance(metric, Decided)]
        self.measures = measures if waits and len(measures) == len(metrics) else []  # functions may look at the model
        self.waiting: Deque[Tuple[Average, int, List[Any], Any]] = deque()

    def of(self, mean: Average, count: int, out: Any, targets: Any, lengths: Any) -> Dict[str, float]:
        """The figures of a batch; or none, if ``measure`` will add them to ``mean``."""
        values = [self.engine.stop_gradient(metric.loss.read(out)) for metric in self.measures]
        if not values or lengths is not None or max(math.prod(x.shape) for x in values) > SMALL:
            self.measure()  # figures are added in the order of batches
            return measured(self.metrics, detached(self.engine, out), targets, lengths)
        own = self.engine.xp.concat([targets], axis=0)  # a loader may write the next batch where this one lies
        self.waiting.append((mean, count, values, own))
        if len(self.waiting) == SEVERAL:
            self.measure()
        return {}

    def measure(self) -> None:
        """Add the figures of the batches that wait."""
        while self.waiting:
            mean, count, values, targets = self.waiting.popleft()
            for name, metric, read in zip(self.metrics, self.measures, values):
                mean.note(count, means_of(name, metric, metric.sums(read, targets, None), count))


def shown_row(row: Row) -> Row:
    """The loss and the metrics of a row of the history as text, for a progress bar."""
    return {name: f"{value:.4g}" for name, value in row.items() if name not in COLUMNS or name == "loss"}


def mean_over(
    model: Any,
    data: Any,
    loss: Any,
    metrics: Metrics,
    feed: Feed,
    progress: Optional[bool],
    ranks: Optional[Ranks] = None,
) -> Average:
    """The means of loss and metrics over all batches, without training.

    Args:
        model, data, loss, metrics, feed: as in ``Training``.
        progress: whether to show a bar of its own; None shows one on a terminal and in a notebook.
        ranks: the processes, each of which takes its part of each batch; default: this one alone.
    """
    ranks = Ranks() if ranks is None else ranks
    own, shown = Average(), progress if ranks.rank == 0 else False
    together = (lambda run: run()) if model.trainer.executor.divided is not None else ranks.alike
    together(lambda: _evaluate(own, model, data, loss, metrics, feed, shown, ranks))
    mean = Average(sums={})
    for samples, sums in filter(all, ranks.gathered((own.samples, own.sums))):
        mean.samples += samples
        mean.sums = {name: mean.sums.get(name, 0.0) + sums.get(name, 0.0) for name in {**mean.sums, **sums}}
    if not mean.samples:
        raise ValueError("data gave no batch: nothing to evaluate")
    return mean


def _evaluate(
    mean: Average, model: Any, data: Any, loss: Any, metrics: Metrics, feed: Feed, progress: Any, ranks: Ranks
) -> None:
    bar, executor = Progress("evaluate", length(data), progress), model.trainer.executor
    queue = extra(model.engine, TrainingOptions).queue(model.engine)
    if queue is not None and executor.divided is None:
        from spikecore.api.training.unread import Unread, count_late

        unread = Unread(queue)
        given = on_engine(model, unread.feed(feed), loss, bar.over(parts(data, feed, loss, ranks, empty=True)))
        with closing(given):
            count_late(unread, mean, model, filter(None, given), loss, metrics, bar)
        return
    to_numpy = model.engine.to_numpy

    def count(batch: DeviceBatch) -> None:
        x, steps, targets, lengths, key = batch
        out = executor.run(x, steps=steps, record=("last", *recorded_for(loss)), first=key.first)
        targets = targets_on(model.engine, targets)
        value = None if loss == UNSUPERVISED else float(to_numpy(scalar(loss, model.engine, out, targets, lengths)))
        mean.add(x.shape[1], value, measured(metrics, out, targets, lengths))
        bar.update(**mean.shown())

    given = on_engine(model, feed, loss, bar.over(parts(data, feed, loss, ranks, empty=True)))
    with closing(given):  # after an error, too, no worker goes on
        if executor.divided is not None and ranks.size > 1:
            from spikecore.api.training.in_step import in_step

            in_step(given, count, executor.divided.join_collectives, ranks)
            return
        for batch in filter(None, given):
            count(batch)


def on_engine(
    model: Any, feed: Feed, loss: Any, given: Iterable[RankPart]
) -> Generator[Optional[DeviceBatch], None, None]:
    """Parts of batches on the engine; None for one without samples, where a batch has fewer than there are ranks."""
    done = 0
    for part in given:
        key = Key((model.seed, "evaluate"), done + part.before)
        batch = None if part.samples == 0 else placed(model, feed, loss, part[:3], key)
        done += int(batch.x.shape[1]) if batch is not None and part.whole is None else part.whole or 0
        yield batch


@checked
@isolated
def evaluate(
    self: Model,
    data: Union[Iterable[Any], ArrayLike],
    targets: Optional[ArrayLike] = None,
    *,
    loss: Optional[LossFunction] = None,
    batch_size: Optional[Size] = None,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
    metric: Optional[Metric] = None,
    parallel: Parallel = "none",
    progress: Optional[bool] = None,
) -> Row:
    """Compute the mean loss and metrics over all batches, without training.

    Args:
        data, targets, batch_size, num_steps, encoder, time_axis: as in ``fit``.
        loss: as in ``fit``; default: that of the last ``fit``, else ``functional.ce_rate_loss()``; none if neurons
            vote for classes (``metric=votes_of(...)``), since outputs then are no classes.
        metric: as in ``fit``; default: that of the last ``fit`` if ``loss`` is left out, too.
        parallel: "none", the default: this process evaluates all samples, so that one process of a group can
            evaluate by itself. "data": each process of a group takes its part of every batch, and all get the
            means over all samples; all processes must call it. "fsdp" is the same.
        progress: True or False forces a progress bar on or off; None shows one on a terminal and in a notebook.

    Returns:
        {"loss": ..., "accuracy": ...}, or the columns of ``metric``; {"loss": ...} alone for your own functions.
    """
    given_loss = loss
    if loss is None:
        metric = self.trainer.metric if metric is None else metric
        loss = self.trainer.last_loss()
    metrics = metrics_of(metric, loss)
    if given_loss is None:
        from spikecore.api.training.voting import Votes

        loss = UNSUPERVISED if any(isinstance(one, Votes) for one in metrics.values()) else loss
    feed = Feed(num_steps, encoder, time_axis)
    data = batches_for(self, data, targets, feed, batch_size)
    ranks = ranks_for(self.engine, parallel)
    data = ranks.alike(lambda: sharded(data, ranks, empty=True))
    return mean_over(self, data, loss, metrics, feed, progress, ranks).row()

"""Minibatches of samples in a reproducible order."""

from __future__ import annotations

import copy
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from spikecore.arguments import ArrayLike, argument_kind
from spikecore.printing import table
from spikecore.samples.dataset import Dataset
from spikecore.samples.errors import DataError, checked, integer
from spikecore.samples.order import bucketed, drawn, permutation, weights_of
from spikecore.samples.source import Arrays, Samples, lengths_of, pair

Batch = Tuple[np.ndarray, ...]  # two or three, the second None without targets: so that a loop may unpack either


class BatchRows(NamedTuple):
    """The part of a batch that a loader reads: some of its rows, and the number of steps to fill up to, if known."""

    rows: np.ndarray
    epoch: int
    steps: Optional[int]


class Loader:
    """Minibatches for any engine: each iteration is one epoch of NumPy arrays (inputs, targets).

    The order of epoch e depends only on (seed, e), and is the same on every machine. `epoch` is therefore the whole
    state. To resume in another process, store `epoch` and pass it to `set_epoch`: the batches continue bit for bit. To
    resume within an epoch, skip the k batches that were already used: `itertools.islice(loader, k, None)`.

    If samples are sequences of unequal length, batches are (inputs, targets, lengths), as `fit` takes them. The shorter
    samples of a batch have zeros at their end, which losses and metrics leave out.

    Args:
        inputs: (samples, *features); a tensor of torch on a GPU stays there, and so do its batches; a list of sequences
            (time, *features) of unequal length, whose batches are (batch, time, *features): pass `time_axis=1` to
            `fit`; a Dataset or StoredDataset; or an EventDataset, whose batches are (time, batch, *features).
        targets: (samples, *anything); a list of arrays (time, ...), with an entry for each step, beside a list of
            sequences; without targets a batch is (inputs, None).
        batch_size: number of samples in a batch, ≥ 1; the last batch may be smaller. Default 64.
        shuffle: draw a new order for each epoch; False keeps the order of the data.
        seed: of the order; an integer ≥ 0.
        drop_last: leave out the last batch if it is smaller, for engines with static shapes.
        lengths: number of steps of each sample that count, (samples,), each ≥ 1. True: as many as each sample has, for
            recordings. False: batches have no lengths. None, the default: the lengths of the data, if they have any.
        bucket: put samples of similar length into one batch, so that less is padding: the samples of every `bucket`
            batches (≥ 1) of the shuffled order are sorted by length. The batches of an array (samples, time, *features)
            are cut to their longest sample. None, the default: samples of any length meet.
        weights: one number ≥ 0 per sample; each sample of an epoch is drawn in proportion to it, with replacement.
            "balanced": all classes are drawn equally often. None, the default: each sample once.
        workers: number of processes that load batches ahead, ≥ 0. Batches and their order are the same with any number.
            Arrays in memory need none and are loaded here. Default 0.
        prefetch: number of batches, ≥ 1, that each worker loads ahead; they are in memory. Default 2.

    Raises:
        DataError: there are no samples or no batch, inputs and targets differ in length, or an argument is wrong. While
            batches are read: a sample cannot be read, or a worker process has ended.
    """

    @checked
    def __init__(
        self,
        inputs: Union[np.ndarray, Dataset, Samples, ArrayLike],
        targets: Union[np.ndarray, ArrayLike, None] = None,
        *,
        batch_size: int = 64,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
        lengths: Union[bool, ArrayLike, None] = None,
        bucket: Optional[int] = None,
        weights: Union[str, ArrayLike, None] = None,
        workers: int = 0,
        prefetch: int = 2,
    ):
        if isinstance(inputs, tuple) and targets is None and len(inputs) == 2:
            raise DataError("inputs: is a tuple of two; pass inputs and targets separately: Loader(inputs, targets)")
        if isinstance(inputs, (Dataset, Samples)) and targets is not None:
            raise DataError("targets: a Dataset brings its own; pass the Dataset alone, or two arrays")
        if isinstance(inputs, Dataset):
            inputs = inputs.samples
        self._samples = inputs if isinstance(inputs, Samples) else _in_memory(inputs, targets)
        self._targets = self._samples.targets
        self._count = len(self._samples.inputs) if isinstance(self._samples, Arrays) else len(self._targets)
        self.batch_size = integer("batch_size", batch_size, at_least=1)
        self.seed = integer("seed", seed, at_least=0)
        self.shuffle, self.drop_last = shuffle, drop_last
        self._epoch = 0
        self._shard: Optional[Tuple[int, int]] = None
        if not len(self):
            raise DataError(
                f"drop_last=True with batch_size={batch_size} leaves no batch of {self._count} samples: "
                "use a smaller batch_size or drop_last=False"
            )
        self.bucket = None if bucket is None else integer("bucket", bucket, at_least=1)
        self._lengths, self._gives_lengths = self._lengths_by(lengths)
        self._steps = self._samples.steps if self._lengths is None else self._lengths
        self._weights = None if weights is None else weights_of(weights, self._targets, self._count)
        self._check_order()
        self.workers = integer("workers", workers, at_least=0)
        self.prefetch = integer("prefetch", prefetch, at_least=1)

    def _lengths_by(self, given: Any) -> Tuple[Optional[np.ndarray], bool]:
        """The lengths of all samples, if they are known, and whether batches have lengths."""
        known = self._samples.lengths
        if given is None:
            return known, known is not None
        if isinstance(given, (bool, np.bool_)):
            if given and known is None and not self._samples.fills:
                raise DataError(
                    "lengths=True: the samples have no steps of their own; pass the number of steps of each sample"
                )
            return known if given else None, bool(given)
        inputs = self._samples.inputs if isinstance(self._samples, Arrays) else None
        return lengths_of(given, inputs, self._count), True

    def _check_order(self) -> None:
        """Refuse what changes an order that is to be kept, and buckets of samples that have no known steps."""
        for name, value in (("bucket", self.bucket), ("weights", self._weights)):
            if value is not None and not self.shuffle:
                raise DataError(f"{name} changes the order of the samples, and shuffle=False keeps it: leave one out")
        if self.bucket is None:
            return
        if self._steps is None:
            raise DataError(
                f"bucket={self.bucket} needs the number of steps of each sample: pass lengths=[...], or read the "
                "recordings first, dataset.in_memory()"
            )
        if self._samples.extent is not None and self._samples.extent < self._steps.max():
            raise DataError(
                f"bucket={self.bucket} cuts batches along axis 1, the axis of time, to their longest sample; that axis "
                f"has {self._samples.extent} entries, and lengths go up to {self._steps.max()}: leave bucket out"
            )

    @property
    def fills(self) -> bool:
        """Whether batches are (batch, time, *features), in which shorter sequences are filled up."""
        return isinstance(self._samples, Arrays) and self._samples.fills

    def __repr__(self) -> str:
        return f"Loader({self._count} samples, {len(self)} batches {', '.join(self._described())})"

    def _repr_html_(self) -> str:
        size, *order = self._described()
        return table(
            "Loader",
            [
                ("samples", str(self._count)),
                ("batches", f"{len(self)} {size}"),
                ("order", ", ".join(order)),
                ("epochs done", str(self.epoch)),
            ],
        )

    def _described(self) -> List[str]:
        """The size of the batches, the order of the samples and who loads them, as text."""
        rest = ", the last one left out if it is smaller" * self.drop_last
        order = "in order" if not self.shuffle else f"shuffled with seed {self.seed}"
        if self._weights is not None:
            order = f"drawn by weights with seed {self.seed}"
        said = [f"of {self.batch_size}{rest}", order]
        if self.bucket is not None:
            said.append(f"sorted by length in groups of {self.bucket}")
        if self._shard is not None:
            said.append(f"part {self._shard[0]} of {self._shard[1]} of each")
        if self.workers:
            here = ", not started: the samples are in memory" if self._samples.held else ""
            said.append(f"{self.workers} worker{'s' * (self.workers > 1)}{here}")
        return said

    @property
    def inputs(self) -> Optional[np.ndarray]:
        """The inputs of all samples, (samples, *features), in their order; None if they are on disk or on a GPU."""
        inputs = self._samples.inputs if isinstance(self._samples, Arrays) else None
        return inputs if isinstance(inputs, np.ndarray) and not isinstance(inputs, np.memmap) else None

    @property
    def targets(self) -> Optional[np.ndarray]:
        """The targets of all samples, (samples, ...), in the order of the data; None without targets."""
        return self._targets

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next iteration runs, from 0. It advances when all batches have been taken."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration run this epoch (counted from 0)."""
        self._epoch = integer("epoch", epoch, at_least=0)

    def __len__(self) -> int:
        return len(self.batch_sizes())

    def batch_sizes(self) -> Sequence[int]:
        """The number of samples in each batch of an epoch; of a shard, in each batch of the whole loader."""
        whole, rest = divmod(self._count, self.batch_size)
        return [self.batch_size] * whole + [rest] * (rest > 0 and not self.drop_last)

    @checked
    def shard(self, rank: int, size: int) -> Loader:
        """The part of each batch that one of several processes trains on; only this part is read.

        Of a batch of n samples, it has the samples from rank * n // size up to (rank + 1) * n // size - 1. All parts
        together are the batch, in its order, and their sizes differ by at most one. Number of batches, order and epochs
        are those of the whole loader. Sequences of known lengths are padded as in the whole batch.

        Args:
            rank: number of the process, from 0 to size - 1.
            size: number of processes, ≥ 1.

        Raises:
            DataError: a batch has fewer samples than there are processes, or the loader is a shard. While batches are
                read: recordings differ in number of steps, and the loader has no `lengths=True`.
        """
        size = integer("size", size, at_least=1)
        rank = integer("rank", rank, at_least=0)
        if rank >= size:
            raise DataError(f"rank={rank}: need a number from 0 to {size - 1}, since size={size}")
        if self._shard is not None:
            raise DataError(f"{self!r} is a shard already: take the shards of the whole loader")
        smallest = min(self.batch_sizes())
        if smallest < size:
            last = "the last batch" if smallest < self.batch_size else "a batch"
            remedy = "drop_last=True or " if smallest < self.batch_size >= size else ""
            raise DataError(
                f"{last} has {smallest} samples, fewer than the {size} processes: use {remedy}another batch_size "
                f"(it is {self.batch_size}, of {self._count} samples)"
            )
        part = copy.copy(self)
        part._shard = (rank, size)
        return part

    def __iter__(self) -> Iterator[Batch]:
        epoch = self._epoch
        parts = list(self._parts(epoch))
        here = self._samples.held or not self.workers
        read = self._samples.filled
        if here:
            found: Iterator[Any] = (read(*part) for part in parts)
        else:
            from spikecore.samples.ahead import loaded_ahead

            found = loaded_ahead(read, parts, self.workers, self.prefetch)
        extent: Optional[int] = None
        for (inputs, lengths), part in zip(found, parts):  # the first of the two is run to its end
            if self._shard is not None and lengths is not None and part.steps is None and not self._gives_lengths:
                extent = self._same_extent(lengths, extent)
            targets = self._samples.targets_of(part.rows, inputs.shape[1] if inputs.ndim > 1 else 0)
            if not self._gives_lengths:
                yield inputs, targets  # type: ignore[misc]
            else:
                yield inputs, targets, lengths if self._lengths is None else self._lengths[part.rows]  # type: ignore[misc]
        self._epoch = epoch + 1

    def _parts(self, epoch: int) -> Iterator[BatchRows]:
        """The parts of each batch of an epoch that are read."""
        if self._weights is not None:
            order = drawn(self._weights, self.seed, epoch)
        else:
            order = permutation(self._count, self.seed, epoch) if self.shuffle else np.arange(self._count)
        if self.bucket is not None:
            assert self._steps is not None, "checked before"
            order = bucketed(order, self._steps, self.batch_size, self.bucket, self.seed, epoch)
        rank, size = self._shard or (0, 1)
        fills = self._steps is not None and (self.bucket is not None or self._samples.fills)
        start = 0
        for count in self.batch_sizes():
            rows = order[start : start + count]
            steps = int(self._steps[rows].max()) if fills else None  # type: ignore[index]
            yield BatchRows(rows[rank * count // size : (rank + 1) * count // size], epoch, steps)
            start += count

    def _same_extent(self, lengths: np.ndarray, extent: Optional[int]) -> int:
        found = set(lengths.tolist()) | ({extent} if extent is not None else set())
        if len(found) > 1:
            raise DataError(
                f"samples of this shard have {min(found)} to {max(found)} steps, and other processes may fill theirs "
                "up to another number: pass lengths=True to Loader, so that padding does not count, or make all "
                "samples equally long, ToFrames(window=..., steps=...)"
            )
        return int(found.pop())


def _in_memory(inputs: Any, targets: Any) -> Arrays:
    """Samples that are arrays: NumPy's, what can be made one, or a tensor of torch on an accelerator."""
    if getattr(getattr(inputs, "device", None), "type", "cpu") not in ("cuda", "mps", "xpu", "hpu"):
        return Arrays(*pair(inputs, targets))
    from spikecore.samples.on_device import DeviceArrays

    return DeviceArrays(inputs, targets)


argument_kind(Loader, "a spikecore.datasets.Loader")

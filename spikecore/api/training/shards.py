"""Batches by rank: which samples of a batch each of several processes takes."""

from __future__ import annotations

import zlib
from itertools import islice
from typing import Any, Generator, Iterable, Iterator, NamedTuple, Optional, Sequence

from spikecore.api.core.host import to_numpy
from spikecore.api.core.ranks import RankError, Ranks
from spikecore.api.functional.loss import varies
from spikecore.api.training.batching import Feed
from spikecore.api.training.data import batches, behind

SAMPLER = (("num_replicas", "rank"), ("num_processes", "process_index"))  # torch's words and Accelerate's


class RankPart(NamedTuple):
    """A rank's part of a batch."""

    inputs: Any
    targets: Any
    lengths: Any
    before: int = 0  # how many samples of the batch the ranks before this one have
    whole: Optional[int] = None  # how many the batch has; None: those of this part
    samples: Optional[int] = None  # how many the part has, where it has been counted
    mark: float = 0.0  # a number that differs if ranks have cut their parts from different batches


def own_batches(data: Any, ranks: Ranks) -> bool:
    """Whether a sampler gives each rank batches of its own, as torch's ``DistributedSampler`` does.

    Raises:
        RankError: the sampler is made for another number of processes, or for another rank.
    """
    sampler, batch_sampler = getattr(data, "sampler", None), getattr(data, "batch_sampler", None)
    for one in (data, batch_sampler, getattr(batch_sampler, "sampler", None), sampler):
        for size, rank in SAMPLER:
            if isinstance(getattr(one, size, None), int) and isinstance(getattr(one, rank, None), int):
                found = getattr(one, size), getattr(one, rank)
                if found != (ranks.size, ranks.rank):
                    raise RankError(
                        f"{type(one).__name__} gives the batches of rank {found[1]} of {found[0]}, but this is rank "
                        f"{ranks.rank} of {ranks.size}"
                    )
                return True
    return False


class Shard:
    """The part of each batch of a ``Loader`` that this rank takes; the loader reads only the samples of that part.

    Args:
        loader: the whole one.
        ranks: the processes.
    """

    def __init__(self, loader: Any, ranks: Ranks) -> None:
        self.data, self.sizes = loader.shard(ranks.rank, ranks.size), list(loader.batch_sizes())

    def __len__(self) -> int:
        return len(self.sizes)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.data)

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration run this epoch."""
        self.data.set_epoch(epoch)


class RankBatches:
    """Batches of which each rank has its own, and which are one batch of all ranks together."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.data, name)


def sharded(data: Any, ranks: Ranks, empty: bool = False) -> Any:
    """The data, for a ``Loader`` reduced to this rank's parts of its batches.

    Args:
        data: batches.
        ranks: the processes.
        empty: whether a batch may have fewer samples than there are ranks; then all read it.

    Raises:
        RankError: a batch has fewer samples than there are ranks, or a sampler is made for other ranks.
    """
    if ranks.size == 1 or data is None:
        return data
    if own_batches(data, ranks):
        return RankBatches(data)
    if not hasattr(data, "shard"):
        return data
    least = min(data.batch_sizes())
    if least >= ranks.size:
        return Shard(data, ranks)
    if empty:
        return data
    raise too_small(least, ranks)


def too_small(count: int, ranks: Ranks) -> RankError:
    """Message for a batch that is too small for all ranks to have a part."""
    return RankError(
        f"a batch has {count} sample{'s' * (count != 1)}, and {ranks.size} processes train together, each on a part of "
        "it: choose a larger batch_size, leave a smaller last batch out with drop_last=True, or start fewer processes"
    )


def parts(
    data: Any, feed: Feed, loss: Any, ranks: Ranks, skip: int = 0, empty: bool = False
) -> Generator[RankPart, None, None]:
    """This rank's parts of the batches of an epoch.

    Args:
        data: batches, or what ``sharded`` made of them.
        feed: says which axis counts samples.
        loss: says whether there must be targets, and whether they vary in time.
        ranks: the processes.
        skip: how many batches are done already.
        empty: whether a batch may have fewer samples than there are ranks; ranks without one get no part of it.

    Raises:
        RankError: a batch cannot be divided.
    """
    given = behind(data, loss, skip) if skip else batches(data, loss)
    try:
        if ranks.size == 1:
            yield from (RankPart(*batch) for batch in given)
        elif isinstance(data, Shard):
            for batch, whole in zip(given, islice(data.sizes, skip, None)):
                yield RankPart(batch[0], batch[1], batch[2], ranks.part(whole).start, whole)
        elif not isinstance(data, RankBatches):
            yield from (cut(*batch, feed, loss, ranks, empty) for batch in given)
        elif empty:
            yield from (RankPart(*batch) for batch in given)
        else:
            yield from _joined(given, feed, loss, ranks)
    finally:
        given.close()  # the data may have processes that load ahead


def _joined(given: Iterable[Any], feed: Feed, loss: Any, ranks: Ranks) -> Iterator[RankPart]:
    """The ranks' own batches as parts of one that is as large as all together."""
    batches = iter(given)
    while True:
        error, batch, count = None, None, 0
        try:
            batch = next(batches, None)
            count = 0 if batch is None else int(_array(batch[1]).shape[_target_axis(_array(batch[1]), feed, loss)])
        except Exception as raised:
            error = raised
        counts = [int(row[0]) for row in ranks.meet(error, count)]
        if batch is None:
            return
        yield RankPart(batch[0], batch[1], batch[2], sum(counts[: ranks.rank]), sum(counts), count)


def cut(inputs: Any, targets: Any, lengths: Any, feed: Feed, loss: Any, ranks: Ranks, empty: bool) -> RankPart:
    """This rank's part of a batch; it has no samples if there are fewer than ranks and that may be."""
    inputs, targets = _array(inputs), _array(targets)
    axis = _target_axis(targets, feed, loss)
    whole = int(targets.shape[axis])
    if whole < ranks.size and not empty:
        raise too_small(whole, ranks)
    own, place = ranks.part(whole), _input_axis(inputs, whole, feed)
    return RankPart(
        _slice(inputs, place, own),
        _slice(targets, axis, own),
        None if lengths is None else lengths[own],
        own.start,
        whole,
        own.stop - own.start,
        float(zlib.crc32(to_numpy(targets).tobytes())),
    )


def _array(x: Any) -> Any:
    return x if hasattr(x, "shape") else to_numpy(x)


def _slice(x: Any, axis: int, part: slice) -> Any:
    return x[part] if axis == 0 else x[:, part]


def _target_axis(targets: Any, feed: Feed, loss: Any) -> int:
    """The axis of targets that counts samples."""
    return 1 if varies(loss) and feed.time_axis == 0 and targets.ndim > 1 else 0


def _input_axis(inputs: Any, whole: int, feed: Feed) -> int:
    """The axis of inputs that counts the ``whole`` samples."""
    if feed.num_steps is not None or inputs.ndim < 2:
        axis = 0
    elif feed.encoder is None:  # sequences
        axis = 1 if feed.time_axis % inputs.ndim == 0 else 0
    else:  # an encoder takes samples without time, or sequences
        axis = 0 if inputs.shape[0] == whole or feed.time_axis else 1
        if feed.time_axis == 0 and tuple(inputs.shape[:2]) == (whole, whole):
            raise RankError(
                f"inputs of shape {tuple(inputs.shape)} with {whole} targets: two axes could count the samples, so the "
                "batch cannot be divided; pass num_steps, or batches of another size"
            )
    if inputs.shape[axis] != whole:
        raise RankError(
            f"inputs of shape {tuple(inputs.shape)} have {inputs.shape[axis]} samples along axis {axis}, but there are "
            f"{whole} targets, so the batch cannot be divided"
        )
    return axis


def unequal(ended: Sequence[float]) -> str:
    """Message for ranks that have different batches; ``ended``: for each rank whether it has no more."""
    if any(ended) and not all(ended):
        ranks = ", ".join(str(rank) for rank, end in enumerate(ended) if end)
        return f"rank {ranks} has no more batches, and others have: give each rank as many, e.g. by drop_last=True"
    return (
        "the ranks have different batches, of which each would take its part, so samples would be lost and others come "
        "twice: use spikecore.datasets.Loader, torch's DistributedSampler, or an order that is the same everywhere"
    )

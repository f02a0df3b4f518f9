"""Minibatches from tar archives in the layout of webdataset, for data that are read fastest from front to back."""

from __future__ import annotations

import copy
import glob
import io
import itertools
import os
import tarfile
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from spikecore.arguments import Count, PathLike, Size
from spikecore.datasets.errors import DataError, DataFileError, checked
from spikecore.datasets.stored import reading
from spikecore.samples import permutation
from spikecore.samples.errors import integer

WITHIN = 1  # what an epoch draws besides the order of archives: the order of their samples


class Member(NamedTuple):
    """A sample of an archive: where its files are, by their endings, as (first byte, number of bytes)."""

    path: str
    key: str
    files: Dict[str, Tuple[int, int]]


class Shards:
    """Minibatches (inputs, targets) of the samples in tar archives, as webdataset writes them.

    In each archive, the files of one sample are neighbours and have the same name before the first dot: `0007.npy` and
    `0007.cls`. Each iteration is one epoch. Its order depends only on (seed, epoch): the archives come in a new order,
    and each sample moves by at most `buffer` places. The archives are read from front to back. Before the first epoch,
    the names in them are read.

    When several processes train together, each reads only its part of every batch. Batches are the same with any number
    of processes.

    Args:
        paths: the archives, not compressed, or a pattern with `*` such as "data/train-*.tar", whose matches are sorted
            by name.
        inputs: the ending of the files with inputs: "npy" (an array of NumPy's, the default). All have the same shape.
        targets: the ending of the files with targets: "cls" (a class index as text, the default) or "npy".
        batch_size: number of samples in a batch, ≥ 1; the last batch may be smaller. Default 64.
        buffer: number of samples that may be in memory to be put into another order. 0 keeps the order of the archives
            and of their samples. Default 1000.
        seed: of the order; an integer ≥ 0.
        drop_last: leave out the last batch if it is smaller.

    Raises:
        DataFileError: there is no such archive. While batches are read: an archive is damaged, or lacks a file.
        DataError: the inputs of a batch have different shapes.
    """

    @checked
    def __init__(
        self,
        paths: Union[PathLike, Sequence[PathLike]],
        *,
        inputs: str = "npy",
        targets: str = "cls",
        batch_size: Size = 64,
        buffer: Count = 1000,
        seed: Count = 0,
        drop_last: bool = False,
    ):
        given = [paths] if isinstance(paths, (str, os.PathLike)) else list(paths)
        names = [os.fspath(path) for path in given]
        self.paths: List[str] = [
            path for name in names for path in (sorted(glob.glob(name)) if "*" in name else [name])
        ]
        missing = [path for path in self.paths if not os.path.isfile(path)] if self.paths else names
        if missing or not names:
            raise DataFileError(f"{missing[0] if names else 'paths=[]'}: there is no such archive")
        self.inputs, self.targets, self.batch_size, self.buffer = inputs, targets, batch_size, buffer
        self.seed, self.drop_last = seed, drop_last
        self._epoch, self._shard = 0, (0, 1)
        self._members: Optional[List[List[Member]]] = None

    def __repr__(self) -> str:
        order = f"shuffled in a buffer of {self.buffer} with seed {self.seed}" if self.buffer else "in order"
        part = f", part {self._shard[0]} of {self._shard[1]} of each" if self._shard[1] > 1 else ""
        return f"Shards({len(self.paths)} archives, batches of {self.batch_size}, {order}{part})"

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
        """The number of samples in each batch of an epoch; of a shard, in each batch of all processes together."""
        whole, rest = divmod(sum(map(len, self._archives())), self.batch_size)
        return [self.batch_size] * whole + [rest] * (rest > 0 and not self.drop_last)

    @checked
    def shard(self, rank: Count, size: Size) -> Shards:
        """The part of each batch that one of several processes trains on, as `Loader.shard` gives it.

        Args:
            rank: number of the process, from 0 to size - 1.
            size: number of processes, ≥ 1.
        """
        if rank >= size:
            raise DataError(f"rank={rank}: need a number from 0 to {size - 1}, since size={size}")
        least = min(self.batch_sizes(), default=0)  # archives are looked into once, for all copies
        if least < size:
            raise DataError(
                f"a batch has {least} samples, fewer than the {size} processes: use drop_last=True, "
                "or another batch_size"
            )
        part = copy.copy(self)
        part._shard = (rank, size)
        return part

    def __iter__(self) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
        epoch, (rank, size) = self._epoch, self._shard
        members, order = self._ordered(epoch)
        parts, start = [order[:0]], 0
        for count in self.batch_sizes():
            parts.append(order[start + rank * count // size : start + (rank + 1) * count // size])
            start += count
        own = np.sort(np.concatenate(parts))
        samples = zip(own.tolist(), self._read(members[place] for place in own))
        held: Dict[int, Tuple[Any, Any]] = {}
        for part in parts[1:]:
            while any(place not in held for place in part.tolist()):
                place, held[place] = next(samples)
            yield _batch([held.pop(place) for place in part.tolist()])
        self._epoch = epoch + 1

    def _archives(self) -> List[List[Member]]:
        """The samples of each archive."""
        if self._members is None:
            self._members = [_members(path) for path in self.paths]
        return self._members

    def _ordered(self, epoch: int) -> Tuple[List[Member], np.ndarray]:
        """The samples as an epoch meets them from archive to archive, and their order in its batches."""
        archives = self._archives()
        numbers = permutation(len(archives), self.seed, epoch) if self.buffer else range(len(archives))
        members = [member for number in numbers for member in archives[number]]
        count = len(members)
        if not self.buffer:
            return members, np.arange(count)
        drawn = permutation(count, self.seed, epoch, WITHIN)
        if self.buffer >= count:
            return members, drawn
        return members, np.argsort(np.arange(count) + drawn * (self.buffer / count), kind="stable")

    def _read(self, members: Iterable[Member]) -> Iterator[Tuple[Any, Any]]:
        """Inputs and targets of samples, with one archive open at a time."""
        for path, own in itertools.groupby(members, lambda member: member.path):
            with reading(path), open(path, "rb") as file:
                for member in own:
                    yield _content(file, member, self.inputs), _content(file, member, self.targets)


def _members(path: str) -> List[Member]:
    """The samples of an archive in their order: neighbours with the same name before the first dot."""
    found: List[Member] = []
    with reading(path), tarfile.open(path, "r:") as archive:
        for file in archive:
            key, _, ending = os.path.basename(file.name).partition(".")
            if not (file.isfile() and key and ending):
                continue
            key = os.path.join(os.path.dirname(file.name), key)
            if not found or found[-1].key != key:
                found.append(Member(path, key, {}))
            found[-1].files[ending.lower()] = (file.offset_data, file.size)
    return found


def _content(file: Any, member: Member, ending: str) -> Any:
    where = f"{member.path}, sample {member.key}"
    if ending not in member.files:
        raise DataFileError(f"{where}: no file with the ending {ending}; it has {', '.join(member.files)}")
    first, size = member.files[ending]
    file.seek(first)
    found = file.read(size)
    with reading(f"{where}.{ending}"):
        if len(found) < size:
            raise ValueError(f"the archive ends after {len(found)} of {size} bytes")
        return np.int64(int(found.decode())) if ending == "cls" else np.load(io.BytesIO(found), allow_pickle=False)


def _batch(held: Sequence[Tuple[Any, Any]]) -> Tuple[np.ndarray, np.ndarray]:
    shapes = {one.shape for one, _ in held}
    if len(shapes) > 1:
        raise DataError(f"samples of one batch have different shapes: {sorted(shapes)[:3]}")
    return np.stack([one for one, _ in held]), np.stack([target for _, target in held])

"""Minibatches from tar archives in the layout of webdataset, for data that can only be read from front to back."""

from __future__ import annotations

import glob
import importlib.util
import io
import os
import random
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Tuple, Union

import numpy as np

from spikecore.arguments import Count, PathLike, Size
from spikecore.datasets.errors import DataError, DataFileError, MissingExtraError, checked
from spikecore.datasets.stored import reading
from spikecore.installing import to_install
from spikecore.samples import permutation
from spikecore.samples.errors import integer


class Shards:
    """Minibatches (inputs, targets) of the samples in tar archives, as webdataset writes and reads them.

    In each archive, the files of one sample are neighbours and have the same name before the first dot: `0007.npy` and
    `0007.cls`. Each iteration is one epoch. Its order depends only on (seed, epoch): the archives come in a new order,
    and their samples go through a buffer, from which batches draw at random.

    Args:
        paths: the archives, or a pattern with `*` such as "data/train-*.tar", whose matches are sorted by name.
        inputs: the ending of the files with inputs: "npy" (an array of NumPy's, the default). All have the same shape.
        targets: the ending of the files with targets: "cls" (a class index as text, the default) or "npy".
        batch_size: number of samples in a batch, ≥ 1; the last batch may be smaller. Default 64.
        buffer: number of samples among which a batch draws; they are in memory. 0 keeps the order of the archives and
            of their samples. Default 1000.
        seed: of the order; an integer ≥ 0.
        drop_last: leave out the last batch if it is smaller.

    Raises:
        MissingExtraError: webdataset is not installed.
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
        if importlib.util.find_spec("webdataset") is None:
            raise MissingExtraError(f"Shards need the package webdataset: {to_install('webdataset')}")
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
        self._epoch = 0

    def __repr__(self) -> str:
        order = f"shuffled in a buffer of {self.buffer} with seed {self.seed}" if self.buffer else "in order"
        return f"Shards({len(self.paths)} archives, batches of {self.batch_size}, {order})"

    @property
    def epoch(self) -> int:
        """Number of the epoch that the next iteration runs, from 0. It advances when all batches have been taken."""
        return self._epoch

    def set_epoch(self, epoch: int) -> None:
        """Make the next iteration run this epoch (counted from 0)."""
        self._epoch = integer("epoch", epoch, at_least=0)

    def __iter__(self) -> Iterator[Tuple[np.ndarray, np.ndarray]]:
        epoch, held = self._epoch, []
        for sample in self._samples(epoch):
            held.append((self._content(sample, self.inputs), self._content(sample, self.targets)))
            if len(held) == self.batch_size:
                yield _batch(held)
                held = []
        if held and not self.drop_last:
            yield _batch(held)
        self._epoch = epoch + 1

    def _samples(self, epoch: int) -> Iterator[Dict[str, Any]]:
        """The samples of an epoch, each a dict with the bytes of its files by ending."""
        import webdataset

        order = permutation(len(self.paths), self.seed, epoch) if self.buffer else range(len(self.paths))
        files = webdataset.tariterators.tar_file_expander(_opened(self.paths[i] for i in order))
        samples = webdataset.tariterators.group_by_keys(files)
        if self.buffer:
            draws = random.Random((epoch << 64) + self.seed)
            samples = webdataset.shuffle(self.buffer, initial=self.buffer, rng=draws)(samples)
        with reading(", ".join(self.paths[:3])):
            yield from samples

    def _content(self, sample: Dict[str, Any], ending: str) -> Any:
        where = f"{sample['__url__']}, sample {sample['__key__']}"
        if ending not in sample:
            found = ", ".join(name for name in sample if not name.startswith("__"))
            raise DataFileError(f"{where}: no file with the ending {ending}; it has {found}")
        with reading(f"{where}.{ending}"):
            if ending == "cls":
                return np.int64(int(sample[ending].decode()))
            return np.load(io.BytesIO(sample[ending]), allow_pickle=False)


def _opened(paths: Iterable[str]) -> Iterator[Dict[str, Any]]:
    """The archives as webdataset takes them. By itself it would open addresses and commands as well, and close none."""
    for path in paths:
        with open(path, "rb") as file:
            yield {"url": path, "stream": file}


def _batch(held: Sequence[Tuple[Any, Any]]) -> Tuple[np.ndarray, np.ndarray]:
    shapes = {one.shape for one, _ in held}
    if len(shapes) > 1:
        raise DataError(f"samples of one batch have different shapes: {sorted(shapes)[:3]}")
    return np.stack([one for one, _ in held]), np.stack([target for _, target in held])

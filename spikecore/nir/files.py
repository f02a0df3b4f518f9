"""NIR files, which may come from anywhere: what HDF5 and the package nir make of them stays an error of one kind."""

from __future__ import annotations

import inspect
import io
import os
from functools import lru_cache
from typing import Any, Union

import nir

from spikecore.arguments import PathLike
from spikecore.datasets.errors import DataFileError
from spikecore.datasets.hdf5 import Hdf5Reader
from spikecore.nir.notes import NirError

MOST_BYTES = 1 << 30
Written = Union[nir.NIRGraph, nir.NIRNode, PathLike]  # a graph, a node, or the file of one


def opened(graph: Written, max_bytes: int = MOST_BYTES) -> Any:
    """A graph, from a graph, a node or a file.

    A file goes through a process of its own, which can hang or crash over it, and comes back as a plain copy.

    Raises:
        NirError: something else, or a file that is absent, damaged, too large or no graph.
    """
    if isinstance(graph, (str, os.PathLike)):
        graph = _read(graph, max_bytes)
    if isinstance(graph, nir.NIRGraph):
        return graph
    if isinstance(graph, nir.NIRNode):
        return nir.NIRGraph.from_list(graph)
    raise NirError(f"graph={type(graph).__name__} must be a nir.NIRGraph, a node, or the path of a file")


def _read(path: Any, max_bytes: int) -> Any:
    checks = "type_check" in inspect.signature(nir.read).parameters
    options = {"type_check": False} if checks else {}  # nir infers wrong shapes for some convolutions
    try:
        return nir.read(io.BytesIO(_reader().copy(path, max_bytes)), **options)
    except DataFileError as error:
        raise NirError(str(error)) from None
    except Exception as error:  # whatever nir makes of a file that holds no graph
        raise NirError(f"{path}: not a NIR graph that can be read: {type(error).__name__}: {error}") from error


@lru_cache(maxsize=None)
def _reader() -> Hdf5Reader:
    return Hdf5Reader()

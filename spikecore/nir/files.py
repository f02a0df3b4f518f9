"""Reading of NIR files. Damaged files make HDF5 and the package nir fail in many ways; all become a NirError."""

from __future__ import annotations

import inspect
import io
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, List, Union

import nir

from spikecore.arguments import PathLike
from spikecore.datasets.errors import DataFileError
from spikecore.datasets.hdf5 import Hdf5Reader
from spikecore.nir.notes import NirError

MOST_BYTES = 1 << 30
Written = Union[nir.NIRGraph, nir.NIRNode, PathLike]  # a graph, a node, or the file of one


def opened(graph: Written, max_bytes: int = MOST_BYTES) -> Any:
    """Make a graph from a graph, a node or a file.

    A separate process reads the file and returns a plain copy, because a damaged file can crash or hang HDF5.

    Args:
        graph: a ``nir.NIRGraph``, a node, or the path of a file.
        max_bytes: most bytes of memory that the arrays of a file may take.

    Raises:
        NirError: ``graph`` is something else, or the file is absent, damaged, too large or not a graph.
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
    except Exception as error:  # nir raises errors of many kinds for files without a graph
        raise NirError(f"{path}: not a NIR graph that can be read: {type(error).__name__}: {error}") from error


@lru_cache(maxsize=None)
def _reader() -> Hdf5Reader:
    return Hdf5Reader()


def written(graph: nir.NIRGraph, v_reset: bool = True) -> bytes:
    """The contents of a graph's file.

    Args:
        graph: the graph.
        v_reset: whether neurons have the field ``v_reset``; default True. False: for readers with nir before 1.0.6,
            which do not know it; their neurons reset to 0.

    Raises:
        NirError: a neuron resets to another value than 0, and ``v_reset`` is False.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "net.nir")
        nir.write(file, graph)
        if not v_reset:
            _leave_out_resets(file)
        return file.read_bytes()


def _leave_out_resets(path: Path) -> None:
    import h5py

    with h5py.File(path, "r+") as file:
        fields: List[str] = []
        file.visit(lambda name: fields.append(name) if name.endswith("/v_reset") else None)
        for name in fields:
            if file[name][()].any():
                node = name.rsplit("/", 2)[1]
                raise NirError(f"v_reset=False, but node {node} resets to another value than 0: leave v_reset out")
            del file[name]

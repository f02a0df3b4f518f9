"""Compiled kernels: one generated module per kernel, named by its contents, kept on disk between processes."""

from __future__ import annotations

import atexit
import hashlib
import importlib.util
import os
import pathlib
import shutil
import sys
import tempfile
import time
from functools import lru_cache
from typing import Any, Callable

HEAD = """\
import numpy as np
from numba import njit, prange

F = np.{dtype}
CHUNK = {chunk}


@njit(parallel={parallel}, cache=True, error_model="numpy", nogil=True)
"""
CHUNK = 2048  # rows of at least 4 KB: shorter ones start the prefetcher anew at every step
SLOW = 1.0  # seconds of compilation worth mentioning


def folder() -> pathlib.Path:
    """Where kernels are kept: ``$SPIKECORE_CACHE``, else ``$XDG_CACHE_HOME``/spikecore, else ~/.cache/spikecore.

    Where none of them can be written to, a folder that lasts as long as the process.
    """
    homes = (os.environ.get("SPIKECORE_CACHE"), os.environ.get("XDG_CACHE_HOME"), os.path.expanduser("~/.cache"))
    own, *general = (pathlib.Path(home) if home else None for home in homes)
    for place in (own, *(home / "spikecore" for home in general if home)):
        if place is None:
            continue
        try:
            (place / "kernels").mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(place / "kernels", os.W_OK):
            return place / "kernels"
    return _passing_folder()


@lru_cache(maxsize=None)
def _passing_folder() -> pathlib.Path:
    made = tempfile.mkdtemp(prefix="spikecore-kernels-")
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return pathlib.Path(made)


@lru_cache(maxsize=None)
def build(source: str, name: str, dtype: str, parallel: bool, chunk: int = CHUNK) -> Callable[..., Any]:
    """The function ``name`` of ``source``, compiled by Numba when it is first called."""
    text = HEAD.format(dtype=dtype, chunk=chunk, parallel=parallel) + source
    module = f"spikecore_kernel_{hashlib.blake2b(text.encode(), digest_size=12).hexdigest()}"
    path = folder() / f"{module}.py"
    if not path.exists():
        from spikecore.api.checkpoint import write_atomically

        write_atomically(path, text.encode())
    spec = importlib.util.spec_from_file_location(module, str(path))
    made = importlib.util.module_from_spec(spec)  # type: ignore[arg-type]
    sys.modules[module] = made  # before it runs: cached parallel kernels look their module up by name
    spec.loader.exec_module(made)  # type: ignore[union-attr]
    return _announced(getattr(made, name), name)


def _announced(function: Any, name: str) -> Callable[..., Any]:
    """Say so when a first call takes long because it compiles."""

    def call(*arguments: Any) -> Any:
        known, begun = len(function.overloads), time.perf_counter()
        result = function(*arguments)
        took = time.perf_counter() - begun
        if took > SLOW and len(function.overloads) > known and sys.stderr.isatty():
            print(f"spikecore: compiled a {name} kernel in {took:.1f} s", file=sys.stderr)
        return result

    return call


def use_threads(count: int) -> None:
    """Let kernels called from this Python thread use at most ``count`` threads: as many as torch does, not more."""
    import numba

    most = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(max(1, min(count, most)))

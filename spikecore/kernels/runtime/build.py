"""Compiled kernels: one generated module per kernel, whose machine code is kept on disk between processes."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from functools import lru_cache
from typing import Any, Callable, ContextManager

from spikecore.kernels.runtime.modules import load
from spikecore.kernels.runtime.openmp import turn

HEAD = """\
import numpy as np
from numba import njit, prange
from spikecore.kernels.runtime.launch import call, pointer_to
from spikecore.kernels.runtime.numba_cache import c_function, function

F = np.{dtype}
SIZE = F().itemsize
CHUNK, EVERY = {chunk}, {every}
row = pointer_to("{dtype}")

{exp}

{before}
@{decorator}
{source}"""
# The C library's exponential is a call per element; this one vectorises. Cody and Waite's reduction to |r| <= log(2)/2
# and the polynomial of the Cephes library; relative error 8e-8. 2**n in two factors: n reaches 128, and -150.
EXP32 = """
@njit(error_model="numpy", inline="always")
def power_of_two(n):
    return np.int32((np.int32(n) + np.int32(127)) << np.int32(23)).view(np.float32)


@njit(error_model="numpy", inline="always")
def exp(x):
    n = np.floor(min(max(x, F(-104.0)), F(89.0)) * F(1.44269504) + F(0.5))
    r = min(max(x, F(-104.0)), F(89.0)) - n * F(0.693359375)
    r = r - n * F(-2.12194440e-4)
    y = F(1.9875691500e-4) * r + F(1.3981999507e-3)
    y = y * r + F(8.3334519073e-3)
    y = y * r + F(4.1665795894e-2)
    y = y * r + F(1.6666665459e-1)
    y = y * r + F(5.0000001201e-1)
    y = y * r * r + r + F(1.0)
    half = np.floor(n * F(0.5))
    y = y * power_of_two(half) * power_of_two(n - half)
    return y if x == x else x
"""
EXP = {"float32": EXP32, "float64": "exp = np.exp"}
CHUNK = 2048  # rows of at least 4 KB: shorter ones start the prefetcher anew at every step
EVERY = 32  # steps of a block whose states are computed again: 264 KB for each state of a chunk, L2 has 512 and more
SLOW = 1.0  # seconds of compilation worth mentioning


@lru_cache(maxsize=None)
def build(source: str, name: str, dtype: str, parallel: bool) -> Callable[..., Any]:
    """The function ``name`` of ``source``, a step on arrays, compiled by Numba when it is first called."""
    decorator = f'function(parallel={parallel}, error_model="numpy", nogil=True)'
    function = getattr(load(_text(source, dtype, decorator)), name)
    return _announced(function, name, turn() if parallel else nullcontext())


@lru_cache(maxsize=None)
def build_run(source: str, name: str, dtype: str, every: int = EVERY) -> Callable[..., Any]:
    """The kernel ``name`` of ``source``, a whole run in blocks of ``every`` steps, compiled by Numba."""
    from spikecore.kernels.runtime.launch import Kernel  # needs Numba

    signature = 'c_function("void(intp, intp, CPointer(intp))", error_model="numpy")'
    return Kernel(_c_function(_text(source, dtype, signature, every), name), dtype)


@lru_cache(maxsize=None)
def build_tile(source: str, name: str, dtype: str, count: int) -> Any:
    """A C function of ``count`` addresses and extents that kernels of whole runs call; sums may go in any order."""
    integers = ", ".join(["intp"] * count)
    signature = f'c_function("void({integers})", error_model="numpy", fastmath={{"reassoc", "contract", "nsz"}})'
    return _c_function(_text(source, dtype, signature), name)


@lru_cache(maxsize=None)
def build_by_address(before: str, source: str, name: str, dtype: str, returns: bool = False) -> Any:
    """The function ``name`` of ``source``, of the address of a table; ``before`` are functions that it calls."""
    from spikecore.kernels.runtime.launch import ByAddress  # needs Numba

    signature = f'c_function("{"intp" if returns else "void"}(intp)", error_model="numpy")'
    return ByAddress(_c_function(_text(source, dtype, signature, before=before), name), returns)


def _text(source: str, dtype: str, decorator: str, every: int = EVERY, before: str = "") -> str:
    exp = EXP[dtype].strip()
    return HEAD.format(
        dtype=dtype, chunk=CHUNK, every=every, exp=exp, before=before, decorator=decorator, source=source
    )


def _c_function(text: str, name: str) -> Any:
    from spikecore.kernels.runtime import launch  # needs Numba

    begun = time.perf_counter()
    compiled = getattr(load(text, launch.text()), name)
    if not compiled.cache_hits:
        _announce(name, time.perf_counter() - begun)
    return compiled


def _announced(function: Any, name: str, turn: ContextManager[Any]) -> Callable[..., Any]:
    """Say so when a first call takes long because it compiles; ``turn`` is what it runs in."""

    def call(*arguments: Any) -> Any:
        known, begun = len(function.overloads), time.perf_counter()
        with turn:
            result = function(*arguments)
        if len(function.overloads) > known:
            _announce(name, time.perf_counter() - begun)
        return result

    return call


def _announce(name: str, took: float) -> None:
    if took > SLOW and sys.stderr.isatty():
        print(f"spikecore: compiled a {name} kernel in {took:.1f} s", file=sys.stderr)

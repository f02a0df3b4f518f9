"""Compiled kernels: one generated module per kernel, whose machine code is kept on disk between processes."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext, suppress
from functools import lru_cache
from typing import Dict, Iterable, List, NamedTuple, Optional, Set

from spikecore.kernels.runtime import machine_code, store
from spikecore.kernels.runtime.kernel import ByAddress, Kernel
from spikecore.kernels.runtime.machine_code import CFunction
from spikecore.kernels.runtime.modules import load
from spikecore.progress import at_work, watched

HEAD = """\
import numpy as np
from numba import njit, prange
from spikecore.kernels.runtime.launch import call, float_of_bits, pointer_to
from spikecore.kernels.runtime.numba_cache import c_function, function

F = np.{dtype}
SIZE = F().itemsize
CHUNK, EVERY = {chunk}, {every}
row = pointer_to("{dtype}")


@njit(error_model="numpy", inline="always")
def min(a, b):
    return b if b < a else a


@njit(error_model="numpy", inline="always")
def max(a, b):
    return b if b > a else a


{exp}
{before}

@{decorator}
{source}"""
# The C library's exponential is a call per element; this one vectorises. Cody and Waite's reduction to |r| <= log(2)/2
# and the polynomial of the Cephes library; relative error 8e-8. 2**n in two factors: n reaches 128, and -150.
EXP32 = """
@njit(error_model="numpy", inline="always")
def power_of_two(n):
    return float_of_bits(np.int32((np.int32(n) + np.int32(127)) << np.int32(23)))


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
TYPICAL = 0.5  # seconds that a kernel takes to compile, for the time left while none has been compiled


class KernelRecipe(NamedTuple):
    """The recipe of a C function, from which it is compiled.

    Args:
        text: of the generated module.
        name: of the function in it.
    """

    text: str
    name: str


in_memory: Dict[KernelRecipe, CFunction] = {}  # the C functions of this process
_awaited: Set[KernelRecipe] = set()  # those that somebody who watches waits for
_took: List[float] = []  # seconds of each that was compiled while somebody watched


def recipe_of_run(source: str, name: str, dtype: str, every: int = EVERY, before: str = "") -> KernelRecipe:
    """The recipe of the kernel ``name`` of ``source``, a whole run in blocks of ``every`` steps.

    ``before`` is code that stands before it.
    """
    signature = 'c_function("void(intp, intp, CPointer(intp))", error_model="numpy")'
    return KernelRecipe(_text(source, dtype, signature, every, before), name)


def recipe_of_tile(source: str, name: str, dtype: str, count: int, before: str = "") -> KernelRecipe:
    """The recipe of a C function of ``count`` addresses and extents; sums may go in any order."""
    integers = ", ".join(["intp"] * count)
    signature = f'c_function("void({integers})", error_model="numpy", fastmath={{"reassoc", "contract", "nsz"}})'
    return KernelRecipe(_text(source, dtype, signature, before=before), name)


@lru_cache(maxsize=None)
def build_run(source: str, name: str, dtype: str, every: int = EVERY, before: str = "") -> Kernel:
    """A kernel from its recipe, see ``recipe_of_run``: loaded from disk, or compiled by Numba."""
    return kernel_of(recipe_of_run(source, name, dtype, every, before), dtype)


@lru_cache(maxsize=None)
def build_by_address(before: str, source: str, name: str, dtype: str, returns: bool = False) -> ByAddress:
    """The function ``name`` of ``source``, of the address of a table; ``before`` are functions that it calls."""
    signature = f'c_function("{"intp" if returns else "void"}(intp)", error_model="numpy")'
    return ByAddress(make(KernelRecipe(_text(source, dtype, signature, before=before), name)), returns)


@lru_cache(maxsize=None)
def kernel_of(recipe: KernelRecipe, dtype: str) -> Kernel:
    """The kernel of a recipe."""
    return Kernel(make(recipe), dtype)


def expect(recipes: Iterable[KernelRecipe]) -> None:
    """Say that kernels will be asked for soon, so that those who watch the first are told how many there are."""
    if watched():
        _awaited.update(recipe for recipe in recipes if at_hand(recipe) is None)


def make(recipe: KernelRecipe, quiet: bool = False) -> CFunction:
    """The function of a recipe: from memory, from disk, or compiled.

    Whoever watches the program is told before the first kernel of the process is compiled, while each is compiled, and
    after it; not if ``quiet``.
    """
    made = at_hand(recipe)
    if made is None:
        told = not quiet and watched()
        _awaited.discard(recipe)
        if told:
            store.say(_announcement())
        which = f"kernel {len(_took) + 1} of {len(_took) + 1 + len(_awaited)} ({recipe.name})"
        begun = time.perf_counter()
        with at_work(lambda now: f"spikecore: compiling {which}, {now:.0f} s{_left(now)}") if told else nullcontext():
            made = in_memory[recipe] = _compiled(recipe)
        took = time.perf_counter() - begun
        if told:
            _took.append(took)
            print(f"spikecore: {which} compiled in {took:.1f} s{_left()}", file=sys.stderr)
    return made


def _compiled(recipe: KernelRecipe) -> CFunction:
    """The function of a recipe: by LLVM alone where that is possible, by Numba otherwise."""
    from spikecore.kernels.runtime import compiler

    with suppress(compiler.Unspoken):
        code = compiler.object_of(*recipe)
        with suppress(RuntimeError):  # of the linker: the kernel needs what is not in this process
            return machine_code.keep(entry_of(recipe), recipe.name, code)
    function: CFunction = getattr(load(recipe.text, machine_code.code_around()), recipe.name)
    return function


def _left(seconds: Optional[float] = None) -> str:
    """The estimated time for the kernels that are still needed; one has been compiling for ``seconds``."""
    typical = sum(_took) / len(_took) if _took else TYPICAL
    left = typical * len(_awaited) + (0.0 if seconds is None else max(1.0, typical - seconds))
    return f", about {max(1.0, left):.0f} s left" if left else ""


def at_hand(recipe: KernelRecipe) -> Optional[CFunction]:
    """The function of a recipe from memory or from disk; None where it is to be compiled, which takes a second."""
    made = in_memory.get(recipe)
    if made is None:
        made = machine_code.load(entry_of(recipe))
        if made is not None:
            in_memory[recipe] = made
    return made


def entry_of(recipe: KernelRecipe) -> str:
    """The name under which the function of a recipe is kept on disk."""
    return machine_code.entry(machine_code.module_name(recipe.text, machine_code.code_around()), recipe.name)


def _text(source: str, dtype: str, decorator: str, every: int = EVERY, before: str = "") -> str:
    parts = {"exp": EXP[dtype].strip(), "before": before, "decorator": decorator, "source": source}
    return HEAD.format(dtype=dtype, chunk=CHUNK, every=every, **parts)


def _announcement() -> str:
    place = next(iter(store.places()), None) if store.can_keep() else None
    kept = "they cannot be kept: name a folder in SPIKECORE_CACHE" if place is None else (
        f"they are kept in {place}, and the next run starts at once"
    )  # fmt: skip
    return f"compiling kernels, up to a second each; {kept}. `spikecore warm` compiles common ones beforehand"

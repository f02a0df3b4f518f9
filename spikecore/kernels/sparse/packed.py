"""A sink that packs: spikes leave the kernel of a neuron as bits, 64 to a word.

What it adds to the forward kernel of ``sequence_numba.py``: spikes go to a row of their own, and ``PACK_ROWS`` is
called after each step::

    spikes_0 = spikes + (worker * step_spikes + 0 * chunk) * SIZE
    for t in range(begin, begin + length - 1, 2):
        row_0_out = row(spikes_0)
        call(pack_rows, spikes_0, out + (t + 0) * step_out * SIZE + rows_before * per_row * 8, rows_done,
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Dict, List, Tuple

import numpy as np

from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe, make, recipe_of_tile
from spikecore.kernels.runtime.machine_code import CFunction
from spikecore.kernels.sinks import PAIR, Sink, workers
from spikecore.kernels.sparse.words import WORD, digest

CHUNK = 2048  # neurons at once, about: whole rows
BEFORE = """
from spikecore.kernels.sparse.vectors import mask  # {digest}

words, one = pointer_to("uint64"), np.uint64(1)
"""
PACK_ROWS = """\
def pack_rows(given, into, rows, inner, width):
    whole = inner // 64
    for r in range(rows):
        x, bits = given + r * inner * SIZE, words(into + r * width * 8)
        for w in range(whole):
            bits[w] = mask(row(x + w * 64 * SIZE))
        if whole < width:
            at, word = row(x + whole * 64 * SIZE), np.uint64(0)
            for k in range(inner - whole * 64):
                if at[k] != F(0.0):
                    word |= one << np.uint64(k)
            bits[whole] = word
"""


@dataclass(frozen=True)
class Packed(Sink):
    """Spikes go to memory as bits; each sample's begin with a word of their own."""

    numbers: ClassVar[Tuple[str, ...]] = ("inner", "per_row", "pack_rows")

    def behind(self, back: bool) -> Tuple[str, ...]:
        return ("spikes",)

    def chunk(self, back: bool) -> List[str]:
        places = [f"spikes_{k} = spikes + (worker * step_spikes + {k} * chunk) * SIZE" for k in range(PAIR)]
        return ["rows_done, rows_before = width // inner, lo // inner", *places]

    def spikes(self, array: str, k: int, t: str) -> str:
        return f"row(spikes_{k})"

    def made(self, k: int, t: str) -> List[str]:
        into = f"out + ({t}) * step_out * SIZE + rows_before * per_row * 8"
        return [f"call(pack_rows, spikes_{k}, {into}, rows_done, inner, per_row)"]

    def out_shape(self, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        """Shape of one step's words, as an array of the kernel's type."""
        return shape[0], per_row(shape[1])

    def out(self, shape: Tuple[int, ...], steps: int, dtype: str) -> Any:
        words = allocator.empty((steps, *self.out_shape(shape)), np.uint64)
        return words.view(dtype)

    def chunk_of(self, shape: Tuple[int, ...], back: bool = False, steps: int = 0) -> int:
        return max(1, CHUNK // shape[1]) * shape[1]

    def table(self, shape: Tuple[int, ...], dtype: str, back: bool) -> Tuple[int, ...]:
        return shape[1], per_row(shape[1]), _pack_rows(dtype).address

    def recipes(self, dtype: str, back: bool) -> List[KernelRecipe]:
        return [recipe(dtype)]

    def arrays(self, params: Dict[str, Any], shape: Tuple[int, ...], dtype: str, back: bool) -> List[Any]:
        return [allocator.empty((workers(shape), PAIR * self.chunk_of(shape)), dtype)]


def per_row(inner: int) -> int:
    """Words of a row of neurons."""
    return -(-inner // WORD)


def recipe(dtype: str) -> KernelRecipe:
    """The recipe of the function that packs rows."""
    return recipe_of_tile(PACK_ROWS, "pack_rows", dtype, 5, BEFORE.format(digest=digest()))


@lru_cache(maxsize=None)
def _pack_rows(dtype: str) -> CFunction:
    return make(recipe(dtype))

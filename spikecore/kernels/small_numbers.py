"""Arrays of small whole numbers, such as spikes and sums of them, in one byte each."""

from __future__ import annotations

from array import array
from functools import lru_cache
from typing import Any, Optional

import numpy as np

from spikecore.kernels.elementwise import address_of, workers
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import CHUNK, KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.kernel import Kernel
from spikecore.kernels.runtime.openmp import several

BEFORE = 'bytes_at = pointer_to("uint8")'
SOURCE = """
def to_bytes(worker, workers, table):
    count, others = table[0], bytes_at(table[3])
    chunks = (count + CHUNK - 1) // CHUNK
    for chunk in range(worker * chunks // workers, (worker + 1) * chunks // workers):
        lo = chunk * CHUNK
        width, row_x, out = min(CHUNK, count - lo), row(table[1] + lo * SIZE), bytes_at(table[2] + lo)
        different = np.int32(0)
        for j in range(width):
            whole = np.int32(min(max(row_x[j], F(0.0)), F(255.0)))
            out[j] = np.uint8(whole)
            different |= np.int32(F(whole) != row_x[j])
        if different:
            others[worker] = np.uint8(1)
            return
"""


def to_bytes(x: Any) -> Optional[Any]:
    """The values of an array without gaps as bytes, in the order of its memory; None if they are not all whole numbers
    from 0 to 255. It stops where it finds one that is not.
    """
    out, threads = allocator.empty((x.size,), "uint8"), workers(several(x.size, CHUNK + 1))
    others = np.zeros(threads, np.uint8)
    table = array("q", (x.size, *map(address_of, (x, out, others))))
    _kernel(str(x.dtype)).start(threads, table.buffer_info()[0])
    return None if others.any() else out


@lru_cache(maxsize=None)
def _kernel(dtype: str) -> Kernel:
    return kernel_of(recipe(dtype), dtype)


def recipe(dtype: str) -> KernelRecipe:
    """The recipe of the kernel."""
    return recipe_of_run(SOURCE, "to_bytes", dtype, before=BEFORE)

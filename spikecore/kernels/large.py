"""A sink for runs larger than the cache: what will be read is fetched before, and results go to memory past the cache.

A processor knows what to fetch only after the first lines of a row, and it reads a line of memory before it writes to
it. So a kernel does two things more (``sizes.suited`` says when):

- Before it computes two steps, it asks for the rows of the next two. Chunks are short, so that they fit the cache, too.
- It makes results in the cache, and then writes them to memory as whole lines, which need not be read.

The loops over neurons are the same, and so are the bits. What it adds to the forward kernel of ``sequence_numba.py``::

    made = lines + worker * step_lines * SIZE
    row_0_out = row(made + 0 * chunk * SIZE)
    call(fetch, x + ((t + 2 if t + 2 < steps else 0) * step_x + (lo if t + 2 < steps else lo + chunk)) * SIZE, width, 1)
    call(stream, made + 0 * chunk * SIZE, out + ((t + 0) * step_out + lo) * SIZE, width)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Dict, List, Sequence, Tuple

import numpy as np

from spikecore.kernels.emit import row_code
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe, make, recipe_of_tile
from spikecore.kernels.runtime.machine_code import CFunction
from spikecore.kernels.sinks import PAIR, Sink, workers
from spikecore.kernels.sparse.words import LINE, digest

CHUNK = 768  # neurons at once, a multiple of 16: rows begin where cache lines do
BEFORE = """
from spikecore.kernels.sparse.vectors import ahead, past, settle  # {digest}
"""
# A processor drops requests that come faster than memory takes them. Each of these waits for a multiplication; that
# ``one`` is 1, the compiler does not know.
FETCH = """\
def fetch(place, count, one):
    j = 0
    while j < count:
        ahead(row(place + j * SIZE))
        j = j * one + {line}
"""
# At last a kernel calls it without elements: other threads then see all that was written.
STREAM = """\
def stream(given, out, count):
    for j in range(0, count, {line}):
        past(row(given + j * SIZE), row(out + j * SIZE))
    if count == 0:
        settle()
"""
SOURCES = {"fetch": FETCH, "stream": STREAM}


@dataclass(frozen=True)
class Large(Sink):
    """Spikes, and all else that a kernel writes, go to memory past the cache.

    Args:
        states: the number of the neuron's states.
    """

    states: int

    numbers: ClassVar[Tuple[str, ...]] = ("fetch", "stream")

    def behind(self, back: bool) -> Tuple[str, ...]:
        return ("lines",)

    def chunk(self, back: bool) -> List[str]:
        return ["made = lines + worker * step_lines * SIZE"]

    def spikes(self, array: str, k: int, t: str) -> str:
        return self.row(array, k, t) if array == "out" else row_code(array, t)

    def row(self, array: str, k: int = 0, t: str = "") -> str:
        return row_code(array, t) if array == "x" else f"row({self._made(array, k)})"

    def _made(self, array: str, k: int) -> str:
        """Where a row is made: the first two are outputs or gradients by the input, then come three for each state."""
        kind, _, state = array.partition("_")
        place = PAIR + (PAIR + 1) * int(state) + (kind == "rec") if state else 0
        return f"made + {place + k} * chunk * SIZE"

    def ahead(self, array: str, t: str, lo: str = "lo", rows: int = PAIR) -> List[str]:
        first = f"{array} + (({t}) * step_{array} + ({lo})) * SIZE"
        more = (f" + {k} * step_{array} * SIZE" if k else "" for k in range(rows))
        return [f"call(fetch, {first}{offset}, width, 1)" for offset in more]

    def written(self, arrays: Sequence[str], steps: Sequence[str]) -> List[str]:
        given = [
            (array, k, f"(({t}) * step_{array} + lo)" if t else "lo") for array in arrays for k, t in enumerate(steps)
        ]
        return [f"call(stream, {self._made(array, k)}, {array} + {to} * SIZE, width)" for array, k, to in given]

    def end(self, states: Sequence[str]) -> List[str]:
        last = self.written([f"now_{s}" for s in states], [""])
        return [*(f"    {line}" for line in last), "call(stream, 0, 0, 0)"]  # other threads see what was written

    def chunk_of(self, shape: Tuple[int, ...], back: bool = False, steps: int = 0) -> int:
        return CHUNK

    def table(self, shape: Tuple[int, ...], dtype: str, back: bool) -> Tuple[int, ...]:
        return tuple(_function(name, dtype).address for name in SOURCES)

    def recipes(self, dtype: str, back: bool) -> List[KernelRecipe]:
        return [recipe(name, dtype) for name in SOURCES]

    def arrays(self, params: Dict[str, Any], shape: Tuple[int, ...], dtype: str, back: bool) -> List[Any]:
        return [allocator.empty((workers(shape), (PAIR + (PAIR + 1) * self.states) * CHUNK), dtype)]


def instead_of(sink: Sink, states: Sequence[str]) -> Sink:
    """``Large`` instead of the plain sink."""
    return Large(len(states)) if type(sink) is Sink else sink


def recipe(name: str, dtype: str) -> KernelRecipe:
    """The recipe of one of them."""
    text = SOURCES[name].format(line=LINE // np.dtype(dtype).itemsize)
    return recipe_of_tile(text, name, dtype, 3, BEFORE.format(digest=digest()))


@lru_cache(maxsize=None)
def _function(name: str, dtype: str) -> CFunction:
    return make(recipe(name, dtype))

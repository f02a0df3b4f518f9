"""Maximum pooling of maps whose channels are next to each other in memory, in windows side by side, and the way back.

Of each maximum the number of its place in the window is kept, in one byte. As in torch, the first of several maxima
counts, and NaN is larger than any number.

    for c in range(channels):               the window of one place of the result
        best, which = a0[c], F(0.0)
        v = a1[c]
        which = F(1.0) if v > best or v != v else which
        best = v if v > best or v != v else best
        ...
"""

from __future__ import annotations

from array import array
from functools import lru_cache
from typing import Any, Tuple

from spikecore.kernels.elementwise import address_of, workers
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import CHUNK, KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.kernel import Kernel
from spikecore.kernels.runtime.openmp import several

MOST = 16  # places of a window
LEAST = 8  # channels, for which a loop over them is worth it
BEFORE = 'bytes_at = pointer_to("uint8")'
HEAD = """\
def {name}(worker, workers, table):
    rows, tall, wide, high, width, channels = table[0], table[1], table[2], table[3], table[4], table[5]
    x, y, places = table[6], table[7], table[8]
    line = channels * SIZE
    for r in range(worker * rows // workers, (worker + 1) * rows // workers):
        sample, i = r // tall, r % tall
        top = x + (sample * high + i * {down}) * width * line
"""
MAXIMA = """\
        for j in range(wide):
            first, at = top + j * {across} * line, r * wide + j
            into, place = row(y + at * line), bytes_at(places + at * channels)
            {rows}
            for c in range(channels):
                best, which = a0[c], F(0.0)
                {compared}
                into[c] = best
                place[c] = np.uint8(np.int32(which))
"""
COMPARED = """\
v = a{n}[c]
                above = v > best or v != v
                which = F({n}.0) if above else which
                best = v if above else best"""
BACK = """\
        for j in range(wide):
            first, at = top + j * {across} * line, r * wide + j
            given, place = row(y + at * line), bytes_at(places + at * channels)
            {rows}
            for c in range(channels):
                g, which = given[c], place[c]
                {written}
        for n in range({down}):
            rest = row(top + (n * width + wide * {across}) * line)
            for c in range((width - wide * {across}) * channels):
                rest[c] = F(0.0)
        if i == tall - 1:
            rest = row(top + {down} * width * line)
            for c in range((high - tall * {down}) * width * channels):
                rest[c] = F(0.0)
"""


def fits(channels: int, kernel: Tuple[int, int], dtype: str) -> bool:
    """Whether windows of this size have kernels here."""
    return dtype in ("float32", "float64") and channels >= LEAST and kernel[0] * kernel[1] <= MOST


def maxima(x: Any, kernel: Tuple[int, int]) -> Tuple[Any, Any]:
    """The maxima of x (samples, height, width, channels) in windows, and the place of each in its window, in bytes."""
    samples, high, width, channels = x.shape
    shape = samples, high // kernel[0], width // kernel[1], channels
    y, places = allocator.empty(shape, x.dtype), allocator.empty(shape, "uint8")
    _run("maxima", kernel, x, y, places)
    return y, places


def back(g: Any, places: Any, shape: Tuple[int, ...], kernel: Tuple[int, int]) -> Any:
    """The gradient by x, of this shape, from that by its maxima."""
    x = allocator.empty(shape, g.dtype)
    _run("back", kernel, x, g, places)
    return x


def _run(name: str, kernel: Tuple[int, int], x: Any, y: Any, places: Any) -> None:
    (samples, tall, wide, channels), (high, width) = y.shape, x.shape[1:3]
    table = array("q", (samples * tall, tall, wide, high, width, channels, *map(address_of, (x, y, places))))
    _kernel(name, kernel, str(x.dtype)).start(workers(several(x.size, CHUNK + 1)), table.buffer_info()[0])


@lru_cache(maxsize=None)
def _kernel(name: str, kernel: Tuple[int, int], dtype: str) -> Kernel:
    return kernel_of(recipe(name, kernel, dtype), dtype)


def recipe(name: str, kernel: Tuple[int, int], dtype: str) -> KernelRecipe:
    """The recipe of the kernel "maxima" or "back" for windows of a size."""
    down, across = kernel
    taps = range(down * across)
    rows = [f"a{n} = row(first + ({n // across} * width + {n % across}) * line)" for n in taps]
    between, inner = "\n" + " " * 12, "\n" + " " * 16
    parts = {
        "rows": between.join(rows),
        "compared": inner.join(COMPARED.format(n=n) for n in taps[1:]) or "pass",
        "written": inner.join(f"a{n}[c] = g if which == {n} else F(0.0)" for n in taps),
    }
    source = HEAD + {"maxima": MAXIMA, "back": BACK}[name]
    return recipe_of_run(source.format(name=name, down=down, across=across, **parts), name, dtype, before=BEFORE)

"""Random numbers on a GPU by one kernel: the draws of ``api/core/random.py``, where the arithmetic is explained.

A block of four draws is what a counter gives; ``n`` is its number::

    sample, within = n // blocks + first, n % blocks
    a, b, c, d = tl.philox(key, within.to(tl.uint32), (within >> 32).to(tl.uint32), sample.to(tl.uint32), upper)
    tl.store(out + 4 * n, (a >> 8).to(kind) * unit, n < count)
"""

from __future__ import annotations

import math
from typing import Any, List, Tuple

from spikecore.api.core.random import Layout
from spikecore.kernels.sequence_gpu import GpuSource
from spikecore.kernels.triton import SequenceTriton

DRAW = """\
def draw(out, count, key, first, blocks, BLOCK: tl.constexpr):
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    sample, within = n // blocks + first, n % blocks
    upper = (sample >> 32).to(tl.uint32)
    a, b, c, d = tl.philox(key, within.to(tl.uint32), (within >> 32).to(tl.uint32), sample.to(tl.uint32), upper)
    kind = out.dtype.element_ty
    unit = tl.full((), 1.0 / (1 << 24), kind)
    tl.store(out + 4 * n, (a >> 8).to(kind) * unit, n < count)
    tl.store(out + 4 * n + 1, (b >> 8).to(kind) * unit, n < count)
    tl.store(out + 4 * n + 2, (c >> 8).to(kind) * unit, n < count)
    tl.store(out + 4 * n + 3, (d >> 8).to(kind) * unit, n < count)
"""
KERNEL = GpuSource("draw", DRAW, ("out",), ("count", "key", "first", "blocks"))
FROM_MEMORY = DRAW.replace("draw(out, count, key, first, blocks,", "draw_from(named, out, count, blocks,").replace(
    "    n = ", "    key, first = tl.load(named), tl.load(named + 1)\n    n = ", 1
)
# A draw for each element of an array whose samples lie ``inner`` elements apart: number ``within`` of its sample.
COMPARED = """\
def {name}({arrays}out, count, key, first, samples, inner{more}, BLOCK: tl.constexpr):
    n = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = n < count
    sample, within = (n // inner) % samples + first, n // (inner * samples) * inner + n % inner
    upper, block, lane = (sample >> 32).to(tl.uint32), within // 4, within % 4
    a, b, c, d = tl.philox(key, block.to(tl.uint32), (block >> 32).to(tl.uint32), sample.to(tl.uint32), upper)
    word = tl.where(lane == 0, a, tl.where(lane == 1, b, tl.where(lane == 2, c, d)))
    drawn = (word >> 8).to(tl.float32) * (1.0 / (1 << 24))
    tl.store(out + n, {value}, mask)
"""
BELOW = COMPARED.format(
    name="draw_below",
    arrays="chance, ",
    more=", period",
    value="tl.where(drawn < tl.load(chance + n % period, mask, 0.0), 1.0, 0.0)",
)
MASK = COMPARED.format(name="draw_mask", arrays="", more=", p, scale", value="tl.where(drawn >= p, scale, 0.0)")
LAID = ("count", "key", "first", "samples", "inner")
KERNEL_BELOW = GpuSource("draw_below", BELOW, ("chance", "out"), (*LAID, "period"))
KERNEL_MASK = GpuSource("draw_mask", MASK, ("out",), (*LAID, "p", "scale"))
KERNEL_FROM_MEMORY = GpuSource("draw_from", FROM_MEMORY, ("named", "out"), ("count", "blocks"))


def signed(key: Tuple[int, int]) -> int:
    """The two words of a key as one number of 64 bits, the first one for the sign."""
    low, high = key
    return (high - (1 << 32) if high >> 31 else high) << 32 | low


def draw(out: Any, layout: Layout, key: Tuple[int, int]) -> None:
    """Write all draws of a layout into a tensor (samples * blocks, 4); ``layout`` and ``key`` as for ``fill``."""
    if len(out):
        numbers = [len(out), signed(key), layout.first, layout.blocks]
        SequenceTriton.start(None, KERNEL, [out], numbers, out, len(out))  # type: ignore[arg-type]  # of no neuron


def draw_from(out: Any, layout: Layout, named: Any) -> None:
    """``draw`` with a key and a first sample from memory: two numbers of 64 bits, ``signed(key)`` and the other one."""
    if len(out):
        numbers = [len(out), layout.blocks]
        start = SequenceTriton.start
        start(None, KERNEL_FROM_MEMORY, [named, out], numbers, out, len(out))  # type: ignore[arg-type]  # of no neuron


def draw_below(out: Any, layout: Layout, key: Tuple[int, int], chance: Any) -> None:
    """Write 1 where a draw is below ``chance``, else 0; ``chance`` repeats along the first axes of ``out``."""
    _start(KERNEL_BELOW, [chance, out], layout, key, [chance.numel()])


def draw_mask(out: Any, layout: Layout, key: Tuple[int, int], p: float, scale: float) -> None:
    """Write ``scale`` where a draw is at least ``p``, else 0."""
    _start(KERNEL_MASK, [out], layout, key, [p, scale])


def _start(kernel: GpuSource, arrays: List[Any], layout: Layout, key: Tuple[int, int], more: List[Any]) -> None:
    out, axis = arrays[-1], layout.sample_axis
    inner = out.numel() if axis is None else math.prod(layout.shape[axis + 1 :])
    if out.numel():
        numbers = [out.numel(), signed(key), layout.first, layout.samples, inner, *more]
        SequenceTriton.start(None, kernel, arrays, numbers, out, out.numel())  # type: ignore[arg-type]  # of no neuron

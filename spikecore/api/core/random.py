"""Counter-based random numbers: the same draws on every engine, however a batch is split.

Philox 4x32-10 (Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011) turns a 128-bit counter and a
64-bit key into four 32-bit words. There is no hidden state: draw number p of sample i under a key is a pure function of
(key, i, p), so it depends on neither engine, device, batch size nor order.

    counter = (block low, block high, sample low, sample high)      draw p is word p % 4 of block p // 4
    value   = (word >> 8) * 2**-24                                  in [0, 1), exact in float32
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any, Iterator, Optional, Tuple

from spikecore.arguments import argument_kind

Words = Tuple[Any, Any, Any, Any]

MASK = 0xFFFFFFFF
MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
WEYL = (0x9E3779B9, 0xBB67AE85)
CHUNK = 16384  # blocks per pass: small enough that every temporary array stays in cache


@dataclass(frozen=True)
class Key:
    """Names a stream of random numbers.

    Args:
        path: ints and strings, e.g. ``(seed, "dropout", "2")``; hashed to the generator's key.
        first: number of the batch's first sample within the data. Sample i of the batch gets the draws of sample
            ``first + i``, however the data are split into batches.
        blank: True if only the shapes of initial weights are needed; then nothing is drawn (``layer.shapes_of``).
    """

    path: Tuple[Any, ...]
    first: int = 0
    blank: bool = False

    def child(self, *names: Any) -> Key:
        """The key of a sub-stream, e.g. of a layer or an epoch."""
        return Key((*self.path, *names), self.first, self.blank)


argument_kind(Key, "a Key of spikecore.base")


def stream(path: Any) -> Tuple[int, int]:
    """The generator's two key words for a path of ints and strings, or for a single int.

    Raises:
        TypeError: an entry is neither int nor str.
    """
    path = path if isinstance(path, tuple) else (path,)
    for part in path:
        if not isinstance(part, (int, str)) or isinstance(part, bool):
            raise TypeError(f"random key {path!r}: {part!r} is neither an int nor a str")
    text = "\x1f".join(f"{type(part).__name__}:{part}" for part in path)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest[:4], "little"), int.from_bytes(digest[4:], "little")


def philox(counter: Words, key: Tuple[int, int], signed: bool = False, rounds: int = 10) -> Words:
    """Philox 4x32 on arrays of 64-bit integers that hold 32-bit words.

    A product of two words fills all 64 bits. With ``signed`` integers a right shift copies the sign bit into the upper
    bits; the mask removes them.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        upper = ((second >> 32) & MASK, (first >> 32) & MASK) if signed else (second >> 32, first >> 32)
        c0, c1, c2, c3 = upper[0] ^ (c1 ^ k0), second & MASK, upper[1] ^ (c3 ^ k1), first & MASK
        k0, k1 = (k0 + WEYL[0]) & MASK, (k1 + WEYL[1]) & MASK
    return c0, c1, c2, c3


@dataclass(frozen=True)
class Layout:
    """Distribution of an array of draws over the generator's blocks."""

    samples: int
    size: int  # draws per sample
    first: int
    shape: Tuple[int, ...]
    sample_axis: Optional[int]

    @property
    def blocks(self) -> int:
        """Blocks of four draws per sample."""
        return -(-self.size // 4)

    def chunks(self, length: int = CHUNK) -> Iterator[Tuple[int, int]]:
        """Half-open ranges of ``length`` block numbers that cover the blocks of all samples."""
        total = self.samples * self.blocks
        return ((start, min(start + length, total)) for start in range(0, total, length))


def plan(shape: Tuple[int, ...], sample_axis: Optional[int], first: int) -> Layout:
    """Check the arguments of ``Engine.uniform`` and distribute the draws over blocks.

    Raises:
        ValueError: a size or ``first`` is negative, or ``sample_axis`` is not an axis of ``shape``.
    """
    if any(n < 0 for n in shape) or first < 0:
        raise ValueError(f"uniform: shape={shape} and first={first} must not be negative")
    if sample_axis is None:
        return Layout(1, math.prod(shape), first, shape, None)
    if not -len(shape) <= sample_axis < len(shape):
        raise ValueError(f"uniform: sample_axis={sample_axis} is no axis of shape {shape}")
    axis = sample_axis % len(shape)
    rest = math.prod(n for i, n in enumerate(shape) if i != axis)
    return Layout(shape[axis], rest, first, shape, axis)


def counters(layout: Layout, block: Any) -> Tuple[Any, Any, Any, Any]:
    """The Philox counters of the block numbers in ``block``, an array of 64-bit integers."""
    if layout.samples == 1:
        sample, within = layout.first, block  # a plain int broadcasts
    else:
        sample, within = block // layout.blocks + layout.first, block % layout.blocks
    return within & MASK, within >> 32, sample & MASK, sample >> 32


def fill(out: Any, layout: Layout, key: Tuple[int, int], arange: Any, chunk: int, signed: bool = False) -> None:
    """Write all draws of a layout into ``out`` (samples * blocks, 4).

    Args:
        out: the array to fill.
        layout: from ``plan``.
        key: from ``stream``.
        arange: ``arange(start, stop)`` returns 64-bit integers.
        chunk: blocks per pass; it decides whether the temporary arrays stay in cache.
        signed: whether those integers are signed.
    """
    for start, stop in layout.chunks(chunk):
        for lane, word in enumerate(philox(counters(layout, arange(start, stop)), key, signed)):
            out[start:stop, lane] = word >> 8
    out *= 2.0**-24


def arrange(xp: Any, layout: Layout, draws: Any) -> Any:
    """The draws (samples * blocks, 4) in the shape that the layout was planned for."""
    if layout.sample_axis is None:
        return xp.reshape(xp.reshape(draws, (-1,))[: layout.size], layout.shape)
    axis = layout.sample_axis
    rest = tuple(n for i, n in enumerate(layout.shape) if i != axis)
    rows = xp.reshape(draws, (layout.samples, layout.blocks * 4))[:, : layout.size]
    return xp.permute_dims(
        xp.reshape(rows, (layout.samples, *rest)), (*range(1, axis + 1), 0, *range(axis + 1, len(rest) + 1))
    )

"""Random numbers: Philox 4x32-10 in words of 32 bits, which JAX always has, compiled.

``spikecore.api.core.random`` defines the draws. Here the words of a key and the number of the first sample are
arguments of the compiled code, so that another step, epoch or layer draws other numbers with the same code.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from spikecore.api.core.layer import Key
from spikecore.api.core.random import MASK, MULTIPLIERS, WEYL, Layout, arrange, plan, stream


def halves(number: int) -> Any:
    """A whole number below 2**64 as its low and high word."""
    return np.array([number & MASK, number >> 32], np.uint32)


def draw(xp: Any, key: Any, first: Any, layout: Layout, dtype: str) -> Any:
    """The numbers of a layout.

    Args:
        xp: the engine's words.
        key: the two words of the key, uint32 (2,).
        first: the low and the high word of the first sample's number, uint32 (2,).
        layout: from ``plan``; its own ``first`` is not used.
        dtype: "float32" or "float64".
    """
    return arrange(xp, layout, _drawn(key, first, layout.samples, layout.blocks, dtype))


@functools.partial(jax.jit, static_argnums=(2, 3, 4))
def _drawn(key: Any, first: Any, samples: int, blocks: int, dtype: str) -> Any:
    block = jnp.broadcast_to(jnp.arange(blocks, dtype=jnp.uint32)[None, :], (samples, blocks))
    low = jnp.broadcast_to((first[0] + jnp.arange(samples, dtype=jnp.uint32))[:, None], (samples, blocks))
    high = first[1] + (low < first[0]).astype(jnp.uint32)  # a sum that wraps around carries one
    counter = block, jnp.zeros_like(block), low, high
    lanes = [(word >> 8).astype(dtype) * 2.0**-24 for word in _philox(counter, (key[0], key[1]))]
    return jnp.stack(lanes, axis=-1).reshape(samples * blocks, 4)


def _philox(counter: Any, key: Any) -> Any:
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        (high0, low0), (high2, low2) = _product(c0, MULTIPLIERS[0]), _product(c2, MULTIPLIERS[1])
        c0, c1, c2, c3 = high2 ^ c1 ^ k0, low2, high0 ^ c3 ^ k1, low0
        k0, k1 = k0 + np.uint32(WEYL[0]), k1 + np.uint32(WEYL[1])
    return c0, c1, c2, c3


def _product(a: Any, factor: int) -> Any:
    """The upper and the lower word of a product, by halves of 16 bits, none of whose sums can overflow."""
    lower, upper = np.uint32(factor & 0xFFFF), np.uint32(factor >> 16)
    a_low, a_high = a & 0xFFFF, a >> 16
    middle = a_high * lower + ((a_low * lower) >> 16)
    carry = a_low * upper + (middle & 0xFFFF)
    return a_high * upper + (middle >> 16) + (carry >> 16), a * np.uint32(factor)


# ---- draws of a compiled step --------------------------------------------------------------------------------------

#: The key with which a step is traced. Its draws are known by what follows it in their paths.
TRACED = Key(("spikecore-jax traces",), first=2**62)


@dataclass
class Draws:
    """The draws of a traced step: which there are, and the words for each.

    Args:
        paths: what names each draw behind the step's key; a first trace finds them.
        keys: the words of each draw's key, (draws, 2), while the step itself is traced.
        first: the words of the first sample's number.
    """

    paths: list[Any] = field(default_factory=list)
    keys: Any = None
    first: Any = None

    def words(self, path: Any, first: int) -> Any:
        """The words of a draw's key, and of its first sample's number."""
        path = path if isinstance(path, tuple) else (path,)
        start = halves(first) if self.first is None or first != TRACED.first else self.first
        if path[: len(TRACED.path)] != TRACED.path:  # a draw that is the same in each step
            return np.array(stream(path), np.uint32), start
        rest = path[len(TRACED.path) :]
        if self.keys is None:
            self.paths.append(rest)
            return np.zeros(2, np.uint32), start
        return self.keys[self.paths.index(rest)], start

    def given(self, key: Key | None) -> Any:
        """What a step with this key passes for ``keys`` and ``first``."""
        rows = [] if key is None else [stream((*key.path, *rest)) for rest in self.paths]
        return np.array(rows, np.uint32).reshape(-1, 2), halves(0 if key is None else key.first)


def layout_of(shape: Any, sample_axis: Any, first: int) -> Layout:
    """The layout of draws, after the checks of ``plan``."""
    layout = plan(tuple(shape), sample_axis, first)
    if layout.blocks > MASK:
        raise ValueError(f"uniform: shape={tuple(shape)} needs more than 2**34 draws per sample")
    return replace(layout, first=0)

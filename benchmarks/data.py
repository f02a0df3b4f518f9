"""Inputs and initial weights.

Those of networks are multiples of 2^-8 and 2^-12. With such coarse values every matrix product is exact in float32, in
whatever order a library sums it. Differences between two sides are therefore due to the neuron, not to the BLAS.
"""

from __future__ import annotations

import math
from typing import Any, Dict, Tuple

import numpy as np


def rng(seed: int = 0) -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(seed)


def grid(generator: np.random.Generator, shape: Any, low: float, high: float, bits: int) -> np.ndarray:
    """Float32 values in [low, high), multiples of 2^-bits."""
    scale = 2**bits
    return (generator.integers(round(low * scale), max(round(high * scale), 1), shape) / scale).astype("float32")


def images(generator: np.random.Generator, shape: Tuple[int, ...]) -> np.ndarray:
    """Grey values in [0, 1)."""
    return grid(generator, shape, 0.0, 1.0, 8)


def affine(generator: np.random.Generator, shape: Tuple[int, ...], gain: float = 1.0) -> Dict[str, np.ndarray]:
    """Weight of ``shape`` (out, in, ...) and bias, uniform in +-gain/sqrt(fan in) as torch draws them."""
    bound = gain / math.sqrt(math.prod(shape[1:]))
    return {"weight": grid(generator, shape, -bound, bound, 12), "bias": grid(generator, shape[:1], -bound, bound, 12)}


def network_weights(generator: np.random.Generator, **shapes: Tuple[int, ...]) -> Dict[str, np.ndarray]:
    """{"0.weight": ..., "0.bias": ...} for layers named l0=, l2=, ..."""
    return {
        f"{name[1:]}.{part}": values
        for name, shape in shapes.items()
        for part, values in affine(generator, shape).items()
    }

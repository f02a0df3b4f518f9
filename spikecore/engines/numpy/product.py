"""Products of NumPy arrays. Large ones lie in memory that kernels keep, see ``kernels/runtime/allocator.py``."""

from __future__ import annotations

import math
from typing import Any, Tuple

import numpy as np

from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.blas import multiply


def shifted(y: Any, bias: Any) -> Any:
    """Products with the bias added, if there is one; they are nobody else's."""
    if bias is not None:
        y += bias
    return y


def matmul(a: Any, b: Any) -> Any:
    """The product a @ b. For a large result, fresh memory would cost as much as the product."""
    shape = _shape(a, b)
    if math.prod(shape) * a.dtype.itemsize < allocator.LEAST or a.dtype != b.dtype:
        return a @ b
    out = allocator.empty(shape, a.dtype)
    multiply(a, b, out)
    return out


def _shape(a: Any, b: Any) -> Tuple[int, ...]:
    """The shape of the product of two matrices, or of two stacks of them; (), they are something else."""
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        return ()
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])

"""Products of NumPy arrays. Large results are in memory that is used again, see ``kernels/runtime/allocator.py``."""

from __future__ import annotations

import math
from typing import Any, Tuple

import numpy as np

from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.blas import multiply
from spikecore.kernels.sparse import product as sparse


def shifted(y: Any, bias: Any) -> Any:
    """Add the bias, if there is one, to the product ``y`` in place; ``y`` must not be used elsewhere."""
    if bias is not None:
        y += bias
    return y


def sparse_matmul(a: Any, b: Any) -> Any:
    """The product a @ b, by lists if an operand is spikes or a pruned weight and this is faster."""
    matrices = a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0] and a.dtype == b.dtype
    if matrices and a.size * b.shape[1] >= sparse.LEAST:
        from spikecore.kernels.sparse.weights import times_pruned, times_spikes  # small products do not need them

        left = sparse.spikes_of(a, b.shape[1])
        if left is not None:
            return times_spikes(left, a, b)
        by_entries = times_pruned(a, b)
        if by_entries is not None:
            return by_entries
        right = sparse.spikes_of(b, a.shape[0], transposed=True)
        if right is not None:
            return np.ascontiguousarray(right.transposed_times(a.T).T)
    return matmul(a, b)


def matmul(a: Any, b: Any) -> Any:
    """The product a @ b. A large result gets memory that is used again: new memory costs as much as the product."""
    shape = _shape(a, b)
    if math.prod(shape) * a.dtype.itemsize < allocator.LEAST or a.dtype != b.dtype:
        return a @ b
    out = allocator.empty(shape, a.dtype)
    multiply(a, b, out)
    return out


def _shape(a: Any, b: Any) -> Tuple[int, ...]:
    """The shape of the product of two matrices or stacks of matrices; () for other operands."""
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
        return ()
    return (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])

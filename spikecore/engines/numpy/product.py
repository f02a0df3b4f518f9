"""Products of NumPy arrays; large ones lie in memory that kernels keep, see ``kernels/memory.py``."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikecore.kernels import memory


def shifted(y: Any, bias: Any) -> Any:
    """Products with the bias added, if there is one; they are nobody else's."""
    if bias is not None:
        y += bias
    return y


def matmul(a: Any, b: Any) -> Any:
    """The product a @ b. For a large result, fresh memory would cost as much as the product."""
    if a.ndim == b.ndim == 2 and a.dtype == b.dtype and a.shape[0] * b.shape[1] * a.dtype.itemsize >= memory.LEAST:
        return np.matmul(a, b, out=memory.empty((a.shape[0], b.shape[1]), a.dtype))
    return a @ b

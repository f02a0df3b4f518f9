"""Tensors in the memory that kernels keep (``kernels/memory.py``)."""

from __future__ import annotations

from typing import Any, Tuple

import torch

from spikecore.kernels import memory


def fresh(shape: Tuple[int, ...], dtype: Any) -> Any:
    """A tensor on the CPU with undefined values; ``dtype`` is one that NumPy has, too."""
    return torch.from_numpy(memory.empty(tuple(shape), str(dtype).rsplit(".", 1)[-1]))

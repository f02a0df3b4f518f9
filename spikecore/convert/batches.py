"""Batches of data of any kind as tensors: those of torch's and our loaders, and arrays."""

from __future__ import annotations

from typing import Any, Iterable, Tuple

import torch

from spikecore.arguments import is_array, shown
from spikecore.convert.errors import ConversionError


def batches_of(data: Any) -> Iterable[Any]:
    """The batches of ``data``; an array is a single one."""
    return [data] if hasattr(data, "shape") else data


def parts_of(batch: Any) -> Tuple[Any, Any]:
    """The inputs of a batch, and its labels or None."""
    if isinstance(batch, (tuple, list)) and len(batch) and hasattr(batch[0], "shape"):
        return batch[0], batch[1] if len(batch) > 1 else None
    return batch, None


def placed(batch: Any, like: torch.Tensor) -> torch.Tensor:
    """The inputs of a batch on the device and in the dtype of ``like``.

    Raises:
        ConversionError: it is no batch of inputs, or they hold NaN or infinity.
    """
    inputs, _ = parts_of(batch)
    if not is_array(inputs) or not getattr(inputs, "shape", ()) or inputs.shape[0] == 0:
        raise ConversionError(
            f"data: {shown(batch)} is no batch; give arrays (batch, *features), or pairs (inputs, labels) of arrays"
        )
    found = torch.as_tensor(inputs).to(device=like.device, dtype=like.dtype)
    if not bool(torch.isfinite(found).all()):
        raise ConversionError("data: inputs hold NaN or infinity, from which no threshold can be found")
    return found

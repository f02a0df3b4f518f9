"""Batches of data of any kind as tensors: those of torch's and our loaders, and arrays."""

from __future__ import annotations

from typing import Any, Iterable, Tuple

import torch

from spikecore.arguments import is_array, shown
from spikecore.convert.errors import ConversionError
from spikecore.samples import Dataset, Samples


def batches_of(data: Any) -> Iterable[Any]:
    """The batches of ``data``; an array, or a pair (inputs, labels) of arrays, is a single one.

    Raises:
        ConversionError: it gives samples one by one.
    """
    if isinstance(data, (Dataset, Samples, torch.utils.data.Dataset)):
        raise ConversionError(
            f"data: {shown(data)} gives samples, not batches; wrap it: spikecore.datasets.Loader(data, batch_size=100) "
            "or torch.utils.data.DataLoader(data, batch_size=100)"
        )
    pair = isinstance(data, (tuple, list)) and len(data) == 2 and all(hasattr(part, "shape") for part in data)
    one = hasattr(data, "shape") or (pair and len(data[1].shape) == 1)  # no batch of inputs has one axis
    return [data] if one else data


def parts_of(batch: Any) -> Tuple[Any, Any]:
    """The inputs of a batch, and its labels or None.

    Raises:
        ConversionError: it is a sample with its label.
    """
    if not isinstance(batch, (tuple, list)) or not batch or not hasattr(batch[0], "shape"):
        return batch, None
    labels = batch[1] if len(batch) > 1 else None
    if labels is not None and not getattr(labels, "ndim", hasattr(labels, "__len__")):
        raise ConversionError(
            f"data: one label, {shown(labels)}, stands beside inputs of shape {tuple(batch[0].shape)}: these are "
            "samples, not batches; wrap them in a torch DataLoader, or give arrays (inputs, labels) of all samples"
        )
    return batch[0], labels


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

"""Convolutions against the kernels, strides and sizes of maps that a chip allows."""

from __future__ import annotations

from typing import Any, List

from spikecore.hardware.chip import Chip
from spikecore.hardware.needs import LayerDemand
from spikecore.hardware.report import Objection


def map_objections(chip: Chip, need: LayerDemand) -> List[Objection]:
    """A chip's objections to a convolution; limits that are not known are not checked."""
    layer: Any = need.layer
    sizes = {
        "kernel_size": (layer.kernel_size, "Use smaller kernels, several in a row for a large field of view"),
        "padding": (layer.padding, "Pad less"),
        "channels": ((layer.out_channels,), "Use fewer channels"),
        "input_size": (need.shape[1:], "Pool or crop the input"),
        "output_size": (need.out[1:], "Use a larger stride, or pool before"),
    }
    found = []
    for name, (values, remedy) in sizes.items():
        limit = chip.limit(name)
        if limit is not None and max(values) > limit:
            reason = f"it is {max(values)}, the chip allows {limit}"
            found.append(Objection(need.name, name.replace("_", " "), reason, remedy))
    allowed = chip.limit("strides")
    if allowed is not None and any(one not in allowed for one in layer.stride):
        reason = f"it is {layer.stride}, the chip allows {', '.join(map(str, allowed))}"
        found.append(Objection(need.name, "stride", reason, f"Use one of {', '.join(map(str, allowed))}"))
    return found

"""Random numbers on a device: by one kernel, or step by step where there is none."""

from __future__ import annotations

from typing import Any, Tuple

import torch

from spikecore.api.core.random import Layout, fill
from spikecore.engines.torch.modes import compiling, transformed

CHUNK = 1 << 22  # blocks per pass


def draw(out: Any, layout: Layout, key: Tuple[int, int], by_kernel: bool) -> None:
    """Write all draws of a layout into a tensor; ``by_kernel``: by a kernel if there can be one."""
    if by_kernel and can_draw(out):
        from spikecore.kernels.draws import draw

        draw(out, layout, key)
    else:
        fill(out, layout, key, lambda a, b: torch.arange(a, b, device=out.device), CHUNK, signed=True)


def can_draw(out: Any) -> bool:
    """Whether there is a kernel for this tensor."""
    if not out.is_cuda or compiling() or transformed():
        return False
    from spikecore.kernels.triton import SequenceTriton

    return not SequenceTriton.missing()

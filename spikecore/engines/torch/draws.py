"""Random numbers on a device: by one kernel, or step by step where there is none."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import torch

from spikecore.api.core.extras import ComparedDraws
from spikecore.api.core.random import Layout, fill, plan, stream
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


class TorchComparedDraws(ComparedDraws):
    """Draws and what they decide by one kernel, on CUDA in float32."""

    instead_of = ("uniform",)

    def spikes(
        self, engine: Any, key: Any, shape: Tuple[int, ...], chance: Any, sample_axis: Optional[int], first: int
    ) -> Any:
        own = tuple(chance.shape)
        if not by_one_kernel(engine) or chance.dtype != torch.float32 or own != shape[len(shape) - len(own) :]:
            return super().spikes(engine, key, shape, chance, sample_axis, first)
        from spikecore.kernels.draws import draw_below

        out = torch.empty(shape, dtype=torch.float32, device=engine.device)
        draw_below(out, plan(shape, sample_axis, first), stream(key), chance.detach().contiguous())
        return out

    def mask(self, engine: Any, key: Any, shape: Tuple[int, ...], p: float, first: int) -> Any:
        if not by_one_kernel(engine):
            return super().mask(engine, key, shape, p, first)
        from spikecore.kernels.draws import draw_mask

        out = torch.empty(shape, dtype=torch.float32, device=engine.device)
        draw_mask(out, plan(shape, 0, first), stream(key), p, 1.0 / (1.0 - p))
        return out


def by_one_kernel(engine: Any) -> bool:
    """Whether draws of this engine are compared where they are made. A graph that is recorded reads their names from
    memory, by a ``uniform`` of its own.
    """
    if engine.fused is False or engine.dtype != "float32" or "uniform" in vars(engine):
        return False
    return can_draw(torch.empty(0, device=engine.device))

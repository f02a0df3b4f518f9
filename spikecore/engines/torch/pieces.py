"""Maps in pieces and together again, in memory that is used again; torch's own functions would ask for fresh memory."""

from __future__ import annotations

from typing import Any, List, Sequence, Tuple

import numpy as np
import torch

from spikecore.engines.torch.memory import KEPT, fresh
from spikecore.engines.torch.modes import has_data, in_batches, transformed


def split(x: Any, count: int) -> Sequence[Any]:
    """Pieces of ``count`` entries along the first axis, and one for the rest."""
    parts = x.split(count)
    return Split.apply(x, parts) if _ours(parts) and torch.is_grad_enabled() and x.requires_grad else parts


def joined(parts: List[Any]) -> Any:
    """Pieces one behind the other."""
    return Join.apply(*parts) if _ours(parts) else torch.cat(parts)


class Split(torch.autograd.Function):
    """Pieces of a tensor, which are given; their gradients are joined."""

    @staticmethod
    def forward(ctx: Any, x: Any, parts: Any) -> Any:
        return tuple(parts)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        own = _ours(grads) and not (torch.is_grad_enabled() or any(map(in_batches, grads)))
        return _one_behind_the_other(grads) if own else torch.cat(grads), None


class Join(torch.autograd.Function):
    """Pieces one behind the other; their gradients are pieces of the whole one."""

    @staticmethod
    def forward(ctx: Any, *parts: Any) -> Any:
        ctx.sizes = [len(part) for part in parts]
        return _one_behind_the_other(parts)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g.split(ctx.sizes)


def _ours(parts: Sequence[Any]) -> bool:
    """Whether pieces are plain tensors of one type, on the CPU, that torch does nothing with but differentiate them."""
    alike = all(has_data(x) and x.is_cpu and x.dtype == parts[0].dtype and not x.is_neg() for x in parts)
    return alike and parts[0].dtype in KEPT and not transformed()


def _one_behind_the_other(parts: Sequence[Any]) -> Any:
    shape: Tuple[int, ...] = (sum(map(len, parts)), *parts[0].shape[1:])
    if parts[0].ndim == 4 and all(part.is_contiguous(memory_format=torch.channels_last) for part in parts):
        count, channels, *space = shape
        room = fresh((count, *space, channels), parts[0].dtype).numpy()
        whole = torch.from_numpy(np.moveaxis(room, -1, 1))  # no view of torch's: it may be edited
        return torch.cat(list(parts), out=whole)
    return torch.cat(list(parts), out=fresh(shape, parts[0].dtype))

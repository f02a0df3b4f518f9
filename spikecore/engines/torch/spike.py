"""The spike and its surrogate gradient for autograd."""

from __future__ import annotations

from typing import Any

import torch


class SpikeFunction(torch.autograd.Function):
    """Theta(u) forward; backward the surrogate's derivative, in the words of ``xp``."""

    @staticmethod
    def forward(ctx: Any, u: Any, surrogate: Any, xp: Any) -> Any:
        ctx.save_for_backward(u)
        ctx.surrogate, ctx.xp = surrogate, xp
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (u,) = ctx.saved_tensors
        return g * ctx.surrogate.derivative(ctx.xp, u), None, None

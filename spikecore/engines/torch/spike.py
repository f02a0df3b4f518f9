"""The spike and its surrogate gradient for autograd, for ``torch.func`` and for forward mode."""

from __future__ import annotations

from typing import Any, Tuple

import torch

from spikecore.engines.torch.modes import compiling, transformed


class SpikeFunction(torch.autograd.Function):
    """Theta(u), which is 1 where u > 0, forward; the surrogate's derivative, computed with ``xp``, backward."""

    @staticmethod
    def forward(ctx: Any, u: Any, surrogate: Any, xp: Any) -> Any:
        ctx.save_for_backward(u)
        ctx.surrogate, ctx.xp = surrogate, xp
        return (u > 0).to(u.dtype)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (u,) = ctx.saved_tensors
        return ctx.surrogate.backward(ctx.xp, u, g), None, None


class TransformedSpike(torch.autograd.Function):
    """The spike in the form that ``torch.func`` and forward mode need; it is slower than ``SpikeFunction``."""

    generate_vmap_rule = True

    @staticmethod
    def forward(u: Any, surrogate: Any, xp: Any) -> Any:
        return (u > 0).to(u.dtype)

    @staticmethod
    def setup_context(ctx: Any, inputs: Tuple[Any, ...], output: Any) -> None:
        u, ctx.surrogate, ctx.xp = inputs
        ctx.save_for_backward(u)
        ctx.save_for_forward(u)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return SpikeFunction.backward(ctx, g)

    @staticmethod
    def jvp(ctx: Any, tangent: Any, *_: Any) -> Any:
        (u,) = ctx.saved_tensors
        return tangent * ctx.surrogate.derivative(ctx.xp, u)  # a neuron depends on its own potential only


def spike(u: Any, surrogate: Any, xp: Any) -> Any:
    """Spikes of potentials u relative to the threshold: 1 where u > 0, with the surrogate's derivative."""
    if transformed():
        return TransformedSpike.apply(u, surrogate, xp)
    if (u.requires_grad and torch.is_grad_enabled()) or compiling() or torch.jit.is_tracing():
        return SpikeFunction.apply(u, surrogate, xp)
    return (u > 0).to(u.dtype)  # an autograd function takes long

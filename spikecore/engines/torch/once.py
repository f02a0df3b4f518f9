"""What can be differentiated once only says so when somebody differentiates it twice."""

from __future__ import annotations

from typing import Any

import torch


class Once(torch.autograd.Function):
    """First derivatives, which have none."""

    @staticmethod
    def forward(ctx: Any, *tensors: Any) -> Any:
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            "fused kernels have no second derivative; get_engine('torch', fused=False), or snn.run(..., fused=False), "
            "differentiates the loop twice"
        )


def once(x: Any) -> Any:
    """A first derivative whose own is an error: what that would need was not kept."""
    return Once.apply(x, torch.empty(0, requires_grad=True))[0]

"""Matrix products whose backward pass lets go of the left operand before the gradient by it is made.

autograd's node for a @ b computes both gradients and then frees what it saved; a sequence of spikes and the gradient by
it, equally large, are alive together. Here they are two nodes: the first to run backwards, ``ByRight``, gives the
gradient by b and frees a; the second, ``ByLeft``, needs b alone. On the CPU results lie in memory that is used again.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F

from spikecore.engines.torch.memory import KEPT, fresh
from spikecore.engines.torch.modes import casting, read_by_dynamo, transformed
from spikecore.engines.torch.threads import mkl_threads
from spikecore.kernels.runtime.blas import PART

LARGE = 1 << 20  # elements of a from which on it matters


def multiply(a: Any, b: Any, out: Any) -> None:
    """Write the product a @ b of matrices to ``out``, on one thread if it is small, see ``kernels/runtime/blas.py``."""
    limit = mkl_threads() if out.numel() * a.shape[1] < 2 * PART else None
    if limit is None:
        torch.mm(a, b, out=out)
        return
    before = limit(1)
    try:
        torch.mm(a, b, out=out)
    finally:
        limit(before)


def matmul(a: Any, b: Any) -> Any:
    """The product a @ b of tensors."""
    if not _matters(a, b):
        return torch.matmul(a, b)
    return ByRight.apply(ByLeft.apply(a, b, None), a, b)


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """Give x W^T + b for x (rows, features)."""
    across = weight.t()
    if not _matters(x, across):
        return F.linear(x, weight, bias)
    return ByRight.apply(ByLeft.apply(x, across, bias), x, across)


def call_linear(module: Any, x: Any) -> Any:
    """What a Linear makes of x (..., features)."""
    flat = x.reshape(-1, x.shape[-1])
    if not own_forward(module) or not _matters(flat, module.weight.t()):
        return module(x)
    return linear(flat, module.weight, module.bias).reshape(*x.shape[:-1], module.out_features)


def own_forward(module: Any) -> bool:
    """Whether a module does what its class says."""
    return type(module) is torch.nn.Linear and "forward" not in vars(module)


def _matters(a: Any, b: Any) -> bool:
    if not (a.ndim == b.ndim == 2 and a.numel() >= LARGE and a.requires_grad and b.requires_grad):
        return False
    plain = type(a) is torch.Tensor and not (torch.jit.is_tracing() or read_by_dynamo() or transformed())
    return plain and torch.is_grad_enabled() and not casting(a.device.type)


def _multiplied(a: Any, b: Any) -> Any:
    return a @ b if torch.is_grad_enabled() else torch.mm(a, b, out=_room(a, b))


def _room(a: Any, b: Any) -> Any:
    """Where the product of two matrices may lie; None leaves it to torch."""
    return fresh((a.shape[0], b.shape[1]), a.dtype) if a.device.type == "cpu" and a.dtype in KEPT else None


class ByLeft(torch.autograd.Function):
    """The product plus a bias, if any; differentiated by all but its right operand."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any, bias: Any) -> Any:
        ctx.save_for_backward(b)
        return _multiplied(a, b) if bias is None else torch.addmm(bias, a, b, out=_room(a, b))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (b,) = ctx.saved_tensors
        return _multiplied(g, b.T), None, g.sum(0) if ctx.needs_input_grad[2] else None


class ByRight(torch.autograd.Function):
    """A product that is given, differentiated by its right operand only."""

    @staticmethod
    def forward(ctx: Any, product: Any, a: Any, b: Any) -> Any:
        ctx.save_for_backward(a)
        ctx.by_columns = b.stride(0) == 1 and b.stride(1) == b.shape[0]  # a transposed weight
        ctx.mark_dirty(product)  # the same tensor, which may be edited in place, as a view may not
        return product

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (a,) = ctx.saved_tensors
        return g, None, (g.T @ a).T if ctx.by_columns else a.T @ g  # lies as b does, as autograd's would

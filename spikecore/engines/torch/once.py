"""Functions that can be differentiated once only, and raise at the second derivative, or where gradients are many."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

import torch

from spikecore.engines.torch.modes import in_batches


class FirstOrder(torch.autograd.Function):
    """The identity on first derivatives; its own derivative raises, since kernels have no second one."""

    @staticmethod
    def forward(ctx: Any, *tensors: Any) -> Any:
        return tuple(x.view_as(x) for x in tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError(
            "fused kernels have no second derivative; get_engine('torch', fused=False), or snn.run(..., fused=False), "
            "differentiates the loop twice"
        )


def one_gradient(grads: Sequence[Any]) -> None:
    """Refuse gradients, some of them None, that are many at once.

    Raises:
        RuntimeError: each stands for several.
    """
    if any(g is not None and in_batches(g) for g in grads):
        raise RuntimeError("fused kernels give one gradient at a time, so no is_grads_batched; or take fused=False")


def all_first_order(results: Sequence[Any], operands: Sequence[Any]) -> Tuple[Any, ...]:
    """Mark first derivatives as having no second derivative, and return them. Both arguments may contain None.

    Args:
        results: the derivatives.
        operands: all tensors that they depend on: by one that is missing here, the second derivative is silently none.
    """
    if not torch.is_grad_enabled():  # no second derivative can be asked for
        return tuple(results)
    given = [x for x in results if x is not None]
    marked = iter(FirstOrder.apply(*given, *(x for x in operands if x is not None)))
    return tuple(None if x is None else next(marked) for x in results)


def way_to(x: Any) -> Any:
    """A tensor without elements that leads autograd to x, and holds nothing of its memory."""
    with torch.enable_grad():
        return x[:0].clone()


def first_order(x: Any, way: Any) -> Any:
    """A first derivative that raises if it is differentiated again: a tensor for that, to which there is a way from
    ``way_to``, was not kept.
    """
    return FirstOrder.apply(x, way)[0]

"""Functions that can be differentiated once only, and raise at the second derivative."""

from __future__ import annotations

from typing import Any, Sequence, Tuple

import torch


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


def first_order(x: Any) -> Any:
    """A first derivative that raises if it is differentiated again: the tensors for that were not kept."""
    return FirstOrder.apply(x, torch.empty(0, requires_grad=True))[0]

"""The silent traps of PopTorch, made real on the CPU: within ``device_rules`` torch does what the device would do.

The custom backward of an ``autograd.Function`` is dropped, ``detach_`` and ``no_grad`` stop no gradient, gradient hooks
do not run. What is lost of buffers is restored by the executor afterwards.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, List, Tuple

import torch
from torch.overrides import TorchFunctionMode

LOSSES = (
    "mse_loss nll_loss cross_entropy binary_cross_entropy binary_cross_entropy_with_logits kl_div l1_loss "
    "smooth_l1_loss poisson_nll_loss hinge_embedding_loss margin_ranking_loss soft_margin_loss triplet_margin_loss "
    "cosine_embedding_loss ctc_loss"
).split()


@contextlib.contextmanager
def replaced(*changes: Tuple[Any, str, Any]) -> Iterator[None]:
    """Exchange attributes (owner, name, value) for a while."""
    missing = object()
    before = [(owner, name, owner.__dict__.get(name, missing)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            delattr(owner, name) if value is missing else setattr(owner, name, value)


class LossWatch(TorchFunctionMode):
    """Notes what torch's own losses return, outermost calls only."""

    def __init__(self, losses: List[Any]) -> None:
        super().__init__()
        self.losses = losses

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = function(*args, **(kwargs or {}))
        if getattr(function, "__name__", "") in LOSSES and isinstance(found, torch.Tensor):
            self.losses.append(found)
        return found


class _Context:
    """What an ``autograd.Function`` gets for its forward."""

    needs_input_grad: Tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Without effect."""

    mark_dirty = set_materialize_grads = mark_non_differentiable


def _inlined(cls: Any, *args: Any, **kwargs: Any) -> Any:
    """Only the forward of an ``autograd.Function``, and what autograd makes of its ops."""
    if getattr(cls, "setup_context", None) is not torch.autograd.Function.setup_context:
        return cls.forward(*args, **kwargs)
    return cls.forward(_Context(), *args, **kwargs)


class _Handle:
    def remove(self) -> None:
        """There is nothing to remove."""


@contextlib.contextmanager
def device_rules(losses: List[Any]) -> Iterator[None]:
    """Trace under PopTorch's rules; torch's own losses are noted in ``losses``."""

    def entered(self: Any) -> None:
        """Without effect on gradients."""

    def left(self: Any, *error: Any) -> None:
        """Without effect on gradients."""

    modes = [(kind, name, function) for kind in (torch.no_grad, torch.inference_mode)
             for name, function in (("__enter__", entered), ("__exit__", left))]  # fmt: skip
    hook = lambda self, function: _Handle()  # noqa: E731
    changes = [
        (torch.autograd.Function, "apply", classmethod(_inlined)),
        (torch.Tensor, "detach_", lambda self: self),
        (torch.Tensor, "register_hook", hook),
        *modes,
    ]
    with replaced(*changes), LossWatch(losses), torch.enable_grad():
        yield


def final_losses(losses: List[Any]) -> List[Any]:
    """Those losses that no other loss is made from: what the device differentiates must be exactly one of them."""
    reached = set()
    for loss in losses:
        for parent in ancestors(loss):
            reached.add(parent)
    return [loss for loss in losses if loss.grad_fn is None or loss.grad_fn not in reached]


def ancestors(loss: Any) -> Any:
    """The functions of autograd's graph that a loss is made from, without its own."""
    seen, queue = set(), [f for f, _ in loss.grad_fn.next_functions] if loss.grad_fn is not None else []
    while queue:
        function = queue.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        queue += [f for f, _ in function.next_functions]
    return seen

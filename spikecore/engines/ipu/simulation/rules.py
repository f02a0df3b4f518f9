"""The silent traps of PopTorch, made real on the CPU: within ``device_rules`` torch does what the device would do.

The custom backward of an ``autograd.Function`` is dropped, ``detach_``, ``no_grad`` and ``set_grad_enabled`` stop no
gradient, gradient hooks do not run, and single calls become what ``lowering.py`` says. What is lost of buffers of whole
numbers is restored by the executor afterwards.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, List, Tuple

import torch
from torch.overrides import TorchFunctionMode

from spikecore.engines.ipu.simulation.lowering import lowered, set_item

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


class Recording(TorchFunctionMode):
    """Each call as the device would make it; notes what torch's own losses return, outermost calls only."""

    def __init__(self, losses: List[Any]) -> None:
        super().__init__()
        self.losses = losses

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = lowered(function, args, kwargs or {})
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

    def ignored(self: Any, *given: Any) -> None:
        """Without effect on gradients."""

    modes = [(kind, name, ignored) for kind in (torch.no_grad, torch.inference_mode, torch.set_grad_enabled)
             for name in ("__enter__", "__exit__")]  # fmt: skip
    hook = lambda self, function: _Handle()  # noqa: E731
    changes = [
        (torch.autograd.Function, "apply", classmethod(_inlined)),
        (torch.Tensor, "detach_", lambda self: self),
        (torch.Tensor, "register_hook", hook),
        (torch.Tensor, "__setitem__", set_item),
        *modes,
        (torch.set_grad_enabled, "__init__", ignored),
    ]
    with torch.enable_grad(), replaced(*changes), Recording(losses):
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

"""The silent traps of PopTorch on the CPU: within ``device_rules`` torch computes what the device would compute.

The backward of an ``autograd.Function`` is dropped; ``detach_``, ``no_grad`` and ``set_grad_enabled`` stop no gradient;
gradient hooks do not run; ``lowering.py`` replaces single calls. The device restores buffers of whole numbers after
the pass, because PopTorch loses their changes.
"""

from __future__ import annotations

import contextlib
from typing import Any, Iterator, List, Tuple

import torch
from torch.overrides import TorchFunctionMode

from spikecore.engines.ipu.simulation.lowering import get_item, lowered, set_item

LOSSES = (
    "mse_loss nll_loss cross_entropy binary_cross_entropy binary_cross_entropy_with_logits kl_div l1_loss "
    "smooth_l1_loss poisson_nll_loss hinge_embedding_loss margin_ranking_loss soft_margin_loss triplet_margin_loss "
    "cosine_embedding_loss ctc_loss"
).split()


@contextlib.contextmanager
def replaced(*changes: Tuple[Any, str, Any]) -> Iterator[None]:
    """Replace attributes, each (owner, name, value), within a ``with`` block."""
    missing = object()
    before = [(owner, name, owner.__dict__.get(name, missing)) for owner, name, _ in changes]
    for owner, name, value in changes:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in reversed(before):
            delattr(owner, name) if value is missing else setattr(owner, name, value)


class DeviceArithmetic(TorchFunctionMode):
    """Computes each outermost call as the device would, and collects the results of torch's own losses."""

    def __init__(self, losses: List[Any]) -> None:
        super().__init__()
        self.losses = losses

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = lowered(function, args, kwargs or {})
        if getattr(function, "__name__", "") in LOSSES and isinstance(result, torch.Tensor):
            self.losses.append(result)
        return result


class _Context:
    """The context that an ``autograd.Function`` gets in its forward."""

    needs_input_grad: Tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Do nothing: PopTorch ignores this call."""

    mark_dirty = set_materialize_grads = mark_non_differentiable


def _inlined(cls: Any, *args: Any, **kwargs: Any) -> Any:
    """Call only the forward of an ``autograd.Function``, whose ops autograd differentiates."""
    if getattr(cls, "setup_context", None) is not torch.autograd.Function.setup_context:
        return cls.forward(*args, **kwargs)
    return cls.forward(_Context(), *args, **kwargs)


class _Handle:
    def remove(self) -> None:
        """Do nothing: no hook was registered."""


@contextlib.contextmanager
def device_rules(losses: List[Any]) -> Iterator[None]:
    """Compute by PopTorch's rules; the results of torch's own losses are appended to ``losses``."""

    def ignored(self: Any, *given: Any) -> None:
        """Do nothing: PopTorch ignores ``torch.no_grad`` and its like."""

    modes = [(kind, name, ignored) for kind in (torch.no_grad, torch.inference_mode, torch.set_grad_enabled)
             for name in ("__enter__", "__exit__")]  # fmt: skip
    hook = lambda self, function: _Handle()  # noqa: E731
    changes = [
        (torch.autograd.Function, "apply", classmethod(_inlined)),
        (torch.Tensor, "detach_", lambda self: self),
        (torch.Tensor, "register_hook", hook),
        (torch.Tensor, "__getitem__", get_item),
        (torch.Tensor, "__setitem__", set_item),
        *modes,
        (torch.set_grad_enabled, "__init__", ignored),
    ]
    with torch.enable_grad(), replaced(*changes), DeviceArithmetic(losses):
        yield


def final_losses(losses: List[Any]) -> List[Any]:
    """The losses from which no other loss is computed. The device differentiates one, so there must be exactly one."""
    reached = set()
    for loss in losses:
        for parent in ancestors(loss):
            reached.add(parent)
    return [loss for loss in losses if loss.grad_fn is None or loss.grad_fn not in reached]


def ancestors(loss: Any) -> Any:
    """The nodes of autograd's graph from which a loss is computed, without its own node."""
    seen, queue = set(), [f for f, _ in loss.grad_fn.next_functions] if loss.grad_fn is not None else []
    while queue:
        function = queue.pop()
        if function is None or function in seen:
            continue
        seen.add(function)
        queue += [f for f, _ in function.next_functions]
    return seen

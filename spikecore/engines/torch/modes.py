"""What torch is doing with a call besides computing it."""

from __future__ import annotations

from typing import Any

import torch
from torch.autograd import forward_ad

RECENT = tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 4)  # autocast is asked for by device


def _never() -> bool:
    return False


_compiler = getattr(torch, "compiler", None)  # asked through the functions themselves, which Dynamo knows
compiling = getattr(_compiler, "is_compiling", _never)  # something compiles or exports the call
read_by_dynamo = getattr(_compiler, "is_dynamo_compiling", _never)  # Dynamo reads the Python code at hand
in_func = getattr(torch._C, "_are_functorch_transforms_active", _never)  # torch.func transforms the call


def transformed() -> bool:
    """Whether ``torch.func`` transforms the call or forward mode follows it; then tensors are not just tensors."""
    return not compiling() and (in_func() or forward_ad._current_level >= 0)


def seen_through(x: Any) -> Any:
    """The numbers of a tensor that ``torch.func`` may be differentiating, as a NumPy array.

    Raises:
        RuntimeError: ``vmap`` maps over it, so that it stands for many.
    """
    functorch: Any = torch._C._functorch  # type: ignore[attr-defined]
    while functorch.is_gradtrackingtensor(x):
        x = functorch.get_unwrapped(x)
    if functorch.is_batchedtensor(x):
        raise RuntimeError(
            "torch.func.vmap maps over this tensor, so that its numbers cannot be read, which happens here to check "
            "them or to hand them to NumPy. Give a Model, an encoder or a metric whole batches, outside of vmap; map "
            "over modules of spikecore.nn, and over loss.evaluate(engine, out, targets), which checks nothing"
        )
    with torch._C._DisableFuncTorch():  # type: ignore[attr-defined]
        return x.detach().cpu().numpy()


def casting(device: str) -> bool:
    """Whether autocast chooses the types of products."""
    if RECENT:
        return torch.is_autocast_enabled(device)
    return torch.is_autocast_cpu_enabled() if device == "cpu" else torch.is_autocast_enabled()


def has_data(x: Any) -> bool:
    """Whether a tensor is just a tensor: a compiler's are not."""
    return type(x) in (torch.Tensor, torch.nn.Parameter)

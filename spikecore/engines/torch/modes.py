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
_transforming = getattr(torch._C, "_are_functorch_transforms_active", _never)


def transformed() -> bool:
    """Whether ``torch.func`` transforms the call or forward mode follows it; then tensors are not just tensors."""
    return not compiling() and (_transforming() or forward_ad._current_level >= 0)


def casting(device: str) -> bool:
    """Whether autocast chooses the types of products."""
    if RECENT:
        return torch.is_autocast_enabled(device)
    return torch.is_autocast_cpu_enabled() if device == "cpu" else torch.is_autocast_enabled()


def has_data(x: Any) -> bool:
    """Whether a tensor is just a tensor: a compiler's are not."""
    return type(x) in (torch.Tensor, torch.nn.Parameter)

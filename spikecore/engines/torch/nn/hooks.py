"""Listeners to calls of modules."""

from __future__ import annotations

from typing import Iterable

from torch import nn

_KINDS = ("forward_hooks", "forward_pre_hooks", "backward_hooks", "backward_pre_hooks")


def heard(*modules: nn.Module) -> bool:
    """Whether something listens to the calls of one of these modules, or to those of all modules."""
    return _any(nn.modules.module, "_global_") or any(_any(module, "_") for module in modules)


def _any(owner: object, prefix: str) -> bool:
    names: Iterable[str] = (f"{prefix}{kind}" for kind in _KINDS)
    return any(getattr(owner, name, None) for name in names)

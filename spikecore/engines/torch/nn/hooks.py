"""Listeners to calls of modules."""

from __future__ import annotations

from torch import nn

_OWN = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_OF_ALL = tuple(f"_global{name}" for name in _OWN)
_EVERYWHERE = vars(nn.modules.module)


def heard(*modules: nn.Module) -> bool:
    """Whether something listens to the calls of one of these modules, or to those of all modules."""
    for name in _OF_ALL:
        if _EVERYWHERE.get(name):
            return True
    for module in modules:
        own = vars(module)
        for name in _OWN:
            if own.get(name):
                return True
    return False

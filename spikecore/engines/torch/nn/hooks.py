"""Listeners to calls of modules."""

from __future__ import annotations

import contextlib
import sys
from typing import Any, Iterable, Iterator, List

import numpy as np
import torch
from torch import nn

from spikecore.engines.torch.modes import has_data

_OWN = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
_MASKING = "_forward_pre_hooks"
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


def only_masks(modules: Iterable[nn.Module]) -> bool:
    """Whether all that listens to calls are the hooks by which ``torch.nn.utils.prune`` masks parameters."""
    others = [name for name in _OWN if name != _MASKING]
    if any(_EVERYWHERE.get(name) for name in _OF_ALL) or any(vars(m).get(n) for m in modules for n in others):
        return False
    return all(_is_mask(hook) for module in modules for hook in (vars(module).get(_MASKING) or {}).values())


@contextlib.contextmanager
def masked(modules: Iterable[nn.Module]) -> Iterator[List[int]]:
    """A block in which pruned parameters are masked once, and no hook masks them at each call.

    Its value is a list of the addresses of those whose gradients nobody reads where they are zero, since the mask is.
    """
    away = [(module, dict(vars(module)[_MASKING])) for module in modules if vars(module).get(_MASKING)]
    kept = []
    try:
        for module, hooks in away:
            for hook in hooks.values():
                hook(module, ())
                weight, mask = (getattr(module, f"{hook._tensor_name}{part}") for part in ("", "_mask"))
                plain = has_data(weight) and weight.is_cpu and weight.dtype in (torch.float32, torch.float64)
                if plain and _count(weight) == _count(mask):  # else one is zero that may learn
                    kept.append(weight.data_ptr())
            vars(module)[_MASKING].clear()
        yield kept
    finally:
        for module, hooks in away:
            vars(module)[_MASKING].update(hooks)


def _count(x: Any) -> int:
    return int(np.count_nonzero(x.detach().numpy() != 0))  # some times as fast as torch's


def _is_mask(hook: Any) -> bool:
    """Whether a hook does no more than torch's own do: it multiplies a parameter by its mask."""
    base = getattr(sys.modules.get("torch.nn.utils.prune"), "BasePruningMethod", None)
    if base is None or not isinstance(hook, base):
        return False
    return (type(hook).__call__, type(hook).apply_mask) == (base.__call__, base.apply_mask)

"""What ``run`` knows of a network from earlier calls: that it equals the loop, or why it has to go step by step."""

from __future__ import annotations

import types
import weakref
from typing import Any, Dict, Optional, Tuple

import torch
from torch import nn

from spikecore.engines.torch.modes import casting
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.over_time import StepByStep
from spikecore.engines.torch.nn.unchanged import is_foreign

MOST = 16  # values of a network's attributes for which it is looked at anew: some count the calls
_PLAIN = {bool, int, float, str}
_OURS = {"_next", "_reset", "_mem_before", "_begun"}  # what neurons note from call to call
#: By neuron, for it lives as long as the network, whose copies have neurons of their own and are looked at anew; a
#: container may be made for each call.
_KNOWN: weakref.WeakKeyDictionary[nn.Module, Dict[Any, Dict[Any, Verdict]]] = weakref.WeakKeyDictionary()


class Verdict:
    """What is known of a network in one setting.

    Attributes:
        equal: what was compared with the loop, in words; "" if nothing was.
        reason: why the network goes step by step; None where it does not.
        tries, unchecked: how often it could not be compared, and why.
    """

    def __init__(self) -> None:
        self.equal, self.reason = "", None  # type: str, Optional[StepByStep]
        self.tries, self.unchecked = 0, "the next call tries again"

    @property
    def is_due(self) -> bool:
        """Whether the network is to be compared now: where that fails, at calls 1, 2, 4, 8, ..."""
        return not self.equal and self.tries & (self.tries - 1) == 0

    def refuse(self, reason: StepByStep) -> None:
        """Keep a reason, without the calls that led to it."""
        self.reason = StepByStep(str(reason))
        self.reason.restarted = reason.restarted


def verdict_on(net: nn.Module, modules: Dict[str, nn.Module], data: Any, fused: bool) -> Verdict:
    """What is known of a network for such an input; a new verdict is kept from now on.

    It depends on the code and the plain attributes of all modules, training or not among them, on dtype, device and
    number of axes of the input, on whether it is constant, and on torch's modes.
    """
    owner = next((module for module in modules.values() if isinstance(module, Hidden) and module.states), net)
    mode = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), casting(data.device.type), fused
    like = data.dtype, str(data.device), data.dim(), len(data) == 1, data.requires_grad
    code = tuple((name, type(module), _code(module)) for name, module in modules.items())
    found = _KNOWN.setdefault(owner, {}).setdefault((mode, like, code), {})
    attributes = _attributes(modules)
    verdict = found.get(attributes)
    if verdict is None:
        verdict = _of_others(found) if len(found) >= MOST else found.setdefault(attributes, Verdict())
    return verdict


def _of_others(found: Dict[Any, Verdict]) -> Verdict:
    """What is said of attributes that change from call to call: the loop, if one of their values has led to it."""
    return max(found.values(), key=lambda verdict: (verdict.reason is not None, bool(verdict.equal)))


def _code(module: nn.Module) -> Any:
    """What ``forward`` is made of; a function itself may hold the network."""
    forward = vars(module).get("forward", type(module).forward)
    return getattr(forward, "__code__", id(forward))


def _attributes(modules: Dict[str, nn.Module]) -> Tuple[Any, ...]:
    """Values of plain attributes, the code of functions and, where the code is the user's, the kinds of all others."""
    found = []
    for module in modules.values():
        foreign = is_foreign(module)
        for name, value in vars(module).items():
            kind = type(value)
            if kind in _PLAIN:
                found.append(value)
            elif kind is types.FunctionType:
                found.append((value.__code__, id(value)))
            elif foreign and name not in _OURS:
                found.append(kind)
    return tuple(found)

"""What ``run`` knows of a network from earlier calls: that it equals the loop, or why it has to go step by step."""

from __future__ import annotations

import types
import weakref
from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import nn

from spikecore.engines.torch.modes import casting
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.over_time import StepByStep
from spikecore.engines.torch.nn.unchanged import is_foreign

MOST = 16  # values of a network's attributes for which it is looked at anew: some count the calls
_PLAIN = {bool, int, float, str}
_OTHERS = {*vars(nn.Module()), "_next", "_reset", "_mem_before", "_begun"}  # torch's, and what neurons note in a call
#: By neuron, for it lives as long as the network, whose copies have neurons of their own and are looked at anew; a
#: container may be made for each call.
_KNOWN: weakref.WeakKeyDictionary[nn.Module, Dict[Any, Dict[Any, Verdict]]] = weakref.WeakKeyDictionary()


class Verdict:
    """What is known of a network in one setting.

    Attributes:
        equal: what was compared with the loop, in words; "" if nothing was.
        reason: why the network goes step by step; None where it does not.
        calls, unchecked: how many calls found nothing compared, and why it could not be.
        code: what the modules' ``forward`` was made of.
    """

    def __init__(self) -> None:
        self.equal = self.unchecked = ""
        self.reason: Optional[StepByStep] = None
        self.calls = 0
        self.code: List[Any] = []

    @property
    def is_due(self) -> bool:
        """Whether this call is to compare the network: as long as that fails, calls 1, 2, 4, 8, ... try."""
        return not self.equal and self.calls & (self.calls + 1) == 0

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
    code = [_code(module) for module in modules.values()]
    kinds = tuple(modules), tuple(map(type, modules.values())), tuple(map(id, code))
    found = _KNOWN.setdefault(owner, {}).setdefault((mode, like, kinds), {})
    attributes = _attributes(modules)
    verdict = found.get(attributes)
    if verdict is None:
        verdict = _of_others(found) if len(found) >= MOST else found.setdefault(attributes, Verdict())
        verdict.code = code  # alive, so that no other code gets its ``id``
    return verdict


def _of_others(found: Dict[Any, Verdict]) -> Verdict:
    """What is said of attributes that change from call to call: the loop, if one of their values has led to it."""
    return max(found.values(), key=lambda verdict: (verdict.reason is not None, bool(verdict.equal)))


def _code(module: nn.Module) -> Any:
    """What ``forward`` is made of, or a number for it: the function itself may hold the network."""
    forward = vars(module).get("forward", type(module).forward)
    return getattr(forward, "__code__", id(forward))


def _attributes(modules: Dict[str, nn.Module]) -> Tuple[Any, ...]:
    """Values of plain attributes, which functions there are, and, where the code is the user's, the kinds of others."""
    found: List[Any] = []
    for module in modules.values():
        kinds = is_foreign(module)
        for name, value in vars(module).items():
            kind = type(value)
            if kind in _PLAIN:
                found.append(value)
            elif kind is types.FunctionType:
                found.append(id(value))
            elif kinds and name not in _OTHERS:
                found.append(kind)
    return tuple(found)

"""Knowledge of ``run`` from earlier calls of a network: that it equals the loop, or why it must go step by step."""

from __future__ import annotations

import operator
import types
import weakref
from itertools import compress
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
_KNOWN: weakref.WeakKeyDictionary[nn.Module, Tuple[Dict[Any, Dict[Any, Verdict]], Dict[Any, _Last]]]
_KNOWN = weakref.WeakKeyDictionary()


class Verdict:
    """The knowledge of a network in one setting.

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
    """The knowledge of a network for such an input; a new verdict is kept from now on.

    It depends on the code and the plain attributes of all modules, training or not among them, on dtype, device and
    number of axes of the input, on whether it is constant, and on torch's modes.
    """
    owner = next((module for module in modules.values() if isinstance(module, Hidden) and module.states), net)
    device = data.device
    mode = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), casting(device.type), fused
    setting = mode, data.dtype, device, data.dim(), data.shape[0] == 1, data.requires_grad
    known = _KNOWN.get(owner)
    if known is None:
        known = _KNOWN[owner] = {}, {}
    last = known[1].get(setting)
    if last is not None and last.is_as_now(modules):
        return last.verdict
    code = [_code(module) for module in modules.values()]
    kinds = tuple(modules), tuple(map(type, modules.values())), tuple(map(id, code))
    found, attributes = known[0].setdefault((setting, kinds), {}), _attributes(modules)
    verdict = found.get(attributes)
    if verdict is None:
        verdict = _of_others(found) if len(found) >= MOST else found.setdefault(attributes, Verdict())
        verdict.code = code  # alive, so that no other code gets its ``id``
        if any(map(_is_compiled, modules.values())):
            verdict.refuse(StepByStep("torch.compile has compiled a part of it; give run the network itself"))
    known[1][setting] = _Last(modules, code, verdict)
    return verdict


class _Last:
    """The modules at the last call in a setting: if each attribute is still the same object, so is the verdict.

    That is all that later calls look at. Of what may hold the network, the kind is kept, or a number.
    """

    def __init__(self, modules: Dict[str, nn.Module], code: List[Any], verdict: Verdict) -> None:
        self.verdict, self.modules, self.code = verdict, tuple(modules), code
        self.classes = list(map(type, modules.values()))
        self.names = [list(vars(module)) for module in modules.values()]
        # The first name is read thrice, for of a single one no tuple comes. (Modules of torch.compile have few names.)
        kept = [[*names[:1] * 2, *(n for n in names if n not in _OTHERS)] for names in self.names]
        self.read = [operator.itemgetter(*names) for names in kept]
        values = [value for read, module in zip(self.read, modules.values()) for value in read(vars(module))]
        self.kinds = list(map(type, values))
        self.seen = [kind in _PLAIN or kind is types.FunctionType for kind in self.kinds]
        self.numbers = list(map(id, compress(values, self.seen)))
        self.alive = [value for value in values if type(value) in _PLAIN]  # so that no other value gets its ``id``

    def is_as_now(self, modules: Dict[str, nn.Module]) -> bool:
        """Whether the modules are as they were; False where they may be."""
        if tuple(modules) != self.modules or list(map(type, modules.values())) != self.classes:
            return False
        values: List[Any] = []
        for module, names, read, code in zip(modules.values(), self.names, self.read, self.code):
            held = vars(module)
            if list(held) != names or _code(module) is not code:
                return False
            values += read(held)
        return list(map(type, values)) == self.kinds and list(map(id, compress(values, self.seen))) == self.numbers


def _of_others(found: Dict[Any, Verdict]) -> Verdict:
    """The verdict on attributes that change from call to call: the loop, if one of their values has led to it."""
    return max(found.values(), key=lambda verdict: (verdict.reason is not None, bool(verdict.equal)))


def _is_compiled(module: nn.Module) -> bool:
    return "_orig_mod" in module._modules or getattr(module, "_compiled_call_impl", None) is not None


def _code(module: nn.Module) -> Any:
    """The code of ``forward``, or a number for it: the function itself may hold the network."""
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

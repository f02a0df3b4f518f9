"""Copies of a network's parameters and buffers in its place, without hooks, also in double precision."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator

import torch
from torch import nn
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from spikecore.engines.torch.nn.calls import FunctionCall
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.unchanged import Generators, attributes_of, put_back


class Wide(TorchFunctionMode):
    """A mode in which torch's functions compute in double precision, also where they are told another dtype."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        call = FunctionCall(func, args, kwargs or {})
        if func in (torch.Tensor.float, torch.Tensor.half, torch.Tensor.bfloat16):
            return args[0].double()
        edited = [call.kwargs.get("out"), call.args[0] if call.in_place and call.args else None]

        def widened(x: Any) -> Any:
            if isinstance(x, torch.dtype):
                return torch.float64 if x.is_floating_point else x
            return wide_of(x) if isinstance(x, torch.Tensor) and not any(x is y for y in edited) else x

        args, kwargs = tree_map(widened, (call.args, call.kwargs))
        made = func(*args, **kwargs)
        return made if call.tensors else tree_map(lambda y: wide_of(y) if isinstance(y, torch.Tensor) else y, made)


def wide_of(x: Any) -> Any:
    """A tensor in double precision; no copy of others than floating-point numbers."""
    return x.double() if x.is_floating_point() and x.dtype != torch.float64 else x


@contextlib.contextmanager
def apart_of(modules: Dict[str, nn.Module], wide: bool) -> Iterator[None]:
    """A context in which the modules hold copies of their parameters and buffers, without hooks on them.

    At the end the modules, and the generators of random numbers, are as they were.
    """
    copies: Dict[int, Any] = {}

    def copied(x: Any) -> Any:
        if id(x) not in copies:
            y = x.detach() if isinstance(x, nn.Parameter) else x.detach().clone()
            y = wide_of(y) if wide else y
            y = nn.Parameter(y, x.requires_grad) if isinstance(x, nn.Parameter) else y.requires_grad_(x.requires_grad)
            vars(y).update(vars(x))
            copies[id(x)] = y
        return copies[id(x)]

    generators = Generators()
    try:
        with put_back(attributes_of(modules)):
            for module in modules.values():
                for held in (module._parameters, module._buffers):
                    held.update({name: copied(x) for name, x in held.items() if x is not None})
                if isinstance(module, Hidden) and module.states:
                    vars(module)["fused"] = False  # a kernel for single steps might have to be compiled
            yield
    finally:
        generators.put_back()

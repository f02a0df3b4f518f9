"""What hangs on a network besides parameters and states: kept while ``forward`` runs on stand-ins, compared, put back.

Tensors are not among it: ``Unedited`` refuses to edit them before it happens.
"""

from __future__ import annotations

import random
from collections import deque
from io import IOBase
from types import BuiltinFunctionType, FunctionType, MethodType, ModuleType
from typing import Any, Dict, Iterable, Iterator, List, Tuple

import numpy as np
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from spikecore.engines.torch.nn.state import neurons_of

LIMIT = 1000  # containers and objects: whoever has more of them does not want them looked at in every call

_ATOMS = {type(None), bool, int, float, complex, str, bytes, torch.Tensor, nn.Parameter, torch.dtype, torch.device}
_CLOSED = (type, FunctionType, MethodType, BuiltinFunctionType, ModuleType, torch.Tensor)
_LIBRARIES = set("accelerate lightning logging numpy pytorch_lightning spikecore torch transformers".split())
_LOOKED_AT = (dict, list, set, deque, tuple, np.ndarray, random.Random, np.random.Generator)
_OWN = {"_parameters", "_buffers", "_modules"}
_INTERNAL = set(vars(nn.Module())) - _OWN


class Untraceable(Exception):
    """The network cannot be run layer by layer; the message says why."""


class _Unread:
    """Stands in for a state during tracing; reading it is what tracing cannot follow."""

    def __getattr__(self, name: str) -> Any:
        raise Untraceable("forward looks at the state of a neuron")

    def __bool__(self) -> bool:
        raise Untraceable("forward looks at the state of a neuron")


class Unedited(TorchDispatchMode):  # type: ignore[misc]  # torch does not say what it is
    """While it is entered and ``on``, no tensor that is none of the stand-ins may be edited in place."""

    on = True

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self.on and function._schema.is_mutable:
            raise Untraceable(f"forward edits a tensor in place ({function._schema.name.rpartition('::')[2]})")
        return function(*args, **(kwargs or {}))


class Snapshot:
    """What ``forward`` may change without a trace; neurons' states can be hidden until it is restored.

    Raises:
        Untraceable: too much hangs on the network.
    """

    def __init__(self, net: nn.Module) -> None:
        self.states = [(neuron, neuron.hidden()) for _, neuron in neurons_of(net)]
        self.modules = [(name, module, dict(vars(module))) for name, module in net.named_modules()]
        self.contents = list(_contents(self.modules))
        self.random = _generators()

    def hide(self) -> None:
        """Let nobody read the neurons' states."""
        for neuron, values in self.states:
            neuron.__dict__.update(dict.fromkeys(values, _UNREAD))

    def changes(self) -> List[str]:
        """Names of what has changed."""
        found = [
            f"the attribute {f'{name}.{key}'.lstrip('.')!r} from step to step"
            for name, module, held in self.modules
            for key, value in vars(module).items()
            if not (key.startswith("_tensor_constant") or value is _UNREAD or (key in held and held[key] is value))
        ]
        found += [f"what is in {name!r}" for name, value, copy in self.contents if not _same(value, copy)]
        if not _equal_generators(self.random, _generators()):
            found.append("a random number generator outside of layers")
        return found

    def restore(self) -> None:
        """Put everything back; may be called again if it was interrupted."""
        for _, module, held in self.modules:
            for key in set(vars(module)) - set(held):
                del module.__dict__[key]
            module.__dict__.update(held)
        for neuron, values in self.states:
            neuron.__dict__.update(values)
        for _, value, copy in self.contents:
            if not _same(value, copy):
                _fill(value, copy)
        python, host, device = self.random
        random.setstate(python)
        np.random.set_state(host)  # noqa: NPY002  (the generator that forward may draw from)
        torch.set_rng_state(device)


_UNREAD = _Unread()


def _contents(modules: Iterable[Tuple[str, nn.Module, Dict[str, Any]]]) -> Iterator[Tuple[str, Any, Any]]:
    """Name, container and a copy of what is in it, for all that hangs on modules, however deep."""
    todo = [
        (f"{name}.{key}".lstrip("."), value)
        for name, _, held in modules
        for key, value in held.items()
        if type(value) not in _ATOMS and key not in _INTERNAL and (key not in _OWN or value)
    ]
    seen = {id(module) for _, module, _ in modules}
    while todo:
        name, value = todo.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if len(seen) > LIMIT:
            raise Untraceable(f"forward may change one of more than {LIMIT} objects on the network, as in {name!r}")
        if hasattr(type(value), "__next__") and not isinstance(value, IOBase):
            raise Untraceable(f"forward may take something from the iterator {name!r}")
        value = value if isinstance(value, _LOOKED_AT) else _attributes(value)
        inner = _copied(value)
        if not isinstance(value, tuple):
            yield name, value, inner
        if isinstance(value, (dict, list, set, deque, tuple)):
            parts = inner.values() if isinstance(inner, dict) else inner
            todo += [(name, part) for part in parts if type(part) not in _ATOMS]


def _attributes(value: Any) -> Any:
    """The attributes of an object of the user's."""
    if isinstance(value, _CLOSED) or type(value).__module__.partition(".")[0] in _LIBRARIES:
        return ()
    return getattr(value, "__dict__", ())


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, random.Random):
        return value.getstate()
    if isinstance(value, np.random.Generator):
        return value.bit_generator.state
    return dict(value) if isinstance(value, dict) else list(value)


def _same(value: Any, copy: Any) -> bool:
    if isinstance(value, np.ndarray):
        return bool(value.shape == copy.shape and value.tobytes() == copy.tobytes())
    if isinstance(value, (random.Random, np.random.Generator)):
        return repr(_copied(value)) == repr(copy)
    if len(value) != len(copy):
        return False
    if isinstance(value, dict):
        return all(key in value and value[key] is held for key, held in copy.items())
    return all(x is y for x, y in zip(value, copy))


def _fill(value: Any, copy: Any) -> None:
    if isinstance(value, np.ndarray):
        value[...] = copy
    elif isinstance(value, random.Random):
        value.setstate(copy)
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = copy
    else:
        value.clear()
        value.update(copy) if isinstance(value, (dict, set)) else value.extend(copy)


def _generators() -> Tuple[Any, Dict[str, Any], Any]:
    host: Any = np.random.get_state(legacy=False)  # noqa: NPY002  (the generator that forward may draw from)
    return random.getstate(), host, torch.get_rng_state()


def _equal_generators(a: Any, b: Any) -> bool:
    host = (a[1]["state"], b[1]["state"])
    return bool(
        a[0] == b[0]
        and host[0]["pos"] == host[1]["pos"]
        and (host[0]["key"] == host[1]["key"]).all()
        and torch.equal(a[2], b[2])
    )

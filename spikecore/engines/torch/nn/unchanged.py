"""A look at what ``forward`` does must leave the network and the generators of random numbers as they were."""

from __future__ import annotations

import collections
import contextlib
import pickle
import random
import types
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import torch
from torch import nn

from spikecore.engines.torch.nn.over_time import StepByStep

_CONTAINERS = (list, dict, set, collections.deque)
_PLAIN = {bool, int, float, str, tuple, type(None), torch.Tensor, nn.Parameter}
_TORCHS = set(vars(nn.Module()))  # what torch keeps on every module


@contextlib.contextmanager
def unchanged(
    modules: Dict[str, Any], buffers: Sequence[Tuple[Any, Any]] = (), reason: Callable[[], str] = str
) -> Iterator[None]:
    """Check that nothing changes that hangs on the modules, nor a generator of random numbers; if something does, or
    anything is raised, everything is put back.

    Modules of torch's and ours whose attributes are plain values need no look: their code depends on nothing else.

    Args:
        modules: the modules by name.
        buffers: tensors that may change, each with its values from before.
        reason: says in the end what else is wrong; "" for nothing.

    Raises:
        StepByStep: what changes, or what an error says.
    """
    theirs = [module for module in modules.values() if _is_foreign(module)]
    containers, generators = _reached(theirs)
    torchs, cudas = torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
        why = reason()
        for container, before in containers:
            now = _contents(container)
            if len(now) != len(before) or any(a is not b for a, b in zip(now, before)):
                why = f"forward changes {_changed(container, before)} from step to step"
        if any(_state(generator) != before for generator, before in generators):
            why = "forward uses a random number generator outside of layers"
        if why:
            raise StepByStep(why)
    except BaseException as error:
        for container, before in containers:
            container.clear()
            fill = container.extend if hasattr(container, "extend") else container.update
            fill(zip(before[::2], before[1::2]) if isinstance(container, dict) else before)
        for generator, before in generators:
            generator.setstate(before) if hasattr(generator, "setstate") else setattr(
                generator, "state", pickle.loads(before)
            )
        with torch.no_grad():
            for buffer, copy in buffers:
                buffer.copy_(copy)
        torch.set_rng_state(torchs)
        if cudas:
            torch.cuda.set_rng_state_all(cudas)
        if isinstance(error, Exception) and not isinstance(error, StepByStep):  # whatever stand-ins lead to
            raise StepByStep(first_line(error)) from None
        raise


def _is_foreign(module: Any) -> bool:
    """Whether a module runs code that is not torch's or ours."""
    if type(module).__module__.startswith("spikecore."):
        return "forward" in vars(module)
    known = type(module).__module__.startswith("torch.nn.modules.")
    return not known or any(type(v) not in _PLAIN for name, v in vars(module).items() if name not in _TORCHS)


def _reached(modules: Sequence[Any]) -> Tuple[List[Tuple[Any, List[Any]]], List[Tuple[Any, Any]]]:
    """Containers and generators that hang on modules, with what is in them."""
    containers: Dict[int, Tuple[Any, List[Any]]] = {}
    generators: List[Any] = []
    todo: List[Any] = [vars(module) for module in modules]
    if modules:
        generators += [random, np.random.get_bit_generator()]  # type: ignore[attr-defined]  # public since NumPy 1.24
    while todo:
        value = todo.pop()
        if isinstance(value, (np.random.Generator, random.Random)):
            generators.append(getattr(value, "bit_generator", value))
        elif isinstance(value, _CONTAINERS):
            if id(value) not in containers:
                containers[id(value)] = value, _contents(value)
                todo += containers[id(value)][1]
        elif type(value) not in _PLAIN and _has_attributes(value):
            todo.append(vars(value))
    return list(containers.values()), [(generator, _state(generator)) for generator in generators]


def _has_attributes(value: Any) -> bool:
    """Whether a value is an object with attributes that ``forward`` might change."""
    others = (nn.Module, torch.Tensor, type, types.ModuleType, types.FunctionType)
    ours = type(value).__module__.startswith("spikecore.")  # neurons and surrogates, which do not change
    return not ours and isinstance(getattr(value, "__dict__", None), dict) and not isinstance(value, others)


def _contents(container: Any) -> List[Any]:
    return [x for pair in container.items() for x in pair] if isinstance(container, dict) else list(container)


def _changed(container: Any, before: List[Any]) -> str:
    """What has changed in a container, in words."""
    if "_parameters" not in container:  # not a module's attributes
        return "a container that hangs on the network"
    then = dict(zip(before[::2], before[1::2]))
    name = next(n for n in {**container, **then} if container.get(n, then) is not then.get(n, then))
    return f"the attribute {name!r}"


def _state(generator: Any) -> Any:
    return generator.getstate() if hasattr(generator, "getstate") else pickle.dumps(generator.state)


def first_line(error: BaseException) -> str:
    """What an error says, in one line."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)

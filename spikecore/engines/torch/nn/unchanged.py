"""A look at what ``forward`` does must leave the network and the generators of random numbers as they were."""

from __future__ import annotations

import collections
import contextlib
import operator
import pickle
import random
import types
from typing import Any, Callable, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import torch
from torch import nn

from spikecore.engines.torch.nn.over_time import StepByStep, first_line

_CONTAINERS = (list, dict, set, collections.deque)
_PLAIN = {bool, int, float, str, type(None), torch.Tensor, nn.Parameter}
_TORCHS = set(vars(nn.Module())) - {"_parameters", "_buffers", "_modules"}  # what torch keeps on every module


@contextlib.contextmanager
def unchanged(
    modules: Dict[str, Any], buffers: Sequence[Tuple[Any, Any]] = (), reason: Callable[[], str] = str
) -> Iterator[None]:
    """Check that nothing changes that hangs on the modules, nor a generator of random numbers; if something does, or
    anything is raised, everything is put back.

    Args:
        modules: the modules by name.
        buffers: tensors that may change, each with its values from before.
        reason: says in the end what else is wrong; "" for nothing.

    Raises:
        StepByStep: what changes, or what an error says.
    """
    held = {name: dict(vars(module)) for name, module in modules.items()}
    several = (item for attributes in held.values() for item in attributes.items())
    flat = [value for name, value in several if name not in _TORCHS and type(value) not in _PLAIN]
    todo, inside = [*flat, *(vars(one) for one in flat if _is_object(one))], {}
    while todo:
        one = todo.pop()
        if isinstance(one, _CONTAINERS) and id(one) not in inside:
            inside[id(one)] = one, _contents(one)
            todo += inside[id(one)][1]
    own = (getattr(one, "bit_generator", one) for one in flat if isinstance(one, (np.random.Generator, random.Random)))
    numpys = np.random.get_bit_generator()  # type: ignore[attr-defined]  # public since NumPy 1.24
    generators = [(one, _drawn(one)) for one in (random, numpys, *own)]
    torchs, cudas = torch.get_rng_state(), torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        yield
        why = reason()
        for name, module in modules.items():
            now, then = vars(module), held[name]
            if now.keys() == then.keys() and all(map(operator.is_, now.values(), then.values())):
                continue
            changed = [key for key in {**now, **then} if now.get(key, held) is not then.get(key, held)]
            why = f"forward changes the attribute {changed[0]!r} from step to step" if changed else why
        if any([*map(id, _contents(one))] != [*map(id, before)] for one, before in inside.values()):
            why = "forward changes a container that hangs on the network"
        if any(_drawn(one) != before for one, before in generators):
            why = "forward uses a random number generator outside of layers"
        if why:
            raise StepByStep(why)
    except BaseException as error:
        for name, module in modules.items():
            vars(module).clear()
            vars(module).update(held[name])
        for one, before in inside.values():
            one.clear()
            fill = one.extend if hasattr(one, "extend") else one.update
            fill(zip(before[::2], before[1::2]) if isinstance(one, dict) else before)
        for one, before in generators:
            one.setstate(before) if hasattr(one, "setstate") else setattr(one, "state", pickle.loads(before))
        with torch.no_grad():
            for buffer, copy in buffers:
                buffer.copy_(copy)
        torch.set_rng_state(torchs)
        if cudas:
            torch.cuda.set_rng_state_all(cudas)
        if isinstance(error, Exception) and not isinstance(error, StepByStep):  # whatever stand-ins lead to
            raise StepByStep(first_line(error)) from None
        raise


def _is_object(one: Any) -> bool:
    """Whether a value has attributes of its own that ``forward`` might change."""
    others = (nn.Module, torch.Tensor, type, types.ModuleType, types.FunctionType)
    ours = type(one).__module__.startswith("spikecore.")  # neurons and surrogates, which do not change
    return not ours and isinstance(getattr(one, "__dict__", None), dict) and not isinstance(one, others)


def _drawn(generator: Any) -> Any:
    return generator.getstate() if hasattr(generator, "getstate") else pickle.dumps(generator.state)


def _contents(one: Any) -> List[Any]:
    return [part for pair in one.items() for part in pair] if isinstance(one, dict) else list(one)

"""Which kernels run a neuron over time, if any, and why: what engines ask."""

from __future__ import annotations

import importlib
import math
import sys
from functools import lru_cache
from typing import Any, Dict, NamedTuple, Tuple

import numpy as np

from spikecore.api.engine import get_engine
from spikecore.api.layer import Key
from spikecore.api.tree import flatten, map_leaves
from spikecore.kernels.dense import NUMPY, Dense, Product, elementwise_part
from spikecore.kernels.fresh import refresh
from spikecore.kernels.sizes import LARGE, REPEATED

MAKERS = {"cpu": "spikecore.kernels.fused", "cuda": "spikecore.kernels.triton", "cupy": "spikecore.kernels.cuda"}
_said = False


class Terms(NamedTuple):
    """What an engine asks of kernels.

    Args:
        mode: "auto" takes kernels for runs of at least ``least`` neuron-steps, True always, False never.
        dtype: "float32" or "float64".
        least: see ``mode``.
        target: what the arrays are: "cpu", "cuda" (torch tensors) or "cupy".
        product: the engine's matrix product, for neurons with a dense recurrence.
    """

    mode: Any
    dtype: str
    least: int = LARGE
    target: str = "cpu"
    product: Product = NUMPY


def choose(
    terms: Terms, stepper: Any, params: Dict[str, Any], state: Dict[str, Any], shape: Tuple[int, ...], record: Any
) -> Any:
    """The kernels for a run over time, or None where the loop is to run.

    Args:
        terms: the engine's.
        stepper: the neuron.
        params: prepared parameters by dotted name; floats are compiled in, arrays are not.
        state: first states by dotted name.
        shape: (steps, batch, *neurons).
        record: names of states to return for every step.

    Raises:
        RuntimeError: the mode is True and there can be no kernel; says why.
    """
    if terms.mode is False or (terms.mode == "auto" and math.prod(shape) < terms.least):
        return None
    part = elementwise_part(stepper) if terms.target == "cpu" else None
    found = _kernels(terms, part or stepper, params, state, shape, tuple(record))
    if not isinstance(found, str):
        return _dense(found, terms.product) if part else found
    if terms.mode is True:
        raise RuntimeError(f"fused=True, but {found}")
    if "not installed" in found:
        _say(found)
    return None


_dense = lru_cache(maxsize=None)(Dense)


def _kernels(
    terms: Terms, stepper: Any, params: Dict[str, Any], state: Dict[str, Any], shape: Any, record: Tuple[str, ...]
) -> Any:
    if any(tuple(np.shape(s)) != tuple(shape[1:]) for s in state.values()):
        return f"the states of {type(stepper).__name__} are not shaped like its input"
    constants, make = _constants(params), importlib.import_module(MAKERS[terms.target]).fused
    found = _first(make, stepper, constants, record, terms.dtype)
    if isinstance(found, str):
        return found
    for name in found.params:
        wide = tuple(np.shape(params[name]))
        if len(wide) > len(shape) - 1 or any(n not in (1, m) for n, m in zip(wide[::-1], shape[::-1])):
            return f"parameter {name} of shape {wide} does not broadcast to {shape[1:]}"
    rows = tuple(p for p in found.params if math.prod(params[p].shape) != 1)
    return make(stepper, constants, record, rows, terms.dtype)


def _first(make: Any, stepper: Any, constants: Any, record: Tuple[str, ...], dtype: str) -> Any:
    """Kernels of the step as it is now, no matter how many values parameters have; or why there are none."""
    try:
        hash(stepper)
    except TypeError as reason:
        return (
            f"a field of {type(stepper).__name__} cannot be hashed ({reason}): kernels are found by the fields' values"
        )
    refresh(stepper, constants, record)
    return make(stepper, constants, record, (), dtype)


def _constants(params: Dict[str, Any]) -> Tuple[Tuple[str, Any], ...]:
    """What a trace needs to know of parameters: floats are compiled in, arrays become inputs."""
    return tuple((name, value if type(value) is float else None) for name, value in params.items())


def explain(mode: Any, stepper: Any, target: str = "cpu") -> str:
    """Which path a run over time takes, and why."""
    name = type(stepper).__name__
    if mode is False:
        return f"loop: one {name}.step per time step; kernels are switched off (fused=False)"
    spelled = getattr(stepper, "recurrent", stepper)
    part = elementwise_part(spelled) if target == "cpu" else None
    host = get_engine("numpy", fused=False)
    try:
        shape = getattr(getattr(spelled, "connection", None), "input_shape", None) or (1,)
        init = spelled.init(Key((0,)), shape)
        params = flatten(spelled.prepare(host, map_leaves(host.asarray, init.params)))
        make = importlib.import_module(MAKERS[target]).fused
        found = _first(make, part or spelled, _constants(params), (), "float32")
    except ValueError:
        found = f"{name}.step is not elementwise"
    if isinstance(found, str):
        return f"loop: one {name}.step per time step, because {found}"
    limit = f" for {LARGE:,} neuron-steps and more ({REPEATED:,} in training), below that step by step"
    limit = "" if mode is True else limit
    if part is not None:
        return f"fused: per time step one matrix product and a Numba kernel of {name}.step{limit}"
    return f"fused: {found.language} kernels of {name}.step with the loop over time inside{limit}"


def _say(reason: str) -> None:
    global _said  # noqa: PLW0603  (a remark made once per process)
    if not _said:
        _said = True
        print(f"spikecore: neurons run step by step: {reason}", file=sys.stderr)

"""Which kernels run a neuron over time, if any, and why: what engines ask."""

from __future__ import annotations

import math
import sys
from functools import lru_cache
from typing import Any, Dict, Tuple

import numpy as np

from spikecore.api.engine import get_engine
from spikecore.api.layer import Key
from spikecore.api.tree import flatten, map_leaves
from spikecore.kernels.dense import NUMPY, Dense, Product, elementwise_part
from spikecore.kernels.fused import fused, traced
from spikecore.kernels.sizes import LARGE, REPEATED

_said = False


def choose(
    mode: Any,
    stepper: Any,
    params: Dict[str, Any],
    state: Dict[str, Any],
    shape: Tuple[int, ...],
    record: Any,
    dtype: str,
    product: Product = NUMPY,
    least: int = LARGE,
) -> Any:
    """The kernels for a run over time, or None where the loop is to run.

    Args:
        mode: "auto" takes kernels for runs of at least ``least`` neuron-steps, True always, False never.
        stepper: the neuron.
        params: prepared parameters by dotted name; floats are compiled in, arrays are not.
        state: first states by dotted name.
        shape: (steps, batch, *neurons).
        record: names of states to return for every step.
        dtype: "float32" or "float64".
        product: the engine's matrix product, for neurons with a dense recurrence.
        least: see ``mode``.

    Raises:
        RuntimeError: ``mode`` is True and there can be no kernel; says why.
    """
    if mode is False or (mode == "auto" and math.prod(shape) < least):
        return None
    part = elementwise_part(stepper)
    found = _kernels(part or stepper, params, state, shape, tuple(record), dtype)
    if not isinstance(found, str):
        return _dense(found, product) if part else found
    if mode is True:
        raise RuntimeError(f"fused=True, but {found}")
    if "Numba" in found:
        _say(found)
    return None


_dense = lru_cache(maxsize=None)(Dense)


def _kernels(stepper: Any, params: Dict[str, Any], state: Dict[str, Any], shape: Any, record: Any, dtype: str) -> Any:
    if any(tuple(np.shape(s)) != tuple(shape[1:]) for s in state.values()):
        return f"the states of {type(stepper).__name__} are not shaped like its input"
    constants = _constants(params)
    found = traced(stepper, constants, record)
    if isinstance(found, str):
        return found
    for name in found[0].params:
        wide = tuple(np.shape(params[name]))
        if len(wide) > len(shape) - 1 or any(n not in (1, m) for n, m in zip(wide[::-1], shape[::-1])):
            return f"parameter {name} of shape {wide} does not broadcast to {shape[1:]}"
    rows = tuple(p for p in found[0].params if math.prod(params[p].shape) != 1)
    return fused(stepper, constants, record, rows, dtype)


def _constants(params: Dict[str, Any]) -> Tuple[Tuple[str, Any], ...]:
    """What a trace needs to know of parameters: floats are compiled in, arrays become inputs."""
    return tuple((name, value if type(value) is float else None) for name, value in params.items())


def explain(mode: Any, stepper: Any) -> str:
    """Which path a run over time takes, and why."""
    name = type(stepper).__name__
    if mode is False:
        return f"loop: one {name}.step per time step; kernels are switched off (fused=False)"
    spelled = getattr(stepper, "recurrent", stepper)
    part = elementwise_part(spelled)
    host = get_engine("numpy", fused=False)
    try:
        init = spelled.init(Key((0,)), (1,) if part is None else spelled.connection.input_shape)
        params = flatten(spelled.prepare(host, map_leaves(host.asarray, init.params)))
        found = traced(part or spelled, _constants(params), ())
    except ValueError:
        found = f"{name}.step is not elementwise"
    if isinstance(found, str):
        return f"loop: one {name}.step per time step, because {found}"
    limit = f" for {LARGE:,} neuron-steps and more ({REPEATED:,} in training), below that step by step"
    limit = "" if mode is True else limit
    if part is not None:
        return f"fused: per time step one matrix product and a Numba kernel of {name}.step{limit}"
    return f"fused: Numba kernels of {name}.step with the loop over time inside{limit}"


def _say(reason: str) -> None:
    global _said  # noqa: PLW0603  (a remark made once per process)
    if not _said:
        _said = True
        print(f"spikecore: neurons run step by step: {reason}", file=sys.stderr)

"""Fused runs over time on NumPy arrays: what engines call."""

from __future__ import annotations

import importlib.util
import math
import os
import sys
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import numpy as np

from spikecore.kernels.adjoint import Adjoint, adjoint
from spikecore.kernels.cache import CHUNK, build
from spikecore.kernels.emit import backward_source, forward_source
from spikecore.kernels.trace import NotElementwise, Trace, trace

LARGE = 1 << 18  # neuron-steps from which on a kernel pays off, its compilation included
_parallel = True  # until a fork: OpenMP does not survive one


def _forked() -> None:
    global _parallel  # noqa: PLW0603
    _parallel = False


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)


@lru_cache(maxsize=1024)
def traced(stepper: Any, constants: Tuple[Tuple[str, Any], ...], record: Tuple[str, ...]) -> Any:
    """Trace and adjoint of a stepper whose parameters are floats (given) or arrays (None); else why there are none."""
    if not _has_numba():
        return 'Numba is not installed (pip install "spikecore[kernels]")'
    try:
        found = trace(stepper, dict(constants))
        return found, adjoint(found, record)
    except NotElementwise as reason:
        return f"{type(stepper).__name__}.step is not elementwise: {reason}"


def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


class Gradients(NamedTuple):
    """What a backward run returns; None where it was not asked for."""

    x: Any
    state: List[Any]
    params: Dict[str, Any]


@dataclass(frozen=True, eq=False)  # one object per kind of run, see _fused
class Fused:
    """One stepper's kernels for one kind of parameters.

    Args:
        trace: the step.
        adjoint: its derivative.
        record: states returned for every step.
        rows: parameters with one value per neuron.
        dtype: "float32" or "float64".
    """

    trace: Trace
    adjoint: Adjoint
    record: Tuple[str, ...]
    rows: Tuple[str, ...]
    dtype: str

    def forward(
        self, x: Any, state: Sequence[Any], params: Dict[str, Any], steps: int
    ) -> Tuple[Any, List[Any], List[Any]]:
        """Outputs (steps, batch, ...), recorded states, final state."""
        shape = tuple(x.shape[1:])
        out = self._empty(steps, shape)
        recorded = [self._empty(steps, shape) for _ in self.record]
        final = [np.empty(shape, self.dtype) for _ in self.trace.states]
        kernel = _forward(self, x.shape[0] == 1 < steps, self._several(shape))
        flat = [_flat(a) for a in (out, *recorded)]
        kernel(_flat(x), *map(_vector, state), *self._given(params, shape), *flat, *map(_vector, final))
        return out, recorded, final

    def backward(
        self,
        x: Any,
        state: Sequence[Any],
        params: Dict[str, Any],
        g: Any,
        g_recorded: Sequence[Any],
        g_final: Sequence[Any],
        by_x: bool,
        by_params: Tuple[str, ...],
        window: Optional[int],
    ) -> Gradients:
        """Gradients by input, first state and the parameters named in ``by_params``."""
        shape = tuple(x.shape[1:])
        gx = (
            np.zeros(x.shape, self.dtype)
            if by_x and x.shape[0] == 1
            else np.empty(x.shape if by_x else (1, *shape), self.dtype)
        )
        ginit = [np.empty(shape, self.dtype) for _ in self.trace.states]
        sums = [np.zeros(shape, self.dtype) for _ in by_params]
        kernel = _backward(self, x.shape[0] == 1 < g.shape[0], self._several(shape), by_x, by_params)
        inputs = [_flat(x), *map(_vector, state), *self._given(params, shape)]
        upstream = [_flat(g), *(_flat(r) for r in g_recorded), *map(_vector, g_final)]
        kernel(*inputs, *upstream, window or 0, _flat(gx), *map(_vector, ginit), *map(_vector, sums))
        found = {name: _reduced(total, np.shape(params[name])) for name, total in zip(by_params, sums)}
        return Gradients(gx if by_x else None, ginit, found)

    def _several(self, shape: Tuple[int, ...]) -> bool:
        return _parallel and math.prod(shape) > CHUNK  # a single chunk needs no threads

    def _empty(self, steps: int, shape: Tuple[int, ...]) -> Any:
        return np.empty((steps, *shape), self.dtype)  # NumPy asks for huge pages by itself

    def _given(self, params: Dict[str, Any], shape: Tuple[int, ...]) -> List[Any]:
        number = np.dtype(self.dtype).type
        return [
            np.ascontiguousarray(np.broadcast_to(params[p], shape)).reshape(-1)
            if p in self.rows
            else number(np.reshape(params[p], ()))
            for p in self.trace.params
        ]


@lru_cache(maxsize=None)
def _forward(fused: Fused, constant: bool, several: bool) -> Any:
    source = forward_source(fused.trace, fused.rows, fused.record, constant)
    return build(source, "forward", fused.dtype, several)


@lru_cache(maxsize=None)
def _backward(fused: Fused, constant: bool, several: bool, by_x: bool, by_params: Tuple[str, ...]) -> Any:
    source = backward_source(fused.trace, fused.adjoint, fused.rows, fused.record, by_x, by_params, constant)
    return build(source, "backward", fused.dtype, several)


@lru_cache(maxsize=1024)
def _fused(stepper: Any, constants: Any, record: Tuple[str, ...], rows: Tuple[str, ...], dtype: str) -> Fused:
    forward, backward = traced(stepper, constants, record)
    return Fused(forward, backward, record, rows, dtype)


_said = False


def choose(
    mode: Any,
    stepper: Any,
    params: Dict[str, Any],
    state: Dict[str, Any],
    shape: Tuple[int, ...],
    record: Any,
    dtype: str,
) -> Any:
    """The kernels for a run over time, or None where the loop is to run.

    Args:
        mode: "auto" takes kernels for runs of at least ``LARGE`` neuron-steps, True always, False never.
        stepper: the neuron.
        params: prepared parameters by dotted name; floats are compiled in, arrays are not.
        state: first states by dotted name.
        shape: (steps, batch, *neurons).
        record: names of states to return for every step.
        dtype: "float32" or "float64".

    Raises:
        RuntimeError: ``mode`` is True and there can be no kernel; says why.
    """
    if mode is False or (mode == "auto" and math.prod(shape) < LARGE):
        return None
    found = _kernels(stepper, params, state, shape, record, dtype)
    if not isinstance(found, str):
        return found
    if mode is True:
        raise RuntimeError(f"fused=True, but {found}")
    if "Numba" in found:
        _say(found)
    return None


def _kernels(stepper: Any, params: Dict[str, Any], state: Dict[str, Any], shape: Any, record: Any, dtype: str) -> Any:
    if any(tuple(np.shape(s)) != tuple(shape[1:]) for s in state.values()):
        return f"the states of {type(stepper).__name__} are not shaped like its input"
    constants = tuple((n, v if type(v) is float else None) for n, v in params.items())
    found = traced(stepper, constants, tuple(record))
    if isinstance(found, str):
        return found
    for name in found[0].params:
        wide = tuple(np.shape(params[name]))
        if len(wide) > len(shape) - 1 or any(n not in (1, m) for n, m in zip(wide[::-1], shape[::-1])):
            return f"parameter {name} of shape {wide} does not broadcast to {shape[1:]}"
    rows = tuple(p for p in found[0].params if math.prod(params[p].shape) != 1)
    return _fused(stepper, constants, tuple(record), rows, dtype)


def explain(mode: Any, stepper: Any) -> str:
    """Which path a run over time takes, and why."""
    from spikecore.api.engine import get_engine
    from spikecore.api.layer import Key
    from spikecore.api.tree import flatten, map_leaves

    if mode is False:
        return f"loop: one {type(stepper).__name__}.step per time step; kernels are switched off (fused=False)"
    host = get_engine("numpy", fused=False)
    try:
        init = stepper.init(Key((0,)), (1,))
        params = flatten(stepper.prepare(host, map_leaves(host.asarray, init.params)))
        found = traced(stepper, tuple((n, v if type(v) is float else None) for n, v in params.items()), ())
    except ValueError:
        found = f"{type(stepper).__name__}.step is not elementwise"
    if isinstance(found, str):
        return f"loop: one {type(stepper).__name__}.step per time step, because {found}"
    limit = "" if mode is True else f" for {LARGE:,} neuron-steps and more, below that step by step"
    return f"fused: Numba kernels of {type(stepper).__name__}.step with the loop over time inside{limit}"


def _say(reason: str) -> None:
    global _said  # noqa: PLW0603  (a remark made once per process)
    if not _said:
        _said = True
        print(f"spikecore: neurons run step by step: {reason}", file=sys.stderr)


def _flat(a: Any) -> Any:
    """(time, batch, ...) as (time, neurons), without a copy where strides allow."""
    return a.reshape(a.shape[0], -1)


def _vector(a: Any) -> Any:
    return np.ascontiguousarray(a).reshape(-1)


def _reduced(total: Any, shape: Tuple[int, ...]) -> Any:
    """Sums per neuron (batch, ...) as one gradient of the parameter's shape: in float64, in one order."""
    wide = total.astype("float64")
    extra = wide.ndim - len(shape)
    axes = (*range(extra), *(i + extra for i, n in enumerate(shape) if n == 1))
    return np.asarray(wide.sum(axis=axes)).reshape(shape).astype(total.dtype)

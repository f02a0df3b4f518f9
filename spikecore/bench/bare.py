"""A neuron's kernels with nothing around them: no autograd, no allocation, the same buffers at every call."""

from __future__ import annotations

import math
from typing import Any, Callable

import numpy as np

import spikecore as sc
from spikecore.api.layer import Key
from spikecore.api.tree import flatten, map_leaves
from spikecore.bench.plan import Absent, Evidence, Run


def check() -> None:
    """Refuse a side that needs kernels.

    Raises:
        Absent: there are none without Numba.
    """
    from spikecore.kernels.fused import has_numba

    if not has_numba():
        raise Absent("kernels need Numba: pip install numba")


def run(layer: Any, x: np.ndarray, upstream: np.ndarray) -> Run:
    """Forward and backward kernel of a neuron without learned parameters.

    Raises:
        Absent: there are no kernels here.
    """
    check()
    import torch

    from spikecore.kernels import fused
    from spikecore.kernels.choose import Terms, choose
    from spikecore.kernels.threads import use_threads

    engine = sc.get_engine("numpy", fused=False)
    shape = x.shape[1:]
    params = layer.prepare(engine, map_leaves(engine.asarray, layer.init(Key((0,)), shape).params))
    rest = layer.rest(engine, params, x[0])
    found = choose(Terms(True, "float32"), layer, flatten(params), flatten(rest), x.shape, ())
    use_threads(torch.get_num_threads())
    forward = fused.forward_kernel(found, False, shape)
    backward = fused.backward_kernel(found, False, shape, True, ())
    spikes, by_input = np.empty_like(x), np.empty_like(x)
    rows = [fused.flat(array) for array in (x, upstream, spikes, by_input)]
    states = [fused.flat(rest[name][None])[0] for name in found.states]
    final, nothing, by_state = ([np.zeros_like(state) for state in states] for _ in range(3))
    given, scratch = found.given(flatten(params), shape), found.scratch(len(x), shape)
    kept = [np.empty((rows, math.prod(shape)), x.dtype) for rows, *_ in found.saved_shapes(len(x), shape)]

    def call() -> Callable[[], Evidence]:
        forward(rows[0], *states, *given, rows[2], *final, *kept)
        backward(rows[0], *states, *given, rows[1], *nothing, 0, *kept, scratch, rows[3], *by_state)
        return lambda: {"spikes": spikes.copy(), "input": by_input.copy()}

    return call

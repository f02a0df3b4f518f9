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
    zeros = [np.zeros(rows[0].shape[1], x.dtype) for _ in found.states]
    states, by_state = ([zero.copy() for zero in zeros] for _ in range(2))
    given, scratch = found.given(flatten(params), shape), found.scratch(len(x), shape)
    kept = [np.empty((steps, math.prod(shape)), x.dtype) for steps, *_ in found.saved_shapes(len(x), shape)]

    def call() -> Callable[[], Evidence]:
        for array, zero in zip((*states, *by_state), (*zeros, *zeros)):
            np.copyto(array, zero)
        forward(rows[0], *given, rows[2], *states, *kept)
        backward(rows[0], *given, rows[1], *kept, scratch, 0, *by_state, rows[3])
        return lambda: {"spikes": spikes.copy(), "input": by_input.copy()}

    return call

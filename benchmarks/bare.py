"""Runs of a neuron's kernels alone: without autograd, without allocation, with the same buffers at every call."""

from __future__ import annotations

import math
from typing import Any, Callable

import numpy as np

import spikecore as sc
from benchmarks.plan import Absent, Evidence, Run
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import flatten, map_leaves


def check() -> None:
    """Check that there are kernels.

    Raises:
        Absent: Numba is not installed.
    """
    from spikecore.kernels.fused import has_numba

    if not has_numba():
        raise Absent("kernels need Numba: pip install numba")


def run(layer: Any, x: np.ndarray, upstream: np.ndarray) -> Run:
    """Forward and backward kernel of a neuron without learned parameters.

    Args:
        layer: the neuron.
        x: inputs (time, batch, neurons).
        upstream: gradient of the spikes, of the same shape.

    Raises:
        Absent: Numba is not installed.
    """
    check()
    import torch

    from spikecore.kernels import fused, memory
    from spikecore.kernels.choose import Terms, choose
    from spikecore.kernels.threads import use_threads

    engine = sc.get_engine("numpy", fused=False)
    shape = x.shape[1:]
    params = layer.prepare(engine, map_leaves(engine.asarray, layer.init(Key((0,)), shape).params))
    first = layer.rest(engine, params, x[0])
    kernel = choose(Terms(True, "float32"), layer, flatten(params), flatten(first), x.shape, ())
    use_threads(torch.get_num_threads())
    forward, backward = fused.forward_of(kernel), fused.backward_of(kernel, fused.Wanted("rows", ()))
    spikes, by_input = (memory.empty(x.shape, x.dtype) for _ in range(2))
    inputs, gradient, outputs, by_inputs = map(fused.flat, (x, upstream, spikes, by_input))
    now, by_state = ([memory.empty(shape, x.dtype) for _ in kernel.states] for _ in range(2))
    rest = [kernel.start_of(None) for _ in kernel.states]
    saved = [fused.flat(memory.empty(s, x.dtype)) for s in kernel.saved_shapes(len(x), shape)]
    given, scratch, threads = kernel.held(flatten(params), shape), kernel.scratch(shape), fused.workers(shape)
    count, chunk = math.prod(shape), fused.chunk_of(shape)

    def call() -> Callable[[], Evidence]:
        forward(threads, (len(x), count, chunk, 1), (inputs, *given, *rest, outputs, *now, *saved))
        arrays = inputs, *given, gradient, *saved, scratch, *rest, *by_state, by_inputs
        backward(threads, (len(x), count, fused.CHUNK, 0), arrays)
        return lambda: {"spikes": spikes.copy(), "input": by_input.copy()}

    return call

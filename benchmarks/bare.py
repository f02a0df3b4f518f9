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
    from spikecore.kernels.sizes import has_numba

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

    from spikecore.kernels import sequence
    from spikecore.kernels.runtime import allocator
    from spikecore.kernels.runtime.openmp import use_threads
    from spikecore.kernels.select import Terms, choose
    from spikecore.kernels.sinks import workers

    engine = sc.get_engine("numpy", fused=False)
    shape = x.shape[1:]
    params = layer.prepare(engine, map_leaves(engine.asarray, layer.init(Key((0,)), shape).params))
    first = layer.rest(engine, params, x[0])
    kernels = choose(Terms(True, "float32"), layer, flatten(params), flatten(first), x.shape, ())
    assert isinstance(kernels, sequence.SequenceNumba), kernels
    use_threads(torch.get_num_threads())
    forward = sequence.forward_of(kernels, kernels.sink)
    backward = sequence.backward_of(kernels, kernels.sink, "rows", ())
    spikes, by_input = (allocator.empty(x.shape, x.dtype) for _ in range(2))
    inputs, gradient, outputs, by_inputs = map(sequence.flat, (x, upstream, spikes, by_input))
    now, by_state = ([allocator.empty(shape, x.dtype) for _ in kernels.states] for _ in range(2))
    rest = [kernels.first(None) for _ in kernels.states]
    blocks = kernels.saved_shapes(len(x), shape)  # of a single one, the first states are what the way back begins with
    kept = [sequence.flat(allocator.zeros(s, x.dtype)) for s in blocks or [(1, *shape) for _ in kernels.states]]
    chunks = [kernels.sink.chunk_of(shape), kernels.sink.chunk_of(shape, True, len(x))]
    scratch, threads, count = kernels.scratch(shape, chunks[1], 0), workers(shape), math.prod(shape)
    there, back = (kernels.given(flatten(params), shape, chunk) for chunk in chunks)

    def call() -> Callable[[], Evidence]:
        forward(threads, (len(x), count, chunks[0], int(bool(blocks))), (inputs, *there, *rest, outputs, *now, *kept))
        arrays = inputs, *back, gradient, *kept, scratch, *rest, *by_state, by_inputs
        backward(threads, (len(x), count, chunks[1], 0), arrays)
        return lambda: {"spikes": spikes.copy(), "input": by_input.copy()}

    return call

"""Pretended CUDA graphs: the operators of a block are recorded, and done again on the same memory.

As on CUDA, nothing may wait for the device in the block, and nothing comes from the host. Importing this module puts
``CUDAGraph`` and ``graph`` into ``torch.cuda``. Unlike there, the block computes, too.
"""

from __future__ import annotations

import contextlib

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from spikecore.kernels.triton import SequenceTriton
from tests.engines.cuda_rig.device import logged, one_launch

loaded = set()  # the sources of kernels that have been started
EMPTY = {"empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided"}
NOT_IN_GRAPHS = ("wait", "upload", "download", "send", "fetch")


class Recorder(TorchDispatchMode):
    """Writes down operators with their tensors, which so stay in memory."""

    def __init__(self, calls):
        super().__init__()
        self.calls = calls

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if not function.is_view and function._schema.name.partition("::")[2] not in EMPTY:
            self.calls.append((function, args, kwargs or {}, out))
        return out


class CUDAGraph:
    """Operators and kernels, to be done again."""

    def __init__(self):
        self.calls = []

    def replay(self):
        with one_launch("graph"), torch.no_grad(), torch._C._AutoDispatchBelowAutograd():
            for function, args, kwargs, out in self.calls:
                again = function(*args, **kwargs)
                for old, new in zip(*([x] if isinstance(x, torch.Tensor) else x or () for x in (out, again))):
                    if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                        old.copy_(new)


def watched():
    """From here on, kernels that are started are known: in a graph one may not be loaded that was not there before."""
    started = SequenceTriton.start

    def start(self, kernel, *options):
        if torch.cuda.is_current_stream_capturing() and kernel.source not in loaded:
            raise RuntimeError(f"operation not permitted when stream is capturing: loads {kernel.name}")
        loaded.add(kernel.source)
        started(self, kernel, *options)

    SequenceTriton.start = start


def marked(leaves):
    """Mark what torch knows of leaves, for as long as something uses it: it belongs to the stream that made it."""
    for leaf in leaves:
        accumulator(leaf).metadata["made outside"] = True


def accumulator(leaf):
    return torch.autograd.graph.get_gradient_edge(leaf).node


@contextlib.contextmanager
def of_one_stream():
    """A block in which gradients are asked only by leaves that no other stream has used, and is not done with."""
    asked = torch.autograd.grad

    def grad(outputs, inputs, *arguments, **options):
        with _disable_current_modes():
            stale = any(accumulator(x).metadata.get("made outside") for x in inputs if x.is_leaf)
        if stale:
            raise RuntimeError("operation would make the legacy stream depend on a capturing blocking stream")
        return asked(outputs, inputs, *arguments, **options)

    torch.autograd.grad = grad
    try:
        yield
    finally:
        torch.autograd.grad = asked


@contextlib.contextmanager
def graph(made, stream):
    """Record the block as a graph."""
    started = SequenceTriton.start

    def start(*arguments):
        with _disable_current_modes(), one_launch("triton"):
            made.calls.append((started, arguments, {}, None))
            started(*arguments)

    SequenceTriton.start, torch.cuda.is_current_stream_capturing = start, lambda: True
    try:
        with logged() as log, of_one_stream(), Recorder(made.calls):
            yield
    finally:
        SequenceTriton.start, torch.cuda.is_current_stream_capturing = started, lambda: False
    refused = log.names(*NOT_IN_GRAPHS)
    if refused:
        raise RuntimeError(f"operation not permitted when stream is capturing: {refused}")


torch.cuda.CUDAGraph, torch.cuda.graph = CUDAGraph, graph

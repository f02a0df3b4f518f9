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


@contextlib.contextmanager
def graph(made):
    """Record the block as a graph."""
    started = SequenceTriton.start

    def start(*arguments):
        with _disable_current_modes(), one_launch("triton"):
            made.calls.append((started, arguments, {}, None))
            started(*arguments)

    SequenceTriton.start, torch.cuda.is_current_stream_capturing = start, lambda: True
    try:
        with logged() as log, Recorder(made.calls):
            yield
    finally:
        SequenceTriton.start, torch.cuda.is_current_stream_capturing = started, lambda: False
    refused = log.names(*NOT_IN_GRAPHS)
    if refused:
        raise RuntimeError(f"operation not permitted when stream is capturing: {refused}")


torch.cuda.CUDAGraph, torch.cuda.graph = CUDAGraph, graph

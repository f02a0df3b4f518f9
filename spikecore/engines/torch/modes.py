"""Tests for active modes of torch: compilation, the transforms of ``torch.func``, forward mode, autocast."""

from __future__ import annotations

import sys
from functools import wraps
from typing import Any, Callable

import torch
from torch.autograd import forward_ad

RECENT = tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 4)  # is_autocast_enabled takes a device


def _never() -> bool:
    return False


_compiler = getattr(torch, "compiler", None)  # no wrappers: Dynamo knows these functions
compiling = getattr(_compiler, "is_compiling", _never)  # whether the call is compiled or exported
read_by_dynamo = getattr(_compiler, "is_dynamo_compiling", _never)  # whether Dynamo reads this Python code
_in_batches = getattr(getattr(torch._C, "_functorch", None), "is_legacy_batchedtensor", None)
in_functorch = getattr(torch._C, "_are_functorch_transforms_active", _never)  # whether torch.func transforms the call

exporting = getattr(_compiler, "is_exporting", lambda: compiling() and not read_by_dynamo())  # torch 2.7 has it


def written_down() -> Any:
    """The function that records the call for later use, by ``torch.export`` or a trace of ``torch.jit``; None: none.

    It is another object for each export, but True where Dynamo reads the code.
    """
    if exporting():
        return True if read_by_dynamo() else torch._guards.TracingContext.try_get() or True
    return torch._C._get_tracing_state()  # type: ignore[attr-defined]  # torch's stubs lack it


def unread(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, which Dynamo is not to read. Nor is Dynamo imported for that, which would take a second."""
    hidden = getattr(torch, "_disable_dynamo", lambda function: function)(function)

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        return (hidden if "torch._dynamo" in sys.modules else function)(*args, **kwargs)

    return call


def transformed() -> bool:
    """Whether ``torch.func`` or forward mode is active: tensors then have wrappers or tangents."""
    return not compiling() and (in_functorch() or forward_ad._current_level >= 0)


def hooked() -> bool:
    """Whether tensors that are saved for the way back go through hooks (``saved_tensors_hooks``), as in checkpoints."""
    top = getattr(torch._C._autograd, "_top_saved_tensors_default_hooks", None)
    return top is not None and top(True) is not None


def in_batches(g: Any) -> bool:
    """Whether a gradient is many at once, as with ``torch.autograd.grad(..., is_grads_batched=True)``."""
    return _in_batches is not None and bool(_in_batches(g))


def unwrapped_values(x: Any) -> Any:
    """The values of a tensor as a NumPy array, even if ``torch.func`` differentiates it.

    Raises:
        RuntimeError: ``vmap`` maps over the tensor, so it has no single value.
    """
    functorch: Any = torch._C._functorch  # type: ignore[attr-defined]
    while functorch.is_gradtrackingtensor(x):
        x = functorch.get_unwrapped(x)
    if functorch.is_batchedtensor(x):
        raise RuntimeError(
            "torch.func.vmap maps over this tensor, so its values cannot be read. They are needed for a check or for "
            "NumPy. Give a Model, an encoder or a metric whole batches, outside of vmap; map "
            "over modules of spikecore.nn, and over loss.evaluate(engine, out, targets), which checks nothing"
        )
    with torch._C._DisableFuncTorch():  # type: ignore[attr-defined]
        return x.detach().cpu().numpy()


def casting(device: str) -> bool:
    """Whether autocast is active for a kind of device."""
    if RECENT:
        return torch.is_autocast_enabled(device)
    return torch.is_autocast_cpu_enabled() if device == "cpu" else torch.is_autocast_enabled()


def has_data(x: Any) -> bool:
    """Whether a tensor is a plain tensor with data; those of a compiler are not."""
    return type(x) in (torch.Tensor, torch.nn.Parameter)

"""Observe constructs that PopTorch accepts and gets wrong, and that no operator of the forward pass shows.

While a module runs, functions of torch are replaced by wrappers. A wrapper reports the call and then makes it.
"""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Iterator, List, Tuple

import torch
import torch.utils.checkpoint as checkpoint

from spikecore.engines.ipu.simulation.ops import identity_loss
from spikecore.engines.ipu.simulation.rules import replaced

IGNORED = {
    "autograd.Function": "its backward is silently dropped and its forward is differentiated instead",
    "detach_": "PopTorch accepts and ignores it: the gradient flows",
    "hook": "gradient hooks are silently ignored",
}

#: Operators of PopTorch that return their first argument.
PASSING = (
    "ipu_print_tensor nop recomputation_checkpoint set_available_memory set_matmul_serialization "
    "set_overlap_for_input set_overlap_for_output"
).split()


@contextlib.contextmanager
def traps(watch: Any) -> Iterator[None]:
    """Report these constructs while a module runs.

    Args:
        watch: the ``Watch`` to which they are reported.
    """
    with replaced(*_changes(watch)):
        yield


def _changes(watch: Any) -> List[Tuple[Any, str, Any]]:
    apply, call = torch.autograd.Function.__dict__["apply"].__func__, torch.nn.Module.__call__

    def applied(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if cls is checkpoint.CheckpointFunction:  # its backward is the backward of the ops in its forward
            watch.recomputed = True
        elif watch.training:
            remedy = "Write value + slope.detach() * (x - x.detach()), with plain ops"
            watch.note("autograd.Function", f"{cls.__name__}: {IGNORED['autograd.Function']}", remedy)
        with watch.inlined():
            return apply(cls, *args, **kwargs)

    def noted(owner: Any, name: str, trap: str, remedy: str) -> Tuple[Any, str, Callable[..., Any]]:
        original = owner.__dict__.get(name) or getattr(owner, name)

        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            if watch.training:
                watch.note(trap, IGNORED[trap], remedy)
            return original(self, *args, **kwargs)

        return owner, name, wrapper

    def called(module: Any, *args: Any, **kwargs: Any) -> Any:
        watch.stack.append(watch.names.get(id(module), watch.layer))
        try:
            return call(module, *args, **kwargs)
        except Exception:
            watch.failed = watch.failed or watch.layer
            raise
        finally:
            watch.stack.pop()

    changes: List[Tuple[Any, str, Any]] = []
    if hasattr(checkpoint, "_infer_device_type"):  # newer versions look for torch.ipu, which does not exist
        changes.append((checkpoint, "_infer_device_type", lambda *args: "cpu"))
    return [
        *changes,
        *_own_operators(watch),
        (torch.autograd.Function, "apply", classmethod(applied)),
        noted(torch.Tensor, "detach_", "detach_", "Write y = x.detach() and use y"),
        noted(torch.Tensor, "register_hook", "hook", "Build the gradient from plain ops and detach()"),
        (torch.nn.Module, "__call__", called),
    ]


def _own_operators(watch: Any) -> Iterator[Tuple[Any, str, Any]]:
    """PopTorch's own operators, if it is installed, as functions of torch: on a CPU it gives them no gradient."""

    def start(inputs: Any) -> None:
        if watch.training:
            watch.note("operator", "poptorch.for_loop is for inference only", "Write the steps out in training")

    functions: Dict[str, Callable[..., Any]] = {
        "identity_loss": lambda x, reduction: identity_loss(x, ("sum", "mean", "none")[reduction]),
        "start_for_loop": start,
        "end_for_loop": lambda outputs, inputs, count: list(outputs),
        **{name: lambda x, *options: x for name in PASSING},
    }
    for name, function in functions.items():
        if hasattr(torch.ops.poptorch, name):
            yield torch.ops.poptorch, name, function

"""One forward pass under observation: every operator, and everything that PopTorch would silently get wrong."""

from __future__ import annotations

import contextlib
from typing import Any, Callable, Dict, Iterator, List, Tuple

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from spikecore.engines.ipu.findings import CheckReport, Finding
from spikecore.engines.ipu.operators import objection
from spikecore.engines.ipu.simulation.ops import Tracing
from spikecore.engines.ipu.simulation.rules import LOSSES, replaced

FORBIDDEN = (torch.bfloat16, torch.complex64, torch.complex128)
HOST_CHECKS = ("one_hot", "bincount")  # torch's own argument checks read values back on the CPU, not on an IPU
HOST = "_local_scalar_dense aminmax is_nonzero item equal".split()

Call = Tuple[str, Tuple[Any, ...], str]  # operator, shapes and dtypes of its outputs, layer


class Watch:
    """Notes the calls of one forward pass, and objections in a report.

    Args:
        report: where objections go.
        names: dotted names of the modules by id.
    """

    def __init__(self, report: CheckReport, names: Dict[int, str]) -> None:
        self.report, self.names = report, names
        self.calls: List[Call] = []
        self.stack: List[str] = [""]
        self.failed = ""  # the layer in which the pass fails
        self.inside = 0  # a torch function whose CPU version reads values back
        self.losses: List[Any] = []
        self.wrapped: List[Any] = []

    @property
    def layer(self) -> str:
        """The layer at hand."""
        return self.stack[-1]

    def enter(self, path: str) -> None:
        """A layer begins, and lasts until the next one."""
        self.stack[-1] = path

    def note(self, trap: str, reason: str, remedy: str, error: bool = True) -> None:
        """Enter an objection to the layer at hand."""
        self.report.add(Finding(trap, self.layer, reason, remedy, error))

    @contextlib.contextmanager
    def watching(self, training: bool) -> Iterator[None]:
        """Everything that torch does is noted."""
        observers = (replaced(*_traps(self)), _Functions(self), _Operators(self), torch.enable_grad())
        with Tracing(training) as tracing, contextlib.ExitStack() as stack:
            for observer in observers:
                stack.enter_context(observer)
            yield
        self.losses, self.wrapped = [*self.losses, *tracing.losses], tracing.wrapped

    def operator(self, name: str, outputs: Any) -> None:
        """One call of an aten operator."""
        tensors = [x for x in _flat(outputs) if isinstance(x, torch.Tensor)]
        self.calls.append((name, tuple((tuple(x.shape), str(x.dtype)) for x in tensors), self.layer))
        for x in tensors:
            if x.dtype in FORBIDDEN:
                self.note("dtype", f"aten::{name} makes {x.dtype}, which no IPU has", "Use float32 or float16")
        against = objection(name)
        if against is None or (self.inside and name in HOST):
            return
        kind = "reads values on the host" if name in HOST else "is not lowered"
        self.note("host access" if name in HOST else "operator", f"aten::{name} {kind}", _sentence(against))


class _Operators(TorchDispatchMode):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found, name = function(*args, **(kwargs or {})), function.overloadpacket.__name__
        self.watch.operator(name, found)
        if name == "index" and any(getattr(i, "dtype", None) in (torch.bool, torch.uint8) for i in args[1]):
            reason = "aten::index with a mask has a shape that depends on values"
            self.watch.note("operator", reason, "Multiply by the mask, or use torch.where")
        return found


class _Functions(TorchFunctionMode):
    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, watch = getattr(function, "__name__", ""), self.watch
        watch.inside += name in HOST_CHECKS
        try:
            found = function(*args, **(kwargs or {}))
        finally:
            watch.inside -= name in HOST_CHECKS
        if name in LOSSES and isinstance(found, torch.Tensor):
            watch.losses.append(found)
        if name in ("cpu", "numpy", "tolist") and isinstance(args[0], torch.Tensor):
            watch.note("host access", f"Tensor.{name}() moves values to the host", "Keep them in tensors of the model")
        if name == "__set__" and kwargs is None and len(args) == 2 and isinstance(args[1], torch.Tensor):
            watch.note(".data =", "assignment to .data is silently lost", "Use copy_ on a float buffer")
        return found


_IGNORED = {
    "autograd.Function": "its backward is silently dropped and its forward is differentiated instead",
    "detach_": "it is accepted and ignored: the gradient flows",
    "no_grad": "it stops no gradient on the device",
    "hook": "gradient hooks are silently ignored",
}


def _traps(watch: Watch) -> List[Tuple[Any, str, Any]]:
    """What is exchanged in torch while a module is watched: the call is noted, then it does what it always does."""
    apply = torch.autograd.Function.__dict__["apply"].__func__

    def applied(cls: Any, *args: Any, **kwargs: Any) -> Any:
        remedy = "Write value + slope.detach() * (x - x.detach()), with plain ops"
        watch.note("autograd.Function", f"{cls.__name__}: {_IGNORED['autograd.Function']}", remedy)
        return apply(cls, *args, **kwargs)

    def noted(owner: Any, name: str, trap: str, remedy: str) -> Tuple[Any, str, Callable[..., Any]]:
        original = owner.__dict__.get(name) or getattr(owner, name)

        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            watch.note(trap, _IGNORED[trap], remedy)
            return original(self, *args, **kwargs)

        return owner, name, wrapper

    call = torch.nn.Module.__call__

    def called(module: Any, *args: Any, **kwargs: Any) -> Any:
        watch.stack.append(watch.names.get(id(module), watch.layer))
        try:
            return call(module, *args, **kwargs)
        except Exception:
            watch.failed = watch.failed or watch.layer
            raise
        finally:
            watch.stack.pop()

    use_detach = "Write y = x.detach() and use y"
    return [
        (torch.autograd.Function, "apply", classmethod(applied)),
        noted(torch.Tensor, "detach_", "detach_", use_detach),
        noted(torch.Tensor, "register_hook", "hook", "Build the gradient from plain ops and detach()"),
        noted(torch.no_grad, "__enter__", "no_grad", use_detach),
        noted(torch.inference_mode, "__enter__", "no_grad", use_detach),
        (torch.nn.Module, "__call__", called),
    ]


def _flat(found: Any) -> List[Any]:
    if isinstance(found, (tuple, list)):
        return [x for part in found for x in _flat(part)]
    return [found]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]

"""Observe one forward pass: every function and operator of torch, and on which device its tensors would be."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional, Tuple

import torch
from torch.overrides import TorchFunctionMode

from spikecore.engines.ipu.conditions import function_condition
from spikecore.engines.ipu.findings import CheckReport, Finding
from spikecore.engines.ipu.recording import OperatorCall, Operators, constant_call, tensors_in
from spikecore.engines.ipu.records import Record, Write, forget_record, note_record, record_of
from spikecore.engines.ipu.simulation.ops import Tracing
from spikecore.engines.ipu.simulation.rules import LOSSES
from spikecore.engines.ipu.traps import traps

IPU = torch.device("ipu", 0)

#: Functions that make tensors. Without ``device=`` PopTorch puts the first set on the device, the second on the host.
ON_DEVICE = frozenset(
    "arange empty full full_like linspace logspace ones rand randint randn randperm range tensor zeros zeros_like "
    "normal".split()
)
ON_HOST = frozenset(
    "as_tensor asarray bartlett_window blackman_window empty_permuted empty_strided eye frombuffer from_file "
    "hamming_window hann_window kaiser_window scalar_tensor tril_indices triu_indices".split()
)


class Watch:
    """Collects the calls of one forward pass, and reports objections.

    Args:
        report: the report to which objections are added.
        names: dotted names of the modules by their ``id``.
        training: whether gradients matter.
    """

    def __init__(self, report: CheckReport, names: Dict[int, str], training: bool) -> None:
        self.report, self.names, self.training = report, names, training
        self.calls: List[OperatorCall] = []
        self.stack: List[str] = [""]
        self.failed = ""  # the layer in which the pass fails
        self.functions: List[str] = []  # the functions of torch that are running, the outermost first
        self.placed: Optional[str] = None  # "host" or "device": where the running function puts its results
        self.recomputed = False  # whether anything is checkpointed, so that autograd's graph is incomplete
        self.gradients = training  # whether to object to disabled gradients at the moment
        self.enabled = True  # whether gradients were enabled when the running function of torch was called
        self.losses: List[Any] = []

    @property
    def layer(self) -> str:
        """The name of the current layer."""
        return self.stack[-1]

    def enter(self, path: str) -> None:
        """Note that a layer begins. It lasts until the next one begins."""
        self.stack[-1] = path

    def note(self, trap: str, reason: str, remedy: str, error: bool = True) -> None:
        """Report an objection to the current layer."""
        self.report.add(Finding(trap, self.layer, reason, remedy, error))

    def mixed(self, name: str) -> None:
        """Object to a call that mixes tensors of the host and of the device."""
        reason = f"{name} gets a tensor of the host together with tensors of the device"
        self.note("host tensor", reason, "Make it a buffer (self.register_buffer), or move it: tensor.to(x.device)")

    def read(self, value: Any) -> None:
        """Note that tensors are read, and object if PopTorch would read old values."""
        for x in tensors_in(value):
            record = record_of(x)
            lost = record.outdated() if record is not None else None
            if lost is not None:
                self.report.add(_lost(lost))

    def run(self, module: Any, inputs: List[Any], held: List[Any]) -> Any:
        """Call a module and note everything that torch does; returns the module's result.

        Args:
            module: the module to call.
            inputs: its arguments.
            held: its parameters and buffers, which are on the device like the inputs.
        """
        tensors = [*tensors_in(inputs), *held]
        for x in tensors:
            note_record(x, Record(x, constant=False))
        observers = (traps(self), _Functions(self), Operators(self), torch.enable_grad())
        try:
            with Tracing(self.training) as tracing, contextlib.ExitStack() as stack:
                for observer in observers:
                    stack.enter_context(observer)
                out = module(*inputs)
            self.losses += tracing.losses
            self.read([out, held])  # the caller reads the output, the next call the rest
            return out
        finally:
            for x in tensors:
                forget_record(x)

    @contextlib.contextmanager
    def inlined(self) -> Iterator[None]:
        """The forward of an ``autograd.Function``: torch disables gradients here, PopTorch does not."""
        before, self.gradients = self.gradients, False
        try:
            yield
        finally:
            self.gradients = before

    @contextlib.contextmanager
    def inside(self, name: str, placed: Optional[str]) -> Iterator[None]:
        """A function of torch is running; ``placed`` says where it puts its results."""
        before, self.placed = self.placed, placed or self.placed
        if not self.functions:
            self.enabled = torch.is_grad_enabled()
        self.functions.append(name)
        try:
            yield
        finally:
            self.functions.pop()
            self.placed = before


def _lost(write: Write) -> Finding:
    if write.constant:
        reason = (
            f"aten::{write.operator} writes into a part of a tensor of constants (zeros, empty, new_zeros, ...), which "
            "PopTorch computes earlier: the write is silently lost"
        )
        remedy = "Build it with torch.stack or torch.cat; do so in place of F.pad(mode='circular'), too"
    else:
        reason = (
            f"aten::{write.operator} changes a tensor in place that shares memory with others: these silently keep "
            "their old values"
        )
        remedy = "Assign instead: k[:, 0] = k[:, 0] + 1, or k = torch.cat([...])"
    return Finding("lost write", write.layer, reason, remedy)


class _Functions(TorchFunctionMode):
    """Observes the outermost functions of torch, and makes tensors report that they are on an IPU."""

    def __init__(self, watch: Watch) -> None:
        super().__init__()
        self.watch = watch

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs, watch = getattr(function, "__name__", ""), dict(kwargs or {}), self.watch
        if name in ("__get__", "__set__"):
            return self._attribute(name, function, args)
        broken = function_condition(name, args, kwargs)
        if broken is not None:
            watch.note("operator", broken.reason, broken.remedy, broken.error)
        args, device = _on_cpu(name, args, kwargs)
        sources = [record_of(x) for x in tensors_in((args, kwargs))]
        here, moves = [record for record in sources if record is not None], name in ("to", "type_as")
        moved = moves and len(sources) > 0 and sources[0] is None
        leaves = name in ("cpu", "numpy", "tolist") or (moves and not moved and (device == "host" or None in sources))
        if here and leaves:
            watch.note("host access", f"Tensor.{name}() moves values to the host", "Keep them in tensors of the model")
        elif here and None in sources and not moves:
            watch.mixed(name)
        with watch.inside(name, device or ("host" if moved else _default(name, len(sources) > 0))):
            result = function(*args, **kwargs)
        if moved and (device == "device" or here):
            result = self._constant(result)
        if name in LOSSES and isinstance(result, torch.Tensor):
            watch.losses.append(result)
        return result

    def _attribute(self, name: str, function: Any, args: Any) -> Any:
        attribute, watch = getattr(function, "__self__", None), self.watch
        if args and record_of(args[0]) is not None:
            if name == "__get__" and attribute is torch.Tensor.device:
                return IPU
            if name == "__get__" and attribute is torch.Tensor.is_cpu:
                return False
            if attribute is torch.Tensor.data:
                if name == "__set__":
                    watch.note(".data =", "assignment to .data is silently lost", "Use copy_ on a float buffer")
                else:
                    reason = ".data stops no gradient, and a write to it may be lost"
                    watch.note(".data", reason, "Read x.detach(), and write with copy_ to a float buffer")
        return function(*args)

    def _constant(self, x: Any) -> Any:
        """A copy on the device of a tensor of the host, which is a constant of the program."""
        with self.watch.inside("to", "host"):
            copy = x.clone()
        note_record(copy, Record(copy, constant=True))
        self.watch.calls.append(constant_call(copy, self.watch.layer))
        return copy


def _on_cpu(name: str, args: Any, kwargs: Dict[str, Any]) -> Tuple[Any, Optional[str]]:
    """The arguments with every device replaced by the CPU, and where they ask for the result: "host" or "device"."""
    place: Optional[str] = None
    if kwargs.get("device") is not None:
        place = _place(kwargs["device"])
        kwargs["device"] = "cpu"
    arguments = []
    for x in args:
        if isinstance(x, torch.device) or (name == "to" and isinstance(x, str)):
            place = _place(x)
            x = "cpu"
        arguments.append(x)
    return tuple(arguments), place


def _place(device: Any) -> str:
    return "device" if torch.device(device).type == "ipu" else "host"


def _default(name: str, given: bool) -> Optional[str]:
    """PopTorch's place for the result of a function without ``device=``; None for the device of its arguments."""
    if name in ON_DEVICE:
        return "device"
    return "host" if name in ON_HOST and not given else None

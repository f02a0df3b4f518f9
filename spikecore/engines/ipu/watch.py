"""One forward pass under observation: every function and operator of torch, and where its tensors would lie."""

from __future__ import annotations

import contextlib
from typing import Any, Dict, Iterator, List, Optional, Tuple

import torch
from torch.overrides import TorchFunctionMode

from spikecore.engines.ipu.conditions import function_condition
from spikecore.engines.ipu.findings import CheckReport, Finding
from spikecore.engines.ipu.recording import Call, Operators, constant_call, tensors_in
from spikecore.engines.ipu.records import Record, Write, forget_record, note_record, record_of
from spikecore.engines.ipu.simulation.ops import Tracing
from spikecore.engines.ipu.simulation.rules import LOSSES
from spikecore.engines.ipu.traps import traps

IPU = torch.device("ipu", 0)

#: Functions that make tensors: unless told otherwise PopTorch sends these to the device and leaves those on the host.
ON_DEVICE = frozenset(
    "arange empty full full_like linspace logspace ones rand randint randn randperm range tensor zeros zeros_like "
    "normal".split()
)
ON_HOST = frozenset(
    "as_tensor asarray bartlett_window blackman_window empty_permuted empty_strided eye frombuffer from_file "
    "hamming_window hann_window kaiser_window scalar_tensor tril_indices triu_indices".split()
)


class Watch:
    """Notes the calls of one forward pass, and objections in a report.

    Args:
        report: where objections go.
        names: dotted names of the modules by id.
        training: whether gradients matter.
    """

    def __init__(self, report: CheckReport, names: Dict[int, str], training: bool) -> None:
        self.report, self.names, self.training = report, names, training
        self.calls: List[Call] = []
        self.stack: List[str] = [""]
        self.failed = ""  # the layer in which the pass fails
        self.functions: List[str] = []  # the functions of torch at hand
        self.placed: Optional[str] = None  # "host" or "device", where the function at hand is told to put its results
        self.recomputed = False  # whether anything is checkpointed, and autograd's graph is not all there
        self.gradients = training  # whether a disabled gradient matters at the moment
        self.losses: List[Any] = []

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

    def mixed(self, name: str) -> None:
        """A tensor of the host's meets one on the device."""
        reason = f"{name} is given a tensor of the host's, which cannot meet those of the device"
        self.note("host tensor", reason, "Make it a buffer (self.register_buffer), or move it: tensor.to(x.device)")

    def read(self, value: Any) -> None:
        """Tensors are read: object where PopTorch would read old values."""
        for x in tensors_in(value):
            record = record_of(x)
            lost = record.outdated() if record is not None else None
            if lost is not None:
                self.report.add(_lost(lost))

    def run(self, module: Any, inputs: List[Any], held: List[Any]) -> Any:
        """The module's result on inputs, with everything that torch does noted.

        Args:
            module: what is called.
            inputs: its arguments.
            held: its parameters and buffers, which lie on the device like the inputs.
        """
        given = [*tensors_in(inputs), *held]
        for x in given:
            note_record(x, Record(x, constant=False))
        observers = (traps(self), _Functions(self), Operators(self), torch.enable_grad())
        try:
            with Tracing(self.training) as tracing, contextlib.ExitStack() as stack:
                for observer in observers:
                    stack.enter_context(observer)
                out = module(*inputs)
            self.losses += tracing.losses
            self.read([out, held])  # by the caller, and by the next call
            return out
        finally:
            for x in given:
                forget_record(x)

    @contextlib.contextmanager
    def inlined(self) -> Iterator[None]:
        """Torch disables gradients here, in the forward of a function, and PopTorch does not."""
        before, self.gradients = self.gradients, False
        try:
            yield
        finally:
            self.gradients = before

    @contextlib.contextmanager
    def inside(self, name: str, placed: Optional[str]) -> Iterator[None]:
        """A function of torch is at hand."""
        before, self.placed = self.placed, placed or self.placed
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
            "are folded before: what is written is silently lost"
        )
        remedy = "Build it with torch.stack or torch.cat, also where F.pad(mode='circular') writes so"
    else:
        reason = (
            f"aten::{write.operator} changes a tensor in place of which there are views, or a view: those that share "
            "its memory silently keep their old values"
        )
        remedy = "Assign instead: k[:, 0] = k[:, 0] + 1, or k = torch.cat([...])"
    return Finding("lost write", write.layer, reason, remedy)


class _Functions(TorchFunctionMode):
    """Functions of torch, at their outermost: tensors say that they lie on an IPU, as they would there."""

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
            found = function(*args, **kwargs)
        if moved and (device == "device" or here):
            found = self._constant(found)
        if name in LOSSES and isinstance(found, torch.Tensor):
            watch.losses.append(found)
        return found

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
                    reason = ".data stops no gradient, and what is written to it may be lost"
                    watch.note(".data", reason, "Read x.detach(), and write with copy_ to a float buffer")
        return function(*args)

    def _constant(self, x: Any) -> Any:
        """A tensor of the host's on the device: a constant of the program."""
        with self.watch.inside("to", "host"):
            copy = x.clone()
        note_record(copy, Record(copy, constant=True))
        self.watch.calls.append(constant_call(copy, self.watch.layer))
        return copy


def _on_cpu(name: str, args: Any, kwargs: Dict[str, Any]) -> Tuple[Any, Optional[str]]:
    """The arguments with the CPU in place of an IPU, and where they ask for the result."""
    place: Optional[str] = None
    if kwargs.get("device") is not None:
        place = _place(kwargs["device"])
        kwargs["device"] = "cpu"
    found = []
    for x in args:
        if isinstance(x, torch.device) or (name == "to" and isinstance(x, str)):
            place = _place(x)
            x = "cpu"
        found.append(x)
    return tuple(found), place


def _place(device: Any) -> str:
    return "device" if torch.device(device).type == "ipu" else "host"


def _default(name: str, given: bool) -> Optional[str]:
    """Where PopTorch puts what a function makes without being told; None, where its arguments lie."""
    if name in ON_DEVICE:
        return "device"
    return "host" if name in ON_HOST and not given else None

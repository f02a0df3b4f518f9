"""Record every operator of a forward pass as PopTorch would, with the objections to it."""

from __future__ import annotations

import zlib
from functools import lru_cache
from typing import Any, Dict, List, NamedTuple, Tuple

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from spikecore.engines.ipu.conditions import ON_CPU, condition
from spikecore.engines.ipu.records import COPIES, Record, Write, note_record, record_of
from spikecore.engines.ipu.supported_operators import objection
from spikecore.engines.ipu.ties import tied

INT32 = torch.iinfo(torch.int32)
FORBIDDEN = (torch.bfloat16, torch.complex64, torch.complex128)
HOST = "_local_scalar_dense aminmax is_nonzero item equal".split()

#: Operators whose results PopTorch always computes at compile time, and operators whose results it never does.
CONSTANTS = frozenset(
    "zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty new_empty_strided "
    "lift_fresh".split()
)
CHANCE = frozenset(
    "rand randn randint randperm normal bernoulli rand_like randn_like randint_like "
    "normal_ uniform_ random_ exponential_ bernoulli_".split()
)
#: Operators that return views although their schema does not say so.
SHARING = frozenset("_unsafe_view unsafe_split unsafe_chunk unsafe_split_with_sizes".split())
OVERWRITING = frozenset("copy_ fill_ zero_ normal_ uniform_ random_ exponential_ bernoulli_".split())


class OperatorCall(NamedTuple):
    """One call of an operator: its name, shapes and dtypes of its results, its numerical arguments, its layer."""

    name: str
    outputs: Tuple[Any, ...]
    numbers: str
    layer: str


class Operators(TorchDispatchMode):
    """Records every operator that torch calls, below autograd.

    Args:
        watch: the ``Watch`` that collects calls and objections.
    """

    def __init__(self, watch: Any) -> None:
        super().__init__()
        self.watch = watch
        self.detached: Any = None  # what was detached last

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunction():
            return self._called(function, args, kwargs or {})

    def _called(self, function: Any, args: Any, kwargs: Dict[str, Any]) -> Any:
        name, arguments, written, views = _signature(function)
        given = {**dict(zip(arguments, args)), **kwargs}
        tensors = tensors_in(given)
        if self._on_host(name, tensors):
            return function(*args, **kwargs)
        if name == "fill_" and "__setitem__" in self.watch.functions:
            name = "copy_"  # on an IPU a number is copied, too
        changed_tensors = [given[x] for x in written if isinstance(given.get(x), torch.Tensor)]
        read_tensors = [x for x in tensors if not (name in OVERWRITING and any(x is y for y in changed_tensors))]
        self._read(name, tensors, [] if views else read_tensors)
        results = function(*args, **kwargs)
        outputs = tensors_in(results)
        if name != "detach" or given["self"] is not self.detached:  # torch 2.0 detaches what it has detached once more
            self._enter(name, given, outputs)
        self.detached = results if name == "detach" else None
        self._enter_gradients(name, given, tensors, results)
        self._remember(name, given, tensors, [x for x in outputs if not any(x is y for y in changed_tensors)], views)
        constant = name not in CHANCE and all(_constant(x) for x in read_tensors)
        for x in changed_tensors:
            self._write(name, given, x, constant)
        return results

    def _on_host(self, name: str, tensors: List[Any]) -> bool:
        """Whether an operator runs on the host while PopTorch traces, so that PopTorch does not see it."""
        watch = self.watch
        if name == "lift_fresh":  # called by torch.tensor, or by torch.from_numpy, which no mode sees
            return watch.placed == "host" or not watch.functions
        if watch.placed is not None:
            return bool(watch.placed == "host")
        return len(tensors) > 0 and all(record_of(x) is None for x in tensors)

    def _read(self, name: str, tensors: List[Any], kept: List[Any]) -> None:
        if not self.watch.functions and any(record_of(x) is None for x in tensors):  # else torch made it itself
            self.watch.mixed(_full(name))
        for x in kept:
            self.watch.read(x)

    def _enter(self, name: str, given: Dict[str, Any], outputs: List[Any]) -> None:
        """Note a call, and the objections to it."""
        watch = self.watch
        numbers = str(zlib.crc32(_bytes(outputs[0]))) if name == "lift_fresh" else repr(_plain(list(given.values())))
        shapes = tuple((tuple(x.shape), str(x.dtype)) for x in outputs)
        watch.calls.append(OperatorCall(name, shapes, numbers, watch.layer))
        for x in outputs:
            if x.dtype in FORBIDDEN:
                watch.note("dtype", f"{_full(name)} makes {x.dtype}, which no IPU has", "Use float32 or float16")
            if x.dtype == torch.int64 and x.numel() and bool(((x > INT32.max) | (x < INT32.min)).any()):
                reason = f"{_full(name)} makes whole numbers that do not fit into the 32 bits of an IPU"
                watch.note("dtype", reason, "Use smaller ones, or compute them on the host")
        if not set(ON_CPU.get(name, ())) & set(watch.functions):
            remedy, read_back = objection(name), name in HOST
            if remedy is not None:
                kind = "reads values on the host" if read_back else "is not lowered"
                watch.note("host access" if read_back else "operator", f"{_full(name)} {kind}", _sentence(remedy))
        broken = condition(name, given)
        if broken is not None:
            watch.note("operator", broken.reason, broken.remedy, broken.error)
        if name == "index" and any(getattr(i, "dtype", None) in (torch.bool, torch.uint8) for i in given["indices"]):
            reason = "aten::index with a mask has a shape that depends on values"
            watch.note("operator", reason, "Multiply by the mask, or use torch.where")
        if name in ("triu", "triu_") and not _constant(given["self"]):
            watch.note("operator", "aten::triu is lowered for constants only", "Multiply by a constant mask")

    def _enter_gradients(self, name: str, given: Dict[str, Any], tensors: List[Any], found: Any) -> None:
        """Object where PopTorch would differentiate a call in another way than torch."""
        watch = self.watch
        if not watch.gradients or not any(x.requires_grad for x in tensors) or "grad" in watch.functions:
            return
        enabled = watch.enabled if watch.functions else torch.is_grad_enabled()  # what torch does inside is its own
        if not enabled and name != "detach" and any(x.is_floating_point() for x in tensors_in(found)):
            reason = "gradients are disabled here, but on the device they flow all the same"
            watch.note("no_grad", reason, "Write y = x.detach() and use y")
        share = tied(name, given, found)
        if share and not any((x.trap, x.layer) == ("tied maxima", watch.layer) for x in watch.report.findings):
            reason = (
                f"aten::{name}: {share:.0%} of its results are reached by several equal values; an IPU gives each of "
                "these values the whole gradient, torch shares it or gives it to the first"
            )
            remedy = "Spikes tie almost always: pool the current before the neuron, or take the mean"
            watch.note("tied maxima", reason, remedy, error=False)

    def _remember(self, name: str, given: Dict[str, Any], tensors: List[Any], outputs: List[Any], views: bool) -> None:
        """Record which tensors new ones are views of, and whether PopTorch computes them at compile time."""
        constant = name in CONSTANTS or (name not in CHANCE and all(_constant(x) for x in tensors))
        step = given.get("step", 1) if name == "slice" else 1
        for x in outputs:
            bases = [record_of(y) for y in tensors if x is not y and _storage(x) == _storage(y)] if views else []
            base = bases[0] if bases else None
            note_record(x, Record(x, constant if base is None else base.constant, base, name, step))

    def _write(self, name: str, given: Dict[str, Any], x: Any, constant: bool) -> None:
        record, source = record_of(x), given.get("src")
        if record is None:
            return
        if name in COPIES and record.strided():
            reason = "assignment to a slice with a step is refused"
            self.watch.note("operator", reason, "Assign rows one by one, or use torch.where with a mask")
        write = Write(name, self.watch.layer, record.base is not None and record.base.constant)
        record.written(x, write, constant, None if source is None else record_of(source))


def constant_call(x: Any, layer: str) -> OperatorCall:
    """The call that PopTorch records when a tensor of the host is moved to the device: a constant."""
    with torch._C.DisableTorchFunction():
        return OperatorCall("constant", ((tuple(x.shape), str(x.dtype)),), str(zlib.crc32(_bytes(x))), layer)


def tensors_in(value: Any) -> List[Any]:
    """All tensors in lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        return [value]
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, (tuple, list)) else ()
    tensors = []
    for part in parts:
        if isinstance(part, torch.Tensor):
            tensors.append(part)
        elif isinstance(part, (tuple, list, dict)):
            tensors += tensors_in(part)
    return tensors


class Signature(NamedTuple):
    """An operator's name, its arguments' names, those that it changes in place, and whether it returns views.

    The name has a namespace, such as ``poptorch::``, if that is not aten.
    """

    name: str
    arguments: Tuple[str, ...]
    written: Tuple[str, ...]
    views: bool


@lru_cache(maxsize=None)
def _signature(function: Any) -> Signature:
    name, arguments = function._schema.name, function._schema.arguments
    name = name[len("aten::") :] if name.startswith("aten::") else name
    written = tuple(x.name for x in arguments if x.alias_info is not None and x.alias_info.is_write)
    views = not written and any(x.alias_info is not None for x in function._schema.returns)
    return Signature(name, tuple(x.name for x in arguments), written, views or name in SHARING)


def _full(name: str) -> str:
    return name if "::" in name else f"aten::{name}"


def _constant(x: Any) -> bool:
    record = record_of(x)
    return record is not None and record.constant


def _storage(x: Any) -> Any:
    return x.untyped_storage()._cdata if x.layout == torch.strided else id(x)


def _bytes(x: Any) -> bytes:
    return bytes(x.detach().to(torch.float64).contiguous().numpy().tobytes())


def _plain(value: Any) -> Any:
    """An argument with tensors and generators replaced by the names of their types."""
    if isinstance(value, (torch.Tensor, torch.Generator)):
        return type(value).__name__
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]

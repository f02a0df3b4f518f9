"""Writes spikecore/nn/__init__.pyi, which says to editors and type checkers how modules of ``spikecore.nn`` are called.

Their constructors are made from a table (``spikecore/engines/torch/nn/face.py``), which only a running Python sees. Run
from the repository root: ``make stub``, or ``python docs/make_stub.py``.
"""

from __future__ import annotations

import inspect
import pathlib
from typing import Any, List

import spikecore.nn as snn
from spikecore.engines.torch.nn.face import Faced

STUB = pathlib.Path(__file__).parent.parent / "spikecore" / "nn" / "__init__.pyi"
HEAD = '''\
"""Spiking neurons as PyTorch modules. Written by docs/make_stub.py: change the table in engines/torch/nn, not this."""

from typing import Any, Optional

from torch import Tensor, nn

from spikecore import __version__ as __version__
from spikecore import backprop as backprop
from spikecore import functional as functional
from spikecore import nir as export_nir
from spikecore import nir as import_nir
from spikecore import spikegen as spikegen
from spikecore import spikeplot as spikeplot
from spikecore import surrogate as surrogate
from spikecore import utils as utils
from spikecore.api.layers.taps import TapKernel
from spikecore.arguments import Count, Size
from spikecore.engines.torch.nn.face import Kernel, Reset, SpikeGrad, StateQuant, Value
from spikecore.engines.torch.nn.neuron import SpikingNeuron as _SpikingNeuron
'''


def stub() -> str:
    """The text of the file."""
    public = {name: getattr(snn, name) for name in dir(snn) if f" as {name}\n" not in HEAD}
    ours = {n: thing for n, thing in public.items() if getattr(thing, "__module__", "").startswith("spikecore.engines")}
    classes = [thing for thing in ours.values() if isinstance(thing, type) and issubclass(thing, Faced)]
    plain = sorted(name for name in ours if ours[name] not in classes)
    lines = [HEAD.rstrip(), *(f"from {ours[n].__module__} import {n} as {n}" for n in plain), ""]
    for kind in sorted(classes, key=lambda kind: (len(kind.__mro__), kind.__name__)):
        lines += ["", *_class(kind, classes)]
    return "\n".join(lines) + "\n"


def _class(kind: Any, classes: List[Any]) -> List[str]:
    bases = [base for base in kind.__mro__[1:] if base in classes]
    base = bases[0].__name__ if bases else "_SpikingNeuron" if issubclass(kind, snn.SpikingNeuron) else "nn.Module"
    tensors = [name for name in kind.tensors if not any(name in base.tensors for base in bases)]
    lines = [f"class {kind.__name__}({base}):"]
    lines += [f"    {name}: Tensor" for name in dict.fromkeys((*kind.states, *tensors))]
    for name in ("__init__", "forward", "__call__"):
        function = vars(kind).get("forward" if name == "__call__" else name)
        if function is not None:
            lines.append(_method(name, function))
    for name, method in vars(kind).items():
        if isinstance(method, classmethod) and name[0] != "_":
            lines += ["    @classmethod", _method(name, method.__func__)]
    return lines if len(lines) > 1 else [f"{lines[0]} ..."]


def _method(name: str, function: Any) -> str:
    """The line of a method; what a call returns depends on ``init_hidden`` and ``output``."""
    arguments = []
    for p in inspect.signature(function).parameters.values():
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(p.kind, "")
        default = "" if p.default is p.empty else f" = {p.default!r}"
        arguments.append(p.name if p.name in ("self", "cls") else f"{stars}{p.name}: {_type(p)}{default}")
    returned = "None" if name == "__init__" else "Any"
    return f"    def {name}({', '.join(arguments)}) -> {returned}: ..."


def _type(p: inspect.Parameter) -> str:
    if p.annotation is p.empty:  # of a call: its input, or a state
        return "Tensor" if p.default is p.empty else "Optional[Tensor]"
    text = str(p.annotation).replace("Numbers", "Value")
    may_be_none = text in ("Any", "SpikeGrad") or text.startswith("Optional")
    return f"Optional[{text}]" if p.default is None and not may_be_none else text


if __name__ == "__main__":
    STUB.write_text(stub())

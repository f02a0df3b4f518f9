"""Programs as Triton kernels, for torch tensors on a CUDA device.

Every operation is rounded on its own, as the loop over steps does it: contraction into fused multiply-adds is off, and
float32 is divided by ``div_rn`` (Triton's ``/`` is off by up to 2 units in the last place). Loads come in the type of
the states and stores cast by themselves: halves are a type of memory here, never of arithmetic.
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any, ClassVar, Dict, List, Sequence, Tuple

import torch

from spikecore.kernels.device import Constants, OnDevice, made
from spikecore.kernels.runtime.modules import load
from spikecore.kernels.sequence_gpu import Kernel
from spikecore.kernels.target import COMMON, Target

BLOCK = 256  # neurons per program
OPTIONS = {"enable_fp_fusion": False}
HEAD = """\
import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit(do_not_specialize=["steps", "window"])
"""


class Triton(Target):
    """Triton: one lane of a block per neuron."""

    words: ClassVar[Dict[str, str]] = {
        **COMMON,
        "abs": "tl.abs({0})",
        "maximum": "tl.where(({0} > {1}) | ({0} != {0}), {0}, {1})",  # a NaN stays one
        "minimum": "tl.where(({0} < {1}) | ({0} != {0}), {0}, {1})",
        "where": "tl.where({0}, {1}, {2})",
        "exp": "tl.exp({0})",
        "log": "tl.log({0})",
        "sqrt": "tl.sqrt({0})",
        "tanh": "libdevice.tanh({0})",
        "atan": "libdevice.atan({0})",
        "pow": "libdevice.pow({0}, {1})",
        "sign": "tl.where({0} > {zero}, {one}, tl.where({0} < {zero}, -{one}, {zero}))",
        "floor": "tl.floor({0})",
        "ceil": "tl.ceil({0})",
        "round": "libdevice.rint({0})",
        "logical_and": "{0} & {1}",
        "logical_or": "{0} | {1}",
        "logical_not": "~{0}",
        "float": "tl.where({0}, {one}, {zero})",
        "spike": "tl.where({0} > {zero}, {one}, {zero})",
    }
    exact: ClassVar[Dict[str, str]] = {"divide": "tl.div_rn({0}, {1})", "sqrt": "tl.sqrt_rn({0})"}  # float32 only

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype)
        self.type = f"tl.{dtype}"
        if dtype == "float32":
            self.words = {**self.words, **self.exact}  # type: ignore[misc]

    def number(self, value: float) -> str:
        text = repr(value) if math.isfinite(value) else f'float("{value!r}")'
        return f"tl.full((), {text}, {self.type})"  # a bare 0.9 would be float32 wherever no float64 stands beside it

    def load(self, array: str, at: str) -> str:
        return f"tl.load({array} + {at}, mask, 0.0).to({self.type})"

    def scalar(self, array: str, place: int = 0) -> str:
        return f"tl.load({array} + {place}).to({self.type})"

    def fixed(self, kind: str, name: str, text: str) -> str:
        return f"{name} = {text}"

    def variable(self, name: str, text: str) -> str:
        return self.assign(name, text)

    def assign(self, name: str, text: str) -> str:
        return f"{name} = tl.broadcast_to({text}, (BLOCK,))"  # what passes from step to step must keep its shape

    def store(self, array: str, at: str, text: str) -> str:
        return f"tl.store({array} + {at}, {text}, mask)"

    def head(self, name: str, arrays: Sequence[str], written: Sequence[str], numbers: Sequence[str]) -> List[str]:
        strides = [n for n in numbers if n == "count" or n.startswith("step_")]
        return [
            f"def {name}({', '.join((*arrays, *numbers))}, BLOCK: tl.constexpr):",
            "    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)",
            "    mask = i < count",
            *(f"    {n} = tl.cast({n}, tl.int64)" for n in strides),  # time x neurons passes 2**31 early
        ]

    def loop(self, reverse: bool) -> List[str]:
        if reverse:
            return ["for back in range(steps):", "t = steps - 1 - back"]
        return ["for t in range(steps):"]

    def at(self) -> str:
        return "at = t * count + i"

    def cut(self) -> str:
        return "if (t > 0) & (t % window == 0):"


class FusedTriton(OnDevice):
    """Kernels for torch tensors."""

    target: ClassVar[Any] = Triton
    language: ClassVar[str] = "Triton"

    def _empty(self, like: Any, shape: Tuple[int, ...], own: bool) -> Any:
        return torch.empty(shape, dtype=getattr(torch, self.dtype) if own else like.dtype, device=like.device)

    def _packed(self, a: Any, like: Any = None) -> Any:
        return a.detach().to(getattr(torch, self.dtype) if like is None else like.dtype).contiguous()

    def _spread(self, a: Any, shape: Tuple[int, ...]) -> Any:
        return self._packed(a.expand(shape))

    def _repeats(self, a: Any) -> bool:
        return bool(a.stride(0) == 0)

    def _reduced(self, sums: Any, like: Any) -> Any:
        extra = sums.ndim - like.ndim
        axes = (*range(extra), *(i + extra for i, n in enumerate(like.shape) if n == 1))
        wide = sums.double()
        return (wide.sum(dim=axes) if axes else wide).reshape(like.shape).to(like.dtype)

    def _start(self, kernel: Kernel, arrays: List[Any], numbers: List[int], x: Any, count: int) -> None:
        import triton

        function = getattr(load(HEAD + kernel.source), kernel.name)
        with torch.cuda.device_of(x):  # Triton starts kernels on the current device
            function[(triton.cdiv(count, BLOCK),)](*arrays, *numbers, BLOCK=BLOCK, **OPTIONS)


def fused(stepper: Any, constants: Constants, record: Tuple[str, ...], rows: Tuple[str, ...], dtype: str) -> Any:
    """The Triton kernels of a stepper, or a text that says why there are none.

    Args:
        stepper: the neuron.
        constants: its prepared parameters by dotted name: a float is a constant, None stands for an array.
        record: states to return for every step.
        rows: parameters with more than one value.
        dtype: "float32" or "float64", of states and parameters.
    """
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed (pip install triton)"
    return made(stepper, FusedTriton, constants, record, rows, dtype)

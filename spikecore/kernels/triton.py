"""Programs as Triton kernels, for torch tensors on a CUDA device.

The forward kernel of ``sc.Leaky(beta=0.9)``::

    def forward(init_0, constants, x, kept_0, out, fin_0, count, steps, step_x, BLOCK: tl.constexpr):
        i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)         # a block of neurons
        mask = i < count
        now_0 = tl.broadcast_to(tl.load(init_0 + i, mask, 0.0).to(tl.float32), (BLOCK,))
        for t in tl.range(steps, loop_unroll_factor=8):
            x_now = x_0.to(tl.float32)                                          # read eight steps before
            v0 = now_0
            v1 = x_now
            v2 = v0 > tl.full((), 1.0, tl.float32)                              # v2 = greater(v0, 1.0)
            tl.store(out + t * count + i, v9, mask)                             # the spikes
            now_0 = tl.broadcast_to(v7, (BLOCK,))

Every operation is rounded on its own, as the loop over steps does it: contraction into fused multiply-adds is off, and
float32 is divided by ``div_rn`` (Triton's ``/`` is off by up to 2 units in the last place). Loads come in the type of
the states and stores cast by themselves: halves are a type of memory here, never of arithmetic.
"""

from __future__ import annotations

import importlib.util
import math
from typing import Any, ClassVar, Dict, List, Sequence, Tuple

import torch

from spikecore.kernels.device import OnDevice
from spikecore.kernels.emit import OPERATORS
from spikecore.kernels.runtime.modules import load
from spikecore.kernels.sequence_gpu import GpuSource, block_of
from spikecore.kernels.target import Target

OPTIONS = {"enable_fp_fusion": False}
REGISTERS = 255  # of a thread, at most
HEAD = """\
import triton
import triton.language as tl
from triton.language.extra import libdevice


@triton.jit(do_not_specialize=["steps", "window", "t", "key", "first"])
"""


class Triton(Target):
    """Triton: one lane of a block per neuron."""

    words: ClassVar[Dict[str, str]] = {
        **OPERATORS,
        **{word: f"tl.{word}({{0}})" for word in ("abs", "exp", "log", "sqrt", "floor", "ceil")},
        **{word: f"libdevice.{word}({{0}})" for word in ("sin", "cos", "tanh", "atan")},
        "maximum": "tl.where(({0} > {1}) | ({0} != {0}), {0}, {1})",  # a NaN stays one
        "minimum": "tl.where(({0} < {1}) | ({0} != {0}), {0}, {1})",
        "where": "tl.where({0}, {1}, {2})",
        "pow": "libdevice.pow({0}, {1})",
        "sign": "tl.where({0} > {zero}, {one}, tl.where({0} < {zero}, -{one}, {zero}))",
        "round": "libdevice.rint({0})",
        "logical_and": "{0} & {1}",
        "logical_or": "{0} | {1}",
        "logical_not": "~{0}",
        "astype": "tl.where({0}, {one}, {zero})",
        "spike": "tl.where({0} > {zero}, {one}, {zero})",
    }
    exact: ClassVar[Dict[str, str]] = {"divide": "tl.div_rn({0}, {1})", "sqrt": "tl.sqrt_rn({0})"}  # float32 only
    statements: ClassVar[Dict[str, str]] = {
        "load": "tl.load({array} + {at}, mask, 0.0).to({type})",
        "load_row": "tl.load({array} + {at}, i < tl.where({inside}, count, 0), 0.0)",
        "row_now": "{name} = {value}.to({type})",
        "scalar": "tl.load({array} + {at}).to({type})",
        "fixed": "{name} = {value}",
        **dict.fromkeys(  # what passes from step to step must keep its shape
            ("variable", "row_variable", "assign"), "{name} = tl.broadcast_to({value}, (BLOCK,))"
        ),
        "first_gate": "first = i + i // step_gate * {others} * step_gate",
        "store": "tl.store({array} + {at}, {value}, mask)",
        "forwards": "for t in tl.range(steps, loop_unroll_factor={unroll}):",
        "backwards": "for back in tl.range(steps, loop_unroll_factor={unroll}):\nt = steps - 1 - back",
        "cut": "if (t > 0) & (t % window == 0):",
    }

    def __init__(self, dtype: str) -> None:
        super().__init__(dtype)
        self.type = f"tl.{dtype}"
        if dtype == "float32":
            self.words = {**self.words, **self.exact}  # type: ignore[misc]

    def number(self, value: float) -> str:
        text = repr(value) if math.isfinite(value) else f'float("{value!r}")'
        return f"tl.full((), {text}, {self.type})"  # a bare 0.9 would be float32 wherever no float64 stands beside it

    def head(self, name: str, arrays: Sequence[str], written: Sequence[str], numbers: Sequence[str]) -> List[str]:
        strides = [n for n in numbers if n == "count" or n.startswith("step_")]
        return [
            f"def {name}({', '.join((*arrays, *numbers))}, BLOCK: tl.constexpr):",
            "    i = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)",
            "    mask = i < count",
            *(f"    {n} = tl.cast({n}, tl.int64)" for n in strides),  # time x neurons passes 2**31 early
        ]


class SequenceTriton(OnDevice):
    """Kernels for torch tensors."""

    target: ClassVar[Any] = Triton
    language: ClassVar[str] = "Triton"

    @classmethod
    def missing(cls) -> str:
        return "" if importlib.util.find_spec("triton") else "Triton is not installed (pip install triton)"

    def empty(self, like: Any, shape: Tuple[int, ...], own: bool) -> Any:
        return torch.empty(shape, dtype=getattr(torch, self.step.dtype) if own else like.dtype, device=like.device)

    def packed(self, a: Any, like: Any = None) -> Any:
        return self.cast(a.detach(), self.step.dtype if like is None else like.dtype).contiguous()

    def spread(self, a: Any, shape: Tuple[int, ...]) -> Any:
        return a.expand(shape)

    def cast(self, a: Any, dtype: Any) -> Any:
        return a.to(getattr(torch, dtype) if isinstance(dtype, str) else dtype)

    def without_first(self, rows: Any) -> Any:
        return rows[1:].data  # autograd takes it for a tensor of its own, which may be edited, as a view may not

    def multiply(self, a: Any, b: Any, out: Any, add: bool = False) -> None:
        if add:
            torch.addmm(out, a, b, out=out)
        else:
            torch.mm(a, b, out=out)

    def clear(self, a: Any) -> None:
        a.zero_()

    def stride(self, a: Any) -> int:
        return int(a.stride(0))

    def start(self, kernel: GpuSource, arrays: List[Any], numbers: List[int], x: Any, count: int) -> None:
        import triton

        function = getattr(load(HEAD + kernel.source), kernel.name)
        with torch.cuda.device_of(x):  # Triton starts kernels on the current device
            block = block_of(count)
            options = options_of(block, kernel.name, x.dtype == torch.float64)
            function[(triton.cdiv(count, block),)](*arrays, *numbers, BLOCK=block, **options)


def options_of(block: int, name: str, double: bool) -> Dict[str, Any]:
    """Triton's options for the kernel ``name`` with so many neurons per block, ``double``: in double precision.

    Those that go backwards hold several rows of several steps, and doubles are two registers each. NVIDIA's assembler
    would rather move one to memory than have a block less at work, unless there is a limit, here of all registers. ROCm
    has no such option.
    """
    most = {"maxnreg": REGISTERS} if (double or name == "backward") and torch.version.hip is None else {}
    return {**OPTIONS, "num_warps": block // 32, **most}

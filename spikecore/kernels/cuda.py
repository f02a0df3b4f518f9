"""Programs as CUDA C kernels, for CuPy arrays.

The forward kernel of ``sc.Leaky(beta=0.9)``; ``F`` is the type of the states, ``X`` that of the input::

    void forward(const F* __restrict__ init_0, const F* __restrict__ constants, const X* __restrict__ x,
        const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;    // the neuron of this thread
        F now_0 = F(init_0[i]);
        X x_0 = 0 < steps ? x[0 * step_x + i] : X(0.0f);                        // eight steps are read ahead
        for (long long t = 0; t < steps; ++t) {
            const F x_now = F(x_0);
            x_0 = x_1;
            x_7 = t + 8 < steps ? x[(t + 8) * step_x + i] : X(0.0f);
            const F v0 = now_0;
            const F v1 = x_now;
            const bool v2 = v0 > F(1.0);            // v2 = greater(v0, 1.0)
            const F v3 = v2 ? F(1.0) : F(0.0);
            out[t * count + i] = X(v9);             // the spike
            now_0 = v7;
            kept_0[(t + 1) * count + i] = F(v7);    // for the backward kernel

Compiled with ``--fmad=false``: every operation is rounded on its own, as the loop over steps does it. Division and
square root are exact by default, and each constant has the type of the states.
"""

from __future__ import annotations

import importlib.util
import math
from functools import lru_cache
from typing import Any, ClassVar, Dict, List, Sequence, Tuple

import numpy as np

from spikecore.kernels.device import OnDevice
from spikecore.kernels.emit import OPERATORS
from spikecore.kernels.sequence_gpu import GpuSource, block_of
from spikecore.kernels.target import INPUT_TYPED, Target

OPTIONS = ("--fmad=false",)
TYPES = {"float32": "float", "float64": "double", "float16": "__half", "bfloat16": "__nv_bfloat16"}
HEADERS = {"float16": "#include <cuda_fp16.h>\n", "bfloat16": "#include <cuda_bf16.h>\n"}
HEAD = """\
{header}typedef {own} F;    // states and parameters
typedef {given} X;    // the input, what comes out, and their gradients

extern "C" __global__
"""


class CudaC(Target):
    """CUDA C: one thread per neuron."""

    words: ClassVar[Dict[str, str]] = {
        **OPERATORS,
        **{word: f"{word}({{0}})" for word in ("exp", "log", "sqrt", "sin", "cos", "tanh", "atan", "floor", "ceil")},
        "abs": "fabs({0})",
        "maximum": "({0} > {1} || {0} != {0}) ? {0} : {1}",  # a NaN stays one
        "minimum": "({0} < {1} || {0} != {0}) ? {0} : {1}",
        "where": "({0} ? {1} : {2})",
        "pow": "pow({0}, {1})",
        "sign": "{0} > {zero} ? {one} : ({0} < {zero} ? -{one} : {zero})",
        "round": "rint({0})",
        "logical_and": "{0} && {1}",
        "logical_or": "{0} || {1}",
        "logical_not": "!{0}",
        "astype": "{0} ? {one} : {zero}",
        "spike": "{0} > {zero} ? {one} : {zero}",
    }
    statements: ClassVar[Dict[str, str]] = {
        **dict.fromkeys(("load", "scalar"), "F({array}[{at}])"),
        "load_row": "{inside} ? {array}[{at}] : {stored}(0.0f)",
        "row_variable": "{stored} {name} = {value};",
        "row_now": "const F {name} = F({value});",
        "fixed": "const {kind} {name} = {value};",
        "variable": "F {name} = {value};",
        "assign": "{name} = {value};",
        "first_gate": "const long long first = i + i / step_gate * {others} * step_gate;",
        "store": "{array}[{at}] = {stored}({value});",
        "forwards": '_Pragma("unroll {unroll}") for (long long t = 0; t < steps; ++t) {{',
        "backwards": '_Pragma("unroll {unroll}") for (long long t = steps - 1; t >= 0; --t) {{',
        "cut": "if (t > 0 && t % window == 0) {{",
    }
    closing: ClassVar[Tuple[str, ...]] = ("}",)

    def number(self, value: float) -> str:
        if math.isfinite(value):
            return f"F({value!r})"
        return "F(-__int_as_float(0x7f800000))" if value < 0 else "F(__int_as_float(0x7f800000))"

    def text(self, statement: str, **parts: Any) -> str:
        kind = "F" if parts.get("kind") == "float" else "bool"
        return super().text(statement, **{**parts, "kind": kind})

    def head(self, name: str, arrays: Sequence[str], written: Sequence[str], numbers: Sequence[str]) -> List[str]:
        pointers = [
            f"{'' if a in written else 'const '}{'X' if a in INPUT_TYPED else 'F'}* __restrict__ {a}" for a in arrays
        ]
        return [
            f"void {name}({', '.join((*pointers, *(f'long long {n}' for n in numbers)))}) {{",
            "    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;",
            "    if (i >= count) return;",
        ]


def whole(kernel: GpuSource, dtype: str, given: str) -> str:
    """A kernel's source with its types: ``dtype`` of the states, ``given`` of the input."""
    return HEAD.format(header=HEADERS.get(given, ""), own=TYPES[dtype], given=TYPES[given]) + kernel.source


class SequenceCuda(OnDevice):
    """Kernels for CuPy arrays. Another library with NumPy's functions and a way to compile can take CuPy's place."""

    target: ClassVar[Any] = CudaC
    language: ClassVar[str] = "CUDA C"

    @classmethod
    def missing(cls) -> str:
        if importlib.util.find_spec("cupy"):
            return ""
        return "CuPy is not installed (pip install cupy-cuda13x, or cupy-cuda12x for CUDA 12)"

    @property
    def library(self) -> Any:
        """The library that the arrays belong to."""
        import cupy

        return cupy

    def compiled(self, source: str, name: str) -> Any:
        """A kernel compiled from its source: a function of (grid, block, arguments)."""
        return _raw_kernel(source, name)

    def empty(self, like: Any, shape: Tuple[int, ...], own: bool) -> Any:
        return self.library.empty(shape, self.step.dtype if own else like.dtype)

    def packed(self, a: Any, like: Any = None) -> Any:
        return self.library.ascontiguousarray(a, self.step.dtype if like is None else like.dtype)

    def spread(self, a: Any, shape: Tuple[int, ...]) -> Any:
        return self.library.broadcast_to(a, shape)

    def cast(self, a: Any, dtype: Any) -> Any:
        return a.astype(dtype, copy=False)

    def multiply(self, a: Any, b: Any, out: Any, add: bool = False) -> None:
        if add:
            out += self.library.matmul(a, b)
        else:
            self.library.matmul(a, b, out=out)

    def clear(self, a: Any) -> None:
        a.fill(0)

    def stride(self, a: Any) -> int:
        return int(a.strides[0])

    def start(self, kernel: GpuSource, arrays: List[Any], numbers: List[int], x: Any, count: int) -> None:
        function = self.compiled(whole(kernel, self.step.dtype, str(x.dtype)), kernel.name)
        threads = block_of(count)
        function((-(-count // threads),), (threads,), (*arrays, *(np.int64(n) for n in numbers)))


@lru_cache(maxsize=None)
def _raw_kernel(source: str, name: str) -> Any:
    """A kernel of CuPy, which compiles it at the first call and keeps the binary on disk."""
    import cupy

    return cupy.RawKernel(source, name, options=OPTIONS)

"""Programs as CUDA C kernels, for CuPy arrays.

Compiled with ``--fmad=false``: every operation is rounded on its own, as the loop over steps does it. Division and
square root are exact by default, and each constant has the type of the states.
"""

from __future__ import annotations

import importlib.util
import math
from functools import lru_cache
from typing import Any, ClassVar, Dict, List, Sequence, Tuple

import numpy as np

from spikecore.kernels.device import Constants, OnDevice, made
from spikecore.kernels.sequence_gpu import Kernel
from spikecore.kernels.target import COMMON, INPUT_TYPED, Target

THREADS = 256  # per block
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
        **COMMON,
        "abs": "fabs({0})",
        "maximum": "({0} > {1} || {0} != {0}) ? {0} : {1}",  # a NaN stays one
        "minimum": "({0} < {1} || {0} != {0}) ? {0} : {1}",
        "where": "({0} ? {1} : {2})",
        "exp": "exp({0})",
        "log": "log({0})",
        "sqrt": "sqrt({0})",
        "tanh": "tanh({0})",
        "atan": "atan({0})",
        "pow": "pow({0}, {1})",
        "sign": "{0} > {zero} ? {one} : ({0} < {zero} ? -{one} : {zero})",
        "floor": "floor({0})",
        "ceil": "ceil({0})",
        "round": "rint({0})",
        "logical_and": "{0} && {1}",
        "logical_or": "{0} || {1}",
        "logical_not": "!{0}",
        "float": "{0} ? {one} : {zero}",
        "spike": "{0} > {zero} ? {one} : {zero}",
    }
    closing: ClassVar[Tuple[str, ...]] = ("}",)

    def number(self, value: float) -> str:
        if math.isfinite(value):
            return f"F({value!r})"
        return "F(-__int_as_float(0x7f800000))" if value < 0 else "F(__int_as_float(0x7f800000))"

    def load(self, array: str, at: str) -> str:
        return f"F({array}[{at}])"

    def scalar(self, array: str, place: int = 0) -> str:
        return f"F({array}[{place}])"

    def fixed(self, kind: str, name: str, text: str) -> str:
        return f"const {'F' if kind == 'float' else 'bool'} {name} = {text};"

    def variable(self, name: str, text: str) -> str:
        return f"F {name} = {text};"

    def assign(self, name: str, text: str) -> str:
        return f"{name} = {text};"

    def store(self, array: str, at: str, text: str) -> str:
        return f"{array}[{at}] = {'X' if array in INPUT_TYPED else 'F'}({text});"

    def head(self, name: str, arrays: Sequence[str], written: Sequence[str], numbers: Sequence[str]) -> List[str]:
        pointers = [
            f"{'' if a in written else 'const '}{'X' if a in INPUT_TYPED else 'F'}* __restrict__ {a}" for a in arrays
        ]
        return [
            f"void {name}({', '.join((*pointers, *(f'long long {n}' for n in numbers)))}) {{",
            "    const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;",
            "    if (i >= count) return;",
        ]

    def loop(self, reverse: bool) -> List[str]:
        course = "t = steps - 1; t >= 0; --t" if reverse else "t = 0; t < steps; ++t"
        return [f"for (long long {course}) {{"]

    def at(self) -> str:
        return "const long long at = t * count + i;"

    def cut(self) -> str:
        return "if (t > 0 && t % window == 0) {"


def whole(kernel: Kernel, dtype: str, given: str) -> str:
    """A kernel's source with its types: ``dtype`` of the states, ``given`` of the input."""
    return HEAD.format(header=HEADERS.get(given, ""), own=TYPES[dtype], given=TYPES[given]) + kernel.source


class FusedCuda(OnDevice):
    """Kernels for CuPy arrays. Another library with NumPy's functions and a way to compile can take CuPy's place."""

    target: ClassVar[Any] = CudaC
    language: ClassVar[str] = "CUDA C"

    @property
    def library(self) -> Any:
        """The arrays' library."""
        import cupy

        return cupy

    def compiled(self, source: str, name: str) -> Any:
        """A function (grid, block, arguments)."""
        return _raw_kernel(source, name)

    def _empty(self, like: Any, shape: Tuple[int, ...], own: bool) -> Any:
        return self.library.empty(shape, self.dtype if own else like.dtype)

    def _packed(self, a: Any, like: Any = None) -> Any:
        return self.library.ascontiguousarray(a, self.dtype if like is None else like.dtype)

    def _spread(self, a: Any, shape: Tuple[int, ...]) -> Any:
        return self._packed(self.library.broadcast_to(a, shape))

    def _repeats(self, a: Any) -> bool:
        return bool(a.strides[0] == 0)

    def _reduced(self, sums: Any, like: Any) -> Any:
        extra = sums.ndim - like.ndim
        axes = (*range(extra), *(i + extra for i, n in enumerate(like.shape) if n == 1))
        wide = sums.astype("float64")
        return self.library.asarray(wide.sum(axis=axes) if axes else wide).reshape(like.shape).astype(like.dtype)

    def _start(self, kernel: Kernel, arrays: List[Any], numbers: List[int], x: Any, count: int) -> None:
        function = self.compiled(whole(kernel, self.dtype, str(x.dtype)), kernel.name)
        function((-(-count // THREADS),), (THREADS,), (*arrays, *(np.int64(n) for n in numbers)))


@lru_cache(maxsize=None)
def _raw_kernel(source: str, name: str) -> Any:
    """CuPy compiles at the first call and keeps the binary on disk."""
    import cupy

    return cupy.RawKernel(source, name, options=OPTIONS)


def fused(stepper: Any, constants: Constants, record: Tuple[str, ...], rows: Tuple[str, ...], dtype: str) -> Any:
    """The CUDA C kernels of a stepper, or a text that says why there are none.

    Args:
        stepper: the neuron.
        constants: its prepared parameters by dotted name: a float is a constant, None stands for an array.
        record: states to return for every step.
        rows: parameters with more than one value.
        dtype: "float32" or "float64", of states and parameters.
    """
    if importlib.util.find_spec("cupy") is None:
        return "CuPy is not installed (pip install cupy-cuda12x, or the wheel for your CUDA version)"
    return made(stepper, FusedCuda, constants, record, rows, dtype)

"""Dense products of matrices, by whichever of torch's two libraries uses the whole processor.

torch multiplies with MKL, which takes AVX-512 on Intel's processors alone, and convolves with oneDNN, which takes it
everywhere. On others with AVX-512, such as AMD's since Zen 4, oneDNN multiplies in half the time (Zen 5: 105 to 120 in
place of 55 thousand million multiplications a second).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, List

import torch

from spikecore.engines.torch.threads import from_library

ROWS, INNER = 4, 16  # of the left operand rows and columns, from which on oneDNN is faster
LONG, WIDE = 100, 256  # the same of results whose left operand is transposed: their longer side; their columns
PART, LINE = 1 << 18, 16  # elements of a part, which stays in second-level cache; of a line of it


def faster(a: Any, b: Any) -> bool:
    """Whether oneDNN multiplies the matrices a @ b faster, which depends on shapes, strides and the processor alone."""
    (rows, inner), columns = a.shape, b.shape[1]
    if rows < ROWS or inner < INNER or a.dtype is not torch.float32 or not a.is_cpu or a.is_neg() or b.is_neg():
        return False
    if columns > rows and rows * columns > PART:
        return False
    if a.stride(1) != 1 and (rows < INNER or columns < WIDE and not (inner > rows and max(rows, columns) >= LONG)):
        return False
    return _half_used()


def product(a: Any, b: Any, bias: Any = None, out: Any = None) -> Any:
    """Give a @ b + bias of matrices, without a record for autograd; in ``out``, if it is given. See ``faster``.

    The longest side is cut into parts: oneDNN's results lie in memory of its own, and it copies operands that do not
    lie as it wants them.
    """
    (rows, inner), columns = a.shape, b.shape[1]
    out = a.new_empty(rows, columns) if out is None else out
    bias = None if bias is None else bias.contiguous()  # oneDNN reads no strides of it
    if inner > max(rows, columns) and a.stride(1) != 1:
        for k in _parts(inner, PART // max(rows, columns)):
            part = _multiplied(a[:, k], b[k].t(), None if k.start else bias)
            out = out.add_(part) if k.start else out.copy_(part)
        return out
    parts = _parts(rows, PART // columns)
    across = b.t().contiguous() if len(parts) > 1 else b.t()
    for k in parts:
        out[k] = _multiplied(a[k], across, bias)
    return out


def _parts(size: int, each: int) -> List[slice]:
    each = max(LINE, each // LINE * LINE)
    return [slice(low, min(size, low + each)) for low in range(0, size, each)]


def _multiplied(a: Any, across: Any, bias: Any) -> Any:
    return torch.ops.mkldnn._linear_pointwise(_gapless(a), _gapless(across), bias, "none", [], "")


def _gapless(x: Any) -> Any:
    """The matrix, or a copy: with gaps in both directions of memory, oneDNN takes a thousand times as long."""
    return x if x.is_contiguous() or x.t().is_contiguous() else x.contiguous()


@lru_cache(maxsize=None)
def _half_used() -> bool:
    """Whether torch multiplies with an MKL that leaves half of this processor's vectors unused, and has oneDNN."""
    is_intel = from_library("mkl_serv_intel_cpu_true")  # MKL's own question
    if is_intel is None or is_intel():
        return False
    processor = getattr(torch.backends, "cpu", None)  # torch 2.1 has it
    if processor is None or processor.get_cpu_capability() != "AVX512" or not torch.backends.mkldnn.is_available():
        return False
    return hasattr(torch.ops.mkldnn, "_linear_pointwise")

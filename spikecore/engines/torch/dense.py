"""Dense products of matrices, by whichever of torch's two libraries uses the whole processor.

torch multiplies with MKL, which takes AVX-512 on Intel's processors alone, and convolves with oneDNN, which takes it
everywhere. On others with AVX-512, such as AMD's since Zen 4, oneDNN multiplies in half the time (Zen 5: 105 to 120 in
place of 55 thousand million multiplications a second).
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch

from spikecore.engines.torch.threads import from_library

LEAST = 1 << 23  # multiplications from which on it is worth two functions of Python
ROWS, INNER = 4, 16  # of the left operand rows and columns, from which on oneDNN is faster
WIDEST = 100  # the same of a transposed left operand's product: its longer side
PART = 1 << 18  # elements of a result that wait in second-level cache until they are copied


def faster(a: Any, b: Any) -> bool:
    """Whether oneDNN multiplies the matrices a @ b faster, which depends on shapes, strides and the processor alone."""
    rows, columns = a.shape[0], b.shape[1]
    if rows < ROWS or len(b) < INNER or rows * b.numel() < LEAST or a.dtype is not torch.float32 or not a.is_cpu:
        return False
    return _half_used() and (a.stride(1) == 1 or max(rows, columns) >= WIDEST)


def product(a: Any, b: Any, bias: Any = None, out: Any = None) -> Any:
    """Give a @ b + bias of matrices, without a record for autograd; in ``out``, if it is given."""
    if not faster(a, b):
        return torch.mm(a, b, out=out) if bias is None else torch.addmm(bias, a, b, out=out)
    across, bias = b.t(), None if bias is None else bias.contiguous()  # oneDNN reads no strides of a bias
    if out is None:
        return _multiplied(a, across, bias)
    rows = max(ROWS, PART // len(across))
    for low in range(0, len(a), rows):  # results of oneDNN lie in memory of its own
        out[low : low + rows] = _multiplied(a[low : low + rows], across, bias)
    return out


def _multiplied(a: Any, across: Any, bias: Any) -> Any:
    return torch.ops.mkldnn._linear_pointwise(a, across, bias, "none", [], "")


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

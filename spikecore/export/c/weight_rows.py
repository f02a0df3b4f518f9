"""Rows of weights: stored without zeros where that is smaller, and functions of C that add those of inputs up."""

from __future__ import annotations

import re
from typing import Any, Mapping, Optional, Tuple

import numpy as np

#: Functions of the file, for numbers of any types; capitals stand for names, types and the sum.
HEAD = """/* out = in * weights: adds the row of weights of each input that is not zero, times the input. */
static void NAME(const IN *restrict in, int ins, const WEIGHT *restrict weights, OUT *restrict out,
                 int outs)
{
    for (int o = 0; o < outs; ++o) {
        out[o] = ZERO;
    }
"""
ROWS = (
    HEAD
    + """\
    for (int i = 0; i < ins; ++i, weights += outs) {
        const VARIABLE v = in[i];
        if (v != ZERO) {
            for (int o = 0; o < outs; ++o) {
                SUM;
            }
        }
    }
}"""
)
PACKED = (
    HEAD
    + """\
    const int length = (outs + PER - 1) / PER;
    for (int i = 0; i < ins; ++i, weights += length) {
        const VARIABLE v = in[i];
        if (v != ZERO) {
            for (int k = 0; k < PER; ++k) {
                OUT *const to = out + k * length;
                const int count = outs - k * length < length ? outs - k * length : length;
                for (int p = 0; p < count; ++p) {
                    SUM;
                }
            }
        }
    }
}"""
)
SPARSE = """/* out = in * weights: those of input i that are not zero are the ones from starts[i] to starts[i + 1]. */
static void NAME(const IN *restrict in, int ins, const START *restrict starts, const PLACE *restrict places,
                 const WEIGHT *restrict weights, OUT *restrict out, int outs)
{
    for (int o = 0; o < outs; ++o) {
        out[o] = ZERO;
    }
    for (int i = 0; i < ins; ++i) {
        const VARIABLE v = in[i];
        if (v != ZERO) {
            for (uint32_t e = starts[i]; e < starts[i + 1]; ++e) {
                OUT *const to = out + places[e];
                SUM;
            }
        }
    }
}"""
FORMS = {"rows": ROWS, "packed": PACKED, "sparse": SPARSE}


def row_function(form: str, spikes: bool, words: Mapping[str, str]) -> str:
    """The source of a function that multiplies inputs by a matrix.

    Args:
        form: how the weights are stored: "rows", "packed" or "sparse".
        spikes: whether the inputs are 0 and 1, so that nothing is multiplied.
        words: what stands for each word in capitals; ``SUM`` adds a weight, times ``v``, to an output.
    """
    text = FORMS[form]
    if spikes:
        text = text.replace("        const VARIABLE v = in[i];\n        if (v != ZERO)", "        if (in[i] != ZERO)")
        text = text.replace(", times the input", "")
    for word, meaning in words.items():
        text = re.sub(rf"\b{word}\b", meaning, text)
    return text


def sparse_rows(values: np.ndarray, size: int, starts: Any = None) -> Optional[Tuple[np.ndarray, ...]]:
    """The beginning of each row, and the columns and values of entries that are not zero.

    Args:
        values: a matrix.
        size: bytes that it takes with its zeros; None comes back where nothing is saved.
        starts: the type of the beginnings; default: the smallest unsigned one that has them.
    """
    at, places = np.nonzero(values)
    begins = np.concatenate([[0], np.cumsum(np.bincount(at, minlength=len(values)))])
    begins = smallest(begins) if starts is None else begins.astype(starts)
    parts = begins, smallest(places, values.shape[1] - 1), values[at, places]
    return parts if sum(part.nbytes for part in parts) < size else None


def smallest(array: np.ndarray, largest: Optional[int] = None) -> np.ndarray:
    """Counts in the smallest unsigned type that has them."""
    most = int(array.max(initial=0)) if largest is None else largest
    return array.astype("uint8" if most < 1 << 8 else "uint16" if most < 1 << 16 else "uint32")

"""Parity: whether two sides computed the same spikes and gradients."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional

import numpy as np

from benchmarks.plan import Evidence

GRADIENT = 1e-5  # the bar: max|a - b| / max|b|


@dataclass(frozen=True)
class Parity:
    """A comparison of a side with the reference.

    Args:
        differing: number of spikes that differ; None if the side gives no spikes.
        places: number of compared entries: neurons times steps times samples.
        error: largest max|a - b| / max|b| of all gradients; None if there are none.
    """

    differing: Optional[int]
    places: int
    error: Optional[float]

    @property
    def ok(self) -> bool:
        """Equal spikes, and gradients within the bar."""
        return not self.differing and (self.error is None or self.error <= GRADIENT)

    def __str__(self) -> str:
        parts = []
        if self.differing is not None:
            parts.append(f"{self.differing:,} of {self.places:,} differ")
        if self.error is not None:
            parts.append(f"gradient error {self.error:.0e}")
        return ", ".join(parts)


def compare(found: Evidence, reference: Evidence) -> Parity:
    """Compare the results of two sides.

    Raises:
        ValueError: the results have no array in common, or arrays differ in shape: the sides did different work.
    """
    shared = sorted(set(found) & set(reference))
    if not shared:
        raise ValueError(f"nothing to compare: one side shows {sorted(found)}, the other {sorted(reference)}")
    differing, places, errors = None, 0, []
    for name in shared:
        a, b = np.asarray(found[name]), np.asarray(reference[name])
        if a.shape != b.shape:
            raise ValueError(f"{name}: shapes {a.shape} and {b.shape} differ")
        if name.startswith("spikes"):
            differing = (differing or 0) + int((a != b).sum())
            places += a.size
        else:
            errors.append(_error(a.astype("float64"), b.astype("float64")))
    return Parity(differing, places, max(errors) if errors else None)


def _error(a: np.ndarray, b: np.ndarray) -> float:
    difference, scale = float(np.abs(a - b).max()), float(np.abs(b).max())
    return 0.0 if difference == 0.0 else difference / scale if scale > 0.0 else float("inf")

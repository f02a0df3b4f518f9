"""Thresholds from the activations of a network on data: the largest, a percentile, or where least is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Literal, Protocol, Tuple

import numpy as np
import torch

from spikecore.arguments import Checked, Size
from spikecore.printing import Concise

MethodName = Literal["max", "percentile", "mse"]

OCTAVES, PER_OCTAVE = 64, 64  # of the histogram: 2^-32 to 2^32 in bins that are 1.1 % wide
BINS = OCTAVES * PER_OCTAVE
EDGES = 2.0 ** (np.arange(1, BINS + 1) / PER_OCTAVE - OCTAVES / 2)  # the upper ones
CENTRES = EDGES * 2.0 ** (-0.5 / PER_OCTAVE)
LOWER = EDGES * 2.0 ** (-1.0 / PER_OCTAVE)
CANDIDATES = 4 * PER_OCTAVE  # thresholds that "mse" compares: those from a sixteenth of the maximum on


class Histogram:
    """Frequency of positive activations of each size, for each group of channels.

    Args:
        groups: number of channels that are told apart; 1: all together.
    """

    def __init__(self, groups: int) -> None:
        self.groups = groups
        self.counts = np.zeros((groups, BINS), dtype=np.int64)
        self.largest = np.zeros(groups)

    def add(self, values: torch.Tensor) -> None:
        """Count the activations (batch, channels, ...) of a batch."""
        rows = values.detach().transpose(0, 1).reshape(self.groups, -1)  # of one group: everything
        self.largest = np.maximum(self.largest, rows.amax(dim=1).clamp_min(0).double().cpu().numpy())
        bins = (torch.log2(rows.clamp_min(2.0 ** (-OCTAVES / 2))) + OCTAVES / 2) * PER_OCTAVE
        places = bins.long().clamp(0, BINS - 1) + torch.arange(self.groups, device=rows.device)[:, None] * BINS
        found = torch.bincount(places[rows > 0], minlength=self.counts.size)
        self.counts += found.cpu().numpy().reshape(self.counts.shape)

    def merged(self) -> Histogram:
        """All channels together."""
        one = Histogram(1)
        one.counts, one.largest = self.counts.sum(axis=0, keepdims=True), self.largest.max(keepdims=True)
        return one

    def above(self, thresholds: Any) -> float:
        """The share of the positive activations that is larger than the threshold of its group."""
        total = self.counts.sum()
        return float((self.counts * (thresholds[:, None] <= LOWER)).sum() / total) if total else 0.0

    def thresholds(self, method: Method) -> Any:
        """The threshold of each group (groups,); 0 where no activation was positive."""
        return np.array([method.threshold(row, top) for row, top in zip(self.counts, self.largest)])


class Method(Protocol):
    """A way to find thresholds."""

    def threshold(self, counts: Any, largest: float) -> float:
        """The threshold by the counts of a histogram and the largest activation."""


class Largest(Concise):
    """The largest activation of a layer on the data."""

    def threshold(self, counts: Any, largest: float) -> float:
        return largest


@dataclass(frozen=True)
class Percentile(Concise, Checked):
    """The value that a given percentage of a layer's positive activations does not exceed, to a bin of 1.1 %.

    Args:
        percent: in [1, 100]; default 99.9.

    Raises:
        ValueError: ``percent`` is out of range.
    """

    percent: float = 99.9

    def __post_init__(self) -> None:
        if not 1.0 <= self.percent <= 100.0:
            raise ValueError(f"Percentile: percent={self.percent!r} must be in [1, 100], in percent, e.g. 99.9")

    def threshold(self, counts: Any, largest: float) -> float:
        below = np.cumsum(counts)
        place = int(np.searchsorted(below, below[-1] * self.percent / 100.0))
        return float(min(EDGES[min(place, BINS - 1)], largest))


@dataclass(frozen=True)
class LeastError(Concise, Checked):
    """The threshold with the smallest squared error between activations and the rates of the neurons.

    Args:
        num_steps: number of time steps that the network will run for; default 16.
    """

    num_steps: Size = 16

    def threshold(self, counts: Any, largest: float) -> float:
        if largest == 0.0:
            return 0.0
        used = counts.nonzero()[0]
        values, weights = CENTRES[used], counts[used]
        candidates = largest * 2.0 ** (-np.arange(CANDIDATES) / PER_OCTAVE)
        return float(min(candidates, key=lambda threshold: _lost(values, weights, threshold, self.num_steps)))


METHODS: Dict[str, Method] = {"max": Largest(), "percentile": Percentile(), "mse": LeastError()}


def _lost(values: Any, weights: Any, threshold: float, levels: int) -> float:
    counted = np.clip(np.floor(values * (levels / threshold) + 0.5), 0, levels)
    return float((weights * (values - counted * (threshold / levels)) ** 2).sum())


def per_channel(histogram: Histogram, method: Method) -> Tuple[Any, float]:
    """The thresholds (groups,), and the share of activations above them; channels without any have that of all."""
    found = histogram.thresholds(method)
    if (found == 0.0).any():
        found = np.where(found == 0.0, histogram.merged().thresholds(method), found)
    return found, histogram.above(found)

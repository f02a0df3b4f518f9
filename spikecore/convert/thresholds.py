"""Thresholds from the activations of a network on data: the largest, a percentile, or where least is lost."""

from __future__ import annotations

from typing import Any, Literal, Tuple

import numpy as np
import torch

Method = Literal["max", "percentile", "mse"]

OCTAVES, PER_OCTAVE = 64, 64  # of the histogram: 2^-32 to 2^32 in bins that are 1.1 % wide
BINS = OCTAVES * PER_OCTAVE
EDGES = 2.0 ** (np.arange(1, BINS + 1) / PER_OCTAVE - OCTAVES / 2)  # the upper ones
CENTRES = EDGES * 2.0 ** (-0.5 / PER_OCTAVE)
LOWER = EDGES * 2.0 ** (-1.0 / PER_OCTAVE)
CANDIDATES = 4 * PER_OCTAVE  # thresholds that "mse" compares: those from a sixteenth of the maximum on


class Histogram:
    """How often positive activations of each size occur, for each group of channels.

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

    def thresholds(self, method: Method, percentile: float, levels: int) -> Any:
        """The threshold of each group (groups,); 0 where no activation was positive."""
        if method == "max":
            return self.largest
        if method == "percentile":
            return np.array([_percentile(row, top, percentile) for row, top in self._rows()])
        return np.array([_least_lost(row, top, levels) for row, top in self._rows()])

    def _rows(self) -> Any:
        return zip(self.counts, self.largest)


def _percentile(counts: Any, largest: float, percentile: float) -> float:
    """The size that ``percentile`` percent of the activations do not exceed, to the width of a bin."""
    below = np.cumsum(counts)
    place = int(np.searchsorted(below, below[-1] * percentile / 100.0))
    return float(min(EDGES[min(place, BINS - 1)], largest))


def _least_lost(counts: Any, largest: float, levels: int) -> float:
    """The threshold with the smallest squared error of what a neuron makes of the activations in ``levels`` steps."""
    if largest == 0.0:
        return 0.0
    used = counts.nonzero()[0]
    values, weights = CENTRES[used], counts[used]
    candidates = largest * 2.0 ** (-np.arange(CANDIDATES) / PER_OCTAVE)
    return float(min(candidates, key=lambda threshold: _lost(values, weights, threshold, levels)))


def _lost(values: Any, weights: Any, threshold: float, levels: int) -> float:
    counted = np.clip(np.floor(values * (levels / threshold) + 0.5), 0, levels)
    return float((weights * (values - counted * (threshold / levels)) ** 2).sum())


def per_channel(histogram: Histogram, method: Method, percentile: float, levels: int) -> Tuple[Any, float]:
    """The thresholds (groups,), and the share of activations above them; channels without any have that of all."""
    found = histogram.thresholds(method, percentile, levels)
    if (found == 0.0).any():
        found = np.where(found == 0.0, histogram.merged().thresholds(method, percentile, levels), found)
    return found, histogram.above(found)

"""Spikes as times: of each sample, in the order in which they happen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple

import numpy as np

from spikecore.arguments import ArrayLike, Checked, HostArray, Size, argument_kind, checked


@dataclass(frozen=True, eq=False)
class Spikes(Checked):
    """The spikes of a layer, or those that enter a network, for each sample of a batch in the order of time.

    Args:
        times: (batch, spikes), ascending along each row; a row with fewer spikes than others ends in inf.
        sources: (batch, spikes), which input or neuron each spike is from, a whole number >= 0; whatever where the time
            is inf.

    Raises:
        ValueError: the shapes differ, times are NaN or not ascending, or a source is negative or no whole number.
    """

    times: HostArray
    sources: HostArray

    def __post_init__(self) -> None:
        times, sources = np.asarray(self.times, dtype=np.float64), np.asarray(self.sources)
        if times.ndim != 2:
            raise ValueError(f"Spikes: times of shape {times.shape} must be (batch, spikes)")
        if sources.shape != times.shape or (sources.size and sources.dtype.kind not in "iu"):
            raise ValueError(
                f"Spikes: sources, {sources.dtype} of shape {sources.shape}, must be whole numbers, one for each of "
                f"the times, {times.shape}"
            )
        if np.isnan(times).any() or (times[:, 1:] < times[:, :-1]).any():
            raise ValueError("Spikes: times must ascend along each row, without NaN; Spikes.of sorts them")
        there = np.isfinite(times)
        if (sources[there] < 0).any():
            raise ValueError(f"Spikes: sources={sources[there].min()} must be >= 0")
        object.__setattr__(self, "times", times)
        object.__setattr__(self, "sources", np.where(there, sources, 0).astype(np.intp))

    @classmethod
    @checked
    def of(cls, times: ArrayLike) -> Spikes:
        """One spike per input: times (batch, inputs), in any order; inf: this input has none.

        Raises:
            ValueError: the shape is another, or a time is NaN.
        """
        times = np.asarray(times, dtype=np.float64)
        if times.ndim != 2 or np.isnan(times).any():
            raise ValueError(f"Spikes.of: times of shape {times.shape} must be (batch, inputs), without NaN")
        return in_order(times, np.broadcast_to(np.arange(times.shape[1]), times.shape))[0]

    @property
    def present(self) -> np.ndarray:
        """(batch, spikes): where there is a spike and not the end of a shorter row."""
        return np.isfinite(self.times)

    @checked
    def first(self, neurons: Size) -> Tuple[np.ndarray, np.ndarray]:
        """The first spike of each neuron: its time, inf if it has none, and its place in the row; (batch, neurons)."""
        times, places = np.full((len(self.times), neurons), np.inf), np.zeros((len(self.times), neurons), np.intp)
        rows, found = (each[::-1] for each in np.nonzero(self.present))  # of several, NumPy keeps the last: the first
        columns = self.sources[rows, found]
        times[rows, columns], places[rows, columns] = self.times[rows, found], found
        return times, places

    @checked
    def counts(self, neurons: Size) -> np.ndarray:
        """Number of spikes of each neuron, (batch, neurons)."""
        rows, _ = np.nonzero(self.present)
        flat = np.bincount(rows * neurons + self.sources[self.present], minlength=len(self.times) * neurons)
        return flat.reshape(len(self.times), neurons)

    def sums(self, values: np.ndarray, neurons: int) -> np.ndarray:
        """The sum over the spikes of each neuron, (batch, neurons), of values (batch, spikes)."""
        rows, places = np.nonzero(self.present)
        flat = np.bincount(rows * neurons + self.sources[rows, places], values[rows, places], len(self.times) * neurons)
        return flat.reshape(len(self.times), neurons)

    def delayed(self, delay: Optional[np.ndarray]) -> Tuple[Spikes, np.ndarray]:
        """The spikes with the delay of each source added, in their new order, and the indices of that order."""
        if delay is None:
            return self, np.broadcast_to(np.arange(self.times.shape[1]), self.times.shape)
        return in_order(self.times + delay[self.sources], self.sources)


argument_kind(Spikes, "a spikecore.eventprop.Spikes")


def in_order(times: np.ndarray, sources: np.ndarray) -> Tuple[Spikes, np.ndarray]:
    """Spikes (batch, spikes) in any order in that of time, and what order that is."""
    order = np.argsort(times, axis=1, kind="stable")
    return Spikes(np.take_along_axis(times, order, 1), np.take_along_axis(sources, order, 1)), order

"""Voxel grids and time surfaces: arrays that preserve times more precisely than frames."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikecore.datasets.events import Events
from spikecore.datasets.transforms.base import Transform, is_count, is_number, need_events, require
from spikecore.datasets.transforms.frames import Bins


@dataclass(frozen=True)
class VoxelGrid(Transform):
    """Divide each event's signed polarity between the two nearest of `bins` moments: (bins, 1, height, width), float32.

        V[b] = Σᵢ pᵢ max(0, 1 − |b − tᵢ*|)      tᵢ* = (bins − 1)(tᵢ − t₀)/(tₙ − t₀)      pᵢ = ±1

    The sum is over the events of a pixel. Events without polarity count +1. For a one-dimensional sensor the result is
    (bins, units).

    Args:
        bins: number of moments from the first event to the last, ≥ 1.

    Source: A. Z. Zhu, L. Yuan, K. Chaney, K. Daniilidis, Unsupervised Event-Based Learning of Optical Flow, Depth, and
    Egomotion, CVPR 2019, eq. 1–3.
    """

    bins: int = 10

    def __post_init__(self):
        require(is_count(self.bins), self, "bins", "need a whole number of at least 1")

    def __call__(self, events: Events) -> np.ndarray:
        need_events(self, events)
        plain = events.with_arrays(p=None)
        sign = np.ones(len(events)) if events.p is None else 2.0 * events.p - 1
        moment = (self.bins - 1) * (events.t - events.t[:1]) / max(1, events.duration)
        lower = np.minimum(moment.astype(np.int64), max(0, self.bins - 2))
        size, upper_share = int(np.prod(plain.shape)), moment - lower
        grid = np.zeros((self.bins + 1) * size)  # an extra bin for the upper share, which is 0, if bins is 1
        for place, share in ((lower, 1 - upper_share), (lower + 1, upper_share)):
            grid += np.bincount(place * size + plain.place, sign * share, minlength=len(grid))
        return grid[: self.bins * size].reshape(self.bins, *plain.shape).astype(np.float32)


@dataclass(frozen=True)
class TimeSurface(Bins, Transform):
    """The recency of each pixel's last event, at the end of each step: (time, polarity, height, width), in [0, 1].

        S[k] = exp(−(Tₖ − t_last)/τ)      Tₖ: end of step k; t_last: the pixel's last event before Tₖ, of this polarity

    The value is 0 if the pixel has not fired yet.

    Args:
        steps, window, count, start, duration: how time is divided, see Bins.
        tau: time constant in microseconds, > 0.

    Source: X. Lagorce, G. Orchard, F. Galluppi, B. E. Shi, R. B. Benosman, HOTS: A Hierarchy of Event-Based
    Time-Surfaces for Pattern Recognition, IEEE TPAMI 39 (2017), eq. 2.
    """

    tau: float = 50_000.0

    def __post_init__(self):
        super().__post_init__()
        require(is_number(self.tau) and self.tau > 0, self, "tau", "need microseconds above 0")

    def __call__(self, events: Events) -> np.ndarray:
        index, times = self.edges(need_events(self, events))
        self._check_steps(len(index) - 1, events)
        place, size = events.place, int(np.prod(events.shape))
        last = np.full(size, -np.inf)
        surfaces = np.empty((len(index) - 1, size), np.float32)
        for k in range(len(index) - 1):
            new = slice(int(index[k]), int(index[k + 1]))
            last[place[new]] = events.t[new]  # times ascend, so the last assignment is the latest
            surfaces[k] = np.exp((last - times[k + 1]) / self.tau)
        return surfaces.reshape(-1, *events.shape)


@dataclass(frozen=True)
class LocalTimeSurfaces(Transform):
    """The recency of the events around each event: (events, 2 radius + 1, 2 radius + 1), float32 in [0, 1].

        Sᵢ(u) = exp(−(tᵢ − t_last(xᵢ + u))/τ)      |u| ≤ radius along each axis, of the event's own polarity

    The event itself is at the centre, with the value 1. The value is 0 for pixels that have not fired yet and beyond
    the sensor's border. HOTS uses these features. A one-dimensional sensor gives (events, 2 radius + 1).

    Args:
        radius: pixels, ≥ 1.
        tau: time constant in microseconds, > 0.

    Source: Lagorce et al. 2017, as for TimeSurface, eq. 1 and 2.
    """

    radius: int = 3
    tau: float = 20_000.0

    def __post_init__(self):
        require(is_count(self.radius), self, "radius", "need a whole number of at least 1")
        require(is_number(self.tau) and self.tau > 0, self, "tau", "need microseconds above 0")

    def __call__(self, events: Events) -> np.ndarray:
        need_events(self, events)
        side, axes = 2 * self.radius + 1, len(events.sensor)
        padded = tuple(extent + 2 * self.radius for extent in reversed(events.sensor))
        last = np.full((events.polarities, *padded), -np.inf)
        surfaces = np.empty((len(events), *(side,) * axes), np.float32)
        polarity = np.zeros(len(events), np.int8) if events.p is None else events.p
        corners = [events.x] if events.y is None else [events.y, events.x]  # first corner of each neighbourhood
        for i, (t, p, *corner) in enumerate(zip(events.t, polarity, *corners)):
            around = last[(p, *(slice(first, first + side) for first in corner))]
            around[(self.radius,) * axes] = t
            surfaces[i] = np.exp((around - t) / self.tau)
        return surfaces

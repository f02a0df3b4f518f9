"""Distances between spike trains."""

from __future__ import annotations

import math
from typing import Any, Dict, Tuple

from spikecore.api.core.engine import engine_of, is_host
from spikecore.api.core.layer import ShapeError
from spikecore.api.core.words import Vocabulary
from spikecore.api.functional.spike_time import spike_times
from spikecore.arguments import ArrayLike, checked


@checked
def van_rossum_distance(spikes: ArrayLike, other: ArrayLike, tau: float, dt: float = 1.0, squared: bool = False) -> Any:
    """The van Rossum distance: how far two trains are apart once each spike is smeared into exp(-t / tau).

        D^2 = (1 / tau) integral from 0 to infinity of (f - g)^2 dt

    Exact for spikes at the steps, tails included: a spike against none gives D^2 = 1/2, two spikes far apart give 1.
    As tau goes to 0 it counts spikes that have no partner, as tau grows it compares the numbers of spikes. The squared
    distance is differentiable everywhere and may serve as a loss; the root is not, where the trains are equal.

    Args:
        spikes, other: (time, ...), equal shapes; one of them may be host data. Spikes may be graded.
        tau: time constant, > 0, in the unit of ``dt``.
        dt: duration of a step, > 0.
        squared: whether to return D^2 instead of D.

    Returns:
        One distance per train: the shape without time.

    Raises:
        ShapeError: different shapes. ValueError: tau or dt not positive.

    Source: van Rossum, A novel spike distance, Neural Computation 13, 2001.
    """
    if not (tau > 0 and dt > 0 and math.isfinite(tau) and math.isfinite(dt)):
        raise ValueError(f"van_rossum_distance: tau={tau!r} and dt={dt!r} must be finite and > 0")
    engine, a, b = _pair("van_rossum_distance", spikes, other)
    xp, decay = engine.xp, math.exp(-dt / tau)
    trace = smeared(xp, a - b, decay)
    energy, left = xp.sum(trace * trace, axis=0), trace[-1, ...] * trace[-1, ...]
    distance = 0.5 * ((1.0 - decay * decay) * energy + decay * decay * left)
    return distance if squared else xp.sqrt(distance)


def smeared(xp: Vocabulary, x: Any, decay: float) -> Any:
    """Exponential traces y[t] = decay y[t-1] + x[t] over the first axis, the stretch covered doubling each time."""
    shift, rest = 1, ((0, 0),) * (x.ndim - 1)
    while shift < x.shape[0]:
        x = x + decay**shift * xp.pad(x[: x.shape[0] - shift, ...], ((shift, 0), *rest))
        shift *= 2
    return x


@checked
def victor_purpura_distance(spikes: ArrayLike, other: ArrayLike, cost: float, dt: float = 1.0) -> Any:
    """The Victor-Purpura distance: the cheapest way to turn one train into the other.

    Deleting or inserting a spike costs 1, moving it by a time costs ``cost`` times that time:

        G[i, j] = min(G[i-1, j] + 1, G[i, j-1] + 1, G[i-1, j-1] + cost |t_i - u_j|)

    With cost 0 it is the difference of the numbers of spikes; from cost 2 / dt on no spike is worth moving, and it is
    the number of spikes without a partner at the same step. It has no gradient.

    Args:
        spikes, other: (time, ...), equal shapes; one of them may be host data. Whatever is > 0 is a spike.
        cost: per unit of time, >= 0.
        dt: duration of a step, > 0.

    Returns:
        One distance per train: the shape without time.

    Raises:
        ShapeError: different shapes. ValueError: cost negative, or dt not positive.

    Source: Victor and Purpura, Nature and precision of temporal coding in visual cortex, Journal of Neurophysiology 76,
    1996.
    """
    if not (cost >= 0 and dt > 0):
        raise ValueError(f"victor_purpura_distance: cost={cost!r} must be >= 0 and dt={dt!r} > 0")
    engine, a, b = _pair("victor_purpura_distance", spikes, other)
    xp, shape = engine.xp, tuple(a.shape[1:])
    a, b = (xp.reshape(engine.stop_gradient(x), (x.shape[0], 1, -1)) for x in (a, b))
    (t, m), (u, n) = (_listed(engine, x) for x in (a, b))
    table: Dict[Tuple[int, int], Any] = {}
    found = xp.zeros_like(m)
    for i in range(t.shape[0] + 1):
        for j in range(u.shape[0] + 1):
            if not i or not j:
                best = xp.zeros_like(m) + float(i + j)
            else:
                moved = table[i - 1, j - 1] + (cost * dt) * abs(t[i - 1, ...] - u[j - 1, ...])
                best = xp.minimum(xp.minimum(table[i - 1, j], table[i, j - 1]) + 1.0, moved)
            table[i, j] = best
            found = xp.where((m == i) & (n == j), best, found)
    return xp.reshape(found, shape)


def _listed(engine: Any, x: Any) -> Tuple[Any, Any]:
    """Spike times (spikes, trains) of spikes (time, 1, trains), and how many there are, (trains,)."""
    count = engine.xp.sum(engine.xp.astype(x > 0.0, engine.dtype), axis=0)[0, ...]
    most = int(engine.to_numpy(engine.xp.max(count)))
    times = spike_times(engine, x, most)[:, 0, :] if most else engine.xp.zeros((0, *count.shape))
    return times, count


def _pair(name: str, spikes: Any, other: Any) -> Tuple[Any, Any, Any]:
    """Two trains on one engine: that of the first, or of the second if the first is host data."""
    engine = engine_of(other if is_host(spikes) and not is_host(other) else spikes)
    a, b = engine.asarray(spikes), engine.asarray(other)
    if tuple(a.shape) != tuple(b.shape):
        raise ShapeError(f"{name}: trains of shape {tuple(a.shape)} and {tuple(b.shape)} must have equal shapes")
    if not a.ndim or 0 in a.shape:
        raise ShapeError(f"{name}: trains of shape {tuple(a.shape)}: expected (time, ...), not empty")
    return engine, a, b

"""Distances between spike trains."""

from __future__ import annotations

import math
from typing import Any, Dict, Tuple

from spikecore.api.core.engines import engine_of, is_host
from spikecore.api.core.layer import ShapeError
from spikecore.api.core.words import Vocabulary
from spikecore.api.functional.spike_time import spike_times
from spikecore.arguments import ArrayLike, checked


@checked
def van_rossum_distance(spikes: ArrayLike, other: ArrayLike, tau: float, dt: float = 1.0, squared: bool = False) -> Any:
    """The van Rossum distance: the L2 distance of two trains f and g, each spike replaced by a decay exp(-t / tau).

        D^2 = (1 / tau) integral from 0 to infinity of (f - g)^2 dt

    The integral is exact for spikes at the steps and includes the time after the last step: one spike against none
    gives D^2 = 1/2, two spikes far apart give 1. A small tau counts the spikes without a partner in the other train, a
    large tau compares the numbers of spikes. The squared distance is differentiable everywhere and can be used as a
    loss; the distance itself is not differentiable where the trains are equal.

    Args:
        spikes, other: (time, ...), equal shapes; one of them may be host data. Spikes may be graded.
        tau: time constant, > 0, in the unit of ``dt``.
        dt: duration of a step, > 0; default 1.
        squared: whether to return D^2 instead of D; default False.

    Returns:
        One distance per spike train: an array of the inputs' shape without the time axis.

    Raises:
        ShapeError: the shapes differ.
        ValueError: tau or dt is not positive.

    Source: van Rossum, A novel spike distance, Neural Computation 13, 2001.
    """
    if not (tau > 0 and dt > 0 and math.isfinite(tau) and math.isfinite(dt)):
        raise ValueError(f"van_rossum_distance: tau={tau!r} and dt={dt!r} must be finite and > 0")
    engine, a, b = _pair("van_rossum_distance", spikes, other)
    xp, decay = engine.xp, math.exp(-dt / tau)
    trace = smeared(xp, a - b, decay)
    energy, tail = xp.sum(trace * trace, axis=0), trace[-1, ...] * trace[-1, ...]
    distance = 0.5 * ((1.0 - decay * decay) * energy + decay * decay * tail)
    return distance if squared else xp.sqrt(distance)


def smeared(xp: Vocabulary, x: Any, decay: float) -> Any:
    """Exponential traces y[t] = decay y[t-1] + x[t] over the first axis; each round doubles the steps covered."""
    shift, rest = 1, ((0, 0),) * (x.ndim - 1)
    while shift < x.shape[0]:
        x = x + decay**shift * xp.pad(x[: x.shape[0] - shift, ...], ((shift, 0), *rest))
        shift *= 2
    return x


@checked
def victor_purpura_distance(spikes: ArrayLike, other: ArrayLike, cost: float, dt: float = 1.0) -> Any:
    """The Victor-Purpura distance: the lowest cost of turning one train into the other.

    Deleting or inserting a spike costs 1, moving it by a time costs ``cost`` times that time:

        G[i, j] = min(G[i-1, j] + 1, G[i, j-1] + 1, G[i-1, j-1] + cost |t_i - u_j|)

    With cost 0 the distance is the difference of the numbers of spikes. With a cost of at least 2 / dt, moving a spike
    never pays, and the distance is the number of spikes without a partner at the same step. It has no gradient.

    Args:
        spikes, other: (time, ...), equal shapes; one of them may be host data. Every value > 0 is a spike.
        cost: cost of moving a spike, per unit of time, >= 0.
        dt: duration of a step, > 0; default 1.

    Returns:
        One distance per spike train: an array of the inputs' shape without the time axis.

    Raises:
        ShapeError: the shapes differ.
        ValueError: the cost is negative, or dt is not positive.

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
    distance = xp.zeros_like(m)
    for i in range(t.shape[0] + 1):
        for j in range(u.shape[0] + 1):
            if not i or not j:
                best = xp.zeros_like(m) + float(i + j)
            else:
                moved = table[i - 1, j - 1] + (cost * dt) * abs(t[i - 1, ...] - u[j - 1, ...])
                best = xp.minimum(xp.minimum(table[i - 1, j], table[i, j - 1]) + 1.0, moved)
            table[i, j] = best
            distance = xp.where((m == i) & (n == j), best, distance)
    return xp.reshape(distance, shape)


def _listed(engine: Any, x: Any) -> Tuple[Any, Any]:
    """The spike times (spikes, trains) and numbers of spikes (trains,) of ``x`` (time, 1, trains)."""
    count = engine.xp.sum(engine.xp.astype(x > 0.0, engine.dtype), axis=0)[0, ...]
    most = int(engine.to_numpy(engine.xp.max(count)))
    times = spike_times(engine, x, most)[:, 0, :] if most else engine.xp.zeros((0, *count.shape))
    return times, count


def _pair(name: str, spikes: Any, other: Any) -> Tuple[Any, Any, Any]:
    """The engine and both trains on it: the engine of the first train, or of the second if the first is host data."""
    engine = engine_of(other if is_host(spikes) and not is_host(other) else spikes)
    a, b = engine.asarray(spikes), engine.asarray(other)
    if tuple(a.shape) != tuple(b.shape):
        raise ShapeError(f"{name}: trains of shape {tuple(a.shape)} and {tuple(b.shape)} must have equal shapes")
    if not a.ndim or 0 in a.shape:
        raise ShapeError(f"{name}: trains of shape {tuple(a.shape)}: expected (time, ...), not empty")
    return engine, a, b

"""One layer from event to event: its spikes, and a record of the way there for ``layer_adjoint.py``."""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple, Optional

import numpy as np

from spikecore.eventprop.membrane import crest, flow, follow, integral, next_spike
from spikecore.eventprop.spikes import Spikes

MOST_SPIKES = 50_000  # of a layer in one sample: far more than is of use, and a run still ends within seconds
REMEDY = "give smaller weights, larger thresholds or time constants tau_mem; in training also a smaller learning rate"


class Crossing(NamedTuple):
    """One spike of each of some neurons, as arrays with an entry per spike."""

    where: np.ndarray  # place in (batch, neurons), flattened
    after: np.ndarray  # time since the beginning of the record's part
    mem: np.ndarray  # states at that beginning
    syn: np.ndarray
    syn_then: np.ndarray  # the current at the spike


class Interval(NamedTuple):
    """The time from one input spike to the next: the spikes in between, and the rest, in which none happens."""

    crossings: List[Crossing]
    rest: np.ndarray  # (batch, neurons) how long
    mem: np.ndarray  # states at the beginning of the rest
    syn: np.ndarray


class Intervals(NamedTuple):
    """The way of all neurons from event to event.

    Attributes:
        intervals: one for each column of the arrivals.
        sorting: for each of the layer's spikes, (batch, spikes), the place among all crossings; -1: no spike.
        kicks: (batch, neurons) the sum of all weights that arrived.
        mem, syn: (batch, neurons) states at the end.
    """

    intervals: List[Interval]
    sorting: np.ndarray
    kicks: np.ndarray
    mem: np.ndarray
    syn: np.ndarray


class Arrivals(NamedTuple):
    """The arrivals at a layer.

    Attributes:
        spikes: the input, delayed.
        order: places of these spikes in the input.
        alive: (batch, events) which arrive within the duration.
        until: (batch, events) when the next one arrives, or the run ends.
        rest: (batch, events) how long that takes.
    """

    spikes: Spikes
    order: np.ndarray
    alive: np.ndarray
    until: np.ndarray
    rest: np.ndarray


class LayerRun(NamedTuple):
    """The run of a layer on its input.

    Attributes:
        spikes: of its neurons; none if it has no threshold.
        maxima: (batch, neurons), the highest membrane of a layer without threshold; of others 0.
        integrals: (batch, neurons), the membrane of a layer without threshold, integrated over time; of others 0.
        arrivals: what it ran on.
        highest: (batch, neurons) the interval in which the membrane is highest; -1: at rest.
        highest_after: (batch, neurons) how long after the interval's beginning.
        way: what the derivative needs: ``Intervals``, or ``layer_kernel.Crossings``.
    """

    spikes: Spikes
    maxima: np.ndarray
    integrals: np.ndarray
    arrivals: Arrivals
    highest: np.ndarray
    highest_after: np.ndarray
    way: Any


def arrivals_of(spikes: Spikes, delay: Optional[np.ndarray], duration: float) -> Arrivals:
    """The spikes that enter a layer as what reaches it."""
    arrived, order = spikes.delayed(delay)
    times = np.minimum(arrived.times, duration)
    batch, events = times.shape
    until = np.concatenate([times[:, 1:], np.full((batch, 1), duration)], axis=1) if events else times
    return Arrivals(arrived, order, arrived.times < duration, until, until - times)


def too_many(neurons: int) -> ValueError:
    """The error of a layer whose run would hardly end."""
    return ValueError(
        f"eventprop: a layer of {neurons} neurons fires more than {MOST_SPIKES} times in one sample: {REMEDY}"
    )


def too_large(neurons: int) -> ValueError:
    """The error of a layer with a current that no number holds."""
    return ValueError(f"eventprop: a current of a layer of {neurons} neurons is not finite: {REMEDY}")


def run_layer(params: Mapping[str, np.ndarray], arrivals: Arrivals, fires: bool) -> LayerRun:
    """Run a layer from rest at time 0 to the end; ``params`` by their short names.

    Raises:
        ValueError: it fires so often that the run would not end, or a current is too large for a number.
    """
    weight, tau_mem, tau_syn = params["weight"], params["tau_mem"], params["tau_syn"]
    until = arrivals.until
    batch, events = until.shape
    neurons = weight.shape[0]
    threshold = params.get("threshold", np.inf)
    kicks = weight.T
    mem, syn, total = np.zeros((3, batch, neurons))
    maxima, highest = np.zeros((batch, neurons)), np.full((batch, neurons), -1)
    highest_after = np.zeros((batch, neurons))
    tau_m, tau_s, theta = (np.broadcast_to(x, (batch, neurons)) for x in (tau_mem, tau_syn, threshold))
    intervals, found, found_at = [], [], []
    fired = np.zeros(batch, np.intp)
    for event in range(events):
        alive, sources = arrivals.alive[:, event, None], arrivals.spikes.sources[:, event]
        kick = np.where(alive, kicks[sources], 0.0)
        syn, total = syn + kick, total + kick
        if not np.isfinite(syn).all():
            raise too_large(neurons)
        rest = np.repeat(arrivals.rest[:, event, None], neurons, axis=1)
        crossings = []
        if fires:
            where = np.nonzero(((syn > theta) & (rest > 0.0)).ravel())[0]  # a crossing needs I > threshold
            while len(where):
                state = mem.ravel()[where], syn.ravel()[where]
                own = tau_m.ravel()[where], tau_s.ravel()[where], theta.ravel()[where]
                after = next_spike(*state, rest.ravel()[where], *own)
                hit = np.isfinite(after)
                if not hit.any():
                    break
                where, after = where[hit], after[hit]
                _, syn_then = follow(flow(after, own[0][hit], own[1][hit]), state[0][hit], state[1][hit])
                fired += np.bincount(where // neurons, minlength=batch)
                if fired.max() > MOST_SPIKES:
                    raise too_many(neurons)
                crossings.append(Crossing(where, after, state[0][hit], state[1][hit], syn_then))
                mem.ravel()[where], syn.ravel()[where] = 0.0, syn_then
                rest.ravel()[where] -= after
                found.append(where)
                found_at.append(until[where // neurons, event] - rest.ravel()[where])
                where = where[syn_then > own[2][hit]]
        else:
            at, top = crest(mem, syn, rest, tau_m, tau_s)
            better = top > maxima
            maxima, highest = np.where(better, top, maxima), np.where(better, event, highest)
            highest_after = np.where(better, at, highest_after)
        intervals.append(Interval(crossings, rest, mem, syn))
        mem, syn = follow(flow(rest, tau_m, tau_s), mem, syn)
    out, sorting = _in_order(found, found_at, batch, neurons)
    integrals = np.zeros((batch, neurons)) if fires else integral(total, mem, syn, tau_m, tau_s)
    way = Intervals(intervals, sorting, total, mem, syn)
    return LayerRun(out, maxima, integrals, arrivals, highest, highest_after, way)


def _in_order(found: List[Any], found_at: List[Any], batch: int, neurons: int) -> Any:
    """Crossings as ``Spikes``, and for each place of these (flattened) the number of the crossing, -1 for none."""
    where = np.concatenate([np.zeros(0, np.intp), *found])
    at = np.concatenate([np.zeros(0), *found_at])
    rows = where // neurons
    order = np.lexsort((where, at, rows))
    counts = np.bincount(rows, minlength=batch)
    places = np.arange(len(order)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = int(counts.max()) if batch else 0
    times, sources = np.full((batch, width), np.inf), np.zeros((batch, width), np.intp)
    sorting = np.full((batch, width), -1)
    times[rows[order], places], sources[rows[order], places] = at[order], where[order] % neurons
    sorting[rows[order], places] = order
    return Spikes(times, sources), sorting

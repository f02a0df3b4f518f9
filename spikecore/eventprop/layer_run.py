"""One layer from event to event: its spikes, and a record of the way there for ``layer_adjoint.py``."""

from __future__ import annotations

from typing import Any, List, Mapping, NamedTuple

import numpy as np

from spikecore.eventprop.membrane import flow, next_spike, peak
from spikecore.eventprop.spikes import Spikes

MOST_SPIKES = 50_000  # of a layer in one sample: far more than is of use, and a run still ends within seconds
REMEDY = "give smaller weights, larger thresholds or time constants tau_mem; in training also a smaller learning rate"


class Crossing(NamedTuple):
    """Some neurons' spikes; arrays with an entry per spike."""

    where: np.ndarray  # place in (batch, neurons), flattened
    after: np.ndarray  # time since the beginning of the record's part
    mem: np.ndarray  # states at that beginning
    syn: np.ndarray
    syn_then: np.ndarray  # the current at the spike


class Interval(NamedTuple):
    """From one input spike to the next: the spikes in between, and the rest of the time, in which none happens."""

    crossings: List[Crossing]
    rest: np.ndarray  # (batch, neurons) how long
    mem: np.ndarray  # states at the beginning of the rest
    syn: np.ndarray


class LayerRun(NamedTuple):
    """What a layer did with its input.

    Attributes:
        spikes: of its neurons; none if it has no threshold.
        maxima: (batch, neurons), the highest membrane of a layer without threshold; of others 0.
        arrived: the input, delayed.
        order: places of the arrived spikes in the input.
        alive: (batch, events) which arrived within the duration.
        intervals: one for each column of ``arrived``.
        sorting: for each column of ``spikes``' flattened entries the place among all crossings.
        highest: (batch, neurons) the interval in which the membrane is highest; -1: at rest.
        highest_after: (batch, neurons) how long after the interval's beginning.
    """

    spikes: Spikes
    maxima: np.ndarray
    arrived: Spikes
    order: np.ndarray
    alive: np.ndarray
    intervals: List[Interval]
    sorting: np.ndarray
    highest: np.ndarray
    highest_after: np.ndarray


def run_layer(params: Mapping[str, np.ndarray], spikes: Spikes, duration: float, fires: bool) -> LayerRun:
    """Run a layer from rest at time 0 to ``duration``; ``params`` by their short names.

    Raises:
        ValueError: it fires so often that the run would not end, or a current is too large for a number.
    """
    weight, tau_mem, tau_syn = params["weight"], params["tau_mem"], params["tau_syn"]
    arrived, order = spikes.delayed(params.get("delay"))
    alive = arrived.times < duration
    batch, events = arrived.times.shape
    neurons = weight.shape[0]
    threshold = params.get("threshold", np.inf)
    kicks = weight.T
    times = np.minimum(arrived.times, duration)
    until = np.concatenate([times[:, 1:], np.full((batch, 1), duration)], axis=1) if events else times
    mem, syn = np.zeros((batch, neurons)), np.zeros((batch, neurons))
    maxima, highest = np.zeros((batch, neurons)), np.full((batch, neurons), -1)
    highest_after = np.zeros((batch, neurons))
    tau_m, tau_s, theta = (np.broadcast_to(x, (batch, neurons)) for x in (tau_mem, tau_syn, threshold))
    intervals, found, found_at = [], [], []
    fired = np.zeros(batch, np.intp)
    for event in range(events):
        syn = syn + np.where(alive[:, event, None], kicks[arrived.sources[:, event]], 0.0)
        if not np.isfinite(syn).all():
            raise ValueError(f"eventprop: a current of a layer of {neurons} neurons is not finite: {REMEDY}")
        rest = np.repeat((until[:, event] - times[:, event])[:, None], neurons, axis=1)
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
                syn_then = flow(after, own[0][hit], own[1][hit]).syn(state[1][hit])
                fired += np.bincount(where // neurons, minlength=batch)
                if fired.max() > MOST_SPIKES:
                    raise ValueError(
                        f"eventprop: a layer of {neurons} neurons fires more than {MOST_SPIKES} times in one sample: "
                        f"{REMEDY}"
                    )
                crossings.append(Crossing(where, after, state[0][hit], state[1][hit], syn_then))
                mem.ravel()[where], syn.ravel()[where] = 0.0, syn_then
                rest.ravel()[where] -= after
                found.append(where)
                found_at.append(until[where // neurons, event] - rest.ravel()[where])
                where = where[syn_then > own[2][hit]]
        else:
            at = np.minimum(peak(mem, syn, tau_m, tau_s), rest)
            course = flow(at, tau_m, tau_s)
            top = course.mem(mem, syn)
            better = top > maxima
            maxima, highest = np.where(better, top, maxima), np.where(better, event, highest)
            highest_after = np.where(better, at, highest_after)
        intervals.append(Interval(crossings, rest, mem, syn))
        course = flow(rest, tau_m, tau_s)
        mem, syn = course.mem(mem, syn), course.syn(syn)
    out, sorting = _in_order(found, found_at, batch, neurons)
    return LayerRun(out, maxima, arrived, order, alive, intervals, sorting, highest, highest_after)


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

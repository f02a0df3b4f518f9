"""The derivative of ``layer_run.py``: backwards from event to event, after Wunderlich & Pehle (2021).

p_V and p_I are the derivatives of the loss by a neuron's membrane and current at a time. Backwards through a time
without events they follow the transposed ``flow``. Where the neuron fires, V reaches the threshold with the slope
v = (I - threshold) / tau_mem, and V begins anew at 0 with the slope I / tau_mem. With g the derivative of the loss by
the time of this spike, the loss changes with V before the spike by

    p_V(before) = (p_V(after) I / tau_mem - g) / v          p_I(before) = p_I(after)

which grows without bound as v goes to 0: there a spike is created or deleted, and the loss has no derivative. Where a
spike of source j arrives, with weight w: dL/dw += p_I and dL/dt_j += w (p_I / tau_syn - p_V / tau_mem).
"""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple

import numpy as np

from spikecore.eventprop.layer_run import LayerRun
from spikecore.eventprop.membrane import flow_slopes, rise


class LayerGradient(NamedTuple):
    """Derivatives of the loss by a layer's parameters, by name, and by the times of its input's spikes."""

    params: Dict[str, np.ndarray]
    times: np.ndarray


class _Sums:
    """p_V, p_I and what they add to the derivatives by other parameters: arrays (batch, neurons), flattened."""

    def __init__(self, params: Mapping[str, np.ndarray], batch: int, neurons: int) -> None:
        self.tau_mem, self.tau_syn, self.threshold = (
            np.broadcast_to(params.get(name, np.inf), (batch, neurons)).reshape(-1)
            for name in ("tau_mem", "tau_syn", "threshold")
        )
        self.mem, self.syn, self.by_mem, self.by_syn, self.by_threshold = np.zeros((5, batch * neurons))

    def back(self, where: Any, t: Any, mem: Any, syn: Any) -> None:
        """Some neurons back over a time t without events, at whose beginning their states were ``mem`` and ``syn``."""
        p_mem, p_syn = self.mem[where], self.syn[where]
        course, slopes = flow_slopes(t, self.tau_mem[where], self.tau_syn[where])
        self.by_mem[where] += p_mem * (mem * slopes.beta_mem + syn * slopes.gain_mem)
        self.by_syn[where] += p_mem * syn * slopes.gain_syn + p_syn * syn * slopes.alpha_syn
        self.mem[where], self.syn[where] = p_mem * course.beta, p_mem * course.gain + p_syn * course.alpha

    def cross(self, where: Any, syn_then: Any, by_time: Any) -> None:
        """Back over the spikes of some neurons."""
        tau = self.tau_mem[where]
        before, after = rise(self.threshold[where], syn_then, tau), rise(0.0, syn_then, tau)
        self.mem[where] = (self.mem[where] * after - by_time) / before
        self.by_threshold[where] -= self.mem[where]

    def peak(self, where: Any, t: Any, mem: Any, syn: Any, by_peak: Any) -> Any:
        """Add what the loss gets from membranes at a time t after an interval's beginning; returns their slopes."""
        course, slopes = flow_slopes(t, self.tau_mem[where], self.tau_syn[where])
        self.by_mem[where] += by_peak * (mem * slopes.beta_mem + syn * slopes.gain_mem)
        self.by_syn[where] += by_peak * syn * slopes.gain_syn
        self.mem[where] += by_peak * course.beta
        self.syn[where] += by_peak * course.gain
        return rise(course.mem(mem, syn), course.syn(syn), self.tau_mem[where])


def pull_layer(
    params: Mapping[str, np.ndarray], ran: LayerRun, by_times: np.ndarray, by_maxima: np.ndarray
) -> LayerGradient:
    """From the loss's derivatives by a layer's spike times and maxima to those by its parameters and its input."""
    weight = params["weight"]
    batch, neurons = ran.maxima.shape
    events = len(ran.intervals)
    sums = _Sums(params, batch, neurons)
    there = ran.sorting >= 0
    last = int(there.sum())
    by_crossing = np.zeros(last)
    by_crossing[ran.sorting[there]] = by_times[there]
    arrivals, times = np.zeros((events, batch, neurons)), np.zeros((batch, events))
    for event in reversed(range(events)):
        interval = ran.intervals[event]
        sums.back(slice(None), *(x.reshape(-1) for x in interval[1:]))
        here = np.nonzero(((ran.highest == event) & (by_maxima != 0.0)).reshape(-1))[0]
        if len(here):
            rest, mem, syn, after, g = (x.reshape(-1)[here] for x in (*interval[1:], ran.highest_after, by_maxima))
            slope = sums.peak(here, after, mem, syn, g)
            if event + 1 < events:  # at a peak dV/dt = 0; but a membrane can be highest when the next spike arrives
                moved = np.where((after == rest) & ran.alive[here // neurons, event + 1], g * slope, 0.0)
                times[:, event + 1] += np.bincount(here // neurons, moved, batch)
        for crossing in reversed(interval.crossings):
            first = last - len(crossing.where)
            sums.cross(crossing.where, crossing.syn_then, by_crossing[first:last])
            sums.back(crossing.where, crossing.after, crossing.mem, crossing.syn)
            last = first
        alive = ran.alive[:, event, None]
        kick = np.where(alive, weight.T[ran.arrived.sources[:, event]], 0.0)
        arrivals[event] = np.where(alive, sums.syn.reshape(batch, neurons), 0.0)
        moves = sums.syn / sums.tau_syn - sums.mem / sums.tau_mem
        times[:, event] += (kick * moves.reshape(batch, neurons)).sum(1)
    sources = ran.arrived.sources
    found = {"weight": _by_source(arrivals.reshape(-1, neurons), sources.T.reshape(-1), weight.shape[1]).T}
    for name, value in (("tau_mem", sums.by_mem), ("tau_syn", sums.by_syn), ("threshold", sums.by_threshold)):
        if name in params:
            found[name] = value.sum() if np.ndim(params[name]) == 0 else value.reshape(batch, neurons).sum(0)
    if "delay" in params:
        found["delay"] = np.bincount(sources.reshape(-1), times.reshape(-1), weight.shape[1])
    by_input = np.zeros_like(times)
    np.put_along_axis(by_input, ran.order, times, 1)
    return LayerGradient(found, by_input)


def _by_source(rows: np.ndarray, sources: np.ndarray, count: int) -> np.ndarray:
    """The sum of the rows of each source, (count, columns)."""
    out = np.zeros((count, rows.shape[1]))
    if len(rows):
        order = np.argsort(sources, kind="stable")
        ordered = sources[order]
        starts = np.nonzero(np.r_[True, ordered[1:] != ordered[:-1]])[0]
        out[ordered[starts]] = np.add.reduceat(rows[order], starts, axis=0)
    return out

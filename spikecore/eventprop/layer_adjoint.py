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

from typing import Any, Dict, Mapping, NamedTuple, Tuple

import numpy as np

from spikecore.eventprop.layer_run import Arrivals, LayerRun
from spikecore.eventprop.membrane import Flow, FlowSlopes, flow_slopes, follow, rise


class LayerGradient(NamedTuple):
    """Derivatives of the loss by a layer's parameters, by name, and by the times of its input's spikes."""

    params: Dict[str, np.ndarray]
    times: np.ndarray


def pull_flow(
    p_mem: Any, p_syn: Any, mem: Any, syn: Any, course: Flow, slopes: FlowSlopes
) -> Tuple[Any, Any, Any, Any]:
    """Pull the adjoints p_V and p_I back over a time without events, which began with the state (mem, syn).

    Returns:
        p_V and p_I at that beginning, and what the time adds to the derivatives by tau_mem and tau_syn.
    """
    by_mem = p_mem * (mem * slopes.beta_mem + syn * slopes.gain_mem)
    by_syn = p_mem * syn * slopes.gain_syn + p_syn * syn * slopes.alpha_syn
    return p_mem * course.beta, p_mem * course.gain + p_syn * course.alpha, by_mem, by_syn


def pull_spike(p_mem: Any, by_time: Any, syn: Any, threshold: Any, tau_mem: Any) -> Any:
    """The adjoint p_V before a spike, from p_V after it, the derivative by the spike's time, and the current then."""
    return (p_mem * rise(0.0, syn, tau_mem) - by_time) / rise(threshold, syn, tau_mem)


def pull_arrival(p_mem: Any, p_syn: Any, tau_mem: Any, tau_syn: Any) -> Any:
    """The derivative by the time at which a spike of weight 1 arrives, from p_V and p_I after it."""
    return p_syn / tau_syn - p_mem / tau_mem


def pull_integral(
    by: Any, kicks: Any, mem: Any, syn: Any, tau_mem: Any, tau_syn: Any
) -> Tuple[Any, Any, Any, Any, Any]:
    """The derivatives by mem, syn, tau_mem, tau_syn and kicks, from the derivative ``by`` a membrane's ``integral``."""
    return -tau_mem * by, -tau_syn * by, -mem * by, (kicks - syn) * by, tau_syn * by


class _AdjointSums:
    """The adjoints p_V and p_I of all neurons, and sums of derivatives by their parameters: flat (batch, neurons)."""

    def __init__(self, params: Mapping[str, np.ndarray], batch: int, neurons: int) -> None:
        self.tau_mem, self.tau_syn, self.threshold = (
            np.broadcast_to(params.get(name, np.inf), (batch, neurons)).reshape(-1)
            for name in ("tau_mem", "tau_syn", "threshold")
        )
        self.mem, self.syn, self.by_mem, self.by_syn, self.by_threshold = np.zeros((5, batch * neurons))

    def back(self, where: Any, t: Any, mem: Any, syn: Any) -> None:
        """Pull some neurons back over a time t without events, which began with the states ``mem`` and ``syn``."""
        course = flow_slopes(t, self.tau_mem[where], self.tau_syn[where])
        self.mem[where], self.syn[where], by_mem, by_syn = pull_flow(
            self.mem[where], self.syn[where], mem, syn, *course
        )
        self.by_mem[where] += by_mem
        self.by_syn[where] += by_syn

    def cross(self, where: Any, syn_then: Any, by_time: Any) -> None:
        """Pull some neurons back over one spike of each."""
        self.mem[where] = pull_spike(self.mem[where], by_time, syn_then, self.threshold[where], self.tau_mem[where])
        self.by_threshold[where] -= self.mem[where]

    def peak(self, where: Any, t: Any, mem: Any, syn: Any, by_peak: Any) -> Any:
        """Add the derivatives of a loss that reads membranes at a time t of an interval; returns their slopes."""
        course, slopes = flow_slopes(t, self.tau_mem[where], self.tau_syn[where])
        for mine, more in zip(
            (self.mem, self.syn, self.by_mem, self.by_syn), pull_flow(by_peak, 0.0, mem, syn, course, slopes)
        ):
            mine[where] += more
        return rise(*follow(course, mem, syn), self.tau_mem[where])


def pull_layer(
    params: Mapping[str, np.ndarray],
    ran: LayerRun,
    by_times: np.ndarray,
    by_maxima: np.ndarray,
    by_integrals: np.ndarray,
) -> LayerGradient:
    """The derivatives by a layer's parameters and input, from the loss's by its spike times, maxima and integrals."""
    weight = params["weight"]
    batch, neurons = ran.maxima.shape
    intervals, sorting, *end = ran.way
    events = len(intervals)
    came, order, all_alive, _, _ = ran.arrivals
    sums = _AdjointSums(params, batch, neurons)
    kicks, mem_then, syn_then = (x.reshape(-1) for x in end)
    sums.mem, sums.syn, sums.by_mem, sums.by_syn, by_kicks = pull_integral(
        by_integrals.reshape(-1), kicks, mem_then, syn_then, sums.tau_mem, sums.tau_syn
    )
    there = sorting >= 0
    last = int(there.sum())
    by_crossing = np.zeros(last)
    by_crossing[sorting[there]] = by_times[there]
    arrivals, times = np.zeros((events, batch, neurons)), np.zeros((batch, events))
    for event in reversed(range(events)):
        interval = intervals[event]
        sums.back(slice(None), *(x.reshape(-1) for x in interval[1:]))
        here = np.nonzero(((ran.highest == event) & (by_maxima != 0.0)).reshape(-1))[0]
        if len(here):
            rest, mem, syn, after, g = (x.reshape(-1)[here] for x in (*interval[1:], ran.highest_after, by_maxima))
            slope = sums.peak(here, after, mem, syn, g)
            if event + 1 < events:  # at a peak dV/dt = 0; but a membrane can be highest when the next spike arrives
                moved = np.where((after == rest) & all_alive[here // neurons, event + 1], g * slope, 0.0)
                times[:, event + 1] += np.bincount(here // neurons, moved, batch)
        for crossing in reversed(interval.crossings):
            first = last - len(crossing.where)
            sums.cross(crossing.where, crossing.syn_then, by_crossing[first:last])
            sums.back(crossing.where, crossing.after, crossing.mem, crossing.syn)
            last = first
        alive = all_alive[:, event, None]
        kick = np.where(alive, weight.T[came.sources[:, event]], 0.0)
        arrivals[event] = np.where(alive, (sums.syn + by_kicks).reshape(batch, neurons), 0.0)
        moves = pull_arrival(sums.mem, sums.syn, sums.tau_mem, sums.tau_syn)
        times[:, event] += (kick * moves.reshape(batch, neurons)).sum(1)
    by_weight = _by_source(arrivals.reshape(-1, neurons), came.sources.T.reshape(-1), weight.shape[1]).T
    by_neuron = [each.reshape(batch, neurons).sum(0) for each in (sums.by_mem, sums.by_syn, sums.by_threshold)]
    return by_name(params, ran.arrivals, by_weight, by_neuron, times)


def by_name(
    params: Mapping[str, np.ndarray], arrivals: Arrivals, by_weight: np.ndarray, by_neuron: Any, by_times: np.ndarray
) -> LayerGradient:
    """A layer's derivatives by name, from those by weights, by both time constants and the threshold of each neuron,
    and by the times of arrival.
    """
    found = {"weight": by_weight}
    for name, value in zip(("tau_mem", "tau_syn", "threshold"), by_neuron):
        if name in params:
            found[name] = like(params[name], value)
    if "delay" in params:
        found["delay"] = np.bincount(arrivals.spikes.sources.ravel(), by_times.ravel(), by_weight.shape[1])
    by_input = np.zeros_like(by_times)
    np.put_along_axis(by_input, arrivals.order, by_times, 1)
    return LayerGradient(found, by_input)


def like(parameter: np.ndarray, value: np.ndarray) -> np.ndarray:
    """A derivative per neuron as that of a parameter, which may be one for all neurons."""
    return np.asarray(value if np.ndim(parameter) else np.sum(value))


def _by_source(rows: np.ndarray, sources: np.ndarray, count: int) -> np.ndarray:
    """The sum of the rows of each source, (count, columns)."""
    out = np.zeros((count, rows.shape[1]))
    if len(rows):
        order = np.argsort(sources, kind="stable")
        ordered = sources[order]
        starts = np.nonzero(np.r_[True, ordered[1:] != ordered[:-1]])[0]
        out[ordered[starts]] = np.add.reduceat(rows[order], starts, axis=0)
    return out

"""``layer_run.py`` and ``layer_adjoint.py`` for one neuron after the other, compiled by Numba; see ``layer_kernel.py``.

All formulas are those of these files and of ``membrane.py``: here they are compiled for single numbers. This file has
only the order of the work: each neuron of each sample goes through all events by itself. Between events, neurons with
the same time constants follow the same course, which is computed once:

    for each sample, each neuron:              (``courses`` is computed again only if the time constants change)
        for each arrival:                      I += weight of its source
            while a crossing may come:         note the spike, V = 0, go on from its time
            V, I = follow(course to the next arrival, V, I)
"""

from __future__ import annotations

from typing import Any, Sequence

import numpy as np
from numba.extending import overload, register_jitable

from spikecore.eventprop import membrane
from spikecore.eventprop.layer_adjoint import pull_arrival, pull_flow, pull_integral, pull_spike
from spikecore.eventprop.membrane import CLOSE, NEWTON_STEPS, closer, crest, flow, flow_slopes, follow, integral, rise
from spikecore.kernels.runtime.numba_cache import function

FORMULAS: Sequence[Any] = (
    *(membrane._whole, membrane._moment, membrane._flow, flow, flow_slopes, follow),
    *(membrane.peak, crest, closer, rise, integral, pull_arrival, pull_flow, pull_integral, pull_spike),
)
for formula in FORMULAS:
    register_jitable(formula)


@overload(membrane.pick)
def pick(condition, a, b):  # type: ignore[no-untyped-def]  # types are those of its call
    """``membrane.pick`` for single numbers in compiled code, where ``np.where`` would make an array."""
    return lambda condition, a, b: a if condition else b


SURE = 1.0 - 1e-9  # what is below this part of another number is so whatever the rounding


@register_jitable
def next_spike(  # type: ignore[no-untyped-def]  # types are those of its call
    mem, syn, within, mem_then, syn_then, response, tau_mem, tau_syn, threshold
):
    """The next crossing of one neuron, as ``membrane.next_spike``; its state after ``within`` is known. NaN: not found.

    ``response`` is the highest membrane after one input spike of weight 1. The crest need not be known where it cannot
    reach the threshold, and where the membrane still rises at the end or is above the threshold then.
    """
    if max(mem, 0.0) + response * syn < SURE * threshold:
        return np.inf
    end, highest = within, mem_then
    if mem_then <= threshold and SURE * syn_then <= mem_then:
        end, highest = crest(mem, syn, within, tau_mem, tau_syn)
    if not (highest > threshold and end > 0.0):
        return np.inf
    t = min(max(threshold - mem, 0.0) / rise(mem, syn, tau_mem), end)  # the first step, which needs no exponential
    for _ in range(NEWTON_STEPS):
        later = closer(t, end, mem, syn, tau_mem, tau_syn, threshold)
        close = later - t <= CLOSE * tau_syn
        t = later
        if close:
            return t
    return np.nan


@function(error_model="numpy", nogil=True)
def forward(  # type: ignore[no-untyped-def]  # types are those of its call
    arrivals, neurons, fires, most, *out
):
    """Run a layer; how many spikes the busiest sample has, -1 for a current that is no number, -2 for no spike time.

    Where these are more than there is space for, ``out`` is not complete; where they are more than ``most``, it ends.
    """
    (until, rest, alive, sources), (weight, tau_mem, tau_syn, threshold) = arrivals, neurons
    at, after, event_of, source_of, begins, maxima, integrals, highest, highest_after = out
    batch, events = rest.shape
    courses = [flow(0.0, 1.0, 1.0) for _ in range(events)]
    busiest, response = 0, 0.0
    for row in range(batch):
        found = 0
        for neuron in range(len(tau_mem)):
            tau_m, tau_s, theta = tau_mem[neuron], tau_syn[neuron], threshold[neuron]
            if neuron == 0 or tau_m != tau_mem[neuron - 1] or tau_s != tau_syn[neuron - 1]:
                for event in range(events):
                    courses[event] = flow(rest[row, event], tau_m, tau_s)
                _, response = crest(0.0, 1.0, np.finfo(np.float64).max, tau_m, tau_s)
            mem = syn = kicks = 0.0
            for event in range(events):
                if alive[row, event]:
                    kicks += weight[neuron, sources[row, event]]
                    syn += weight[neuron, sources[row, event]]
                if not np.isfinite(syn):
                    return -1
                mem_then, syn_then = follow(courses[event], mem, syn)
                if not fires:
                    top, when = mem_then, rest[row, event]
                    if max(mem, 0.0) + response * max(syn, 0.0) < SURE * maxima[row, neuron]:
                        top = 0.0  # whatever it is, it is not the highest
                    elif syn_then <= 0.0 or SURE * syn_then <= mem_then:  # it may not rise to the end
                        when, top = crest(mem, syn, when, tau_m, tau_s)
                    if top > maxima[row, neuron]:
                        maxima[row, neuron], highest[row, neuron], highest_after[row, neuron] = top, event, when
                left = rest[row, event]
                while fires and syn > theta and left > 0.0:  # a crossing needs I > threshold
                    t = next_spike(mem, syn, left, mem_then, syn_then, response, tau_m, tau_s, theta)
                    if np.isnan(t):
                        return -2
                    if t == np.inf:
                        break
                    left -= t
                    if found < at.shape[1]:
                        at[row, found], after[row, found] = until[row, event] - left, t
                        event_of[row, found], source_of[row, found] = event, neuron
                    found += 1
                    if found > most:
                        return found
                    _, syn = follow(flow(t, tau_m, tau_s), mem, syn)
                    mem = 0.0
                    mem_then, syn_then = follow(flow(left, tau_m, tau_s), mem, syn)
                mem, syn = mem_then, syn_then
            begins[row, neuron + 1] = found
            if not fires:
                integrals[row, neuron] = integral(kicks, mem, syn, tau_m, tau_s)
        busiest = max(busiest, found)
    return busiest


@function(error_model="numpy", nogil=True)
def backward(  # type: ignore[no-untyped-def]  # types are those of its call
    arrivals, neurons, crossings, highest, highest_after, *by
):
    """Add the derivatives by parameters and input, from the loss's by spike times, maxima and integrals, to arrays."""
    (_, rest, alive, sources), (weight, tau_mem, tau_syn, threshold) = arrivals, neurons
    after, event_of, begins = crossings
    by_spikes, by_maxima, by_integrals, by_weight, by_mem, by_syn, by_threshold, by_times = by
    batch, events = rest.shape
    spikes = after.shape[1]
    left, mem_at, syn_at = np.empty(events), np.empty(events), np.empty(events)
    cross_mem, cross_syn, cross_then = np.empty(spikes), np.empty(spikes), np.empty(spikes)
    courses = [flow_slopes(0.0, 1.0, 1.0) for _ in range(events)]
    for row in range(batch):
        for neuron in range(len(tau_mem)):
            tau_m, tau_s, theta = tau_mem[neuron], tau_syn[neuron], threshold[neuron]
            if neuron == 0 or tau_m != tau_mem[neuron - 1] or tau_s != tau_syn[neuron - 1]:
                for event in range(events):
                    courses[event] = flow_slopes(rest[row, event], tau_m, tau_s)
            first, k = begins[row, neuron], begins[row, neuron + 1]
            peak_at, g = highest[row, neuron], by_maxima[row, neuron]
            if peak_at < 0:
                g = 0.0
            some = g != 0.0 or by_integrals[row, neuron] != 0.0
            for spike in range(first, k):
                some = some or by_spikes[row, spike] != 0.0
            if not some:
                continue
            mem = syn = kicks = 0.0  # the way there once more, from the times of the spikes
            spike = first
            for event in range(events):
                if alive[row, event]:
                    kicks += weight[neuron, sources[row, event]]
                    syn += weight[neuron, sources[row, event]]
                left[event] = rest[row, event]
                course, _ = courses[event]
                while spike < k and event_of[row, spike] == event:
                    t = after[row, spike]
                    cross_mem[spike], cross_syn[spike] = mem, syn
                    _, syn = follow(flow(t, tau_m, tau_s), mem, syn)
                    mem = 0.0
                    cross_then[spike] = syn
                    left[event] -= t
                    spike += 1
                if left[event] < rest[row, event]:
                    course = flow(left[event], tau_m, tau_s)
                mem_at[event], syn_at[event] = mem, syn
                mem, syn = follow(course, mem, syn)
            p_mem, p_syn, sum_mem, sum_syn, by_kick = pull_integral(
                by_integrals[row, neuron], kicks, mem, syn, tau_m, tau_s
            )
            for event in range(events - 1, -1, -1):
                mem, syn = mem_at[event], syn_at[event]
                if p_mem != 0.0 or p_syn != 0.0:
                    course, slopes = courses[event]
                    if left[event] < rest[row, event]:
                        course, slopes = flow_slopes(left[event], tau_m, tau_s)
                    p_mem, p_syn, more_mem, more_syn = pull_flow(p_mem, p_syn, mem, syn, course, slopes)
                    sum_mem += more_mem
                    sum_syn += more_syn
                if event == peak_at and g != 0.0:
                    t = highest_after[row, neuron]
                    course, slopes = flow_slopes(t, tau_m, tau_s)
                    add_mem, add_syn, more_mem, more_syn = pull_flow(g, 0.0, mem, syn, course, slopes)
                    p_mem += add_mem
                    p_syn += add_syn
                    sum_mem += more_mem
                    sum_syn += more_syn
                    if t == rest[row, event] and event + 1 < events and alive[row, event + 1]:
                        mem_then, syn_then = follow(course, mem, syn)
                        by_times[row, event + 1] += g * rise(mem_then, syn_then, tau_m)
                while k > first and event_of[row, k - 1] == event:
                    k -= 1
                    p_mem = pull_spike(p_mem, by_spikes[row, k], cross_then[k], theta, tau_m)
                    by_threshold[neuron] -= p_mem
                    course, slopes = flow_slopes(after[row, k], tau_m, tau_s)
                    p_mem, p_syn, more_mem, more_syn = pull_flow(
                        p_mem, p_syn, cross_mem[k], cross_syn[k], course, slopes
                    )
                    sum_mem += more_mem
                    sum_syn += more_syn
                if alive[row, event]:
                    source = sources[row, event]
                    by_weight[neuron, source] += p_syn + by_kick
                    by_times[row, event] += weight[neuron, source] * pull_arrival(p_mem, p_syn, tau_m, tau_s)
            by_mem[neuron] += sum_mem
            by_syn[neuron] += sum_syn

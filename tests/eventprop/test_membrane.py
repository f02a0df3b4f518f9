"""The membrane between two events, and spike times: against its equations and closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore import eventprop
from spikecore.eventprop.membrane import flow, flow_slopes, next_spike, peak
from tests.eventprop.eventprop_rig import FEW, QUOTIENT, ROUNDING


@pytest.mark.parametrize("tau_syn", [20.0, 19.999999, 10.0, 5.0, 40.0, 20.0 / 1.9, 0.01])
def test_the_course_solves_its_equations(tau_syn):
    t, tau_mem, h = np.array([1e-9, 0.01, 1.0, 7.0, 30.0, 300.0]), 20.0, 1e-4
    gain = flow(t, tau_mem, tau_syn).gain
    shift = min(h, 1e-2 * tau_syn) * np.minimum(1.0, t)
    rate = (flow(t + shift, tau_mem, tau_syn).gain - flow(t - shift, tau_mem, tau_syn).gain) / (2 * shift)
    np.testing.assert_allclose(tau_mem * rate, np.exp(-t / tau_syn) - gain, rtol=0, atol=1e-5)  # of second order
    _, slopes = flow_slopes(t, tau_mem, tau_syn)
    for place, slope in ((0, slopes.gain_mem), (1, slopes.gain_syn)):
        taus = [tau_mem, tau_syn]
        ends = []
        for sign in (1.0, -1.0):
            moved = list(taus)
            moved[place] += sign * 1e-5 * taus[place]
            ends.append(flow(t, *moved).gain)
        np.testing.assert_allclose(slope, (ends[0] - ends[1]) / (2e-5 * taus[place]), rtol=QUOTIENT, atol=1e-9)


@pytest.mark.parametrize("tau_syn", [20.0, 10.0, 5.0, 40.0])
def test_a_spike_is_where_the_membrane_first_reaches_the_threshold(tau_syn):
    rng = np.random.default_rng(0)
    mem, syn = rng.uniform(-2.0, 0.99, 200), rng.uniform(-1.0, 8.0, 200)
    found = next_spike(mem, syn, np.full(200, 60.0), 20.0, tau_syn, 1.0)
    grid = np.linspace(0.0, 60.0, 60001)[:, None]
    course = flow(grid, 20.0, tau_syn)
    mems = course.beta * mem + course.gain * syn
    fires = (mems > 1.0).any(0)
    np.testing.assert_array_equal(np.isfinite(found), fires)
    np.testing.assert_allclose(found[fires], grid[(mems > 1.0).argmax(0)[fires], 0], rtol=0, atol=1.1e-3)  # the grid
    at = flow(found[fires], 20.0, tau_syn)
    np.testing.assert_allclose(at.beta * mem[fires] + at.gain * syn[fires], 1.0, rtol=0, atol=FEW)


def test_a_spike_time_has_its_closed_form_where_there_is_one():
    """With tau_mem = 2 tau_syn the threshold is a quadratic equation of exp(-t / tau_mem) (Göltz et al., 2021)."""
    weight = 9.0
    network = eventprop.Network([eventprop.Layer(1, 1, tau_mem=20.0, tau_syn=10.0)], 50.0)
    params = {**network.init(0), "0.weight": np.array([[weight]])}
    x = (1.0 + np.sqrt(1.0 - 4.0 / weight)) / 2.0  # w (x - x^2) = 1
    np.testing.assert_allclose(network.run(params, [[3.0]]).times, 3.0 - 20.0 * np.log(x), rtol=FEW)


def test_a_peak_below_the_threshold_is_no_spike_and_one_above_is():
    course = flow(peak(np.zeros(1), np.ones(1), 20.0, 5.0), 20.0, 5.0)
    least = 1.0 / course.gain[0]  # the weight whose peak touches the threshold
    network = eventprop.Network([eventprop.Layer(1, 1)], 50.0)
    for factor, spikes in ((1.0 - 1e-9, 0), (1.0 + 1e-9, 1)):
        params = {**network.init(0), "0.weight": np.array([[least * factor]])}
        assert network.run(params, [[0.0]]).spikes[0].present.sum() == spikes


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_membrane_that_is_highest_when_the_next_spike_arrives_follows_its_time(engine):
    """A rising membrane that a second spike pulls down: V(t2 - t1) is the highest, and has the slope (I - V) / tau."""
    if engine == "torch":
        pytest.importorskip("torch")
    network = eventprop.Network([eventprop.Layer(2, 2, tau_mem=20.0, tau_syn=5.0, threshold=None)], 40.0)
    params = {**network.init(0), "0.weight": np.array([[3.0, -30.0], [0.0, 0.0]])}
    found = eventprop.gradient(network, params, [[1.0, 5.0]], [0], eventprop.max_membrane_loss(), engine=engine)
    mem, syn = 3.0 * flow(4.0, 20.0, 5.0).gain, 3.0 * np.exp(-4.0 / 5.0)
    np.testing.assert_allclose(found.run.maxima, [[mem, 0.0]], rtol=FEW)
    by_mem = -1.0 / (1.0 + np.exp(mem))  # of -log softmax(V, 0)_0
    by_time = by_mem * (syn - mem) / 20.0
    np.testing.assert_allclose(found.inputs, [[-by_time, by_time]], rtol=ROUNDING)


@pytest.mark.parametrize("fused", [False, True])
def test_the_mean_membrane_is_that_of_its_course(fused):
    """Of two spikes, one of which arrives late: the closed form against the trapezoidal rule."""
    if fused:
        pytest.importorskip("numba")
    network = eventprop.Network([eventprop.Layer(2, 1, tau_mem=20.0, tau_syn=5.0, threshold=None)], 40.0, fused)
    params = {**network.init(0), "0.weight": np.array([[3.0, -2.0]])}
    run = network.run(params, [[1.0, 35.0]])
    t = np.linspace(0.0, 40.0, 40001)
    course = sum(
        w * np.where(t > at, flow(np.maximum(t - at, 0.0), 20.0, 5.0).gain, 0.0) for w, at in ((3, 1), (-2, 35))
    )
    trapezoids = (course[1:] + course[:-1]).sum() / 2.0 / 40000.0
    np.testing.assert_allclose(run.means, trapezoids, rtol=1e-6)  # of second order in steps of 0.001

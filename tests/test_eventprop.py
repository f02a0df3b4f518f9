"""Exact spike times and their gradient: against autograd, finite differences, closed forms and small time steps."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest

import spikecore as sc
from spikecore import eventprop
from spikecore.datasets import Dataset
from spikecore.eventprop import layer_adjoint, layer_kernel, layer_run
from spikecore.eventprop.membrane import flow, flow_slopes, next_spike, peak

ROOT = Path(__file__).parents[1]
QUICK = 8
QUOTIENT = 1e-6  # of the best of several difference quotients: truncation and rounding of a loss in float64
CANCELLING = 1e-10  # of sums in float64 whose terms are much larger and cancel
ROUNDING = 1e-12  # of some thousand operations in float64,
FEW = 1e-14  # and of a few
RATIOS = (4.0, 2.0, 1.0, 0.5, 1.0 + 1e-7)


def drawn(seed):
    """A random network with parameters, a batch and a loss: any ratio of time constants, delays, taus per neuron."""
    rng = np.random.default_rng(seed)
    readout, hidden = seed % 3 == 2, int(rng.integers(3, 7))
    layers = [
        eventprop.Layer(4, hidden, tau_mem=20.0, tau_syn=20.0 / RATIOS[seed % 5], delay=1.0 if seed % 2 else None),
        *([eventprop.Layer(hidden, hidden, tau_mem=12.0, tau_syn=7.0)] if seed % 4 == 3 else []),
        eventprop.Layer(hidden, 3, tau_mem=15.0, tau_syn=5.0, threshold=None if readout else 1.0),
    ]
    network = eventprop.Network(layers, 50.0)
    params = network.init(seed)
    if seed % 2:
        params["0.delay"] = rng.uniform(0.0, 3.0, 4)
    if seed % 5 == 4:
        params["0.tau_mem"] = rng.uniform(10.0, 20.0, hidden)
        params["0.threshold"] = rng.uniform(0.8, 1.2, hidden)
    times = rng.uniform(0.0, 20.0, (3, 4))
    times[rng.random((3, 4)) < 0.1] = np.inf
    kind = seed // 3 % 3
    if readout:
        loss = eventprop.mean_membrane_loss() if seed // 3 % 2 else eventprop.max_membrane_loss()
        targets = rng.integers(0, 3, 3)
    elif kind == 2:
        loss, targets = eventprop.spike_count_loss(tau=10.0), rng.integers(0, 3, 3)
    elif kind:
        loss, targets = eventprop.spike_time_loss(), rng.uniform(5.0, 30.0, (3, 3))
    else:
        loss, targets = eventprop.first_spike_loss(tau=2.0, late=0.1, tau_late=20.0), rng.integers(0, 3, 3)
    return network, params, times, targets, loss


def difference(seed):
    """The relative error of the slope along a random direction of all parameters and of the input together."""
    network, params, times, targets, loss = drawn(seed)
    found = eventprop.gradient(network, params, times, targets, loss)
    rng = np.random.default_rng((seed, 1))
    along = {name: rng.normal(size=value.shape) for name, value in params.items()}
    spikes = eventprop.Spikes.of(times)
    by_input = np.zeros_like(times)
    rows = np.arange(len(times))[:, None]
    np.add.at(by_input, (np.broadcast_to(rows, times.shape), spikes.sources), found.inputs)  # 0 where there is none
    shift = np.where(np.isfinite(times), rng.normal(size=times.shape), 0.0)
    terms = [found.grads[name] * along[name] for name in params] + [by_input * shift]
    slope = sum(float(term.sum()) for term in terms)
    size = np.sqrt(sum(float((term * term).sum()) for term in terms))

    def at(h):
        moved = {name: value + h * along[name] for name, value in params.items()}
        return eventprop.gradient(network, moved, np.abs(times + h * shift), targets, loss).loss

    quotients = [(8 * (at(h) - at(-h)) - at(2 * h) + at(-2 * h)) / (12 * h) for h in (1e-4, 1e-5, 1e-6, 1e-7)]
    return min(abs(each - slope) for each in quotients) / size if size else max(map(abs, quotients))


def autograd_difference(seed):
    """The largest difference of both gradients, relative to the largest entry of each, or a tenth of that of all.

    The derivative by a time constant is a sum of terms that are much larger and cancel.
    """
    pytest.importorskip("torch")
    problem = drawn(seed)
    ours, theirs = (eventprop.gradient(*problem, engine=engine) for engine in ("numpy", "torch"))
    assert ours.loss == theirs.loss
    pairs = [(ours.grads[name], theirs.grads[name]) for name in problem[1]] + [(ours.inputs, theirs.inputs)]
    floor = 0.1 * max(np.abs(b).max() for _, b in pairs)
    return max(np.abs(a - b).max() / max(np.abs(b).max(), floor) for a, b in pairs)


@pytest.mark.parametrize("seed", range(QUICK))
def test_the_gradient_is_the_slope_of_the_loss(seed):
    assert difference(seed) < QUOTIENT


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(QUICK, 200))
def test_the_gradient_is_the_slope_of_the_loss_of_many(seed):
    assert difference(seed) < QUOTIENT


@pytest.mark.parametrize("seed", [0, 2, 3])
def test_autograd_finds_the_same(seed):
    assert autograd_difference(seed) < CANCELLING


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, *range(4, 200)])
def test_autograd_finds_the_same_of_many(seed):
    assert autograd_difference(seed) < CANCELLING


def kernel_difference(seed):
    """The same of the kernels' gradient and NumPy's, of all that both networks did, and of the losses."""
    pytest.importorskip("numba")
    problem = drawn(seed)
    ours, theirs = (eventprop.gradient(*problem, fused=fused) for fused in (True, False))
    pairs = [(ours.grads[name], theirs.grads[name]) for name in problem[1]] + [(ours.inputs, theirs.inputs)]
    floor = 0.1 * max(np.abs(b).max() for _, b in pairs)
    for mine, other in zip(ours.run.records, theirs.run.records):
        np.testing.assert_array_equal(mine.spikes.sources, other.spikes.sources)
        np.testing.assert_allclose(mine.spikes.times, other.spikes.times, rtol=ROUNDING)
    np.testing.assert_allclose(ours.run.maxima, theirs.run.maxima, rtol=ROUNDING)
    np.testing.assert_allclose(ours.run.means, theirs.run.means, rtol=CANCELLING)
    np.testing.assert_allclose(ours.loss, theirs.loss, rtol=ROUNDING)
    return max(np.abs(a - b).max() / max(np.abs(b).max(), floor) for a, b in pairs)


@pytest.mark.parametrize("seed", range(QUICK))
def test_kernels_find_the_same(seed):
    assert kernel_difference(seed) < CANCELLING


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(QUICK, 200))
def test_kernels_find_the_same_of_many(seed):
    assert kernel_difference(seed) < CANCELLING


# ---- the membrane ---------------------------------------------------------------------------------------------------


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
    network = eventprop.Network([eventprop.Layer(2, 1, tau_mem=20.0, tau_syn=5.0, threshold=None)], 40.0)
    params = {**network.init(0), "0.weight": np.array([[3.0, -2.0]])}
    run = network.run(params, [[1.0, 35.0]], fused=fused)
    t = np.linspace(0.0, 40.0, 40001)
    course = sum(
        w * np.where(t > at, flow(np.maximum(t - at, 0.0), 20.0, 5.0).gain, 0.0) for w, at in ((3, 1), (-2, 35))
    )
    trapezoids = (course[1:] + course[:-1]).sum() / 2.0 / 40000.0
    np.testing.assert_allclose(run.means, trapezoids, rtol=1e-6)  # of second order in steps of 0.001


# ---- the same network in time steps ---------------------------------------------------------------------------------


def test_small_steps_come_close_to_the_exact_spikes():
    network = eventprop.Network([eventprop.Layer(4, 8, mean=4.0), eventprop.Layer(8, 3, mean=2.0)], 40.0)
    params, times = network.init(1), np.random.default_rng(1).uniform(0.0, 15.0, (4, 4))
    exact = network.run(params, times)
    errors = []
    for dt in (0.4, 0.1, 0.025):
        spikes = eventprop.to_model(network, params, dt)(eventprop.frames(network, times, dt)).spikes
        first = np.where(spikes.any(0), (spikes.argmax(0) + 0.5) * dt, np.inf)
        errors.append(np.abs(first - exact.times)[np.isfinite(exact.times)].max())
    assert np.isfinite(exact.times).all()
    assert errors[2] < 0.05  # two steps
    assert errors[0] > errors[1] > errors[2]


def test_without_spikes_a_step_is_exact():
    network = eventprop.Network([eventprop.Layer(3, 2, threshold=None)], 30.0)
    params, times = network.init(0), np.array([[0.0, 4.0, 9.0]])  # on the grid
    model = eventprop.to_model(network, params, 0.5)
    mems = model(eventprop.frames(network, times, 0.5), record=True).states["1"].mem
    for step, at in ((12, 6.5), (40, 20.5)):  # the end of a step
        arrived = times[0] < at
        gain = flow(at - times[0][arrived], 20.0, 5.0).gain
        np.testing.assert_allclose(mems[step, 0], params["0.weight"][:, arrived] @ gain, rtol=ROUNDING)


def test_a_surrogate_is_right_in_the_last_layer_and_biased_before_it():
    network = eventprop.Network([eventprop.Layer(4, 10), eventprop.Layer(10, 3, threshold=None)], 40.0)
    params, times = network.init(0), np.random.default_rng(0).uniform(0.0, 15.0, (4, 4))
    report = eventprop.surrogate_bias(network, params, times, [0, 1, 2, 0], 0.05)
    (found,) = report.cases
    # errors of the order of dt / tau_syn, one per cent
    assert found.cosine["1.weight"] > 0.999
    assert abs(found.ratio["1.weight"] - 1.0) < 0.05
    assert found.cosine["0.weight"] < 0.95
    assert abs(found.loss - report.exact_loss) < 0.05 * report.exact_loss
    assert "cosine" in str(report)


# ---- verify, and gradients that are wrong ---------------------------------------------------------------------------


def small(threshold=None):
    network = eventprop.Network([eventprop.Layer(3, 3), eventprop.Layer(3, 2, threshold=threshold)], 40.0)
    loss = eventprop.first_spike_loss(tau=2.0) if threshold else eventprop.max_membrane_loss()
    return network, network.init(3), np.array([[1.0, 5.0, 8.0], [4.0, 2.0, 12.0]]), [0, 1], loss


def test_a_right_gradient_is_verified():
    network, params, times, labels, loss = small()
    report = eventprop.verify(network, params, times[:1], labels[:1], loss)
    assert report.ok, report.table()
    assert report.worst_difference < QUOTIENT


@pytest.mark.parametrize("wrong", ["no jump", "no reset", "no threshold", "frozen times"])
def test_a_wrong_gradient_is_found(wrong, monkeypatch):
    right = layer_adjoint._Sums.cross

    def cross(self, where, syn_then, by_time):
        before = self.mem[where].copy()
        right(self, where, syn_then, 0.0 * by_time if wrong == "frozen times" else by_time)
        if wrong == "no jump":
            self.mem[where] = before
        elif wrong == "no reset":
            self.mem[where] += before
        elif wrong == "no threshold":
            self.by_threshold[where] = 0.0

    monkeypatch.setattr(layer_adjoint._Sums, "cross", cross)
    network, params, times, labels, loss = small(1.0)
    assert not eventprop.verify(network, params, times[:1], labels[:1], loss, fused=False).ok


# ---- edges ----------------------------------------------------------------------------------------------------------


def test_nothing_enters_and_nothing_fires():
    network, params, _, labels, _ = small(1.0)
    loss = eventprop.first_spike_loss(tau=2.0)
    for inputs in (
        np.full((2, 3), np.inf),
        np.full((2, 3), 99.0),
        eventprop.Spikes(np.zeros((2, 0)), np.zeros((2, 0), int)),
    ):
        found = eventprop.gradient(network, params, inputs, labels, loss)
        assert found.loss == pytest.approx(np.log(2.0))
        assert not any(each.any() for each in found.grads.values())
        assert np.isinf(found.run.times).all()
        assert found.inputs.shape == (2, 0 if isinstance(inputs, eventprop.Spikes) else 3)


def test_spikes_at_the_same_time_add_up():
    network = eventprop.Network([eventprop.Layer(2, 1)], 40.0)
    params = {**network.init(0), "0.weight": np.array([[5.0, 4.0]])}
    together = network.run(params, [[1.0, 1.0]]).times
    one = eventprop.Network([eventprop.Layer(1, 1)], 40.0)
    alone = one.run({**params, "0.weight": np.array([[9.0]])}, [[1.0]]).times
    np.testing.assert_allclose(together, alone, rtol=1e-13)  # rounding


def test_a_delay_is_a_later_input_and_may_change_the_order():
    layer = eventprop.Layer(3, 2, delay=0.0)
    network = eventprop.Network([layer], 40.0)
    params, times = network.init(0), np.array([[1.0, 2.0, 3.0]])
    delay = np.array([4.0, 0.0, 1.0])
    later = network.run({**params, "0.delay": delay}, times)
    np.testing.assert_array_equal(later.times, network.run(params, times + delay).times)


def test_each_sample_of_a_batch_is_by_itself():
    network, params, times, labels, loss = small(1.0)
    both = eventprop.gradient(network, params, times, labels, loss)
    each = [eventprop.gradient(network, params, times[i : i + 1], labels[i : i + 1], loss) for i in range(2)]
    for name, value in both.grads.items():
        np.testing.assert_allclose(value, (each[0].grads[name] + each[1].grads[name]) / 2.0, rtol=ROUNDING, atol=FEW)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda p: p.pop("0.weight"), "missing: .'0.weight'"),
        (lambda p: p.update({"0.tau_mem": np.array(0.0)}), "0.tau_mem"),
        (lambda p: p.update({"1.weight": np.zeros((3, 4))}), "1.weight"),
        (lambda p: p.update({"0.weight": np.full((3, 3), np.nan)}), "0.weight"),
        (lambda p: p.update({"more": np.zeros(1)}), "more"),
    ],
)
def test_wrong_parameters_are_refused_by_name(change, word):
    network, params, times, _, _ = small()
    change(params)
    with pytest.raises(ValueError, match=word):
        network.run(params, times)


@pytest.mark.parametrize("value", ["a", np.ones((3, 3)) * 1j, [[1.0], [1.0, 2.0]]])
def test_parameters_that_are_no_numbers_are_refused_by_name(value):
    network, params, times, _, _ = small()
    with pytest.raises(TypeError, match=r"params\['0.weight'\].* must be an array of real numbers"):
        network.run({**params, "0.weight": value}, times)


def test_a_loss_or_gradient_that_is_not_finite_is_refused():
    network, params, times, labels, loss = small(1.0)
    with pytest.raises(ValueError, match="inputs have no samples"):
        eventprop.gradient(network, params, np.zeros((0, 3)), np.zeros(0, int), loss)
    with np.errstate(all="ignore"):
        late = eventprop.first_spike_loss(tau=2.0, late=1.0, tau_late=0.01)
        with pytest.raises(ValueError, match=r"loss=first_spike_loss\(.* is (inf|nan).*give it larger time constants"):
            eventprop.gradient(network, params, times, labels, late)
        tiny = {**params, "0.tau_mem": np.array(1e-200), "0.tau_syn": np.array(1e-200)}
        with pytest.raises(ValueError, match="the derivative by '0.tau_mem' is not finite"):
            eventprop.gradient(network, tiny, times, labels, loss)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("weight", [1e6, 1e300])
def test_a_run_that_would_not_end_is_refused(weight, fused, monkeypatch):
    if fused:
        pytest.importorskip("numba")
    monkeypatch.setattr(layer_run, "MOST_SPIKES", 500)
    network, params, times, _, _ = small(1.0)
    params["0.weight"][:] = weight
    with pytest.raises(ValueError, match=r"3 neurons fires more than 500 times in one sample: give smaller weights"):
        network.run(params, times, fused=fused)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("weight", [1.7e308, -1.7e308])
def test_a_current_that_overflows_is_refused(weight, fused):
    if fused:
        pytest.importorskip("numba")
    network = eventprop.Network([eventprop.Layer(2, 1)], 40.0)
    params = {**network.init(0), "0.weight": np.full((1, 2), weight)}
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="current .* not finite: give smaller weights"):
        network.run(params, eventprop.Spikes([[1.0, 1.0, 1.0]], [[0, 1, 0]]), fused=fused)


def test_wrong_input_and_losses_are_refused():
    network, params, times, labels, loss = small()
    for inputs, word in ((times[:, :2], "times"), (-times, "time"), (times * np.nan, "NaN")):
        with pytest.raises(ValueError, match=word):
            network.run(params, inputs)
    with pytest.raises(ValueError, match="last layer that fires"):
        eventprop.gradient(network, params, times, labels, eventprop.first_spike_loss(tau=1.0))
    with pytest.raises(ValueError, match="targets"):
        eventprop.gradient(network, params, times, [0, 7], loss)
    with pytest.raises(ValueError, match="threshold=None"):
        eventprop.Network([eventprop.Layer(3, 4, threshold=None), eventprop.Layer(4, 2)], 40.0)
    fires = eventprop.Network([eventprop.Layer(3, 2)], 40.0)
    with pytest.raises(ValueError, match="surrogate_bias: the last layer of network has threshold=1.0"):
        eventprop.surrogate_bias(fires, fires.init(0), times, labels, 0.1)
    with pytest.raises(ValueError, match="ascend"):
        eventprop.Spikes([[2.0, 1.0]], [[0, 0]])
    delayed = eventprop.Network([eventprop.Layer(3, 2, delay=1.0)], 40.0)
    with pytest.raises(ValueError, match="delays"):
        eventprop.to_model(delayed, delayed.init(0), 0.1)


@pytest.mark.parametrize(
    ("taus", "threshold"),
    [
        *(((tau, tau), threshold) for tau in (1e-6, 1e3, 1e-200) for threshold in (0.1, None)),
        *((taus, None) for taus in ((1e-3, 5.0), (5.0, 1e-3), (1e-14, 5.0))),  # fast membranes would fire without end
    ],
)
def test_kernels_find_the_same_at_extremes(taus, threshold):
    """Intervals after which nothing is left of a state, and membranes that follow the current at once."""
    pytest.importorskip("numba")
    layer = eventprop.Layer(3, 5, tau_mem=taus[0], tau_syn=taus[1], threshold=threshold, mean=1.0, std=0.5)
    network, times = eventprop.Network([layer], 40.0), np.random.default_rng(0).uniform(0.0, 20.0, (4, 3))
    ours, theirs = (network.run(network.init(0), times, fused=fused) for fused in (True, False))
    np.testing.assert_array_equal(ours.spikes[0].sources, theirs.spikes[0].sources)
    np.testing.assert_allclose(ours.spikes[0].times, theirs.spikes[0].times, rtol=ROUNDING)
    np.testing.assert_allclose(ours.maxima, theirs.maxima, rtol=ROUNDING)


def test_kernels_need_numba(monkeypatch):
    monkeypatch.setattr(layer_kernel, "has_numba", lambda: False)
    network, params, times, _, _ = small()
    with pytest.raises(RuntimeError, match="fused=True, but Numba is not installed"):
        network.run(params, times, fused=True)


# ---- training -------------------------------------------------------------------------------------------------------


def test_delays_are_learned_from_spike_times():
    network = eventprop.Network([eventprop.Layer(1, 1, delay=5.0, mean=10.0, std=0.0)], 40.0)
    truth = {**network.init(0), "0.delay": np.array([2.0])}
    times = np.linspace(0.0, 10.0, 16)[:, None]
    data = Dataset(times, network.run(truth, times).times)
    options = {"optimizer": sc.Adam(lr=0.1), "epochs": 100, "learn": "*.delay", "progress": False}
    fitted = eventprop.fit(network, data, eventprop.spike_time_loss(), **options)
    assert abs(fitted.params["0.delay"][0] - 2.0) < 0.02  # a fifth of an update
    np.testing.assert_array_equal(fitted.params["0.weight"], truth["0.weight"])


def test_a_silent_network_is_woken():
    network = eventprop.Network([eventprop.Layer(3, 4, mean=0.1), eventprop.Layer(4, 2, mean=0.1)], 40.0)
    data = Dataset(np.random.default_rng(0).uniform(0.0, 10.0, (8, 3)), np.arange(8) % 2)
    loss = eventprop.first_spike_loss(tau=1.0)
    asleep = eventprop.fit(network, data, loss, epochs=2, progress=False)
    assert asleep.history[-1]["silent"] == 1.0
    np.testing.assert_array_equal(asleep.params["0.weight"], network.init(0)["0.weight"])
    awake = eventprop.fit(network, data, loss, epochs=40, wake=0.1, progress=False, validation=data)
    assert awake.history[-1]["silent"] < 0.5
    assert {"val_loss", "val_accuracy"} < set(awake.history[-1])


@pytest.mark.parametrize(
    "options", [{"learn": "1.weight"}, {"optimizer": sc.Adam(groups=(sc.Group("0.weight", frozen=True),))}]
)
def test_weights_that_are_not_learned_are_not_woken(options):
    network = eventprop.Network([eventprop.Layer(3, 4, mean=0.1), eventprop.Layer(4, 2, mean=0.1)], 40.0)
    data = Dataset(np.random.default_rng(0).uniform(0.0, 10.0, (8, 3)), np.arange(8) % 2)
    loss, first = eventprop.first_spike_loss(tau=1.0), network.init(0)
    fitted = eventprop.fit(network, data, loss, epochs=2, wake=0.1, progress=False, **options)
    np.testing.assert_array_equal(fitted.params["0.weight"], first["0.weight"])
    np.testing.assert_allclose(fitted.params["1.weight"], first["1.weight"] + 0.2)


def test_a_schedule_scales_waking():
    network = eventprop.Network([eventprop.Layer(3, 4, mean=0.1), eventprop.Layer(4, 2, mean=0.1)], 40.0)
    data, first = Dataset(np.ones((8, 3)), np.arange(8) % 2), network.init(0)
    options = {"epochs": 2, "wake": 0.1, "schedule": lambda epoch, epochs: 1.0 - epoch / epochs, "progress": False}
    fitted = eventprop.fit(network, data, eventprop.first_spike_loss(tau=1.0), **options)
    for name in ("0.weight", "1.weight"):
        np.testing.assert_allclose(fitted.params[name], first[name] + 0.1 * (1.0 + 0.5))


def test_a_large_gradient_is_scaled_as_a_whole():
    network, first, times, labels, loss = small(1.0)
    names = ["0.weight", "1.weight"]
    grads = eventprop.gradient(network, first, times, labels, loss).grads
    norm = np.sqrt(sum((grads[name] ** 2).sum() for name in names))
    options = {"params": first, "optimizer": sc.SGD(lr=1.0), "epochs": 1, "learn": names, "progress": False}
    for clip_norm, factor in ((norm / 4.0, 0.25), (4.0 * norm, 1.0), (None, 1.0)):
        fitted = eventprop.fit(network, Dataset(times, labels), loss, clip_norm=clip_norm, **options).params
        for name in names:
            np.testing.assert_allclose(fitted[name], first[name] - factor * grads[name], rtol=1e-4)  # it adds 1e-6
    with pytest.raises(ValueError, match="clip_norm=0.0 must be > 0, or None"):
        eventprop.fit(network, Dataset(times, labels), loss, clip_norm=0.0, **options)


@pytest.mark.skipif(not (ROOT / "examples").is_dir(), reason="examples/ is not part of this tree")
def test_the_example_learns_yin_yang(capsys):
    found = runpy.run_path(str(ROOT / "examples" / "yin_yang.py"))["main"](["--quick"])
    assert found > 0.6  # a third by chance
    assert "test points" in capsys.readouterr().out

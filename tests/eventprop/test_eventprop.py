"""Networks with exact spike times: beside small time steps, at their edges, and what they refuse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from spikecore import eventprop
from spikecore.eventprop import layer_run
from spikecore.eventprop.membrane import flow
from tests.eventprop.eventprop_rig import FEW, ROUNDING, small

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
        replace(network, fused=fused).run(params, times)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("weight", [1.7e308, -1.7e308])
def test_a_current_that_overflows_is_refused(weight, fused):
    if fused:
        pytest.importorskip("numba")
    network = eventprop.Network([eventprop.Layer(2, 1)], 40.0, fused)
    params = {**network.init(0), "0.weight": np.full((1, 2), weight)}
    with np.errstate(over="ignore"), pytest.raises(ValueError, match="current .* not finite: give smaller weights"):
        network.run(params, eventprop.Spikes([[1.0, 1.0, 1.0]], [[0, 1, 0]]))


def test_wrong_input_and_losses_are_refused():
    network, params, times, labels, loss = small()
    for inputs, word in ((times[:, :2], "times"), (-times, "time"), (times * np.nan, "NaN")):
        with pytest.raises(ValueError, match=word):
            network.run(params, inputs)
    with pytest.raises(ValueError, match="last layer that fires"):
        eventprop.gradient(network, params, times, labels, eventprop.first_spike_loss(tau=1.0))

    class Mistaken(eventprop.EventLoss):
        reads = "mean"

    with pytest.raises(ValueError, match="unknown Mistaken.reads 'mean'; did you mean 'means'?"):
        eventprop.gradient(network, params, times, labels, Mistaken())
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

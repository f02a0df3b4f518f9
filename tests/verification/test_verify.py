"""`verify` must say yes to right gradients, and no, with the place, to wrong ones."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import Params
from spikecore.api.core.variants import smooth
from spikecore.api.verification.gradient import Problem, gradient, slope_along, slopes
from spikecore.api.verification.report import FAIL, UNAVAILABLE, UNCHECKED
from spikecore.engines.numpy.engine import NumpyEngine

torch = pytest.importorskip("torch", reason="the witness engine of these tests is torch")

X = np.random.default_rng(0).random((8, 12))
Y = np.arange(8) % 5


def net(surrogate=None, **options):
    surrogate = surrogate or sc.surrogate.atan()
    hidden = sc.Leaky(beta=sc.learn(0.8), threshold=sc.learn(0.6, per="neuron"), surrogate=surrogate, **options)
    return sc.Sequential(
        sc.Linear(12, 9),
        hidden,
        sc.Dropout(0.2),
        sc.Linear(9, 5),
        sc.Leaky(beta=0.7, threshold=0.5, surrogate=surrogate),
    )


def verdicts(report, check):
    return {row.name: row.verdict for row in report.rows if row.check == check}


# Each reset with each delay by one of the losses; by the other one it is a slow test.
RIGHT = [
    pytest.param(loss, reset, delay, marks=pytest.mark.slow if (i + j + k) % 2 else ())
    for i, loss in enumerate((sc.functional.ce_rate_loss(), sc.functional.mse_membrane_loss()))
    for j, reset in enumerate(("subtract", "zero", "none"))
    for k, delay in enumerate((True, False))
]


@pytest.mark.parametrize(("loss", "reset", "delay"), RIGHT)
def test_right_gradients_are_verified(reset, delay, loss):
    model = sc.Model(net(reset_mechanism=reset, reset_delay=delay), engine="torch", seed=1)
    before = model.params()
    report = sc.verify(model, X, Y, loss=loss, num_steps=6)
    assert report.ok, str(report)
    assert not report.silent
    assert report.worst <= 1e-12
    assert report.worst_difference <= 1e-6
    assert set(verdicts(report, "float32").values()) == {"ok"}
    assert all(np.array_equal(before[name], x) for name, x in model.params().items()), "verify moved the weights"


def test_every_parameter_and_the_input_are_compared():
    report = sc.verify(sc.Model(net(), engine="torch"), X, Y, num_steps=6)
    names = {"0.weight", "0.bias", "1.beta", "1.threshold", "3.weight", "3.bias", "inputs"}
    for check in ("float64", "finite differences", "float32"):
        assert {f"gradient {name}" for name in names} <= set(verdicts(report, check))
    assert {"loss", "spikes 1", "spikes 4", "state 1.mem", "state 4.mem"} <= set(verdicts(report, "float64"))
    assert "layer 1 runs as fused: Numba kernels of Leaky.step" in report.table()
    assert "NumpyEngine(dtype='float64'" in report.title


@dataclass(frozen=True)
class tampered(sc.surrogate.Surrogate):  # noqa: N801
    """atan with a derivative 2 % too large: both engines agree on it, finite differences do not."""

    def derivative(self, xp, u):
        return 1.02 * sc.surrogate.atan().derivative(xp, u)

    def antiderivative(self, xp, u):
        return sc.surrogate.atan().antiderivative(xp, u)


@pytest.fixture(scope="module")
def failure():
    """The report on a wrong derivative."""
    return sc.verify(sc.Model(net(tampered()), engine="torch"), X, Y, num_steps=5)


def test_a_tampered_surrogate_derivative_is_found(failure):
    report = failure
    assert not report.ok
    assert set(verdicts(report, "float64").values()) == {"ok"}
    assert verdicts(report, "finite differences")["gradient 0.weight"] == FAIL
    assert "NOT VERIFIED" in str(report)


def test_a_wrong_gradient_of_the_engine_is_found(monkeypatch):
    from spikecore.engines.torch.spike import SpikeFunction

    right = SpikeFunction.backward
    monkeypatch.setattr(
        SpikeFunction,
        "backward",
        staticmethod(lambda ctx, g: tuple(None if part is None else 1.001 * part for part in right(ctx, g))),
    )
    report = sc.verify(sc.Model(net(), engine="torch"), X, Y, num_steps=10)
    assert not report.ok
    assert verdicts(report, "float64")["gradient 0.weight"] == FAIL
    assert verdicts(report, "finite differences")["gradient 0.weight"] == "ok"


class Early(NumpyEngine):
    """An engine that fires at the threshold, not above it."""

    def raw_words(self):
        return {**super().raw_words(), "spike": lambda u, surrogate: (u >= 0).astype(u.dtype)}


def test_the_first_different_spike_is_named_with_layer_step_and_neuron():
    model = sc.Model(sc.Sequential(sc.Leaky(beta=0.5), sc.Linear(3, 2), sc.Leaky(beta=0.5)), Early(), input_shape=(3,))
    x = np.zeros((4, 2, 3))
    x[2, 1, 2] = 1.0  # exactly the threshold
    report = sc.verify(model, x, [0, 1])
    assert not report.ok
    first = report.divergences[0]
    assert (first.layer, first.kind, first.step, first.place, first.distance) == ("0", "Leaky", 2, (1, 2), 0.0)
    assert "layer 0 (Leaky) at time step 2, sample 1, neuron (2,)" in str(report)
    assert verdicts(report, "float64")["gradient 1.weight"] == UNCHECKED


def test_a_float32_spike_within_rounding_of_the_threshold_is_no_failure():
    model = sc.Model(
        sc.Sequential(sc.Leaky(beta=0.5), sc.Linear(3, 2), sc.Leaky(beta=0.5)), Rounding(), input_shape=(3,)
    )
    x = np.zeros((4, 2, 3))
    x[2, 1, 2] = 1.0
    report = sc.verify(model, x, [0, 1])
    assert report.ok, str(report)
    assert report.divergences[0].rounding
    assert report.divergences[0].differing == 1
    assert verdicts(report, "float32")["spikes 0"] == "ok"


class Rounding(NumpyEngine):
    """An engine whose float32 membrane is a little too high."""

    def raw_words(self):
        shift = 1e-6 if self.dtype == "float32" else 0.0
        return {**super().raw_words(), "spike": lambda u, surrogate: (u + shift > 0).astype(u.dtype)}


class Opaque(NumpyEngine):
    """An engine that trains but hands out no gradients, as an accelerator may."""

    name = "opaque"

    def value_and_grad(self, function, argument, *constants):
        if isinstance(argument, Params):
            return super().value_and_grad(function, argument, *constants)
        raise NotImplementedError("gradients stay on the device")


def test_what_an_engine_cannot_give_is_reported_as_not_available():
    model = sc.Model(net(), Opaque("float64"))
    report = sc.verify(model, X, Y, num_steps=6)
    assert report.ok, str(report)
    found = verdicts(report, "float64")
    assert found["gradient inputs"] == UNAVAILABLE
    assert found["spikes"] == UNAVAILABLE
    assert found["gradient 0.weight"] == "ok"  # read off one step of SGD


def test_a_surrogate_without_antiderivative_is_reported_as_not_checked():
    @dataclass(frozen=True)
    class boxcar(sc.surrogate.Surrogate):
        def derivative(self, xp, u):
            return xp.astype(abs(u) < 0.5, "float64" if "64" in str(u.dtype) else "float32")

    report = sc.verify(sc.Model(net(boxcar()), engine="torch"), X, Y, num_steps=6)
    assert report.ok
    assert set(verdicts(report, "finite differences").values()) == {UNCHECKED}
    assert np.isnan(report.worst_difference)


def test_encoders_and_sequences_are_verified_too():
    model = sc.Model(net(), engine="torch")
    assert sc.verify(model, X, Y, num_steps=5, encoder=sc.spikegen.rate).ok
    sequence = np.random.default_rng(1).random((8, 4, 12))
    assert sc.verify(model, sequence, Y, time_axis=1).ok


def test_steps_behind_a_samples_length_have_no_part_in_what_is_verified():
    x = np.stack([X] * 6)
    lengths = [6, 1, 3, 2, 6, 6, 5, 4]
    model = sc.Model(net(), engine="torch", seed=1)
    report = sc.verify(model, x, Y, lengths=lengths)
    assert report.ok, str(report)
    init = model.network.init(Key((1, "init")), (12,))
    problem = Problem(
        model.network, sc.functional.ce_rate_loss(), init.params, init.buffers, x, Y, None, 1, lengths=lengths
    )
    engine = NumpyEngine("float64")
    grads, all_steps = (gradient(engine, one).grads["inputs"] for one in (problem, replace(problem, lengths=None)))
    behind = np.arange(6)[:, None] >= np.array(lengths)
    assert not grads[behind].any()
    assert all_steps[behind].any()
    with pytest.raises(ValueError, match=r"lengths\[0\] = 7"):
        sc.verify(model, x, Y, lengths=[7] * 8)
    with pytest.raises(NotImplementedError, match=r"engine 'ipu' compiles losses .* without lengths: verify on numpy"):
        sc.verify(sc.Model(net(), "ipu", simulate=True, input_shape=12), x, Y, lengths=lengths)


def test_bad_input_is_refused_as_in_fit():
    model = sc.Model(net(), engine="torch")
    with pytest.raises(sc.errors.ShapeError, match="axis 1 is 11"):
        sc.verify(model, X[:, :11], Y, num_steps=3)
    with pytest.raises(ValueError, match=r"targets\[2\] = 7 is out of range"):
        sc.verify(model, X, [0, 1, 7, 0, 1, 2, 3, 4], num_steps=3)


def test_a_gradient_that_is_zero_but_for_rounding_is_no_failure():
    network = sc.Sequential(
        sc.Linear(12, 9), sc.BatchNorm1d(9), sc.Leaky(beta=0.8), sc.Linear(9, 5), sc.Leaky(beta=0.7)
    )
    report = sc.verify(sc.Model(network, engine="torch"), X, Y, num_steps=6)
    assert report.ok, str(report)
    bias = next(row for row in report.rows if row.check == "float64" and row.name == "gradient 0.bias")
    assert bias.max_abs < 1e-14, "the mean that is taken away takes the bias with it"


def test_where_a_clamp_begins_the_slope_is_taken_beside_it():
    network = sc.Sequential(sc.Linear(12, 5), sc.Leaky(beta=sc.learn(1.0)))
    report = sc.verify(sc.Model(network, engine="torch"), X, Y, num_steps=6)
    assert report.ok, str(report)
    assert verdicts(report, "finite differences")["gradient 1.beta, beside the given values"] == "ok"


def test_both_sides_of_a_clamp_are_looked_at():
    """Outside of it all slopes are zero, so that this side alone would pass with any rule."""
    network = sc.Sequential(sc.Linear(12, 5), sc.Leaky(beta=sc.learn(1.0)))
    init = network.init(Key((0, "weights")), (12,))
    labels = np.array(Y) % 5
    problem = Problem(network, sc.functional.ce_rate_loss(), init.params, init.buffers, X[None], labels, 6, 0)
    found = [slope for slope in slopes(smooth(NumpyEngine("float64")), problem) if slope.name == "1.beta"]
    assert all(slope.beside and slope.error <= slope.limit for slope in found)
    assert {slope.analytic == 0.0 for slope in found} == {True, False}


def pooling():
    return sc.Sequential(
        *(sc.Conv2d(1, 3, 3), sc.MaxPool2d(2), sc.Leaky(beta=0.8)), *(sc.Flatten(), sc.Linear(27, 4), sc.Leaky())
    )


def dark_images():
    images = np.zeros((3, 1, 8, 8))
    images[:, :, 2:5, 3:6] = np.random.default_rng(0).random((3, 1, 3, 3))
    return images


def test_the_maximum_of_equal_pixels_is_no_failure():
    report = sc.verify(sc.Model(pooling(), engine="torch", seed=0), dark_images(), [0, 1, 2], num_steps=5)
    assert report.ok, report.table()
    found = verdicts(report, "finite differences")
    assert found["gradient inputs, beside the given values"] == "ok"
    assert found["gradient 0.weight"] == "ok"


@dataclass(frozen=True)
class longer(sc.surrogate.atan):
    """A surrogate with a derivative that is too large for its antiderivative."""

    def derivative(self, xp, u):
        return 1.01 * super().derivative(xp, u)


def test_a_gradient_that_is_wrong_at_a_kink_is_wrong_beside_it():
    network = sc.Sequential(
        *(replace(x, surrogate=longer()) if isinstance(x, sc.Leaky) else x for x in pooling().layers)
    )
    report = sc.verify(sc.Model(network, engine="torch", seed=0), dark_images(), [0, 1, 2], num_steps=5)
    assert not report.ok
    assert verdicts(report, "finite differences")["gradient inputs"] == "FAIL"


@pytest.mark.parametrize("wrong_by", [0.0, 1e-3])
def test_rounding_of_a_large_loss_is_no_failure_and_no_excuse(wrong_by):
    def loss(v):
        return 1e7 + float(v[0]) / 3 + 1e5 * float(v[0]) ** 5  # rounded to 2e-9; the last term is for large steps

    engine = sc.get_engine("numpy", dtype="float64")
    g = np.full(1, (1 + wrong_by) / 3)
    slope = slope_along(engine, "x", np.zeros(1), g, np.ones(1), loss, floor=0.0)
    assert slope.error > 1e-6
    if wrong_by:
        assert slope.limit == 1e-6
    else:
        assert slope.error <= slope.limit <= 1e-4


def test_a_right_gradient_takes_one_step_size_where_a_wrong_one_takes_all():
    """A difference quotient of fourth order takes four values of the loss, and each is a run of the network."""
    engine, x = sc.get_engine("numpy", dtype="float64"), np.full(1, 0.3)

    def evaluations(wrong_by):
        seen = []
        g = (1 + wrong_by) * np.cos(x)
        slope = slope_along(engine, "x", x, g, np.ones(1), lambda v: seen.append(v) or np.sin(v[0]), floor=0.0)
        assert (slope.error < 1e-9) == (wrong_by == 0.0)
        return len(seen)

    assert evaluations(0.0) == 4
    assert evaluations(1e-3) == 4 * 6 + 1  # and the loss itself, for its rounding


def test_recurrent_neurons_are_looked_into():
    network = sc.Sequential(sc.Linear(12, 5), sc.RLeaky(beta=0.8, linear_features=5, threshold=sc.learn(0.5)))
    assert sc.verify(sc.Model(network, engine="torch"), X, Y, num_steps=6).ok


def test_a_stochastic_surrogate_draws_the_same_noise_on_every_engine():
    for neuron in (
        sc.Leaky(beta=sc.learn(0.8), threshold=0.5, surrogate=sc.surrogate.SSO()),
        sc.ALIF(threshold=0.4, surrogate=sc.surrogate.SSO()),
        sc.DeltaLeaky(delta_threshold=0.3, surrogate=sc.surrogate.SSO()),
        sc.Recurrent(sc.Leaky(threshold=0.5, surrogate=sc.surrogate.SSO()), sc.Linear(9, 9)),
        sc.Noisy(sc.Refractory(sc.Leaky(threshold=0.4, surrogate=sc.surrogate.SSO())), input_noise=0.2),
    ):
        network = sc.Sequential(sc.Linear(12, 9), neuron, sc.Linear(9, 5), sc.Leaky())
        report = sc.verify(sc.Model(network, engine="torch"), X, Y, num_steps=7)
        assert report.ok, str(report)
        assert set(verdicts(report, "finite differences").values()) == {UNCHECKED}


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_a_stochastic_surrogate_runs_where_kernels_would(name):
    neuron = sc.Leaky(beta=0.8, threshold=0.5, surrogate=sc.surrogate.SSO())
    x = np.random.default_rng(0).random((40, 64, 12)).astype("float32")
    found = [
        sc.Model(network, engine=sc.get_engine(name), seed=1)(np.repeat(x, 12, axis=2)).spikes
        for network in (sc.Sequential(neuron), sc.Sequential(sc.Leaky(beta=0.8, threshold=0.5)))
    ]
    host = sc.get_engine(name).to_numpy
    np.testing.assert_array_equal(*map(host, found))
    assert "SSO is random" in sc.get_engine(name).explain(neuron)


def test_a_stochastic_surrogate_needs_states_shaped_like_the_input():
    network = sc.Sequential(sc.SLSTM(input_size=12, hidden_size=5, surrogate=sc.surrogate.SSO()))
    with pytest.raises(ValueError, match="SLSTM: no stochastic surrogate"):
        sc.verify(sc.Model(network, engine="torch"), X, Y, num_steps=3)


@pytest.mark.parametrize(
    "readout",
    [sc.LI(beta=sc.learn(0.9)), sc.AssociativeLeaky(in_dim=9, d_value=3, d_key=2)],
    ids=["LI", "AssociativeLeaky"],
)
def test_outputs_that_are_no_spikes_are_compared_by_their_size(readout):
    network = sc.Sequential(sc.Linear(12, 9), sc.Leaky(threshold=0.6), readout)
    model = sc.Model(network, engine="torch", seed=1)
    report = sc.verify(model, X, Y, num_steps=12)
    assert report.ok, str(report)
    for check in ("float64", "float32"):
        assert verdicts(report, check)["output 2"] == "ok"
        assert "spikes 1" in verdicts(report, check)
        assert "spikes 2" not in verdicts(report, check)


def test_a_wrong_output_that_is_no_spike_is_found(monkeypatch):
    model = sc.Model(sc.Sequential(sc.Linear(12, 5), sc.LI()), engine="torch")
    right = sc.LI.step

    def step(self, engine, params, state, x):
        mem, after = right(self, engine, params, state, x)
        return (mem * (1 + 1e-9) if engine.name == "numpy" else mem), after

    monkeypatch.setattr(sc.LI, "step", step)
    report = sc.verify(model, X, Y, num_steps=12, differences=False)
    assert verdicts(report, "float64")["output 1"] == FAIL


@pytest.mark.parametrize("steps", [5, 100, 4000])  # the loop; kernels in training; kernels always
@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_wrong_kernel_is_found_whatever_the_size(monkeypatch, engine, steps):
    pytest.importorskip("numba", reason="kernels need Numba")
    from spikecore.kernels import emit, select, sequence, sizes

    monkeypatch.setitem(emit.SPELLING, "divide", "{0} / ({1} * F(1.001))")  # of the surrogate's derivative
    for cache in (select.remembered, sequence.forward_of, sequence.backward_of):
        cache.cache_clear()
    x = np.random.default_rng(0).random((8, 12)).astype("float32")  # 8 x 9 neurons: kernels from 8 steps on
    model = sc.Model(sc.Sequential(sc.Linear(12, 9), sc.Leaky(threshold=0.6)), engine=engine, seed=1)
    report = sc.verify(model, x, Y, num_steps=steps, differences=False)
    for cache in (select.remembered, sequence.forward_of, sequence.backward_of):
        cache.cache_clear()
    assert report.ok == (steps * 72 < sizes.REPEATED)

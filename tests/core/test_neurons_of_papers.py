"""Laws of the neurons that papers propose, what they refuse, and how they are used."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Params, State, Tree, map_leaves

NUMPY = sc.get_engine("numpy", dtype="float64", fused=False)
CURRENTS = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 12), st.just(2), st.just(3)), elements=st.floats(-2.0, 2.0, width=32)
)
L = sc.learn
NEURONS = [
    sc.PLIF(threshold=0.3), sc.KLIF(threshold=0.3), sc.GLIF(time_steps=3), sc.CLIF(), sc.LIAF(), sc.QIF(threshold=0.5),
    sc.EIF(), sc.AdEx(), sc.ILIF(threshold=0.3), sc.TernaryLeaky(), sc.SigmaDelta(bias=L(0.1)),
]  # fmt: skip


def run(layer, x, state=None, params=None):
    """The run over a sequence, as NumPy arrays."""
    params = map_leaves(NUMPY.asarray, layer.init(Key((0,)), x.shape[2:]).params if params is None else params)
    state = None if state is None else State(map_leaves(NUMPY.asarray, Tree(state)))
    return layer.run(Pass(NUMPY, record=True), params, Tree(), state, NUMPY.asarray(x))


# ---- values that learn through a sigmoid ---------------------------------------------------------------------------


def test_what_plif_learns_is_the_logarithm_of_tau_minus_one():
    params = sc.Model(sc.Sequential(sc.Linear(3, 2), sc.PLIF(beta=L(0.75, per="neuron"))), engine="numpy").params()
    np.testing.assert_allclose(params["1.beta"], [math.log(3.0)] * 2, rtol=1e-6)


def test_a_decay_that_is_learned_through_a_time_constant_is_not_a_gate():
    layer = sc.PLIF(beta=sc.learn_tau(5.0))
    assert float(layer.init(Key((0,)), (2,)).params.beta) == pytest.approx(math.log(5.0))
    prepared = layer.prepare(NUMPY, Params(beta=NUMPY.asarray(math.log(5.0))))
    assert float(prepared.beta) == pytest.approx(math.exp(-0.2))


@pytest.mark.parametrize("p", [-1e4, -40.0, 40.0, 1e4])
def test_a_gate_that_is_closed_or_open_stays_a_number_with_a_gradient(p):
    def total(held):
        return NUMPY.xp.sum(sc.PLIF().prepare(NUMPY, held).beta), None

    value, _, grads = NUMPY.value_and_grad(total, Params(beta=NUMPY.asarray([p])))
    assert float(NUMPY.to_numpy(value)) == pytest.approx(float(p > 0))
    assert np.isfinite(NUMPY.to_numpy(grads.beta)).all()


@pytest.mark.parametrize("value", [0.0, 1.0, [0.5, 1.0]])
def test_a_gate_cannot_begin_at_its_ends(value):
    with pytest.raises(ValueError, match=r"PLIF: beta=learn\((0.0|1.0)\) must begin inside \(0, 1\).* for a constant"):
        sc.PLIF(beta=L(value))
    sc.PLIF(beta=value)
    with pytest.raises(ValueError, match=r"GLIF: tau=.*must begin inside \(0, 1\)"):
        sc.GLIF(tau=L(value))


def test_a_gate_that_is_drawn():
    params = sc.PLIF(beta=L(sc.init.uniform(0.5, 0.9))).init(Key((0,)), (50,)).params
    betas = 1.0 / (1.0 + np.exp(-params.beta))
    assert 0.5 <= betas.min() < betas.max() <= 0.9
    with pytest.raises(ValueError, match="beta"):
        sc.PLIF(beta=L(sc.init.uniform(0.9, 1.5))).init(Key((0,)), (50,))


# ---- laws ----------------------------------------------------------------------------------------------------------


@settings(max_examples=30, deadline=None)
@given(x=CURRENTS, theta=st.floats(0.0, 1.0, width=32))
def test_what_a_receiver_of_changes_adds_up_is_the_value_up_to_the_threshold(x, theta):
    found = run(sc.SigmaDelta(threshold=theta, bias=0.1, activation="tanh"), x)
    values = np.tanh(np.cumsum(x, axis=0) + 0.1)
    assert abs(np.cumsum(found.outputs, axis=0) - values).max() <= theta + 1e-12


@settings(max_examples=20, deadline=None)
@given(x=CURRENTS)
def test_without_a_threshold_sigma_delta_neurons_compute_the_dense_network(x):
    net = sc.Sequential(
        sc.SigmaDelta(activation="identity", decode=False, threshold=0.0),
        sc.Linear(3, 4, bias=False),
        sc.SigmaDelta(bias=0.2, threshold=0.0),
        sc.Linear(4, 2, bias=False),
        sc.SigmaDelta(bias=-0.1, activation="identity", encode=False),
    )
    params = net.init(Key((0,)), (3,)).params
    first, second = params["1"].weight, params["3"].weight
    expected = np.maximum(0.0, x @ first.T + 0.2) @ second.T - 0.1
    np.testing.assert_allclose(run(net, x, params=params).outputs, expected, atol=1e-12)


@settings(max_examples=30, deadline=None)
@given(x=CURRENTS, most=st.integers(1, 5))
def test_integers_of_spikes_take_what_came_in(x, most):
    """Without a leak, thresholds times spikes and what is left of the membrane are the sum of the input."""
    found = run(sc.ILIF(beta=1.0, threshold=0.5, max_spikes=most), x)
    assert set(np.unique(found.outputs)) <= set(range(most + 1))
    total = 0.5 * found.outputs.sum(axis=0) + found.state.mem
    np.testing.assert_allclose(total, x.sum(axis=0), atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"reset_mechanism": "subtract"}, {"reset_delay": True}])
def test_ternary_spikes_are_odd(options):
    x = np.random.default_rng(0).normal(size=(20, 3, 4))
    layer = sc.TernaryLeaky(beta=0.8, threshold=0.7, **options)
    found, mirrored = run(layer, x), run(layer, -x)
    assert set(np.unique(found.outputs)) == {-1.0, 0.0, 1.0}
    np.testing.assert_array_equal(mirrored.outputs, -found.outputs)
    np.testing.assert_array_equal(mirrored.recorded.mem, -found.recorded.mem)


def test_a_negative_spike_is_followed_by_silence_too():
    x = np.full((6, 1, 1), -2.0)
    out = run(sc.Refractory(sc.TernaryLeaky(), period=2), x).outputs
    assert out.ravel().tolist() == [-1.0, 0.0, 0.0, -1.0, 0.0, 0.0]


def test_conductances_of_steps_are_taken_by_a_clock():
    """The last one holds, and a run in two parts goes on where the first one ended."""
    layer, x = sc.GLIF(time_steps=3, beta=1.0), np.random.default_rng(0).random((7, 2, 4))
    params = layer.init(Key((0,)), (4,)).params.replace(conduct=np.array([-2.0, 0.0, 3.0]))
    whole = run(layer, x, params=params)
    gains = 1.0 / (1.0 + np.exp(-params.conduct[[0, 1, 2, 2, 2, 2, 2]]))
    single = run(sc.GLIF(beta=0.0), x * gains[:, None, None])
    np.testing.assert_allclose(whole.recorded.mem, single.recorded.mem, atol=1e-12)
    half = run(layer, x[:2], params=params)
    rest = run(layer, x[2:], params=params, state=half.state)
    np.testing.assert_array_equal(rest.recorded.mem, whole.recorded.mem[2:])


def test_a_membrane_that_is_not_reset_stays_finite():
    """The exponential is bounded at the threshold."""
    x = np.full((200, 1, 2), 30.0)
    for kind in (sc.EIF, sc.AdEx):
        found = run(kind(reset_mechanism="none", delta_T=0.1, beta=0.9), x)
        assert np.isfinite(found.recorded.mem).all()
        if kind is sc.EIF:  # where leak, bounded exponential and input are even
            np.testing.assert_allclose(found.state.mem, 0.1 * math.exp((1.0 - 0.8) / 0.1) + 30.0, rtol=1e-7)


@pytest.mark.parametrize("kind", [sc.QIF, sc.EIF, sc.AdEx])
def test_where_a_nonlinear_membrane_starts(kind):
    x = np.zeros((1, 1, 1))
    for options, start in (({}, -0.3), ({"reset_mechanism": "subtract"}, 0.2)):
        layer = kind(v_rest=0.2, v_reset=-0.3, **options)
        assert float(layer.rest(NUMPY, layer.prepare(NUMPY, Params()), NUMPY.asarray(x[0])).mem[0, 0]) == start


def test_where_a_reset_leads_matters_if_it_leads_there():
    sc.QIF(v_reset=2.0, reset_mechanism="subtract")
    sc.QIF(v_reset=[0.1, 0.9], threshold=[0.5, 1.0])
    sc.QIF(v_reset=0.5, threshold=L(0.4))  # training may lead there


@pytest.mark.parametrize("name", ["identity", "leaky_relu", "relu", "sigmoid", "tanh"])
def test_analog_outputs(name):
    expected = {
        "identity": lambda u: u,
        "leaky_relu": lambda u: np.where(u > 0, u, 0.01 * u),
        "relu": lambda u: np.maximum(u, 0.0),
        "sigmoid": lambda u: 1.0 / (1.0 + np.exp(-u)),
        "tanh": np.tanh,
    }[name]
    x = np.random.default_rng(0).normal(size=(1, 5, 6))
    np.testing.assert_allclose(run(sc.LIAF(activation=name), x).outputs, expected(x - 1.0), atol=1e-15)


@pytest.mark.parametrize("kind", [sc.LI, sc.SlidingPSN, sc.StateSpace])
def test_a_step_of_ones_own_is_not_left_out_by_computing_all_at_once(kind):
    class Loud(kind):
        def step(self, engine, params, state, x):
            out, after = super().step(engine, params, state, x)
            return 2.0 * out, after

    class LoudAtOnce(Loud):
        def unrolled(self, engine, params, state, inputs):
            return super().unrolled(engine, params, state, 2.0 * inputs)

    x = np.random.default_rng(0).random((6, 2, 3))
    with pytest.raises(ValueError, match="Loud: defines step but not unrolled.*or take parallel=False"):
        Loud(parallel=True)
    np.testing.assert_allclose(run(Loud(parallel=False), x).outputs, 2.0 * run(kind(parallel=False), x).outputs)
    LoudAtOnce(parallel=True)


# ---- how near to a border a spike is -------------------------------------------------------------------------------


def test_margins():
    place, fields = (0, 0, 0), State(threshold=0.5)
    for mem, margin in ((0.24, 0.01), (0.74, 0.01), (0.5, 0.25), (-0.26, 0.01)):
        assert sc.ILIF().margin(fields, State(mem=np.full((1, 1, 1), mem)), place) == pytest.approx(margin)
    assert sc.TernaryLeaky().margin(fields, State(mem=np.full((1, 1, 1), -0.6)), place) == pytest.approx(0.1)


@pytest.mark.parametrize("neuron", NEURONS, ids=lambda one: type(one).__name__)
def test_models_are_verified_saved_and_loaded(neuron, tmp_path):
    net = sc.Sequential(sc.Linear(6, 5), neuron, sc.Linear(5, 3), sc.LI(beta=0.8))
    x = 3.0 * np.random.default_rng(1).random((4, 6))
    model = sc.Model(net, engine="numpy", seed=0)
    report = sc.verify(model, x, [0, 1, 2, 0], num_steps=6)
    assert report.ok, report
    model.save(tmp_path / "model.safetensors")
    again = sc.load(tmp_path / "model.safetensors", engine="numpy")
    assert again.network == net
    np.testing.assert_array_equal(again(x, num_steps=6).spikes, model(x, num_steps=6).spikes)


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sc.ILIF(surrogate=sc.surrogate.sigmoid()), "ILIF: surrogate=sigmoid.* has no effect"),
        (lambda: sc.ILIF(threshold=0.0), "ILIF: threshold=0.0"),
        (lambda: sc.ILIF(reset_mechanism="zero"), "ILIF: .*reset_mechanism.* 'zero'"),
        (lambda: sc.TernaryLeaky(inhibition=True), "TernaryLeaky: inhibition=True"),
        (lambda: sc.TernaryLeaky(threshold=-0.5), "TernaryLeaky: threshold=-0.5"),
        (lambda: sc.LIAF(activation="rleu"), "LIAF: .*activation 'rleu'; did you mean 'relu'"),
        (lambda: sc.SigmaDelta(activation="softmax"), "SigmaDelta: .*activation 'softmax'"),
        (lambda: sc.SigmaDelta(threshold=-1.0), "SigmaDelta: threshold=-1.0"),
        (lambda: sc.EIF(delta_T=0.0), "EIF: delta_T=0.0"),
        (lambda: sc.KLIF(k=0.0), "KLIF: k=0.0 must be finite and > 0"),
        (lambda: sc.KLIF(k=[1.0, -1.0]), "KLIF: k=-1.0 must be finite and > 0"),
        (lambda: sc.QIF(v_reset=1.0), "QIF: v_reset=1.0 must be below threshold=1.0"),
        (lambda: sc.EIF(v_reset=[0.1, 0.6], threshold=[[0.7], [0.5]]), "EIF: v_reset=.* must be below threshold="),
        (lambda: sc.AdEx(v_reset=0.5, threshold=0.3), "AdEx: v_reset=.* must be below threshold=0.3"),
        (lambda: sc.AdEx(rho=1.5), "AdEx: rho=1.5"),
        (lambda: sc.GLIF(conduct=0.5, time_steps=4), "GLIF: time_steps=4 with conduct=0.5.*sc.learn"),
        (lambda: sc.PLIF(init_tau=2.0), r"PLIF: unknown argument 'init_tau': write beta=sc.learn\(1 - 1/tau\)"),
        (lambda: sc.KLIF(detach_reset=True), "KLIF: unknown argument 'detach_reset': write reset_delay=True"),
        (lambda: sc.Refractory(sc.Refractory(sc.Leaky()), 2), "Refractory: .* has a state 'wait' already"),
    ],
)
def test_refusals(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()

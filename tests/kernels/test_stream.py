"""Streams: what they keep and what they refuse, and that the compiled one is what it says."""

from __future__ import annotations

import copy
import pickle
import time
import warnings
from dataclasses import dataclass

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import ShapeError
from spikecore.api.core.tree import State, flatten
from tests.kernels.stream_rig import drawn_network, exact, spikes

DENSE = sc.Sequential(sc.Linear(64, 100), sc.Leaky(beta=0.9), sc.Linear(100, 10), sc.Leaky(beta=0.9))


def assert_same(found, expected):
    found, expected = flatten(found), flatten(expected)
    assert set(found) == set(expected)
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("batch", [1, 3])
def test_drawn_networks_step_by_step_bit_by_bit(seed, batch):
    network, shape = drawn_network(seed)
    model = exact(sc.Model(network, engine="numpy", seed=seed, input_shape=shape), 6.0)
    x = spikes(20, batch, *shape, rate=0.1, seed=seed)
    x[6:13] = 0
    stream, out = model.stream(batch, record=True), model(x, record=True)
    assert stream.explain().startswith("compiled")
    found = np.stack([stream.step(one) for one in x])
    assert 0 < found.mean() < 1
    np.testing.assert_array_equal(found, out.spikes)
    assert_same(stream.state, out.state)
    for name, states in stream.states.items():
        assert_same(states, State({each: array[-1] for each, array in out.states[name].items()}))


@pytest.mark.parametrize("bits", [3, 6])
def test_inputs_and_outputs_of_few_bits_are_compiled(bits):
    inputs, outputs = sc.compression.FixedPoint(bits, 3, signed=False), sc.compression.FixedPoint(bits, 3)
    layers = sc.Quantized(sc.Linear(6, 5), input_quant=inputs, output_quant=outputs), sc.Leaky(threshold=0.2)
    model = sc.Model(sc.Sequential(*layers, sc.Quantized(sc.Linear(5, 4), output_quant=outputs)), input_shape=(6,))
    x = np.random.default_rng(bits).normal(0.5, 1.0, (30, 2, 6)).astype("float32")
    x[9:15] = 0  # nothing arrives, and what is given is what the bias is rounded to
    stream = model.stream(2)
    assert stream.explain().startswith("compiled")
    np.testing.assert_array_equal(np.stack([stream.step(one) for one in x]), model(x).spikes)
    assert len(np.unique(model(x).spikes)) > 2


def test_weights_of_any_size_give_the_same_spikes():
    model = sc.Model(DENSE, engine="numpy", seed=3)
    state = model.state()
    model.load_state({**state, "params": {name: 4 * array for name, array in state["params"].items()}})
    x = spikes(200, 1, 64)
    stream, out = model.stream(), model(x)
    np.testing.assert_array_equal(np.stack([stream.step(one) for one in x]), out.spikes)
    assert 0.01 < out.spikes.mean() < 1


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_the_parameters_are_those_at_the_beginning(engine):
    model = sc.Model(sc.Sequential(sc.Linear(4, 4), sc.LI(beta=sc.learn(0.5))), engine=engine)
    x = np.ones((1, 4), "float32")
    stream, before = model.stream(), model.engine.to_numpy(model.stream().step(model.engine.asarray(x)))
    model.fit([(x, [1])], num_steps=2, epochs=3, optimizer=sc.Adam(lr=0.1), progress=False)
    np.testing.assert_array_equal(model.engine.to_numpy(stream.step(model.engine.asarray(x))), before)
    assert not np.array_equal(model.engine.to_numpy(model.stream().step(model.engine.asarray(x))), before)


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_what_a_step_returns_does_not_change_later(engine):
    model = sc.Model(sc.Sequential(sc.Linear(3, 3), sc.LI()), engine=engine)
    stream, x = model.stream(), model.engine.asarray(np.ones((1, 3)))
    first, state = stream.step(x), stream.state
    kept = model.engine.to_numpy(first).copy()
    stream.step(x)
    np.testing.assert_array_equal(model.engine.to_numpy(first), kept)
    np.testing.assert_array_equal(model.engine.to_numpy(state["1"].mem), kept)


def test_the_output_of_a_network_without_neurons_is_no_view_of_the_input():
    for network in (sc.Dropout(0.5), sc.LayerNorm(3), sc.Sequential(sc.Flatten())):
        stream, x = sc.Model(network, engine="numpy", input_shape=(3,)).stream(), np.arange(3, dtype="float32")[None]
        out = stream.step(x)
        kept = out.copy()
        x[:] = 7
        stream.step(x)
        np.testing.assert_array_equal(out, kept)


def test_inputs_of_other_types_are_converted():
    model = sc.Model(DENSE, engine="numpy")
    numbers = [[i % 2 for i in range(64)]]
    expected = model.stream().step(np.array(numbers, "float32"))
    for given in (numbers, np.array(numbers), np.array(numbers, "float64"), np.array(numbers, bool)):
        np.testing.assert_array_equal(model.stream().step(given), expected)
    transposed = np.asfortranarray(np.array(numbers * 2, "float32"))
    np.testing.assert_array_equal(model.stream(2).step(transposed), np.concatenate([expected, expected]))


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_wrong_input_is_refused_and_changes_nothing(engine):
    stream = sc.Model(DENSE, engine=engine).stream(2)
    before = {name: array + 0 for name, array in flatten(stream.state).items()}
    x = spikes(2, 64)
    for given, message in (
        (x[0], r"input of shape \(64,\), expected \(2, 64\) for one step; a single sample needs a batch axis"),
        (x[None], r"shape \(1, 2, 64\), expected \(2, 64\) for one step; a step has no time axis: x\[0\]"),
        (spikes(5, 64), r"shape \(5, 64\), expected \(2, 64\) for one step; for 5 samples pass batch_size=5"),
        (spikes(2, 63), r"shape \(2, 63\), expected \(2, 64\)"),
    ):
        with pytest.raises(ShapeError, match=message):
            stream.step(given)
    wrong = x.copy()
    wrong[1, 5] = np.nan
    with pytest.raises(ValueError, match=r"input\[1, 5\] is nan: the input must be finite"):
        stream.step(wrong)
    for nonsense in ("text", None, x.astype(complex)):
        with pytest.raises(TypeError):
            stream.step(nonsense)
    assert_same(stream.state, State(before))


def test_nothing_of_an_input_that_is_not_finite_is_left():
    stream, x = sc.Model(sc.LI(), engine="numpy", input_shape=(3,)).stream(), np.full((1, 3), np.nan, "float32")
    with pytest.raises(ValueError, match=r"input\[0, 0\] is nan"):
        stream.step(x)
    assert not stream.run_events(np.zeros((2, 1, 3))).spikes.any()
    assert not stream.step(np.zeros((1, 3))).any()


def test_a_wrong_state_is_refused():
    stream, other = sc.Model(DENSE, engine="numpy").stream(), sc.Model(DENSE, engine="numpy").stream(2)
    with pytest.raises(ShapeError, match=r"state 1.mem has shape \(2, 100\), expected \(1, 100\)"):
        stream.reset(other.state)
    with pytest.raises(ShapeError, match=r"state has mem, expected 1.mem, 3.mem"):
        stream.reset(State(mem=np.zeros(3)))
    with pytest.raises(TypeError, match="state=3 must be the state of a stream"):
        stream.reset(3)


def test_what_is_recorded():
    model = sc.Model(DENSE, engine="numpy")
    assert set(model.stream(record=True).states) == set()
    for record, names in ((True, {"1", "3"}), ("last", {"3"}), (("1",), {"1"}), (False, set())):
        stream = model.stream(record=record)
        stream.step(spikes(1, 64))
        assert set(stream.states) == names
        assert all(set(state) == {"mem", "spikes"} for state in stream.states.values())
    with pytest.raises(ValueError, match="layer to record"):
        model.stream(record="7")


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_a_stream_is_not_copied(engine):
    stream = sc.Model(DENSE, engine=engine).stream()
    for function in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="a stream cannot be copied or saved: make another"):
            function(stream)


MAPS = [
    (sc.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2), (4, 9, 10)),
    (sc.Conv2d(3, 5, 4, stride=3, padding=3, bias=False), (3, 11, 8)),
    (sc.Conv2d(2, 70, 1), (2, 6, 5)),
    (sc.Conv1d(2, 4, 3, stride=2, padding=1, dilation=2, groups=2), (2, 70)),
    (sc.MaxPool2d((3, 2), stride=(2, 1), padding=1), (2, 9, 8)),
    (sc.MaxPool1d(3, stride=2, padding=1), (3, 50)),
    (sc.AvgPool2d(3, stride=1, padding=1), (2, 9, 8)),
    (sc.AvgPool2d(2, stride=3), (2, 9, 8)),  # some inputs belong to no window
    (sc.AvgPool1d(4), (2, 50)),
    (sc.CountMaxPool2d((3, 2), stride=(2, 1), padding=1), (2, 9, 8)),
    (sc.Sequential(sc.CountMaxPool1d(3), sc.CountMaxPool1d(2, stride=3)), (2, 50)),
    (sc.Linear(150, 67), (150,)),
    (sc.BatchNorm2d(2), (2, 9, 9)),
    (sc.GradedSpikes(3), (3, 40)),
    (sc.AdaptiveMaxPool2d((3, 2)), (2, 9, 8)),
    (sc.AdaptiveAvgPool1d(3), (2, 7)),  # windows of three, two apart
    (sc.GlobalAvgPool(), (3, 8, 4)),
    (sc.Sequential(sc.ThresholdDependentBatchNorm2d(2, threshold=0.5), sc.Identity()), (2, 9, 9)),
]


@pytest.mark.parametrize(("layer", "shape"), MAPS, ids=[repr(layer) for layer, _ in MAPS])
@pytest.mark.parametrize("rate", [0.0, 0.01, 0.15, 1.0])
def test_every_layer_with_few_inputs_and_many(layer, shape, rate):
    """What single inputs contribute is added up at the right places, be the inputs few or many, positive or not."""
    model = exact(sc.Model(layer, engine="numpy", input_shape=shape))
    draw = np.random.default_rng(0)
    x = spikes(6, 3, *shape, rate=rate) * draw.integers(-3, 4, (6, 3, *shape)).astype("float32")
    stream = model.stream(3)
    assert stream.explain().startswith("compiled")
    np.testing.assert_array_equal(np.stack([stream.step(one) for one in x]), model(x).spikes)
    np.testing.assert_array_equal(model.run_events(x).spikes, model(x).spikes)


def test_a_model_without_weights_has_no_stream():
    with pytest.raises(RuntimeError, match="no weights yet"):
        sc.Model(sc.Leaky(), engine="numpy").stream()


def test_the_reason_for_the_general_path():
    network = sc.Sequential(sc.Linear(5, 5), sc.Leaky(inhibition=True))
    reason = "layer 1 (Leaky): Leaky.step is not elementwise: it uses 'argmax', which kernels do not have"
    stream = sc.Model(network, engine="numpy").stream()
    assert stream.explain() == f"general: each step is a run of one step on engine 'numpy', because {reason}"
    with pytest.raises(RuntimeError, match="fused=True, but layer 1"):
        sc.Model(network, engine=sc.get_engine("numpy", fused=True)).stream()
    off = sc.Model(DENSE, engine=sc.get_engine("numpy", fused=False)).stream()
    assert "kernels are switched off (fused=False)" in off.explain()
    assert "the engine has no compiled streams" in sc.Model(DENSE, engine="torch").stream().explain()


def test_without_numba_each_step_is_a_run(monkeypatch):
    monkeypatch.setattr("spikecore.kernels.streaming.layers.has_numba", lambda: False)
    model = sc.Model(DENSE, engine="numpy")
    stream, x = model.stream(), spikes(6, 1, 64)
    assert "Numba is not installed" in stream.explain()
    np.testing.assert_array_equal(np.stack([stream.step(one) for one in x]), model(x).spikes)
    with pytest.raises(NotImplementedError, match="there is none: Numba is not installed"):
        model.run_events(x)


def test_weights_that_are_not_finite_leave_no_input_out():
    model = sc.Model(sc.Sequential(sc.Linear(2, 1, bias=False), sc.LI()), engine="numpy")
    model.load_state({**model.state(), "params": {"0.weight": np.array([[np.inf, 1.0]], "float32")}})
    x = np.array([[0.0, 1.0]], "float32")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of the matrix product
        stream = model.stream()
        assert "layer 0 (Linear): weight is not finite" in stream.explain()
        assert np.isnan(stream.step(x)).all()
        assert np.isnan(model(x[None]).spikes).all()


@dataclass(frozen=True)
class Rising(sc.base.Neuron):
    """A neuron of a user's own that fires by itself."""

    slope: sc.base.Param = 0.25

    def step(self, engine, params, state, x):
        mem = state.mem + params.slope + x
        fired = self.fires(engine, params, mem)
        return fired, State(mem=mem * (1.0 - fired))


@pytest.mark.parametrize("slope", [0.25, np.array([0.0, 0.25, 0.5])])
def test_a_neuron_of_ones_own_that_fires_without_input(slope):
    model = sc.Model(Rising(slope=slope), engine="numpy", input_shape=(3,))
    x = np.zeros((12, 1, 3), "float32")
    x[4] = 0.5
    stream = model.stream()
    found = np.stack([stream.step(one) for one in x])
    np.testing.assert_array_equal(found, model(x).spikes)
    np.testing.assert_array_equal(model.run_events(x).spikes, found)
    assert stream.explain().startswith("compiled")
    assert found[:4].sum() + found[5:].sum() > 0


def test_a_step_is_far_faster_than_a_call_of_the_model():
    model = sc.Model(DENSE, engine="numpy")
    stream, x, ratios = model.stream(), spikes(1, 64), []
    for _ in range(15):
        begun = time.perf_counter()
        for _ in range(20):
            stream.step(x)
        between = time.perf_counter()
        for _ in range(20):
            model(x[None], record=False)
        ratios.append((time.perf_counter() - between) / (between - begun))
    assert np.median(ratios) > 10, ratios  # 100 where it was written


@pytest.mark.parametrize("base", [sc.Residual, sc.Sequential])
def test_a_container_that_computes_something_else_is_not_compiled(base):
    class Doubled(base):
        def run(self, run, params, buffers, state, x):
            ran = super().run(run, params, buffers, state, x)
            return ran._replace(outputs=2.0 * ran.outputs)

    model = sc.Model(sc.Sequential(Doubled(sc.Linear(3, 3)), sc.LI()), engine="numpy", seed=0)
    x = np.random.default_rng(0).random((4, 2, 3)).astype("float32")
    stream = model.stream(2)
    np.testing.assert_allclose(np.stack([stream.step(one) for one in x]), model(x).membrane, rtol=1e-5, atol=1e-6)
    assert not stream.explain().startswith("compiled")

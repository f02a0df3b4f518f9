"""Quantisation: laws of the grids, and networks that are quantised."""

from __future__ import annotations

import math

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key
from spikecore.api.functional.quantisers import power_of_two
from spikecore.compression import FixedPoint, ScaledInteger

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed (extra 'test')")
given, st = hypothesis.given, hypothesis.strategies

ENGINE = sc.get_engine("numpy", dtype="float64")
STEPS = 10
FLOATS = st.floats(-300.0, 300.0, allow_nan=False)
GRIDS = st.one_of(
    st.builds(FixedPoint, st.integers(2, 16), st.integers(-4, 12), st.booleans()),
    st.builds(
        ScaledInteger,
        st.integers(2, 10),
        st.just("tensor"),
        st.just("max"),
        st.booleans(),
        st.booleans(),
    ),
)


def data(shape=(20,), samples=8):
    return np.random.default_rng(0).random((samples, *shape), dtype="float32") * 2.0


def everything():
    """Layers and neurons of each kind that is quantised, with names inside of names."""
    return sc.Sequential(
        sc.Linear(20, 12),
        sc.RLeaky(beta=sc.learn(0.9), linear_features=12),
        sc.Residual(sc.Linear(12, 12, bias=False)),
        sc.Refractory(sc.Synaptic(alpha=0.5, beta=0.8, threshold=0.5)),
        sc.Linear(12, 9),
        sc.BatchNorm1d(9),
        sc.Recurrent(sc.ALIF(threshold=0.3), sc.OneToOne()),
        sc.Linear(9, 6),
        sc.LI(parallel=True),
    )


def full(model, **options):
    return sc.compression.quantize(model, states=16, parameters=8, inputs=8, x=data(), num_steps=STEPS, **options)


# ---- grids ---------------------------------------------------------------------------------------------------------


@given(GRIDS, st.lists(FLOATS, min_size=1, max_size=5))
def test_values_lie_on_the_grid_and_stay_there(grid, values):
    x = np.array(values)
    q, scale = grid.quantised(ENGINE, x), np.asarray(grid.scale_of(ENGINE, x))
    whole, (lowest, highest) = q / scale, grid.limits
    assert (whole == np.round(whole)).all() or not getattr(grid, "power_of_two", True)
    assert (np.abs(whole - np.round(whole)) < 1e-9).all()
    assert (np.round(whole) >= lowest).all()
    assert (np.round(whole) <= highest).all()
    inside = (x / scale >= lowest - 0.5) & (x / scale <= highest + 0.5)
    assert (np.abs(q - x)[inside] <= np.broadcast_to(0.5 * scale, x.shape)[inside] * (1 + 1e-9)).all()
    if isinstance(grid, FixedPoint):
        assert (grid.quantised(ENGINE, q) == q).all()
        assert (grid(x.astype("float32")) == q.astype("float32")).all() or grid.bits > 12
        assert q.min() >= grid.span[0]
        assert q.max() <= grid.span[1]


def test_halves_are_rounded_up():
    assert FixedPoint(8, 1)(np.array([0.25, -0.25, 0.75, -0.75])).tolist() == [0.5, 0.0, 1.0, -0.5]


@given(GRIDS, FLOATS)
def test_constants_are_rounded_as_arrays(grid, value):
    assert grid.number(value) == float(grid.quantised(ENGINE, np.array(value)))


@given(st.floats(2.0**-38, 2.0**22))
def test_the_next_power_of_two(value):
    found = float(power_of_two(ENGINE.xp, np.array(value)))
    assert found == 2.0 ** math.ceil(math.log2(value)) or abs(math.log2(value) - round(math.log2(value))) < 1e-12
    assert found / 2.0 < value <= found


@pytest.mark.parametrize("value", [0.25, 1.0, 8.0, 2.0**-30])
def test_a_power_of_two_is_its_own(value):
    assert float(power_of_two(ENGINE.xp, np.array(value))) == value


def test_a_weight_of_zeros_and_numbers_that_overflow():
    for grid in (
        ScaledInteger(8),
        ScaledInteger(4, power_of_two=False),
        FixedPoint(8, 4),
    ):
        assert (grid.quantised(ENGINE, np.zeros((3, 2))) == 0.0).all()
    assert FixedPoint(8, 4)(np.array([np.inf, -np.inf, 1e30])).tolist() == [127 / 16, -8.0, 127 / 16]


def test_gradients_stop_at_the_bounds():
    grid, x = FixedPoint(4, 2), np.array([-3.0, -2.0, 0.3, 1.7, 2.0, 5.0])
    _, _, slope = ENGINE.value_and_grad(lambda x: (ENGINE.xp.sum(grid.apply(ENGINE, x)), ()), x)
    assert slope.tolist() == [0.0, 1.0, 1.0, 1.0, 0.0, 0.0]


def test_the_scale_learns_by_its_rule():
    """Esser et al.: rounded minus exact inside the range, the bound outside, times 1 / sqrt(n N)."""
    grid, x, scale = (
        ScaledInteger(3, scale="learned", power_of_two=False),
        np.array([0.3, -0.6, 5.0, -5.0]),
        0.5,
    )

    def total(s):
        return ENGINE.xp.sum(grid.quantised(ENGINE, x, learned=s) * np.array([1.0, 2.0, 3.0, 4.0])), ()

    _, _, slope = ENGINE.value_and_grad(total, np.array(scale))
    by_entry = np.array([1 - 0.6, -1 + 1.2, 3.0, -3.0])
    assert slope == pytest.approx((by_entry * [1.0, 2.0, 3.0, 4.0]).sum() / math.sqrt(3 * 4))


def test_ternary_weights_have_three_values():
    layer = sc.Quantized(sc.Linear(20, 10), ScaledInteger(2))
    model = sc.Model(sc.Sequential(layer, sc.Leaky()))
    assert set(np.unique(sc.compression.integers(model).arrays["0.weight"].integers)) == {-1, 0, 1}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FixedPoint(1), r"FixedPoint: bits=1 must be an int in \[2, 24\]"),
        (lambda: FixedPoint(8, 40), "fraction=40"),
        (lambda: ScaledInteger(8, "row"), "unknown per 'row'"),
        (lambda: ScaledInteger(8, scale="largest"), "unknown scale 'largest'"),
        (lambda: ScaledInteger(8, scale=0.3), "scale=0.3 is no power of two; pass power_of_two=False"),
        (lambda: ScaledInteger(8, scale=(0.5, 0.5)), "they need per='channel'"),
        (lambda: sc.Quantized(sc.Leaky()), "layer=Leaky"),
        (
            lambda: sc.Quantized(sc.Linear(2, 2, bias=False), bias_quant=ScaledInteger()),
            "needs a layer with bias",
        ),
        (lambda: sc.Quantized(sc.Linear(2, 2), bias_quant=ScaledInteger(8, "channel")), "per='tensor'"),
        (lambda: sc.Quantized(sc.Flatten()).init(Key((0,)), (2,)), "Flatten has parameters none"),
        (lambda: sc.QuantizedNeuron(sc.RLeaky(linear_features=2)), r"the Recurrent\(neuron, connection\)"),
        (lambda: sc.QuantizedNeuron(sc.Recurrent(sc.Leaky(), sc.OneToOne())), "the neuron inside"),
        (lambda: sc.QuantizedNeuron(sc.Leaky(), ScaledInteger(scale="learned")), "not learned"),
        (
            lambda: sc.QuantizedNeuron(sc.LI(parallel=True), ScaledInteger()),
            "parallel=True has no effect",
        ),
        (
            lambda: sc.QuantizedNeuron(sc.Leaky(state_quant=FixedPoint()), state_quant=FixedPoint()),
            "a state_quant already",
        ),
        (lambda: sc.Leaky(state_quant=ScaledInteger()), "no sc.compression.FixedPoint"),
        (lambda: sc.compression.quantize(sc.Linear(2, 2), states=16), "states=16: ranges are measured on data"),
        (lambda: sc.compression.quantize(sc.Linear(2, 2), inputs=8), r"e.g. inputs=sc.compression.FixedPoint\(8, 4\)"),
        (lambda: sc.compression.quantize(sc.Linear(2, 2), x=data()), "x has no effect"),
        (lambda: sc.compression.quantize(sc.Linear(2, 2), num_steps=3), "num_steps and encoder need x"),
        (
            lambda: sc.compression.quantize(sc.Linear(2, 2), headroom=2),
            "headroom=2 has no effect: it serves to calibrate states=",
        ),
        (lambda: sc.compression.quantize(sc.Linear(2, 2), scale="mse"), "needs a Model with weights"),
        (lambda: sc.compression.quantize(sc.Linear(2, 2), skip=["7"]), "unknown layer '7'"),
        (lambda: sc.compression.quantize(sc.Linear(2, 2), weights=1), "weights=1 must be an int in"),
        (
            lambda: sc.compression.quantize(sc.Model(sc.Leaky(), input_shape=20), states=5, x=data(), num_steps=2),
            r"layer \(the network\) with a threshold of 1 would never fire: .* the largest value is 0.9375; give more",
        ),
        (lambda: ScaledInteger(8, "channel", ()), r"scale=\(\) has no number"),
        (lambda: sc.compression.quantize("net"), "neither a Model nor a network"),
        (
            lambda: sc.compression.quantize(sc.RLeaky(linear_features=3, reset_mechanism="zero"), parameters=8),
            "also clears",
        ),
        (
            lambda: sc.compression.quantize(sc.Sequential(sc.WeightStandardized(sc.Linear(4, 2)), sc.Leaky())),
            r"layer 0 \(WeightStandardized\): it computes with weights that it makes .* skip=\['0'\]",
        ),
        (
            lambda: sc.compression.quantize(sc.Sequential(sc.SLSTM(input_size=4, hidden_size=2), sc.Linear(2, 2))),
            r"layer 0 \(SLSTM\): its own weights have no grid: .* parameters=8, or leave it as it is, skip=\['0'\]",
        ),
        (lambda: sc.compression.quantize(sc.DropConnect(sc.Linear(4, 2))), r"layer \(the network\) \(DropConnect\)"),
        (lambda: sc.compression.integers(sc.Model(sc.Linear(2, 2))), "nothing in the model is quantised"),
        (lambda: sc.compression.quantization_report(sc.Model(sc.Linear(2, 2)), num_steps=3), "need x"),
    ],
)
def test_refusals(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


# ---- networks ------------------------------------------------------------------------------------------------------


def test_all_names_stay_and_weights_load():
    model = sc.Model(everything(), seed=1)
    small = full(model)
    assert set(small.params()) == set(model.params())
    for name, value in model.params().items():
        assert (small.params()[name] == value).all()
    anew = sc.Model(small.network, seed=5)
    anew.load_state(model.state())
    x = data()
    assert (anew(x, num_steps=STEPS).spikes == small(x, num_steps=STEPS).spikes).all()
    assert full(small).network == small.network, "what is quantised stays as it is"


def check_engines(tmp_path, network, **options):
    model = sc.Model(network, seed=1)
    small = full(sc.compression.fold_batch_norm(model), **options)
    small.save(tmp_path / "small.safetensors")
    again = sc.load(tmp_path / "small.safetensors", engine="numpy")
    assert again.network == small.network
    assert again.params().keys() == small.params().keys()
    pytest.importorskip("torch", reason="torch is not installed")
    report = sc.verify(small.to_engine("torch"), data(), [0, 1, 2, 3, 4, 5, 0, 1], num_steps=3)
    assert report.worst < 1e-11
    assert report.worst_difference < 1e-6


def test_engines_agree_and_files_keep_it(tmp_path):
    net = sc.Sequential(sc.Linear(20, 6, bias=False), sc.Leaky(threshold=0.3, beta=sc.learn(0.8)), sc.Linear(6, 6))
    check_engines(tmp_path, net, weights=4, per="channel", scale="learned")


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"weights": 4, "per": "channel", "scale": "learned"}, {"scale": "mse"}])
def test_so_they_do_with_every_kind_of_layer(tmp_path, options):
    check_engines(tmp_path, everything(), **options)


def test_every_value_of_a_network_is_an_integer_times_a_power_of_two():
    """What a program in integers relies on: the states are on their grids, the output is a sum of products."""
    model = sc.Model(sc.Sequential(sc.Linear(20, 12), sc.Leaky(threshold=0.3), sc.Linear(12, 6), sc.LI()), seed=1)
    small = full(model).to_engine("numpy", dtype="float64")
    out, found = small(data(), num_steps=STEPS, record=True), sc.compression.integers(small)
    for name, grid in found.states.items():
        layer, _, state = name.rpartition(".")
        whole = out.states[layer][state] * 2.0**grid.fraction
        assert (whole == np.round(whole)).all()
        assert np.abs(whole).max() > 1
    assert (out.spikes * 2.0**40 == np.round(out.spikes * 2.0**40)).all()


def test_sums_are_exact_so_every_engine_has_the_same_bits():
    model = sc.Model(everything(), seed=1)
    small = full(sc.compression.fold_batch_norm(model), per="channel")
    x = data()
    exact = small.to_engine("numpy", dtype="float64")(x, num_steps=STEPS, record=True)
    for name in ("numpy", "torch"):
        if name == "torch":
            pytest.importorskip("torch", reason="torch is not installed")
        out = small.to_engine(name)(x, num_steps=STEPS, record=True)
        assert (np.asarray(out.spikes) == exact.spikes).all()
        for layer, states in exact.states.items():
            assert all((np.asarray(out.states[layer][state]) == value).all() for state, value in states.items())


def test_the_integers_are_the_weights():
    model = sc.Model(everything(), seed=1)
    for scale in ("max", "mse", "learned"):
        for per in ("tensor", "channel"):
            small = full(model, scale=scale, per=per)
            found = sc.compression.integers(small)
            arrays = {name: one.integers * one.scale for name, one in found.arrays.items()}
            layer = small.network.layers[0]
            own = {n.partition(".")[2]: v for n, v in small.params().items() if n.startswith("0.")}
            prepared = layer.prepare(small.engine, sc.base.Params(own))
            np.testing.assert_array_equal(arrays["0.weight"].astype("float32"), prepared.weight)
            assert all(np.log2(one.scale).max() % 1 == 0 for one in found.arrays.values())
            assert found.arrays["0.weight"].integers.dtype == np.int64
            assert np.abs(found.arrays["1.connection.weight"].integers).max() <= 127
            assert arrays["1.neuron.beta"] == 115 / 128
    assert set(found.inputs) == {"0"}
    assert {"3.neuron.syn", "3.neuron.mem", "8.mem"} <= set(found.states)


def test_the_integers_are_those_of_the_network_where_rounding_is_close():
    """A weight of 0.35 is between 3 and 4 times 0.1: float32 decides, as the network computes."""
    coarse = ScaledInteger(8, scale=0.1, power_of_two=False)
    model = sc.Model(sc.Quantized(sc.Linear(4, 1, bias=False), coarse), input_shape=(4,))
    weights = {"weight": np.array([[0.05, 0.15, 0.35, 0.45]], "float32")}
    model.load_state({**model.state(), "params": weights})
    (array,) = sc.compression.integers(model).arrays.values()
    out = model(np.eye(4, dtype="float32")[None]).spikes
    assert np.round(out.reshape(-1) / 0.1).tolist() == array.integers.reshape(-1).tolist()


def test_a_weight_that_is_not_finite_has_no_integer():
    model = sc.Model(sc.Sequential(sc.Linear(2, 1)), input_shape=(2,))
    state = model.state()
    state["params"]["0.weight"][0, 1] = np.nan
    model.load_state(state)
    with pytest.raises(ValueError, match=r"integers: 0.weight holds NaN or infinity"):
        sc.compression.integers(sc.compression.quantize(model))


def test_constants_of_a_neuron_are_those_that_it_computes_with():
    """Of 32nds, 0.95312499 is 30 in float64, and 31 in float32."""
    neuron = sc.QuantizedNeuron(sc.Leaky(beta=0.95312499), ScaledInteger(8, scale=1 / 32))
    found = sc.compression.integers(sc.Model(neuron, input_shape=(4,))).arrays["beta"]
    assert found.integers * found.scale == neuron.prepare(sc.get_engine("numpy"), sc.base.Params()).beta == 30 / 32


def test_the_report_lists_everything():
    model = sc.Model(everything(), seed=1)
    report = sc.compression.quantization_report(full(model), data(), num_steps=STEPS)
    rows = {row.name: row for row in report.rows}
    assert {"0.weight", "0.bias", "0 input", "1.neuron.beta", "1.connection.weight", "2.body.weight"} <= set(rows)
    weight = model.params()["0.weight"]
    assert rows["0.weight"].high == pytest.approx(weight.max())
    assert rows["0.weight"].step == 2.0**-9
    assert 0 < rows["0.weight"].error < 0.01
    assert rows["0.weight"].saturated == 0.0
    assert report.full_precision == ("5 (BatchNorm1d): 5.weight, 5.bias",)
    assert "int16 / 2^" in str(report)
    assert "full precision: 5 (BatchNorm1d)" in str(report)
    tight = sc.compression.quantize(model, states=FixedPoint(4, 3))
    mem = {row.name: row for row in sc.compression.quantization_report(tight, data(), num_steps=STEPS).rows}[
        "1.neuron.mem"
    ]
    assert mem.low == -1.0
    assert mem.saturated > 0.05

"""Networks against chips: what a layer needs, what chip files say, what does not fit, and the estimate of energy."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import numpy as np
import pytest
from conformance import cases

import spikecore as sc
from spikecore import hardware
from spikecore.hardware.needs import levels_fit, needs_of
from spikecore.hardware.resets import reset_of

IMMEDIATE = {"reset_mechanism": "zero", "reset_delay": False}
SOURCES = {"here": "A. Author, A paper, 2026, https://example.org"}
BODY = """
name = "Test"
maker = "nobody"
about = "a chip for tests"
[sources]
here = "A. Author, A paper, 2026, https://example.org"
[limits]
{limits}
[supports]
{supports}
"""


def known(**values):
    return {name: hardware.Known(value, "here") for name, value in values.items()}


def chip(limits=(), supports=(), **others):
    """A chip of which only this is known."""
    return hardware.Chip(
        "Test", "nobody", "for tests", SOURCES, known(**dict(limits)), known(**dict(supports)), **others
    )


def model(*layers, shape=None):
    return sc.Model(sc.Sequential(*layers), "numpy", input_shape=shape)


def small():
    return model(sc.Linear(6, 5), sc.Leaky(**IMMEDIATE), sc.Linear(5, 3), sc.Leaky(**IMMEDIATE))


def said(report, what):
    return [one for one in report.objections if one.what == what]


# ---- what a network needs -------------------------------------------------------------------------------------------


def connections(layer, params, shape):
    """The matrix of a layer's weights, by its answers to inputs with a single one."""
    alone = sc.Model(layer, "numpy", input_shape=shape, dtype="float64")
    state = alone.state()
    state["params"] = {"weight": (params["weight"] != 0).astype("float64")}
    alone.load_state(state)
    count = int(np.prod(shape))
    answers = alone(np.eye(count).reshape(1, count, *shape)).spikes
    return np.asarray(answers).reshape(count, -1)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (sc.Linear(7, 4, bias=False), (7,)),
        (sc.Conv1d(3, 4, 3, stride=2, padding=2, bias=False), (3, 9)),
        (sc.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 2), groups=2, bias=False), (4, 7, 6)),
        (sc.Conv3d(1, 2, 2, stride=(1, 2, 1), padding=1, bias=False), (1, 3, 4, 3)),
        (sc.ConvTranspose1d(4, 6, 3, stride=2, padding=1, groups=2, bias=False), (4, 5)),
        (sc.ConvTranspose2d(2, 3, (3, 2), stride=(2, 1), output_padding=(1, 0), bias=False), (2, 4, 5)),
        (sc.ConvTranspose3d(2, 3, 2, stride=(2, 1, 1), padding=(0, 1, 0), bias=False), (2, 2, 3, 2)),
    ],
    ids=lambda value: getattr(type(value), "__name__", ""),
)
def test_inputs_and_targets_are_those_of_the_matrix(layer, shape):
    """Counted over the whole matrix of connections, borders and weights of zero included."""
    net = sc.Model(layer, "numpy", input_shape=shape)
    state = net.state()
    weight = state["params"]["weight"]
    weight[np.random.default_rng(0).random(weight.shape) < 0.4] = 0.0
    net.load_state(state)
    need = needs_of(net)[0]
    matrix = connections(layer, state["params"], shape)
    assert matrix.max() == 1.0
    assert need.fan_in == matrix.sum(axis=0).max()
    assert need.fan_out == matrix.sum(axis=1).max()
    assert need.synapses == matrix.sum()
    assert need.weights == (weight != 0).sum() < weight.size == need.stored


def test_needs_of_a_recurrent_network():
    needs = needs_of(model(sc.Linear(6, 5), sc.RSynaptic(linear_features=5), sc.Flatten(), sc.Linear(5, 3), sc.LI()))
    rows = {need.name: need for need in needs}
    assert list(rows) == ["0", "1.connection", "1", "3", "4"]
    assert rows["1"].fan_in == 6 + 5
    assert rows["1"].fan_out == 5 + 3
    assert (rows["1"].neurons, rows["1"].states) == (5, 2)
    assert rows["1.connection"].stored == 5 * 5 + 5
    assert rows["0"].operations == 30
    assert sum(need.stored for need in needs) == 6 * 5 + 5 + 30 + 5 * 3 + 3


def test_every_layer_and_neuron_can_be_checked():
    for case in [*cases.NEURONS, *cases.VARIANTS, *cases.LAYERS, *cases.NETWORKS, *cases.TRAINED_ONLY]:
        x = np.ones((8, 2, *case.shape), "float32")
        report = sc.check(sc.Model(case.layer, "numpy", input_shape=case.shape), "loihi", x)
        assert report.energy.joules >= 0.0, case
        assert json.dumps(report.json), case
        assert str(report).startswith("check for Loihi"), case


def test_operations_inside_of_neurons_are_said_to_be_left_out():
    report = sc.check(model(sc.SLSTM(input_size=4, hidden_size=3), sc.Linear(3, 2), sc.Leaky()), "cortex-m4")
    assert "6 multiply-adds per time step if no input is zero, without those inside 0\n" in str(report)
    report = sc.check(model(sc.ConvTranspose1d(1, 2, 3, bias=False), sc.Leaky(), shape=(1, 4)), "cortex-m4")
    assert report.operations == 2 * 3 * 4


def test_pruned_weights_are_no_connections():
    net = small()
    state = net.state()
    state["params"]["0.weight"][:, 2:] = 0.0
    net.load_state(state)
    assert needs_of(net)[0].fan_in == needs_of(net)[1].fan_in == 2


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_levels(bits):
    rng, most = np.random.default_rng(0), 2 ** (bits - 1)
    levels = rng.integers(1 - most, most, size=(5, 40))
    assert levels_fit(levels * 0.037, bits)
    assert levels_fit(levels * rng.random((5, 1)), bits), "a scale for each output"
    assert not levels_fit(rng.normal(size=(5, 4)), bits)
    assert not levels_fit(np.array([[1.0, most + 1.0]]), bits)
    assert levels_fit(np.array([[0.3, 0.5, -0.7]], "float32"), 4), "a step that is none of the weights"
    assert not levels_fit(np.array([[0.3, 0.5, -0.9]], "float32"), 4)
    assert not levels_fit(np.array([[1.0, np.nan]]), bits)
    assert not levels_fit(np.array([[1.0, -np.inf]]), bits)
    assert levels_fit(np.zeros((2, 3)), bits)


@pytest.mark.parametrize("neuron", [sc.Leaky, sc.IF, sc.ALIF, sc.Synaptic, sc.PLIF], ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("mechanism", ["subtract", "subtract_decayed", "zero", "none"])
def test_resets_that_are_called_equal_give_equal_spikes(neuron, mechanism):
    x = np.random.default_rng(2).random((60, 3, 8)) - 0.4
    late = neuron(threshold=0.3, reset_mechanism=mechanism)
    name, delayed = reset_of(late)
    out = [
        np.asarray(sc.Model(one, "numpy", input_shape=8, dtype="float64")(x).spikes)
        for one in (late, neuron(threshold=0.3, reset_mechanism=name, reset_delay=False))
    ]
    assert reset_of(neuron(reset_mechanism=name, reset_delay=False)) == (name, False)
    assert out[0].any()
    assert (out[0] == out[1]).all() == (not delayed)


# ---- chips ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", hardware.chips())
def test_every_number_of_every_chip_has_a_public_source(name):
    found = hardware.chip(name)
    everything = [*found.limits.values(), *found.supports.values(), *found.energy.values()]
    assert everything
    assert {one.source for one in everything} <= set(found.sources)
    assert all("https://" in text for text in found.sources.values())
    assert set(found.sources) <= {one.source for one in everything}, "each source is of some number"
    assert found.maker in repr(found)
    assert found.sources[everything[0].source] in repr(found)
    assert found.name in found._repr_html_()
    assert all(one.note in repr(found) for one in everything)


def test_the_chips_that_are_asked_for_are_there():
    assert set(hardware.chips()) >= set("loihi loihi2 xylo speck spinnaker2 dynapse2 brainscales2 cortex-m4".split())
    loihi = hardware.chip("loihi")
    assert (loihi.limit("cores"), loihi.limit("neurons_per_core"), loihi.limit("memory_per_core")) == (
        128,
        1024,
        1 << 17,
    )
    assert loihi.energy["synaptic_operation"].value == 23.6e-12
    assert not hardware.chip("loihi2").energy, "it is not published"


FITTING = {
    "loihi": lambda: small(),
    "loihi2": lambda: model(
        sc.Conv2d(1, 4, 3), sc.Leaky(), sc.Flatten(), sc.Linear(16, 3), sc.SigmaDelta(), shape=(1, 4, 4)
    ),
    "xylo": lambda: model(
        sc.Linear(16, 60), sc.Synaptic(reset_delay=False), sc.Linear(60, 8), sc.Synaptic(reset_delay=False)
    ),
    "speck": lambda: model(
        sc.Conv2d(2, 8, 3, stride=2, padding=1), sc.IF(), sc.AvgPool2d(2), sc.Flatten(), sc.Linear(8 * 64, 10), sc.IF(),
        shape=(2, 32, 32),
    ),
    "spinnaker2": lambda: model(sc.Linear(6, 5), sc.ALIF()),
    "dynapse2": lambda: model(
        sc.Linear(60, 200), sc.AdEx(reset_mechanism="zero"), sc.Linear(200, 4), sc.Leaky(**IMMEDIATE)
    ),
    "brainscales2": lambda: model(sc.Linear(100, 100), sc.Leaky(**IMMEDIATE), sc.Linear(100, 2), sc.LI()),
    "cortex-m4": lambda: small(),
    "cortex-m0plus": lambda: small(),
}  # fmt: skip


@pytest.mark.parametrize("name", ["loihi", "loihi2", "xylo", "speck", "brainscales2", "cortex-m4", "cortex-m0plus"])
def test_networks_that_fit(name):
    report = sc.check(FITTING[name](), name)
    assert report.ok, report
    assert report.verdict.startswith(f"fits {report.chip}")


@pytest.mark.parametrize(
    ("name", "layers", "shape", "what"),
    [
        ("loihi", [sc.Linear(6, 200_000), sc.Leaky(**IMMEDIATE)], None, "cores"),
        ("loihi", [sc.Linear(6, 5), sc.ALIF()], None, "neuron"),
        ("loihi", [sc.Linear(5000, 5), sc.Leaky(**IMMEDIATE)], None, "fan-in"),
        ("xylo", [sc.Linear(17, 8), sc.Synaptic(reset_delay=False)], None, "inputs"),
        ("xylo", [sc.Linear(16, 9), sc.Synaptic(reset_delay=False)], None, "outputs"),
        ("xylo", [sc.Linear(16, 70), sc.RSynaptic(linear_features=70, reset_delay=False)], None, "fan-out"),
        ("speck", [sc.Conv2d(1, 2, 3, stride=3), sc.IF()], (1, 32, 32), "stride"),
        ("speck", [sc.Conv2d(1, 2, 17), sc.IF()], (1, 32, 32), "kernel size"),
        ("speck", [sc.Conv2d(1, 2, 3, padding=1), sc.IF()], (1, 128, 128), "output size"),
        ("speck", [layer for _ in range(10) for layer in (sc.Linear(6, 6), sc.IF())], None, "cores"),
        ("dynapse2", [sc.Linear(6, 1025), sc.Leaky(**IMMEDIATE)], None, "cores"),
        ("brainscales2", [sc.Linear(257, 5), sc.Leaky(**IMMEDIATE)], None, "fan-in"),
        ("cortex-m4", [sc.Linear(1000, 300), sc.Leaky()], None, "flash"),
        ("cortex-m4", [sc.Conv2d(1, 2, 3), sc.Leaky()], (1, 200, 200), "ram"),
    ],
)  # fmt: skip
def test_networks_that_do_not_fit(name, layers, shape, what):
    report = sc.check(model(*layers, shape=shape), name)
    assert not report.ok
    objections = [one for one in report.objections if one.error]
    assert what in {one.what for one in objections}, report
    assert all(one.remedy for one in objections)
    assert report.verdict.startswith(f"does not fit {report.chip}: ")


@pytest.mark.parametrize(
    ("name", "has"),
    [
        ("neurons", 8), ("synapses", 45), ("cores", 2), ("inputs", 6), ("outputs", 3), ("fan_in", 6), ("fan_out", 3),
    ],
)  # fmt: skip
def test_limits_hold_to_the_unit(name, has):
    """What is just there fits; one less does not, and the objection has both numbers."""
    each = {"neurons_per_core": 5} if name == "cores" else {}
    assert sc.check(small(), chip({name: has, **each})).ok
    report = sc.check(small(), chip({name: has - 1, **each}))
    assert [one.what.replace("-", "_") for one in report.objections if one.error] == [name]
    assert str(has) in report.objections[0].reason
    assert str(has - 1) in report.objections[0].reason


@pytest.mark.parametrize(
    ("name", "has"),
    [("kernel_size", 4), ("padding", 2), ("channels", 6), ("input_size", 9), ("output_size", 6)],
)
def test_limits_of_convolutions_hold_to_the_unit(name, has):
    net = model(sc.Conv2d(1, 6, (4, 3), stride=(2, 1), padding=(2, 0)), sc.Leaky(), shape=(1, 9, 8))
    assert sc.check(net, chip({name: has, "strides": (1, 2)})).ok
    report = sc.check(net, chip({name: has - 1, "strides": (1, 3)}))
    reasons = {one.what: one.reason for one in report.objections}
    assert reasons == {
        name.replace("_", " "): f"it is {has}, the chip allows {has - 1}",
        "stride": "it is (2, 1), the chip allows 1, 3",
    }


def test_cores_are_counted_by_neurons_and_by_memory():
    net = small()
    report = sc.check(net, chip({"neurons_per_core": 2}))
    assert [row.cores for row in report.rows if row.neurons] == [3, 2]
    assert report.cores == 5
    report = sc.check(net, chip({"memory_per_core": 15, "weight_bits": 4}))
    assert report.cores == 1 + 1, "30 and 15 weights of half a byte"
    report = sc.check(net, chip({"memory_per_core": 14, "weight_bits": 4}))
    assert report.cores == 2 + 1
    assert sc.check(net, chip({"memory_per_core": 14})).cores is None, "nobody knows how large a weight is"


def test_a_shared_kernel_is_stored_once():
    net = model(sc.Conv1d(1, 2, 3, padding=1), sc.Leaky(), shape=(1, 50))
    limits = {"memory_per_core": 6, "weight_bits": 8}
    assert sc.check(net, chip(limits, {"shared_weights": True})).cores == 1
    assert sc.check(net, chip(limits)).cores == -(-(2 * 148) // 6)


def test_layers_that_take_a_core_as_a_whole():
    whole = chip({"cores": 2, "neurons_per_core": 4}, {"whole_layers": True})
    report = sc.check(small(), whole)
    assert [one.layer for one in said(report, "core")] == ["1"]
    assert report.cores == 2


def test_what_a_chip_does_not_do():
    nothing = chip({}, dict.fromkeys(("recurrence", "graded_spikes", "own_neurons"), False))
    net = model(
        sc.Linear(6, 5), sc.RLeaky(linear_features=5, graded_spikes_factor=2.0, inhibition=True), sc.BatchNorm1d(5),
        sc.Linear(5, 2),
    )  # fmt: skip
    report = sc.check(net, nothing)
    assert [one.what for one in report.objections] == ["recurrence", "graded spikes", "inhibition", "readout"]
    listed = dataclasses.replace(nothing, supports=known(layers=("Linear",), neurons=("Synaptic",)))
    report = sc.check(net, listed)
    assert [one.what for one in report.objections] == ["neuron", "inhibition", "layer", "readout"]
    assert said(report, "neuron")[0].reason == "Test has no Leaky; it has Synaptic"
    assert said(report, "layer")[0].remedy == "Fold it into the weights of the layer before it"
    assert [row.verdict for row in report.rows] == ["fits", "fits", "does not fit", "does not fit", "does not fit"]


def test_a_neuron_with_a_step_of_its_own_is_not_its_base():
    class Twice(sc.Leaky):
        def step(self, engine, params, state, x):
            return super().step(engine, params, state, 2.0 * x)

    class Named(sc.Leaky):
        """A name alone changes nothing."""

    only = chip({}, {"neurons": ("Leaky",)})
    assert not sc.check(model(sc.Linear(3, 2), Twice()), only).ok
    assert sc.check(model(sc.Linear(3, 2), Named()), only).ok


def test_a_programmable_chip_asks_for_a_program():
    supports = {"neurons": ("Leaky",), "resets": ("zero",), "own_neurons": True}
    report = sc.check(model(sc.Linear(3, 2), sc.ALIF(), sc.Linear(2, 2), sc.Leaky()), chip({}, supports))
    assert report.ok
    assert [(one.what, one.error) for one in report.objections] == [("neuron", False), ("reset", False)]


def test_what_is_not_public_is_listed_and_not_checked():
    report = sc.check(small(), chip({"fan_in": 100}))
    assert "fan_in" not in report.unknown
    assert {"cores", "neurons_per_core", "memory_per_core", "fan_out", "weight_bits", "layers"} <= set(report.unknown)
    many = sc.check(small(), chip({"neurons": 100}))
    assert "neurons" in many.unknown, "how many is known, but not which"
    assert "not known, so not checked: cores, " in str(report)


def test_memory_of_a_processor_by_hand():
    """30 + 5 and 15 + 3 weights and biases; a state for each of 8 neurons; most at once are 6 inputs, 5 outputs.

    In C, there are scratch for sums of 5 and of 3 numbers, and the caller's arrays of input and output.
    """
    report = sc.check(small(), "cortex-m4")
    assert report.memory == (("float32", 53 * 4, 64 + (6 + 3) * 4, True, True), ("int8", 53, (8 + 11) * 4, True, False))
    tight = chip({"flash": 100, "ram": 100})
    report = sc.check(small(), tight)
    assert [one.fits for one in report.memory] == [False, True]
    assert said(report, "flash")[0].remedy == "Quantise them to int8, which fits"
    assert [one.what for one in sc.check(small(), chip({"flash": 500, "ram": 99})).objections] == ["ram"]


def in_integers(**options):
    return sc.quantize(small(), states=sc.FixedPoint(16, 8), parameters=8, **options)


@pytest.mark.parametrize(
    ("net", "kind", "options"),
    [
        (small, "float32", {}),
        (lambda: in_integers(inputs=sc.FixedPoint(8, 4)), "fixed", {}),
        (lambda: in_integers(), "fixed", {"inputs": "spikes"}),
    ],
)
def test_memory_of_a_processor_is_that_of_the_c_that_is_written(tmp_path, net, kind, options):
    row = next(row for row in sc.check(net(), "cortex-m4").memory if row.type == kind)
    sc.export(net(), tmp_path / "net", dtype=kind, example=False, **options)
    header = (tmp_path / "net.h").read_text("utf-8")
    states, scratch, constants = (
        int(re.search(rf"NET_{name}_BYTES (\d+)", header).group(1)) for name in ("STATE", "SCRATCH", "CONSTANT")
    )
    sizes = [np.dtype(name[:-2]).itemsize for name in re.findall(r"typedef (u?int\d+_t) net_.*put;", header)] or [4, 4]
    assert len(sizes) == 2
    assert row == (kind, constants, states + scratch + 6 * sizes[0] + 3 * sizes[1], True, True)


def test_what_c_cannot_express_is_estimated_and_the_report_says_why():
    net = model(sc.Linear(6, 5), sc.PSN(num_steps=4), sc.Linear(5, 3), sc.Leaky())
    report = sc.check(net, "cortex-m4")
    assert [row.exact for row in report.memory] == [False, False]
    assert report.ok
    assert [(one.what, one.error, one.remedy) for one in report.objections] == [
        ("C, float32", False, "Flash and RAM are estimates")
    ]
    assert "PSN" in report.objections[0].reason
    assert " estimated, without the program: fits" in str(report)


def test_a_network_in_integers_is_judged_in_them():
    net = in_integers()
    assert sc.check(net, chip({"flash": 100, "ram": 100})).ok
    assert [one.what for one in sc.check(small(), chip({"flash": 100, "ram": 100})).objections] == ["flash"]
    assert said(sc.check(net, chip({"flash": 50, "ram": 100})), "flash")[0].remedy == "Prune or narrow the network"


# ---- quantised networks ---------------------------------------------------------------------------------------------


def test_a_quantised_network_is_judged_as_what_it_computes_with():
    """Float weights are stored, rounded ones count: for levels, zeros, fan-in, operations and allowed layers."""
    net = model(
        sc.Linear(6, 5), sc.Recurrent(sc.Leaky(**IMMEDIATE), sc.Linear(5, 5, bias=False)), sc.Linear(5, 3),
        sc.Leaky(**IMMEDIATE),
    )  # fmt: skip
    small_bits = sc.quantize(net, weights=2, states=sc.FixedPoint(16, 8), parameters=8)
    rounded = sc.integers(small_bits).arrays["0.weight"]
    only = {"layers": ("Linear",), "neurons": ("Leaky",), "resets": ("zero",), "recurrence": True}
    report = sc.check(small_bits, chip({"weight_bits": 2}, only), np.ones((4, 2, 6), "float32"))
    assert not report.objections, report
    rows = {row.name: row for row in report.rows}
    assert [row.kind for row in report.rows] == ["Linear", "Linear", "Recurrent", "Linear", "Leaky"]
    assert rows["0"].weights == np.count_nonzero(rounded.integers) < 30
    assert rows["0"].fan_in == np.count_nonzero(rounded.integers, axis=1).max()
    assert report.energy.uncounted == ()
    assert report.energy.synaptic_operations >= 4 * rows["0"].weights
    assert said(sc.check(sc.quantize(net, weights=4), chip({"weight_bits": 2})), "weights")
    assert not sc.check(sc.quantize(net, weights=2), chip({}, {"neurons": ("Leaky",), "resets": ("subtract",)})).ok


@pytest.mark.parametrize("name", ["loihi", "dynapse2", "speck", "spinnaker2"])
def test_a_quantised_network_is_judged_as_a_plain_one_with_its_weights(name):
    net = sc.Sequential(
        sc.Conv2d(1, 4, 3), sc.IF(), sc.Flatten(), sc.Linear(16, 6), sc.Recurrent(sc.Leaky(), sc.Linear(6, 6)),
        sc.Linear(6, 3), sc.Leaky(),
    )  # fmt: skip
    x = (np.random.default_rng(0).random((5, 4, 1, 4, 4)) < 0.5).astype("float32")
    plain = sc.Model(net, "numpy", input_shape=(1, 4, 4))
    few = sc.quantize(plain, 3, per="channel", scale="mse")
    state = plain.state()
    for key, found in sc.integers(few).arrays.items():
        state["params"][key][...] = found.integers * found.scale
    plain.load_state(state)
    assert (np.asarray(plain(x).spikes) == np.asarray(few(x).spikes)).all()
    assert sc.check(few, name, x) == sc.check(plain, name, x)


@pytest.mark.parametrize("layer", [sc.Linear(9, 40), sc.Conv1d(3, 8, 3), sc.ConvTranspose1d(3, 8, 3)], ids=type)
@pytest.mark.parametrize(("per", "power_of_two"), [("channel", False), ("tensor", False), ("channel", True)])
@pytest.mark.parametrize("bits", [2, 5, 9])
def test_weights_that_are_quantised_are_on_the_levels(layer, per, power_of_two, bits):
    """In float32, with few weights in a row, whose steps need not be among them."""
    shape = (9,) if isinstance(layer, sc.Linear) else (3, 9)
    net = sc.quantize(sc.Model(layer, "numpy", input_shape=shape), bits, per=per, power_of_two=power_of_two)
    (need,) = needs_of(net)
    assert levels_fit(need.values, bits)
    assert not levels_fit(need.values, bits - 2), need.values


def test_weights_on_levels_get_no_note():
    net = small()
    assert said(sc.check(net, chip({"weight_bits": 4})), "weights")[0].reason.startswith("those of layers 0, 2 are not")
    state = net.state()
    for name, value in state["params"].items():
        if name.endswith("weight"):
            value[:] = np.clip(np.round(value * 8), -7, 7) / 8
    net.load_state(state)
    assert not sc.check(net, chip({"weight_bits": 4})).objections


# ---- energy ---------------------------------------------------------------------------------------------------------


def test_energy_by_hand():
    """IF neurons that copy their input: 2 spikes meet 3 weights each, and as many spikes of theirs one each."""
    net = model(sc.Linear(2, 3, bias=False), sc.IF(threshold=0.5, **IMMEDIATE), sc.Linear(3, 1), sc.LI())
    state = net.state()
    state["params"]["0.weight"][:] = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    net.load_state(state)
    x = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.0]]], "float32")  # three steps of one sample
    energy = {"synaptic_operation": hardware.Known(2e-12, "here"), "neuron_update": hardware.Known(1e-12, "here")}
    found = sc.check(net, chip(energy=energy, conditions="as it is"), x).energy
    assert found.synaptic_operations == 2 + 2 + 2 + 2
    assert found.neuron_updates == 3 * 4
    assert found.joules == pytest.approx(8 * 2e-12 + 12 * 1e-12)
    assert found.source == SOURCES["here"]
    text = str(found)
    assert text.startswith("energy per sample: 0.028 nJ for 8.0 synaptic operations and 12 neuron updates")
    assert "without input and output" in text
    del energy["neuron_update"]
    found = sc.check(net, chip(energy=energy, conditions="as it is"), x).energy
    assert found.joules == pytest.approx(8 * 2e-12)
    assert "without updates of neurons" in found.conditions
    assert sc.check(net, chip(), x).energy.joules is None
    assert sc.check(net, chip()).energy is None


def test_samples_that_are_no_spikes_are_noted():
    analog = np.full((4, 2, 6), 0.5, "float32")
    binary = chip({}, {"graded_spikes": False})
    assert said(sc.check(small(), binary, analog), "inputs")[0].remedy.startswith("Encode samples as spikes")
    assert not sc.check(small(), binary, np.ones((4, 2, 6), "float32")).objections
    assert not sc.check(small(), binary, analog[0], num_steps=4, encoder=sc.spikegen.rate).objections


# ---- the report -----------------------------------------------------------------------------------------------------


def test_the_report_prints_and_becomes_json():
    report = sc.check(small(), "loihi", np.ones((4, 2, 6), "float32"))
    text = repr(report)
    assert text.startswith("check for Loihi\nlayer  kind")
    assert text.endswith("fits Loihi, as far as its public numbers tell")
    assert "8 neurons, 45 weights, 45 synapses, at least 2 cores; 45 multiply-adds per time step" in text
    assert "<table>" in report._repr_html_()
    again = json.loads(json.dumps(report.json))
    assert again["ok"] is True
    assert again["rows"][1]["fan_in"] == 6
    assert again["energy"]["joules"] == report.energy.joules
    assert again["objections"] == [one._asdict() for one in report.objections]
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.cores = 3


def test_a_network_of_one_layer_and_one_without_any():
    report = sc.check(sc.Model(sc.Leaky(**IMMEDIATE), "numpy", input_shape=4), "loihi")
    assert [row.name for row in report.rows] == ["(the network)"]
    assert report.ok
    report = sc.check(sc.Model(sc.Leaky(), "numpy", input_shape=4), "loihi")
    assert [row.verdict for row in report.rows] == ["does not fit"]
    assert str(report.objections[0]).startswith("DOES NOT FIT  the network: reset: ")
    assert sc.check(sc.Model(sc.Sequential(sc.Flatten()), "numpy", input_shape=4), "loihi").rows == ()


def test_wrong_arguments():
    with pytest.raises(
        ValueError, match=r"unknown chip 'loihi3'; did you mean 'loihi'\?.*or the path of a chip|unknown"
    ):
        sc.check(small(), "loihi3")
    with pytest.raises(ValueError, match="chip=3 must be a path, or a Chip"):
        sc.check(small(), 3)
    with pytest.raises(ValueError, match="num_steps and encoder say how x becomes a sequence: pass x, too"):
        sc.check(small(), "loihi", num_steps=4)
    with pytest.raises(ValueError, match="does not know the shape of a sample: pass x"):
        sc.check(sc.Model(sc.Sequential(sc.Leaky()), "numpy"), "loihi")
    with pytest.raises(FileNotFoundError, match=r"absent\.toml: there is no such chip file"):
        hardware.chip("absent.toml")


def test_samples_give_the_shape():
    report = sc.check(sc.Model(sc.Sequential(sc.Leaky(**IMMEDIATE)), "numpy"), "loihi", np.ones((3, 2, 5), "float32"))
    assert report.neurons == 5


# ---- chip files -----------------------------------------------------------------------------------------------------


def written(tmp_path, limits="", supports="", text=None):
    path = tmp_path / "mine.toml"
    path.write_text(BODY.format(limits=limits, supports=supports) if text is None else text, encoding="utf-8")
    return path


def test_a_chip_of_ones_own(tmp_path):
    limits = 'fan_in = { value = 5, source = "here", note = "measured" }'
    path = written(tmp_path, limits, 'neurons = { value = ["Leaky"], source = "here" }')
    report = sc.check(small(), path)
    assert [(one.layer, one.what) for one in report.objections] == [("1", "fan-in")]
    assert hardware.chip(path).limits["fan_in"] == (5, "here", "measured")
    assert sc.check(small(), hardware.chip(str(path))) == report


@pytest.mark.parametrize(
    ("limits", "supports", "message"),
    [
        ("fan_inn = 3", "", "limits: unknown key 'fan_inn'; did you mean 'fan_in'?"),
        ("fan_in = 3", "", 'limits.fan_in = 3: must be { value = ..., source = "a key of [sources]" }'),
        ('fan_in = { value = -3, source = "here" }', "", "limits.fan_in = -3: must be a whole number >= 1"),
        ('fan_in = { value = 3.5, source = "here" }', "", "limits.fan_in = 3.5: must be a whole number >= 1"),
        ('fan_in = { value = true, source = "here" }', "", "limits.fan_in = True: must be a whole number >= 1"),
        ('fan_in = { value = 3, source = "there" }', "", "limits.fan_in.source: unknown source 'there'"),
        ('fan_in = { value = 3, source = "here", why = "" }', "", "limits.fan_in: unknown key 'why'"),
        ('fan_in = { value = 3, source = "here", note = 4 }', "", "limits.fan_in.note = 4: must be a text"),
        ('strides = { value = 2, source = "here" }', "", "limits.strides = 2: must be a list of whole numbers >= 1"),
        (
            "",
            'neurons = { value = ["Leeky"], source = "here" }',
            "supports.neurons: unknown neuron 'Leeky'; did you mean",
        ),
        ("", 'layers = { value = "Linear", source = "here" }', "supports.layers = 'Linear': must be a list of names"),
        ("", 'resets = { value = ["half"], source = "here" }', "supports.resets: unknown reset 'half'"),
        ("", 'recurrence = { value = 1, source = "here" }', "supports.recurrence = 1: must be true or false"),
        ("", 'neurons = { value = ["RLeaky"], source = "here" }', "supports.neurons: unknown neuron 'RLeaky'"),
        ("", 'layers = { value = ["Quantized"], source = "here" }', "supports.layers: unknown layer 'Quantized'"),
        (
            'fan_in = { value = 3, source = ["here"] }',
            "",
            "limits.fan_in.source = ['here']: must be a key of [sources]",
        ),
        (
            'weight_bits = { value = 65, source = "here" }',
            "",
            "limits.weight_bits = 65: must be a whole number of bits",
        ),
        ('ram = { value = 65, source = "here" }', "", "limits.ram is of a processor, and limits.flash says"),
    ],
)
def test_mistakes_in_a_chip_file_are_named(tmp_path, limits, supports, message):
    path = written(tmp_path, limits, supports)
    with pytest.raises(hardware.ChipFileError, match=re.escape(f"{path}: {message}")):
        hardware.chip(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "Invalid value"),
        ("", "name is missing: must be a text"),
        ("name = 3", "name = 3: must be a text"),
        ("colour = 3", "unknown key 'colour'"),
        ("notes = 3", "notes = 3: must be a list of texts"),
        ("limits = 3", r"limits = 3: must be a table, \[limits\]"),
        ("[sources]\nhere = 3", "sources.here = 3: must be a text: authors"),
        ("[energy]\nneuron_update = 3", "energy.conditions is missing"),
        ('[energy]\nconditions = 3\nneuron_update = {value = 3.0, source = "x"}', "must be joules, > 0 and < 1e-3"),
    ],
)
def test_mistakes_in_the_rest_of_a_chip_file_are_named(tmp_path, text, message):
    with pytest.raises(hardware.ChipFileError, match=message):
        hardware.chip(written(tmp_path, text=text))


def test_all_mistakes_are_listed_at_once(tmp_path):
    path = written(tmp_path, "fan_inn = 3\nflash = 4", "colour = 5")
    with pytest.raises(hardware.ChipFileError) as caught:
        hardware.chip(path)
    assert len(str(caught.value).splitlines()) == 3
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(hardware.ChipFileError, match="not a text file in UTF-8"):
        hardware.chip(path)


def test_a_folder_is_no_chip_file(tmp_path):
    (tmp_path / "mine.toml").mkdir()
    with pytest.raises(hardware.ChipFileError, match=r"mine\.toml: cannot be read: "):
        hardware.chip(tmp_path / "mine.toml")


def test_a_chip_of_which_nothing_is_known(tmp_path):
    path = written(tmp_path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())  # as an editor of Windows writes it
    assert repr(hardware.chip(path)) == f"Test (nobody): a chip for tests\nhere: {SOURCES['here']}"
    assert sc.check(small(), path).ok


PAGE = Path(__file__).parent.parent / "docs" / "hardware.md"


@pytest.mark.skipif(not PAGE.is_file(), reason="docs/ is not part of this tree")
def test_the_page_has_every_chip_and_a_file_that_is_right(tmp_path):
    text = PAGE.read_text("utf-8")
    assert set(re.findall(r"^\| `([a-z0-9-]+)` \| [A-Za-z]", text, re.MULTILINE)) >= set(hardware.chips())
    found = hardware.chip(written(tmp_path, text=text.partition("```toml")[2].partition("```")[0]))
    assert found.limit("cores") == 16
    assert not sc.check(small(), found).objections[1:], "weights are not on its levels"


# ---- the command line -----------------------------------------------------------------------------------------------

RUN = """
[data]
name = "digits"
[encoder]
kind = "rate"
num_steps = 4
[network]
layers = [
  { kind = "Linear", in_features = 64, out_features = 10 },
  { kind = "Leaky", reset_mechanism = "zero", reset_delay = false },
]
"""


@pytest.fixture
def spikecore(tmp_path, monkeypatch, capsys):
    """Calls the command line: exit code, stdout, stderr."""
    pytest.importorskip("typer", reason="the command line is an extra")
    pytest.importorskip("sklearn", reason="the digits come with scikit-learn")
    from spikecore.cli.command import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits.toml").write_text(RUN)

    def call(*arguments):
        with pytest.raises(SystemExit) as left:
            main([str(one) for one in arguments])
        told = capsys.readouterr()
        return left.value.code, told.out, told.err

    return call


def test_the_command(spikecore, tmp_path):
    code, out, _ = spikecore("check", "digits.toml", "--for", "loihi", "--samples", "2")
    assert code == 0
    assert "fits Loihi, as far as its public numbers tell" in out
    assert "energy per sample: " in out
    code, out, _ = spikecore("check", "digits.toml", "--for", "xylo", "--samples", "0", "--json")
    assert code == 1
    report = json.loads(out)
    assert report["ok"] is False
    assert report["energy"] is None
    assert {"neuron", "inputs", "outputs"} <= {one["what"] for one in report["objections"]}
    path = written(tmp_path, 'fan_in = { value = 63, source = "here" }')
    code, out, _ = spikecore("check", "digits.toml", "--for", path)
    assert code == 1
    assert "layer 1: fan-in: a neuron has 64 inputs, the chip allows 63" in out


def test_mistakes_of_the_command(spikecore, tmp_path):
    code, _, err = spikecore("check", "digits.toml", "--for", "loihi3")
    assert code == 2
    assert "--for loihi3: unknown target 'loihi3'; did you mean 'loihi" in err
    code, _, err = spikecore("check", "digits.toml", "--for", written(tmp_path, "fan_in = 3"))
    assert code == 2
    assert "limits.fan_in = 3: must be" in err
    code, _, err = spikecore("check", "digits.toml", "--samples", "3")
    assert code == 2
    assert "--samples 3: is for chips" in err

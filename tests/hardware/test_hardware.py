"""Networks against chips: what fits, what does not, and by how much; the report and its energy."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

import spikecore as sc
from spikecore import hardware
from tests.hardware.hardware_rig import IMMEDIATE, SOURCES, chip, known, model, said, small


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
        sc.Linear(60, 64), sc.AdEx(reset_mechanism="zero"), sc.Linear(64, 4), sc.Leaky(**IMMEDIATE)
    ),
    "brainscales2": lambda: model(sc.Linear(100, 100), sc.Leaky(**IMMEDIATE), sc.Linear(100, 2), sc.LI()),
    "cortex-m4": lambda: small(),
    "cortex-m0plus": lambda: small(),
}  # fmt: skip


@pytest.mark.parametrize("name", hardware.chips())
def test_networks_that_fit(name):
    report = sc.hardware.check(FITTING[name](), name)
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
    report = sc.hardware.check(model(*layers, shape=shape), name)
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
    assert sc.hardware.check(small(), chip({name: has, **each})).ok
    report = sc.hardware.check(small(), chip({name: has - 1, **each}))
    assert [one.what.replace("-", "_") for one in report.objections if one.error] == [name]
    assert str(has) in report.objections[0].reason
    assert str(has - 1) in report.objections[0].reason


@pytest.mark.parametrize(
    ("name", "has"),
    [("kernel_size", 4), ("padding", 2), ("channels", 6), ("input_size", 9), ("output_size", 6)],
)
def test_limits_of_convolutions_hold_to_the_unit(name, has):
    net = model(sc.Conv2d(1, 6, (4, 3), stride=(2, 1), padding=(2, 0)), sc.Leaky(), shape=(1, 9, 8))
    assert sc.hardware.check(net, chip({name: has, "strides": (1, 2)})).ok
    report = sc.hardware.check(net, chip({name: has - 1, "strides": (1, 3)}))
    reasons = {one.what: one.reason for one in report.objections}
    assert reasons == {
        name.replace("_", " "): f"it is {has}, the chip allows {has - 1}",
        "stride": "it is (2, 1), the chip allows 1, 3",
    }


def test_cores_are_counted_by_neurons_and_by_memory():
    net = small()
    report = sc.hardware.check(net, chip({"neurons_per_core": 2}))
    assert [row.cores for row in report.rows if row.neurons] == [3, 2]
    assert report.cores == 5
    report = sc.hardware.check(net, chip({"memory_per_core": 15, "weight_bits": 4}))
    assert report.cores == 1 + 1, "30 and 15 weights of half a byte"
    report = sc.hardware.check(net, chip({"memory_per_core": 14, "weight_bits": 4}))
    assert report.cores == 2 + 1
    assert sc.hardware.check(net, chip({"memory_per_core": 14})).cores is None, "nobody knows how large a weight is"


def test_a_shared_kernel_is_stored_once():
    net = model(sc.Conv1d(1, 2, 3, padding=1), sc.Leaky(), shape=(1, 50))
    limits = {"memory_per_core": 6, "weight_bits": 8}
    assert sc.hardware.check(net, chip(limits, {"shared_weights": True})).cores == 1
    assert sc.hardware.check(net, chip(limits)).cores == -(-(2 * 148) // 6)


def test_layers_that_take_a_core_as_a_whole():
    whole = chip({"cores": 2, "neurons_per_core": 4}, {"whole_layers": True})
    report = sc.hardware.check(small(), whole)
    assert [one.layer for one in said(report, "core")] == ["1"]
    assert report.cores == 2


def test_what_a_chip_does_not_do():
    nothing = chip({}, dict.fromkeys(("recurrence", "graded_spikes", "own_neurons"), False))
    net = model(
        sc.Linear(6, 5), sc.RLeaky(linear_features=5, graded_spikes_factor=2.0, inhibition=True), sc.BatchNorm1d(5),
        sc.Linear(5, 2),
    )  # fmt: skip
    report = sc.hardware.check(net, nothing)
    assert [one.what for one in report.objections] == ["recurrence", "graded spikes", "inhibition", "readout"]
    listed = dataclasses.replace(nothing, supports=known(layers=("Linear",), neurons=("Synaptic",)))
    report = sc.hardware.check(net, listed)
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
    assert not sc.hardware.check(model(sc.Linear(3, 2), Twice()), only).ok
    assert sc.hardware.check(model(sc.Linear(3, 2), Named()), only).ok


def test_a_programmable_chip_asks_for_a_program():
    supports = {"neurons": ("Leaky",), "resets": ("zero",), "own_neurons": True}
    report = sc.hardware.check(model(sc.Linear(3, 2), sc.ALIF(), sc.Linear(2, 2), sc.Leaky()), chip({}, supports))
    assert report.ok
    assert [(one.what, one.error) for one in report.objections] == [("neuron", False), ("reset", False)]


def test_what_is_not_public_is_listed_and_not_checked():
    report = sc.hardware.check(small(), chip({"fan_in": 100}))
    assert "fan_in" not in report.unknown
    assert {"cores", "neurons_per_core", "memory_per_core", "fan_out", "weight_bits", "layers"} <= set(report.unknown)
    many = sc.hardware.check(small(), chip({"neurons": 100}))
    assert "neurons" in many.unknown, "how many is known, but not which"
    assert "not known, so not checked: cores, " in str(report)


# ---- energy ---------------------------------------------------------------------------------------------------------


def test_energy_by_hand():
    """IF neurons that copy their input: 2 spikes meet 3 weights each, and as many spikes of theirs one each."""
    net = model(sc.Linear(2, 3, bias=False), sc.IF(threshold=0.5, **IMMEDIATE), sc.Linear(3, 1), sc.LI())
    state = net.state()
    state["params"]["0.weight"][:] = [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]
    net.load_state(state)
    x = np.array([[[1.0, 0.0]], [[0.0, 1.0]], [[0.0, 0.0]]], "float32")  # three steps of one sample
    energy = {"synaptic_operation": hardware.Known(2e-12, "here"), "neuron_update": hardware.Known(1e-12, "here")}
    found = sc.hardware.check(net, chip(energy=energy, conditions="as it is"), x).energy
    assert found.synaptic_operations == 2 + 2 + 2 + 2
    assert found.neuron_updates == 3 * 4
    assert found.joules == pytest.approx(8 * 2e-12 + 12 * 1e-12)
    assert found.source == SOURCES["here"]
    text = str(found)
    assert text.startswith("energy per sample: 0.028 nJ for 8.0 synaptic operations and 12 neuron updates")
    assert "without input and output" in text
    del energy["neuron_update"]
    found = sc.hardware.check(net, chip(energy=energy, conditions="as it is"), x).energy
    assert found.joules == pytest.approx(8 * 2e-12)
    assert "without updates of neurons" in found.conditions
    assert sc.hardware.check(net, chip(), x).energy.joules is None
    assert sc.hardware.check(net, chip()).energy is None


def test_samples_that_are_no_spikes_are_noted():
    analog = np.full((4, 2, 6), 0.5, "float32")
    binary = chip({}, {"graded_spikes": False})
    assert said(sc.hardware.check(small(), binary, analog), "inputs")[0].remedy.startswith("Encode samples as spikes")
    assert not sc.hardware.check(small(), binary, np.ones((4, 2, 6), "float32")).objections
    assert not sc.hardware.check(small(), binary, analog[0], num_steps=4, encoder=sc.spikegen.rate).objections


# ---- the report -----------------------------------------------------------------------------------------------------


def test_the_report_prints_and_becomes_json():
    report = sc.hardware.check(small(), "loihi", np.ones((4, 2, 6), "float32"))
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
    report = sc.hardware.check(sc.Model(sc.Leaky(**IMMEDIATE), "numpy", input_shape=4), "loihi")
    assert [row.name for row in report.rows] == ["(the network)"]
    assert report.ok
    report = sc.hardware.check(sc.Model(sc.Leaky(), "numpy", input_shape=4), "loihi")
    assert [row.verdict for row in report.rows] == ["does not fit"]
    assert str(report.objections[0]).startswith("DOES NOT FIT  the network: reset: ")
    assert sc.hardware.check(sc.Model(sc.Sequential(sc.Flatten()), "numpy", input_shape=4), "loihi").rows == ()


def test_wrong_arguments():
    with pytest.raises(
        ValueError, match=r"unknown chip 'loihi3'; did you mean 'loihi'\?.*or the path of a chip|unknown"
    ):
        sc.hardware.check(small(), "loihi3")
    with pytest.raises(ValueError, match="chip=3 must be a path, or a Chip"):
        sc.hardware.check(small(), 3)
    with pytest.raises(ValueError, match="num_steps and encoder say how x becomes a sequence: pass x, too"):
        sc.hardware.check(small(), "loihi", num_steps=4)
    with pytest.raises(ValueError, match="does not know the shape of a sample: pass x"):
        sc.hardware.check(sc.Model(sc.Sequential(sc.Leaky()), "numpy"), "loihi")
    with pytest.raises(FileNotFoundError, match=r"absent\.toml: there is no such chip file"):
        hardware.chip("absent.toml")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"limits": known(fan_inn=3)}, "limits: unknown key 'fan_inn'; did you mean 'fan_in'"),
        ({"supports": known(neuron=("Leaky",))}, "supports: unknown key 'neuron'; did you mean 'neurons'"),
        ({"energy": known(update=1e-12)}, "energy: unknown key 'update'"),
        ({"limits": {"fan_in": hardware.Known(3, "there")}}, r"limits\.fan_in: unknown source 'there'"),
    ],
)
def test_a_chip_with_wrong_names_is_refused(fields, message):
    """Nothing would be checked by them, and nothing would say so."""
    with pytest.raises(ValueError, match=f"Chip: {message}"):
        dataclasses.replace(chip(), **fields)


def test_samples_give_the_shape():
    report = sc.hardware.check(
        sc.Model(sc.Sequential(sc.Leaky(**IMMEDIATE)), "numpy"), "loihi", np.ones((3, 2, 5), "float32")
    )
    assert report.neurons == 5

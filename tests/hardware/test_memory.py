"""Flash and RAM of processors, and networks in few bits."""

from __future__ import annotations

import re

import numpy as np
import pytest

import spikecore as sc
from spikecore.hardware.needs import levels_fit, needs_of
from tests.hardware.hardware_rig import IMMEDIATE, chip, model, said, small


def test_memory_of_a_processor_by_hand():
    """30 + 5 and 15 + 3 weights and biases; a state for each of 8 neurons; most at once are 6 inputs, 5 outputs.

    In C, there are scratch for sums of 5 and of 3 numbers, and the caller's arrays of input and output.
    """
    report = sc.hardware.check(small(), "cortex-m4")
    assert report.memory == (("float32", 53 * 4, 64 + (6 + 3) * 4, True, True), ("int8", 53, (8 + 11) * 4, True, False))
    tight = chip({"flash": 100, "ram": 100})
    report = sc.hardware.check(small(), tight)
    assert [one.fits for one in report.memory] == [False, True]
    assert said(report, "flash")[0].remedy == "Quantise them to int8, which fits"
    assert [one.what for one in sc.hardware.check(small(), chip({"flash": 500, "ram": 99})).objections] == ["ram"]


def in_integers(**options):
    return sc.compression.quantize(small(), states=sc.compression.FixedPoint(16, 8), parameters=8, **options)


@pytest.mark.parametrize(
    ("net", "kind", "options"),
    [
        (small, "float32", {}),
        (lambda: in_integers(inputs=sc.compression.FixedPoint(8, 4)), "fixed", {}),
        (lambda: in_integers(), "fixed", {"inputs": "spikes"}),
    ],
)
def test_memory_of_a_processor_is_that_of_the_c_that_is_written(tmp_path, net, kind, options):
    row = next(row for row in sc.hardware.check(net(), "cortex-m4").memory if row.type == kind)
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
    report = sc.hardware.check(net, "cortex-m4")
    assert [row.exact for row in report.memory] == [False, False]
    assert report.ok
    assert [(one.what, one.error, one.remedy) for one in report.objections] == [
        ("C, float32", False, "Flash and RAM are estimates")
    ]
    assert "PSN" in report.objections[0].reason
    assert " estimated, without the program: fits" in str(report)


def test_a_network_in_integers_is_judged_in_them():
    net = in_integers()
    assert sc.hardware.check(net, chip({"flash": 100, "ram": 100})).ok
    assert [one.what for one in sc.hardware.check(small(), chip({"flash": 100, "ram": 100})).objections] == ["flash"]
    assert (
        said(sc.hardware.check(net, chip({"flash": 50, "ram": 100})), "flash")[0].remedy
        == "Prune or narrow the network"
    )


# ---- quantised networks ---------------------------------------------------------------------------------------------


def test_a_quantised_network_is_judged_as_what_it_computes_with():
    """Float weights are stored, rounded ones count: for levels, zeros, fan-in, operations and allowed layers."""
    net = model(
        sc.Linear(6, 5), sc.Recurrent(sc.Leaky(**IMMEDIATE), sc.Linear(5, 5, bias=False)), sc.Linear(5, 3),
        sc.Leaky(**IMMEDIATE),
    )  # fmt: skip
    small_bits = sc.compression.quantize(net, weights=2, states=sc.compression.FixedPoint(16, 8), parameters=8)
    rounded = sc.compression.integers(small_bits).arrays["0.weight"]
    only = {"layers": ("Linear",), "neurons": ("Leaky",), "resets": ("zero",), "recurrence": True}
    report = sc.hardware.check(small_bits, chip({"weight_bits": 2}, only), np.ones((4, 2, 6), "float32"))
    assert not report.objections, report
    rows = {row.name: row for row in report.rows}
    assert [row.kind for row in report.rows] == ["Linear", "Linear", "Recurrent", "Linear", "Leaky"]
    assert rows["0"].weights == np.count_nonzero(rounded.integers) < 30
    assert rows["0"].fan_in == np.count_nonzero(rounded.integers, axis=1).max()
    assert report.energy.uncounted == ()
    assert report.energy.synaptic_operations >= 4 * rows["0"].weights
    assert said(sc.hardware.check(sc.compression.quantize(net, weights=4), chip({"weight_bits": 2})), "weights")
    assert not sc.hardware.check(
        sc.compression.quantize(net, weights=2), chip({}, {"neurons": ("Leaky",), "resets": ("subtract",)})
    ).ok


@pytest.mark.parametrize("name", ["loihi", "dynapse2", "speck", "spinnaker2"])
def test_a_quantised_network_is_judged_as_a_plain_one_with_its_weights(name):
    net = sc.Sequential(
        sc.Conv2d(1, 4, 3), sc.IF(), sc.Flatten(), sc.Linear(16, 6), sc.Recurrent(sc.Leaky(), sc.Linear(6, 6)),
        sc.Linear(6, 3), sc.Leaky(),
    )  # fmt: skip
    x = (np.random.default_rng(0).random((5, 4, 1, 4, 4)) < 0.5).astype("float32")
    plain = sc.Model(net, "numpy", input_shape=(1, 4, 4))
    few = sc.compression.quantize(plain, 3, per="channel", scale="mse")
    state = plain.state()
    for key, found in sc.compression.integers(few).arrays.items():
        state["params"][key][...] = found.integers * found.scale
    plain.load_state(state)
    assert (np.asarray(plain(x).spikes) == np.asarray(few(x).spikes)).all()
    assert sc.hardware.check(few, name, x) == sc.hardware.check(plain, name, x)


@pytest.mark.parametrize("layer", [sc.Linear(9, 40), sc.Conv1d(3, 8, 3), sc.ConvTranspose1d(3, 8, 3)], ids=type)
@pytest.mark.parametrize(("per", "power_of_two"), [("channel", False), ("tensor", False), ("channel", True)])
@pytest.mark.parametrize("bits", [2, 5, 9])
def test_weights_that_are_quantised_are_on_the_levels(layer, per, power_of_two, bits):
    """In float32, with few weights in a row, whose steps need not be among them."""
    shape = (9,) if isinstance(layer, sc.Linear) else (3, 9)
    net = sc.compression.quantize(sc.Model(layer, "numpy", input_shape=shape), bits, per=per, power_of_two=power_of_two)
    (need,) = needs_of(net)
    assert levels_fit(need.values, bits)
    assert not levels_fit(need.values, bits - 2), need.values


def test_weights_on_levels_get_no_note():
    net = small()
    assert said(sc.hardware.check(net, chip({"weight_bits": 4})), "weights")[0].reason.startswith(
        "those of layers 0, 2 are not"
    )
    state = net.state()
    for name, value in state["params"].items():
        if name.endswith("weight"):
            value[:] = np.clip(np.round(value * 8), -7, 7) / 8
    net.load_state(state)
    assert not sc.hardware.check(net, chip({"weight_bits": 4})).objections

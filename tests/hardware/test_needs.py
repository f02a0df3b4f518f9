"""What a network needs of a chip: inputs and targets of a neuron, weights, levels, resets."""

from __future__ import annotations

import json

import numpy as np
import pytest

import spikecore as sc
from spikecore.conformance import cases
from spikecore.hardware.needs import levels_fit, needs_of
from spikecore.hardware.resets import reset_of
from tests.hardware.hardware_rig import model, small


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
        report = sc.hardware.check(sc.Model(case.layer, "numpy", input_shape=case.shape), "loihi", x)
        assert report.energy.joules >= 0.0, case
        assert json.dumps(report.json), case
        assert str(report).startswith("check for Loihi"), case


def test_operations_inside_of_neurons_are_said_to_be_left_out():
    report = sc.hardware.check(model(sc.SLSTM(input_size=4, hidden_size=3), sc.Linear(3, 2), sc.Leaky()), "cortex-m4")
    assert "6 multiply-adds per time step if no input is zero, without those inside 0\n" in str(report)
    report = sc.hardware.check(model(sc.ConvTranspose1d(1, 2, 3, bias=False), sc.Leaky(), shape=(1, 4)), "cortex-m4")
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

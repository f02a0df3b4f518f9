"""Networks through NIR graphs and files: the spikes after are the spikes before, and what is lost is named."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

nir = pytest.importorskip("nir", reason="nir is not installed (extra 'nir', Python >= 3.9)")

import spikecore as sc  # noqa: E402
from spikecore.compression import FixedPoint, ScaledInteger  # noqa: E402
from spikecore.functional.quant import state_quant  # noqa: E402
from spikecore.nir import (  # noqa: E402
    FlattenAxes,
    Graph,
    NirError,
    NirLoss,
    SumPool2d,
    export_to_nir,
    model_from_nir,
    network_from_nir,
)
from tests.nir.nir_rig import graph_of, inputs, round_trip, through_file  # noqa: E402

N = 5
DECAYS = np.linspace(0.5, 0.95, N)
MEMBRANES = {
    "leaky": lambda **o: sc.Leaky(beta=0.8, **o),
    "leaky-arrays": lambda **o: sc.Leaky(beta=DECAYS, threshold=np.linspace(0.6, 1.2, N), **o),
    "leaky-learned": lambda **o: sc.Leaky(beta=sc.learn(0.8, per="neuron"), threshold=sc.learn(0.9), **o),
    "leaky-tau": lambda **o: sc.Leaky(beta=sc.learn_tau(4.0), **o),
    "if": lambda **o: sc.IF(threshold=1.3, **o),
    "plif": lambda **o: sc.PLIF(beta=sc.learn(0.6, per="neuron"), threshold=0.4, **o),
    "plif-input": lambda **o: sc.PLIF(beta=sc.learn(0.8), decay_input=False, **o),
    "plif-constant": lambda **o: sc.PLIF(beta=DECAYS, threshold=0.3, **o),
    "synaptic": lambda **o: sc.Synaptic(alpha=sc.learn(0.6), beta=DECAYS, threshold=2.0, **o),
    "lapicque": lambda **o: sc.Lapicque(R=4.0, C=sc.learn(1.7), time_step=0.8, threshold=0.7, **o),
    "rleaky": lambda **o: sc.RLeaky(beta=0.7, linear_features=N, **o),
    "rleaky-one": lambda **o: sc.RLeaky(beta=0.7, V=sc.learn(-0.3), all_to_all=False, **o),
    "rleaky-fixed": lambda **o: sc.RLeaky(beta=0.7, V=np.linspace(-1.0, 0.5, N), all_to_all=False, **o),
    "rsynaptic": lambda **o: sc.RSynaptic(alpha=0.5, beta=0.7, linear_features=N, threshold=1.5, **o),
    "recurrent": lambda **o: sc.Recurrent(sc.IF(graded_spikes_factor=sc.learn(0.7), **o), sc.Linear(N, N, bias=False)),
    "graded": lambda **o: sc.Leaky(beta=0.8, graded_spikes_factor=2.5, **o),
}
RESETS = [(name, delay) for name in ("subtract", "subtract_decayed", "zero", "none") for delay in (True, False)]
OTHERS = {
    "li": sc.LI(beta=0.9),
    "li-learned": sc.LI(beta=sc.learn(0.9, per="neuron")),
    "integrator": sc.LI(beta=1.0),
    "feedback-of-a-membrane": sc.Recurrent(sc.LI(beta=0.8), sc.OneToOne(-0.5)),
    "feedback-of-a-threshold": sc.Recurrent(sc.Leaky(beta=0.0, reset_mechanism="none"), sc.Linear(N, N)),
    "threshold": sc.Leaky(beta=0.0, reset_mechanism="none", threshold=0.7),
    "one-to-one": sc.OneToOne(sc.learn(0.5)),
    "graded-spikes": sc.GradedSpikes(N),
    "delay": sc.Delay(3),
    "delays": sc.Delay([1, 0, 3, 2, 1]),
    "delays-learned": sc.Delay(sc.learn([1, 0, 3, 2, 1]), max_delay=6),
    "delay-learned": sc.Delay(sc.learn(2.0), max_delay=2),
    "steps-after-an-integrator": sc.Sequential(sc.LI(beta=0.5), sc.Leaky(beta=[0.0] * N, reset_mechanism="none")),
    "twice": sc.Sequential(sc.Linear(N, N), sc.Residual(sc.Sequential())),
    "gain": sc.Sequential(
        sc.OneToOne(np.linspace(0.3, 0.9, N)), sc.Synaptic(reset_mechanism="zero", reset_delay=False)
    ),
}


@pytest.mark.parametrize(("reset", "delay"), RESETS)
@pytest.mark.parametrize("name", MEMBRANES)
def test_every_neuron_with_every_reset_spikes_as_before(name, reset, delay, tmp_path):
    network = MEMBRANES[name](reset_mechanism=reset, reset_delay=delay)
    before, after, again, losses = round_trip(network, (N,), tmp_path)
    assert 0.02 < (before != 0).mean() < 0.999
    assert np.array_equal(before, after)
    assert type(again.network.layers[0]) is type(network)
    recurrent = name.startswith("r")
    exact = reset == "none" or (reset == "zero" and (not delay or (name in ("leaky", "if", "leaky-arrays"))))
    if exact:
        assert losses == []
    elif reset.startswith("subtract"):
        assert len(losses) == 1
        assert f"reset_mechanism={reset!r}, reset_delay={delay}" in losses[0]
    elif recurrent or name in ("synaptic", "lapicque"):
        assert len(losses) == (name != "recurrent")


def test_a_gate_is_read_back_as_what_is_learned(tmp_path):
    network = sc.PLIF(beta=sc.learn(np.linspace(0.2, 0.9, N)))
    _, _, again, _ = round_trip(network, (N,), tmp_path)
    (read,) = again.params().values()
    np.testing.assert_allclose(read, sc.Model(network, input_shape=(N,)).params()["beta"], rtol=1e-5)
    assert again.network.layers[0].decay_input


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_layer_computes_as_before(name, tmp_path):
    before, after, again, losses = round_trip(OTHERS[name], (N,), tmp_path)
    assert (before != 0).any()
    assert np.array_equal(before, after)
    assert losses == []
    if isinstance(again.network, sc.Sequential) and name.startswith("steps"):
        assert [type(layer) for layer in again.network.layers] == [sc.LI, sc.Leaky]
    assert again.params().keys() == {
        f"0.{key}" if not isinstance(OTHERS[name], sc.Sequential) else key
        for key in sc.Model(OTHERS[name], input_shape=(N,)).params()
    }


def test_a_sum_of_branches_becomes_edges_that_meet(tmp_path):
    branches = sc.Add(sc.Linear(N, N), sc.Sequential(), sc.Linear(N, N, bias=False))
    before, after, again, _ = round_trip(sc.Sequential(branches, sc.LI(beta=0.5)), (N,), tmp_path)
    assert np.array_equal(before, after)
    assert len(again.params()) == 3


def test_the_membrane_before_the_first_step_is_noted(tmp_path):
    before, after, again, losses = round_trip(
        sc.IF(threshold=1.3, initial_mem=0.6, reset_mechanism="zero"), (N,), tmp_path
    )
    assert again.network.layers[0].initial_mem == 0.6
    assert np.array_equal(before, after)
    assert losses == ["layer if (IF): initial_mem=0.6: NIR's neurons begin at 0, so others fire later"]


MAPS = [
    sc.Conv2d(2, 4, (3, 5), stride=(1, 2), padding=(1, 2), groups=2, bias=False),
    sc.Leaky(beta=sc.learn(0.8, per="channel"), threshold=0.3),
    sc.AvgPool2d(2, padding=1),
    sc.Residual(sc.Sequential(sc.Conv2d(4, 4, 3, padding=1), sc.RLeaky(conv2d_channels=4, kernel_size=3))),
    SumPool2d(2),
    sc.GradedSpikes(4),
    FlattenAxes(1, 2),
    sc.Flatten(),
    sc.Linear(8, 6),
    sc.RSynaptic(linear_features=6, threshold=0.5),
    sc.Linear(6, 3, bias=False),
    sc.LI(),
]


def test_a_network_of_maps_computes_as_before(tmp_path):
    before, after, again, losses = round_trip(sc.Sequential(*MAPS), (2, 7, 10), tmp_path, scale=4.0)
    assert np.array_equal(before, after)
    assert isinstance(again.network, Graph)  # the residual is no chain
    assert again.network.layers[:3] == (MAPS[0], replace(MAPS[1], beta=again.network.layers[1].beta), MAPS[2])
    assert len(losses) == 3


def test_a_network_of_lines_computes_as_before(tmp_path):
    network = sc.Sequential(
        sc.Conv1d(2, 3, 3, stride=2, dilation=2), sc.Synaptic(threshold=0.5), sc.Flatten(), sc.Linear(9, 4), sc.Leaky()
    )
    before, after, again, _ = round_trip(network, (2, 9), tmp_path, scale=3.0)
    assert before.any()
    assert np.array_equal(before, after)
    assert again.network == network


def test_options_surrogates_and_what_is_learned_come_back(tmp_path):
    network = sc.Sequential(
        sc.Linear(4, N),
        sc.Leaky(beta=sc.learn(0.9, per="neuron"), surrogate=sc.surrogate.fast_sigmoid(slope=10.0), reset_delay=False),
        sc.RLeaky(beta=0.6, V=sc.learn(0.3), all_to_all=False, reset_mechanism="subtract_decayed"),
        sc.Lapicque(beta=0.8, R=2.0),
    )
    graph, _ = graph_of(sc.Model(network, input_shape=(4,)))
    again = network_from_nir(through_file(graph, tmp_path)).network
    assert again.layers[1] == replace(network.layers[1], beta=again.layers[1].beta)  # the values are the present ones
    assert again.layers[2] == replace(network.layers[2], V=again.layers[2].V)
    assert (again.layers[1].beta.per, again.layers[2].V.per) == ("neuron", None)
    assert abs(again.layers[3].R - 2.0) < 1e-12


def test_trained_values_and_not_the_first_ones_are_exported(tmp_path):
    model = sc.Model(sc.Sequential(sc.Linear(4, N), sc.Leaky(beta=sc.learn(0.9))), seed=1)
    state = model.state()
    state["params"]["1.beta"] = np.asarray(0.4, dtype=np.float32)
    model.load_state(state)
    graph, _ = graph_of(model)
    assert np.allclose(graph.nodes["1"].tau, 1e-4 / 0.6)
    again = model_from_nir(through_file(graph, tmp_path))
    assert all(np.array_equal(value, again.params()[name]) for name, value in model.params().items())


def test_a_changed_time_constant_is_read_as_changed(tmp_path):
    graph, _ = graph_of(sc.Model(sc.Leaky(beta=sc.learn(0.9)), input_shape=(3,)))
    graph.nodes["leaky"].tau = np.array([1e-3, 2e-3, 5e-4])
    graph.nodes["leaky"].r = graph.nodes["leaky"].tau / 1e-4
    again = model_from_nir(graph)
    assert np.allclose(again.params()["0.beta"], 1 - 1e-4 / np.array([1e-3, 2e-3, 5e-4]))


def test_dt_is_stored_and_may_be_given(tmp_path):
    model = sc.Model(sc.Leaky(beta=0.9, reset_mechanism="zero"), input_shape=(3,))
    graph = export_to_nir(model, dt=1e-3)
    assert graph.metadata["dt"] == 1e-3
    assert graph.nodes["leaky"].tau == pytest.approx(1e-2)
    path = through_file(graph, tmp_path)
    assert network_from_nir(path).network.layers[0].beta == 0.9
    assert network_from_nir(path, dt=2e-3).network.layers[1].beta == pytest.approx(0.8)  # and a gain of 2 before it


def test_the_loss_stands_in_warning_and_metadata():
    model = sc.Model(sc.Sequential(sc.Linear(2, 2), sc.Leaky()))
    with pytest.warns(NirLoss, match=r"layer 1 \(Leaky\): reset_mechanism='subtract', reset_delay=True"):
        graph = export_to_nir(model, model_name="mine")
    assert graph.metadata["losses"].startswith("layer 1 (Leaky): reset_mechanism='subtract'")
    assert graph.metadata["name"] == "mine"
    assert json.loads(graph.nodes["1"].metadata["spikecore"])["options"]["reset_delay"] is True
    with pytest.warns(NirLoss, match=r"layer 1 \(Dropout\): left out"):
        graph = export_to_nir(sc.Sequential(sc.Linear(2, 2), sc.Dropout(), sc.LI()))
    assert set(graph.nodes) == {"input", "0", "2", "output"}


def test_a_network_that_is_no_chain_saves_trains_and_verifies(tmp_path):
    network = sc.Sequential(sc.Linear(4, N), sc.Residual(sc.Sequential(sc.Linear(N, N), sc.Leaky())), sc.Leaky())
    graph, _ = graph_of(sc.Model(network))
    model = model_from_nir(graph, engine="numpy")
    x = inputs((4,))
    report = sc.verify(model, x, np.array([0, 1, 2]))
    assert report.ok, str(report)
    model.save(tmp_path / "model.st")
    again = sc.load(tmp_path / "model.st", classes=[Graph])
    assert np.array_equal(model(x).spikes, again(x).spikes)
    first, second = model(x[:9]), model(x[9:], state=model(x[:9]).state)
    assert np.array_equal(np.concatenate([first.spikes, second.spikes]), model(x).spikes)
    again, _ = graph_of(model)
    assert {type(node) for node in again.nodes.values()} == {type(node) for node in graph.nodes.values()}


def test_delays_continue_and_have_gradients():
    model = sc.Model(sc.Sequential(sc.Linear(4, N), sc.Delay([1, 0, 3, 2, 1]), sc.Leaky()))
    x = inputs((4,))
    first, second = model(x[:2]), model(x[2:], state=model(x[:2]).state)
    assert np.array_equal(np.concatenate([first.spikes, second.spikes]), model(x).spikes)
    assert np.array_equal(model(x[0], num_steps=9).spikes, model(np.repeat(x[:1], 9, axis=0)).spikes)
    report = sc.verify(model, x, np.array([0, 1, 2]))
    assert report.ok, str(report)


def test_quantised_weights_are_written_as_they_are_rounded():
    grid = ScaledInteger(3, "channel", "learned")
    leaky = sc.Leaky(beta=0.8, threshold=0.1, reset_mechanism="zero", reset_delay=False)
    model = sc.Model(
        sc.Sequential(
            sc.Quantized(sc.Linear(4, N), grid, bias_quant=ScaledInteger(4)),
            sc.Recurrent(leaky, sc.Quantized(sc.Linear(N, N), grid)),
            sc.Quantized(sc.Linear(N, 2, bias=False), ScaledInteger(2)),
            sc.LI(),
        )
    )
    with pytest.warns(NirLoss, match="their grid is not"):
        graph = export_to_nir(model)
    again = model_from_nir(graph, engine="numpy")
    x = inputs((4,))
    assert np.array_equal(model(x).spikes, again(x).spikes)
    weights = [value for name, value in again.params().items() if name.endswith("weight")]
    assert len(np.unique(abs(weights[-1]))) == 2, "zero and the scale"


class Own(sc.Leaky):
    """Whoever extends a neuron may have changed what it does."""


REFUSED = [
    (sc.MaxPool2d(2), (1, 4, 4), r"layer maxpool2d \(MaxPool2d\): NIR has no such node; use AvgPool2d"),
    (
        sc.Sequential(sc.Linear(4, 4), sc.BatchNorm1d(4)),
        (4,),
        r"layer 1 \(BatchNorm1d\).*sc.compression.fold_batch_norm",
    ),
    (sc.QuantizedNeuron(sc.Leaky()), (4,), r"\(QuantizedNeuron\): NIR has no such node; export the neuron inside"),
    (sc.Quantized(sc.Linear(4, 4), input_quant=FixedPoint()), (4,), "input_quant, output_quant"),
    (sc.Sequential(sc.Concat(sc.Linear(4, 4), sc.Linear(4, 4))), (4,), r"layer 0 \(Concat\).*Residual"),
    (sc.Sequential(sc.Multiply(sc.Linear(4, 4), sc.Linear(4, 4))), (4,), r"layer 0 \(Multiply\).*Add"),
    (sc.Sequential(sc.Residual(sc.Linear(4, 4), join="iand")), (4,), r"layer 0 \(Residual\).*join='add'"),
    (sc.GroupNorm(1, 4), (4,), r"layer groupnorm \(GroupNorm\): NIR has no such node; train without it"),
    (sc.GlobalAvgPool(), (2, 4, 4), r"\(GlobalAvgPool\).*use AvgPool2d with the size of the map and a Flatten"),
    (sc.Upsample(scale_factor=2), (1, 4, 4), r"layer upsample \(Upsample\).*use a Linear"),
    (sc.ALIF(), (4,), r"layer alif \(ALIF\): NIR has no such node; replace it by Leaky"),
    (sc.Sequential(sc.Linear(4, 4), sc.AdEx()), (4,), r"layer 1 \(AdEx\): NIR has no such node; replace it"),
    (sc.Recurrent(sc.ALIF(), sc.OneToOne()), (4,), r"layer recurrent.neuron \(ALIF\)"),
    (sc.Recurrent(sc.RLeaky(linear_features=4), sc.OneToOne()), (4,), r"layer recurrent.neuron \(RLeaky\)"),
    (Own(), (4,), r"layer own \(Own\): NIR has no such node"),
    (sc.Leaky(inhibition=True), (4,), r"layer leaky \(Leaky\): inhibition=True.*train with inhibition=False"),
    (sc.Leaky(state_quant=state_quant(num_bits=4)), (4,), r"state_quant"),
    (sc.Leaky(beta=[0.5, 1.0, 0.5, 0.5]), (4,), r"beta = 1 has no finite time constant"),
    (
        sc.IF(initial_mem=sc.learn(0.5)),
        (4,),
        r"layer if \(IF\): initial_mem: NIR's neurons begin at 0; only one number",
    ),
    (sc.CountMaxPool2d(2), (1, 4, 4), r"layer countmaxpool2d \(CountMaxPool2d\): NIR has no such node; use AvgPool2d"),
    (
        sc.Sequential(sc.Delay(1.5)),
        (4,),
        r"layer 0 \(Delay\): NIR's delays are whole steps: round these with sc.comp",
    ),
    (sc.Delay(sc.learn(0.5), max_delay=2), (4,), r"layer delay \(Delay\): NIR's delays are whole steps"),
    (sc.Delay(2, kernel="gaussian"), (4,), r"layer delay \(Delay\): NIR's delays are whole steps"),
    (sc.DelayedLinear(4, 4, 3), (4,), r"layer delayedlinear \(DelayedLinear\): .*use a Delay before a Linear"),
    (sc.Synaptic(alpha=1.0), (4,), r"alpha = 1 has no finite time constant"),
]


@pytest.mark.parametrize(("network", "shape", "message"), REFUSED, ids=[type(row[0]).__name__ for row in REFUSED])
def test_what_nir_cannot_say_is_refused_with_a_remedy(network, shape, message):
    with pytest.raises(NirError, match=message):
        export_to_nir(sc.Model(network, input_shape=shape))


def test_bad_arguments_are_named():
    for options, message in [({"dt": 0.0}, "dt=0.0"), ({"dt": "1"}, "dt='1'"), ({"ignore_dims": [4]}, "ignore_dims")]:
        with pytest.raises(NirError, match=message):
            export_to_nir(sc.LI(), np.zeros((2, 3)), **options)
    with pytest.raises(NirError, match="sample_data=list must be an array"):
        export_to_nir(sc.LI(), [[0.0]])
    with pytest.raises(NirError, match="pass sample_data"):
        export_to_nir(sc.LI())
    with pytest.raises(sc.errors.ShapeError, match=r"expected \(4,\)"):
        export_to_nir(sc.Linear(4, 4), np.zeros((2, 3)))


def test_the_sample_may_have_a_batch_or_not():
    for sample, ignored in [((2, 4), ()), ((4,), ()), ((4, 2), [1]), ((2, 7, 4), [0, -2])]:
        graph = export_to_nir(sc.Linear(4, 3), np.zeros(sample), ignore_dims=ignored)
        assert graph.nodes["input"].input_type["input"].tolist() == [4]


def test_models_need_no_torch():
    script = (
        "import spikecore as sc, sys; from spikecore.nir import export_to_nir, model_from_nir\n"
        "model_from_nir(export_to_nir(sc.Model(sc.LI(), input_shape=(2,))), engine='numpy')\n"
        "print('torch' in sys.modules)"
    )
    assert (
        subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout == "False\n"
    )


def test_an_identity_is_no_node():
    plain = [sc.Linear(4, 3), sc.IF(threshold=0.5)]
    graph, _ = graph_of(sc.Model(sc.Sequential(plain[0], sc.Identity(), plain[1])))
    assert [type(node).__name__ for node in graph.nodes.values()].count("Affine") == 1
    assert len(graph.nodes) == len(graph_of(sc.Model(sc.Sequential(*plain)))[0].nodes)

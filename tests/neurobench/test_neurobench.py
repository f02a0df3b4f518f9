"""NeuroBench's metrics: by hand, and equal to NeuroBench's own on its own models, where it is installed."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore import neurobench

SHAPES = {"dense": (20,), "convolutional": (1, 8, 8), "recurrent": (20,)}
NETWORKS = {
    "dense": sc.Sequential(sc.Linear(20, 30), sc.Leaky(threshold=0.3), sc.Linear(30, 5), sc.Leaky()),
    "convolutional": sc.Sequential(
        sc.Conv2d(1, 4, 3, stride=2, padding=1),
        sc.Leaky(threshold=0.2),
        sc.AvgPool2d(2),
        sc.Flatten(),
        sc.Linear(16, 5),
        sc.Synaptic(threshold=0.3, reset_mechanism="zero"),
    ),
    "recurrent": sc.Sequential(
        sc.Linear(20, 30), sc.RLeaky(linear_features=30, threshold=0.2), sc.Linear(30, 5), sc.Alpha()
    ),
}


def pruned(name, engine="numpy"):
    """A model of which some weights are zero."""
    model = sc.Model(NETWORKS[name], engine, seed=1, input_shape=SHAPES[name])
    state = model.state()
    for value in state["params"].values():
        if value.ndim > 1:
            value[abs(value) < 0.05] = 0.0
    model.load_state(state)
    return model


def sequence(name, kind):
    draws = np.random.default_rng(3).random((7, 6, *SHAPES[name]), dtype=np.float32)
    return {"spikes": (draws < 0.3).astype("float32"), "signed": np.sign(draws - 0.5), "analog": draws}[kind]


def by_hand():
    """Two inputs, two neurons; the first spikes reach the second neuron through a weight of zero."""
    network = sc.Sequential(sc.Linear(2, 2, bias=False), sc.IF(threshold=1.5), sc.Linear(2, 1), sc.LI(beta=0.5))
    model = sc.Model(network, "numpy")
    state = model.state()
    state["params"]["0.weight"][:] = [[1.0, 0.0], [1.0, 2.0]]
    state["params"]["2.weight"][:] = [[0.0, 1.0]]
    state["params"]["2.bias"][:] = [0.25]
    model.load_state(state)
    return model


def test_values_by_hand():
    """One sample. Steps: (1, 0), (0, 0.5), (1, 1).

    Layer 0 meets 2, 1 and 3 weights that are not zero, the second time with an input that is no spike. The membranes
    are 1, 1, 2 and 1, 2, 2 - 1.5 + 3, the spikes 0 0 1 and 0 1 1. Layer 2 meets one such weight for each spike of the
    second neuron.
    """
    found = neurobench.measure(by_hand(), np.array([[[1.0, 0.0]], [[0.0, 0.5]], [[1.0, 1.0]]], "float32"))
    assert found.parameter_count == 4 + 2 + 1
    assert found.connection_sparsity == round(2 / 6, 4)
    assert found.synaptic_operations == (1.0, 2.0 + 3.0 + 2.0, 3 * (4 + 2))
    assert found.activation_sparsity_by_layer == {"1": 3 / 6, "3": 0.0}
    assert found.activation_sparsity == 3 / 9
    # IF: both at the first step, the second neuron's at the next, then both; LI: all three times
    assert found.membrane_updates == 2 + 1 + 2 + 3
    # seven weights, and threshold, value of a spike and reset of IF, and beta of LI with what it takes from Membrane
    constants = (len(sc.IF().parameter_names()) + len(sc.LI().parameter_names())) * 4
    assert found.footprint == 7 * 4 + constants + 8 * sum(
        isinstance(one, sc.base.Membrane) for one in (sc.IF(), sc.LI())
    )
    assert found.uncounted == ()
    assert (found.samples, found.steps) == (1, 3)


def test_a_constant_input_is_multiplied_at_every_step():
    model, x = pruned("dense"), sequence("dense", "analog")[0]
    still = neurobench.measure(model, x, num_steps=7)
    assert still == neurobench.measure(model, np.stack([x] * 7))
    encoded = neurobench.measure(model, x, num_steps=7, encoder=sc.spikegen.rate)
    assert encoded.synaptic_operations.effective_macs == 0.0
    assert encoded.steps == 7


def test_a_network_in_few_bits_is_counted_by_its_rounded_weights():
    """Those that are rounded to zero are no connections."""
    x = sequence("recurrent", "spikes")
    few = sc.compression.quantize(pruned("recurrent"), weights=2, biases=None, power_of_two=False)
    rounded, state = pruned("recurrent"), few.state()
    for name, layer in (
        ("0", few.network.layers[0]),
        ("1.connection", few.network.layers[1].connection),
        ("2", few.network.layers[2]),
    ):
        weight = few.engine.asarray(state["params"][f"{name}.weight"])
        grid = layer.prepare(few.engine, sc.base.Params(weight=weight, bias=few.engine.xp.zeros((1,))))
        state["params"][f"{name}.weight"] = few.engine.to_numpy(grid.weight)
    rounded.load_state(state)
    found, expected = neurobench.measure(few, x), neurobench.measure(rounded, x)
    assert found.uncounted == ()
    assert found.results == expected.results
    assert found.connection_sparsity > neurobench.measure(pruned("recurrent"), x).connection_sparsity


def test_what_neurobench_does_not_count_is_named():
    network = sc.Sequential(
        sc.ConvTranspose1d(1, 2, 2), sc.Flatten(), sc.SLSTM(input_size=10, hidden_size=3), sc.Linear(3, 2), sc.Leaky()
    )
    found = neurobench.measure(sc.Model(network, "numpy", input_shape=(1, 4)), np.ones((3, 2, 1, 4)))
    assert found.uncounted == ("0 (ConvTranspose1d)", "2 (SLSTM)")
    assert found.synaptic_operations.dense == 3 * 3 * 2


def test_it_prints_and_becomes_json():
    found = neurobench.measure(pruned("recurrent"), sequence("recurrent", "spikes"))
    text = str(found)
    assert text.startswith("NeuroBench's metrics, 6 samples, 7 steps\nparameters")
    assert "  layer 1" in text
    assert "effective ACs per sample" in found._repr_html_()
    assert json.loads(json.dumps(found.results)) == found.results


# ---- NeuroBench itself ----------------------------------------------------------------------------------------------


def benchmark(model, x, batch_size=6):
    """NeuroBench's results."""
    torch = pytest.importorskip("torch", reason="NeuroBench needs torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what it imports
        pytest.importorskip("neurobench", reason="compared with NeuroBench, which is not installed")
        from neurobench.benchmarks import Benchmark
        from neurobench.metrics import static, workload
    samples = torch.as_tensor(np.ascontiguousarray(np.moveaxis(x, 0, 1)))
    data = torch.utils.data.TensorDataset(samples, torch.zeros(len(samples)))
    fixed = [static.ParameterCount, static.Footprint, static.ConnectionSparsity]
    measured = [workload.ActivationSparsity, workload.ActivationSparsityByLayer, workload.SynapticOperations]
    metrics = [fixed, [*measured, workload.MembraneUpdates]]
    loader = torch.utils.data.DataLoader(data, batch_size=batch_size)
    return Benchmark(model() if callable(model) else model, loader, [], [], metrics).run(quiet=True)


def same(ours, theirs):
    """Equal but for the order in which NeuroBench divides and sums shares."""
    assert ours.keys() == theirs.keys()
    assert ours.pop("ActivationSparsity") == pytest.approx(theirs.pop("ActivationSparsity"), rel=1e-12)
    assert ours == theirs


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["spikes", "signed", "analog"])
@pytest.mark.parametrize("name", NETWORKS)
def test_metrics_equal_those_of_neurobench(name, kind):
    model, x = pruned(name), sequence(name, kind)
    ours = neurobench.measure(model, x).results
    same(ours, benchmark(lambda: neurobench.to_neurobench(model), x))
    assert ours["MembraneUpdates"] > 0
    assert 0.0 < ours["ConnectionSparsity"] < 1.0


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    "norm",
    [sc.BatchNorm2d(4), sc.BatchNorm2d(4, affine=False), sc.ThresholdDependentBatchNorm2d(4), sc.GroupNorm(2, 4),
     sc.InstanceNorm2d(4), sc.LayerNorm((4, 4, 4))], ids=str,
)  # fmt: skip
def test_normalisation_equals_neurobench(norm):
    """torch's batch norms hold the number of batches that they have seen; others hold nothing."""
    network = sc.Sequential(
        sc.Conv2d(1, 4, 3, padding=1), norm, sc.Leaky(threshold=0.3), sc.Flatten(), sc.Linear(64, 5), sc.Leaky()
    )
    model = sc.Model(network, "numpy", seed=1, input_shape=(1, 4, 4))
    x = (np.random.default_rng(3).random((7, 6, 1, 4, 4)) < 0.5).astype("float32")
    found = neurobench.measure(model, x)
    assert found.uncounted == ()
    same(found.results, benchmark(lambda: neurobench.to_neurobench(model), x))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_several_batches_are_one():
    model, x = pruned("recurrent"), sequence("recurrent", "spikes")
    same(neurobench.measure(model, x).results, benchmark(lambda: neurobench.to_neurobench(model), x, batch_size=2))


@pytest.mark.filterwarnings("ignore")  # snnTorch warns of its own affairs
@pytest.mark.parametrize("name", NETWORKS)
def test_metrics_equal_those_of_the_same_network_on_snntorch(name):
    """NeuroBench's own model of a network of snnTorch's, with the same weights."""
    torch = pytest.importorskip("torch", reason="snnTorch needs torch")
    snn = pytest.importorskip("snntorch", reason="compared with snnTorch")
    from torch import nn

    layers = {
        "dense": lambda: [
            nn.Linear(20, 30), snn.Leaky(0.9, threshold=0.3, init_hidden=True),
            nn.Linear(30, 5), snn.Leaky(0.9, init_hidden=True, output=True),
        ],
        "convolutional": lambda: [
            nn.Conv2d(1, 4, 3, stride=2, padding=1), snn.Leaky(0.9, threshold=0.2, init_hidden=True),
            nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 5),
            snn.Synaptic(0.9, 0.8, threshold=0.3, init_hidden=True, output=True, reset_mechanism="zero"),
        ],
        "recurrent": lambda: [
            nn.Linear(20, 30), snn.RLeaky(0.9, linear_features=30, threshold=0.2, init_hidden=True),
            nn.Linear(30, 5), snn.Alpha(0.9, 0.8, init_hidden=True, output=True, reset_mechanism="zero"),
        ],
    }  # fmt: skip
    model, x = pruned(name), sequence(name, "spikes")
    net = nn.Sequential(*layers[name]())
    weights = {key.replace("connection", "recurrent"): value for key, value in model.state()["params"].items()}
    net.load_state_dict({key: torch.as_tensor(np.array(value)) for key, value in weights.items()}, strict=False)

    def theirs():
        from neurobench.models import SNNTorchModel

        class Model(SNNTorchModel):  # the last neuron of the network may have more states than it takes apart
            def __call__(self, data):
                snn.utils.reset(self.net)
                return torch.stack([self.net(data[:, i])[0] for i in range(data.shape[1])], 1)

        return Model(net)

    expected = benchmark(theirs, x)
    ours = neurobench.measure(model, x).results
    snn.SpikingNeuron.init()
    del ours["Footprint"], expected["Footprint"]  # snnTorch's states are buffers once it has run
    same(ours, expected)


def test_the_benchmark_sees_the_same_outputs():
    torch = pytest.importorskip("torch", reason="NeuroBench needs torch")
    pytest.importorskip("neurobench", reason="compared with NeuroBench, which is not installed")
    model, x = pruned("dense"), sequence("dense", "analog")
    out = neurobench.to_neurobench(model)(torch.as_tensor(x).transpose(0, 1))
    np.testing.assert_array_equal(out.numpy(), np.moveaxis(np.asarray(model(x).spikes), 0, 1))


@pytest.mark.filterwarnings("ignore")  # snnTorch warns of its own affairs
def test_a_module_and_operations_of_neurons():
    """A module of spikecore.nn is taken as it is; NeuroBench knows its neurons by the names of their classes."""
    torch = pytest.importorskip("torch", reason="NeuroBench needs torch")
    pytest.importorskip("neurobench", reason="compared with NeuroBench, which is not installed")
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics.workload import NeuronOperations

    import spikecore.nn as ours

    snn = pytest.importorskip("snntorch", reason="compared with snnTorch")
    found, data = [], torch.rand(6, 7, 20, generator=torch.Generator().manual_seed(0))
    for library, wrapped in ((ours, neurobench.to_neurobench), (snn, None)):
        torch.manual_seed(0)
        net = torch.nn.Sequential(
            torch.nn.Linear(20, 30), library.Leaky(0.9, threshold=0.3, init_hidden=True),
            torch.nn.Linear(30, 5), library.Leaky(0.9, init_hidden=True, output=True),
        )  # fmt: skip
        if wrapped is None:
            from neurobench.models import SNNTorchModel as wrapped
        loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data, torch.zeros(6)), batch_size=3)
        found.append(Benchmark(wrapped(net), loader, [], [], [[], [NeuronOperations]]).run(quiet=True))
    snn.SpikingNeuron.init()
    assert found[0] == found[1]
    assert found[0]["NeuronOperations"]["Effective Neuron Ops"] > 0


def test_weights_that_it_does_not_see_are_named():
    pytest.importorskip("torch", reason="NeuroBench needs torch")
    pytest.importorskip("neurobench", reason="compared with NeuroBench, which is not installed")
    network = sc.Sequential(sc.Linear(4, 5), sc.Recurrent(sc.ALIF(), sc.Linear(5, 5)))
    with pytest.warns(UserWarning, match=r"does not count .* 1\.params\.connection\.weight: it knows nn\.Linear"):
        neurobench.to_neurobench(sc.Model(network, "numpy"))
    with pytest.raises(TypeError, match=r"model=3 must be a spikecore\.Model"):
        neurobench.to_neurobench(3)

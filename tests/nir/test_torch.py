"""Torch modules through NIR graphs: traced nets of every form, equal spikes after, named refusals."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

nir = pytest.importorskip("nir", reason="nir is not installed (extra 'nir', Python >= 3.9)")
torch = pytest.importorskip("torch", reason="torch modules need torch")
from torch import nn  # noqa: E402

import spikecore as sc  # noqa: E402
import spikecore.nn as snn  # noqa: E402
from spikecore import utils  # noqa: E402
from spikecore.nir import NirError, export_to_nir, import_from_nir, model_from_nir  # noqa: E402
from tests.nir.nir_rig import graph_of, through_file  # noqa: E402

H = {"init_hidden": True}


class Stateful(nn.Module):
    """States go in and out of forward, as in snnTorch's tutorials."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(4, 6), snn.Leaky(0.9)
        self.fc2, self.lif2 = nn.Linear(6, 3), snn.Synaptic(0.7, 0.8, threshold=0.5)

    def forward(self, x, mem1=None, syn2=None, mem2=None):
        spk1, mem1 = self.lif1(self.fc1(x), mem1)
        spk2, syn2, mem2 = self.lif2(self.fc2(spk1), syn2, mem2)
        return spk2, mem1, syn2, mem2


class Branched(nn.Module):
    """Sums, products and a function instead of layers."""

    def __init__(self):
        super().__init__()
        self.conv, self.lif, self.side = nn.Conv2d(1, 2, 3, padding=1), snn.Leaky(0.8, **H), nn.Conv2d(1, 2, 1)
        self.fc, self.out = nn.Linear(32, 3), snn.RLeaky(0.6, linear_features=3, threshold=-0.05, **H)
        self.size = nn.Parameter(torch.rand(2, 1, 1))

    def forward(self, x):
        both = self.lif(self.conv(x)) + self.side(x)
        return self.out(self.fc(torch.flatten(both * self.size * 0.5, end_dim=-1, start_dim=1)))


def chain(*layers):
    return nn.Sequential(*layers)


NETS = {
    "chain": (lambda: chain(nn.Linear(4, 6), snn.Leaky(0.9, learn_beta=True, **H), nn.Linear(6, 3, bias=False),
                            snn.Leaky(torch.rand(3), threshold=0.3, output=True, **H)), (4,)),
    "stateful": (Stateful, (4,)),
    "branched": (Branched, (1, 4, 4)),
    "maps": (lambda: chain(nn.Conv2d(1, 4, 3, bias=False), snn.RLeaky(0.8, conv2d_channels=4, kernel_size=3, **H),
                           nn.AvgPool2d(2, divisor_override=1), nn.Flatten(2), nn.Flatten(), nn.Linear(4, 3),
                           snn.RSynaptic(0.6, 0.7, all_to_all=False, V=0.2, **H)), (1, 4, 4)),
    "nested": (lambda: chain(nn.Identity(), chain(nn.Linear(4, 6), snn.Lapicque(0.8, threshold=0.2, **H)),
                             snn.Residual(chain(nn.Linear(6, 6), snn.Leaky(0.5, reset_mechanism="zero", **H)))), (4,)),
    "one": (lambda: snn.Leaky(0.5, reset_mechanism="none", **H), (4,)),
}  # fmt: skip


def made(name):
    torch.manual_seed(3)
    net, shape = NETS[name]
    return net(), torch.rand(20, 2, *shape) * 3


def spikes(net, x):
    utils.reset(net)
    states, rows = [], []
    for now in x:
        out = net(now, *states)
        rows.append(first(out))
        states = list(out[1:]) if isinstance(net, Stateful) else []
    return torch.stack(rows).detach()


def first(out):
    return out[0] if isinstance(out, tuple) else out


@pytest.mark.parametrize("name", NETS)
def test_a_module_spikes_as_before(name, tmp_path):
    net, x = made(name)
    before = spikes(net, x)
    graph, _ = graph_of(net, x[0])
    path = through_file(graph, tmp_path)
    again = import_from_nir(path)
    assert before.any()
    assert torch.equal(spikes(again, x), before)
    assert torch.equal(first(snn.run(again, x)).detach(), before)
    assert torch.equal(torch.as_tensor(model_from_nir(path, engine="torch")(x).spikes), before)


@pytest.mark.parametrize("name", NETS)
def test_what_was_imported_exports_to_the_same_graph(name):
    net, x = made(name)
    graph, _ = graph_of(net, x[0])
    again, _ = graph_of(import_from_nir(graph), x[0])

    def content(found):
        return sorted(type(node).__name__ for node in found.nodes.values()), len(found.edges), found.metadata["dt"]

    assert content(again) == content(graph)


def test_names_parameters_and_options_come_back():
    net, x = made("chain")
    net = nn.Sequential()
    net.add_module("fc", nn.Linear(4, 3))
    net.add_module("lif", snn.Leaky(0.7, learn_beta=True, spike_grad=sc.surrogate.fast_sigmoid(9.0), **H))
    graph, losses = graph_of(net, x[0])
    assert set(graph.nodes) == {"input", "fc", "lif", "output"}
    assert "layer lif (Leaky): reset_mechanism='subtract'" in losses[0]
    again = import_from_nir(graph)
    assert {n for n, _ in again.named_parameters()} == {n for n, _ in net.named_parameters()}
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in net.state_dict().items())
    assert again.lif.neuron.surrogate == sc.surrogate.fast_sigmoid(9.0)


def test_an_imported_network_trains():
    graph = nir.NIRGraph.from_list(
        nir.Linear(torch.eye(3).numpy()), nir.Scale(torch.rand(3).numpy()),
        nir.Delay(torch.tensor([1e-4, 0.0, 0.0]).numpy()),
        nir.LI(*(torch.full((3,), v).numpy() for v in (1e-3, 10.0, 0.0))),
    )  # fmt: skip
    net = import_from_nir(graph)
    x = torch.rand(9, 2, 3)
    snn.run(net, x).sum().backward()
    assert net.linear.weight.grad.abs().sum() > 0
    assert torch.allclose(spikes(net, x), snn.run(net, x))
    assert all((state.shape[0], state.shape[-1]) == (2, 3) for state in utils.get_state(net).values())
    again = import_from_nir(export_to_nir(net, x[0]))
    again.load_state_dict(net.state_dict())
    assert set(net.state_dict()) == {"linear.weight", "scale.scale"}
    assert torch.equal(spikes(pickle.loads(pickle.dumps(copy.deepcopy(again))), x), spikes(net, x))


def test_states_as_arguments_need_not_be_given():
    net, x = made("stateful")
    without, _ = graph_of(net, x[0])
    given, _ = graph_of(net, x[0], model_fwd_args=[torch.zeros(2, 6), torch.zeros(2, 3), torch.zeros(2, 3)])
    assert set(without.nodes) == set(given.nodes) == {"input", "fc1", "lif1", "fc2", "lif2", "output"}


class Looping(nn.Module):
    def __init__(self):
        super().__init__()
        self.lif = snn.Leaky(0.9, **H)

    def forward(self, x):
        for _ in range(3):
            x = self.lif(x)
        return x


class Peeking(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(4, 4), snn.Leaky(0.9)

    def forward(self, x):
        spk, mem = self.lif(x, None)
        return self.fc(mem)


class Functional(nn.Module):
    def forward(self, x):
        return torch.relu(x)


class Branching(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x


Theirs = type("Leaky", (Branching,), {"__module__": "snntorch._neurons.leaky"})

REFUSED = [
    (chain(nn.Linear(4, 4), Theirs()), r"cannot be exported: layer 1: this is snntorch's Leaky: import Leaky from"),
    (chain(nn.Linear(4, 4), chain(nn.ReLU())), r"layer 1.0: ReLU: there is no such layer"),
    (chain(nn.Flatten(), nn.MaxPool1d(2)), r"MaxPool1d"),
    (chain(nn.Linear(4, 4), nn.Flatten(0)), r"layer 1 \(Flatten\): start_dim=0 takes in the batch"),
    (chain(snn.Leaky(0.9, inhibition=True, **H)), r"layer 0 \(Leaky\): inhibition=True"),
    (chain(nn.Linear(4, 4), snn.Alpha(0.9, 0.8, **H)), r"layer 1 \(Alpha\): NIR has no such node; replace it by Leaky"),
    (Looping(), r"layer lif \(Leaky\): is used twice .*; write forward for one time step"),
    (Peeking(), r"layer fc \(Linear\): takes a neuron's state, but only what layers send"),
    (Functional(), r"relu\(\) in forward .*has no NIR node; use layers"),
    (Branching(), r"Branching cannot be exported: .*write forward for one time step"),
    (lambda x: x, r"function is no nn.Module, spikecore.Model or layer"),
]


@pytest.mark.parametrize(
    ("net", "message"), REFUSED, ids=[type(row[0]).__name__ + str(i) for i, row in enumerate(REFUSED)]
)
def test_what_cannot_be_exported_is_refused(net, message):
    with pytest.raises((NirError, sc.errors.ShapeError), match=message):
        export_to_nir(net, torch.rand(2, 4))


def test_a_module_needs_a_sample():
    with pytest.raises(NirError, match="needs sample_data"):
        export_to_nir(nn.Linear(2, 2))


def test_surrogates_that_are_functions_are_refused_with_their_name():
    net = chain(snn.Leaky(0.9, spike_grad=lambda u: u, **H))
    with pytest.raises(NirError, match=r"layer 0: Leaky: spike_grad"):
        export_to_nir(net, torch.rand(2, 4))


@pytest.mark.parametrize("kind", ["RLeaky", "RSynaptic"])
def test_a_recurrent_layer_is_two_nodes_named_as_in_snntorch_or_a_subgraph(kind):
    torch.manual_seed(0)
    decays = {"RLeaky": {"beta": 0.9}, "RSynaptic": {"alpha": 0.5, "beta": 0.9}}[kind]
    recurrent = getattr(snn, kind)(**decays, V=torch.rand(5), all_to_all=False, init_hidden=True)
    net = nn.Sequential(nn.Linear(4, 5), recurrent, nn.Linear(5, 3), snn.Leaky(beta=0.9, init_hidden=True, output=True))
    for layer in (net[0], net[2]):
        nn.init.uniform_(layer.weight, 0.1, 0.5)  # so that both layers fire
    graph, _ = graph_of(net, torch.rand(2, 4))
    assert set(graph.nodes) == {"input", "0", "1.lif", "1.w_rec", "2", "3", "output"}
    edges = {("input", "0"), ("0", "1.lif"), ("1.lif", "1.w_rec"), ("1.w_rec", "1.lif"), ("1.lif", "2"), ("2", "3")}
    assert set(graph.edges) == {*edges, ("3", "output")}
    nested, _ = graph_of(net, torch.rand(2, 4), subgraphs=True)
    assert set(nested.nodes) == {"input", "0", "1", "2", "3", "output"}
    assert set(nested.nodes["1"].nodes) == {"input", "lif", "w_rec", "output"}
    x = 3 * torch.rand(20, 2, 4)
    assert spikes(net, x).any()
    for one in (graph, nested):
        again = import_from_nir(one)
        assert isinstance(again[1], getattr(snn, kind))
        assert torch.equal(spikes(again, x), spikes(net, x))


class OnlySpikes(nn.Module):
    """Takes the spikes out of what its neuron returns."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(4, 3), snn.Leaky(beta=0.9, init_hidden=True, output=True)

    def forward(self, x):
        spikes, _ = self.lif(self.fc(x))
        return spikes


class Branches(OnlySpikes):
    """Returns all that its neuron does, and has two ways to it."""

    def __init__(self):
        super().__init__()
        self.side = nn.Linear(4, 3)

    def forward(self, x):
        return self.lif(self.fc(x) + self.side(x))


@pytest.mark.parametrize("kind", [OnlySpikes, Branches])
def test_an_imported_module_returns_what_the_exported_one_did(kind):
    torch.manual_seed(0)
    net, x = kind(), 3 * torch.rand(20, 2, 4)
    again = import_from_nir(graph_of(net, x[0])[0])
    assert type(again(x[0])) is type(net(x[0]))
    assert torch.equal(spikes(again, x), spikes(net, x))
    assert type(snn.run(again, x)) is type(snn.run(net, x))


@pytest.mark.parametrize("output", [True, False])
def test_whether_the_last_neuron_returns_its_state_comes_back(output):
    net = nn.Sequential(nn.Linear(4, 3), snn.Synaptic(alpha=0.5, beta=0.9, init_hidden=True, output=output))
    again = import_from_nir(graph_of(net, torch.rand(2, 4))[0])
    assert isinstance(again(torch.rand(2, 4)), tuple) == output


def test_subgraphs_is_yes_or_no():
    with pytest.raises(NirError, match="subgraphs='flat' must be True or False"):
        graph_of(nn.Sequential(nn.Linear(4, 3)), torch.rand(2, 4), subgraphs="flat")


def test_a_graph_of_another_library_returns_states_as_in_snntorch():
    """snnTorch's own test of ``import_from_nir`` unpacks what the module returns; our graphs come back as they were."""
    ones = np.ones(3, "float32")
    lif = nir.LIF(tau=0.0025 * ones, r=ones, v_leak=0 * ones, v_threshold=0.1 * ones, v_reset=0 * ones)
    foreign = nir.NIRGraph.from_list(nir.Linear(np.eye(3, dtype="float32")), lif)
    spikes, mem = import_from_nir(foreign)(torch.ones(2, 3))
    assert spikes.shape == mem.shape == (2, 3)
    for output in (False, True):
        net = nn.Sequential(nn.Linear(3, 3), snn.Leaky(beta=0.9, init_hidden=True, output=output))
        again = import_from_nir(graph_of(net, torch.rand(2, 3))[0])
        assert isinstance(again(torch.ones(2, 3)), tuple) == output
    readout = nir.NIRGraph.from_list(nir.LI(tau=0.0025 * ones, r=ones, v_leak=0 * ones))
    assert import_from_nir(readout)(torch.ones(2, 3)).shape == (2, 3), "an output that is the membrane"


def test_flattens_can_be_set_after_import():
    """B10: snnTorch's imports flatten the batch, so that ``start_dim = 1`` is set by hand; here it is 1."""
    net = chain(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 3))
    x = torch.rand(4, 1, 6, 6)
    again = import_from_nir(export_to_nir(net, x))
    flat = next(module for module in again.modules() if isinstance(module, nn.Flatten))
    assert flat.start_dim == 1
    flat.start_dim = 1
    torch.testing.assert_close(again(x), net(x))

"""Graphs written by and for snnTorch, SpikingJelly and Norse, as installed: equal spikes where the neurons agree.

SpikingJelly fires at v >= theta, all others at v > theta; it makes a difference on the threshold itself only.
"""

from __future__ import annotations

import contextlib
import io
import logging
import subprocess
from importlib.metadata import version

import pytest

nir = pytest.importorskip("nir", reason="nir is not installed (extra 'nir', Python >= 3.9)")
torch = pytest.importorskip("torch", reason="the peers need torch")
if tuple(int(n) for n in version("nir").split(".")[:3]) < (1, 0, 6):
    pytest.skip("nir is older than 1.0.6: its LIF nodes have no reset potential", allow_module_level=True)
from torch import nn  # noqa: E402

import spikecore as sc  # noqa: E402
import spikecore.nn as snn  # noqa: E402
from spikecore.nir import NirError, import_from_nir  # noqa: E402
from spikecore.nir.flat import Flat  # noqa: E402
from tests.nir.nir_rig import graph_of, through_file  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")  # the peers warn of their own affairs
N = 6


def peer(*names):
    """The modules, imported quietly; skips where one is not installed."""
    import warnings

    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        return [pytest.importorskip(n, reason=f"{n} is not installed (extra 'peers')") for n in names]


def data(*shape, scale=2.0):
    torch.manual_seed(1)
    return torch.rand(30, 4, *shape) * scale


def seeded(*layers):
    torch.manual_seed(0)
    first = nn.Linear(5, N)
    return nn.Sequential(first, *layers)


def ours(graph, x, **options):
    return spikes_of(snn.run(import_from_nir(graph, **options), x))


def spikes_of(output):
    """Alone, or beside the states of the last neuron."""
    return (output[0] if isinstance(output, tuple) else output).detach()


# ---- snnTorch ------------------------------------------------------------------------------------------------------

ZERO = {"init_hidden": True, "reset_mechanism": "zero", "reset_delay": False}
DELAYED = {"init_hidden": True, "reset_mechanism": "subtract"}
SNNTORCH = {
    "leaky": lambda s: s.Leaky(torch.linspace(0.5, 0.9, N), threshold=torch.linspace(0.3, 1, N), **ZERO),
    "leaky-subtract": lambda s: s.Leaky(torch.linspace(0.5, 0.9, N), threshold=torch.ones(N) / 2, **DELAYED),
    "synaptic": lambda s: s.Synaptic(torch.full((N,), 0.7), torch.full((N,), 0.8), threshold=torch.ones(N), **ZERO),
    "rleaky": lambda s: s.RLeaky(0.8, linear_features=N, threshold=0.5, **ZERO),
    "rleaky-one": lambda s: s.RLeaky(0.8, V=torch.linspace(-1, 1, N), all_to_all=False, threshold=0.3, **ZERO),
    "rsynaptic": lambda s: s.RSynaptic(0.7, 0.8, linear_features=N, **DELAYED),
}


def stepped(net, x):
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        rows = [net(now) for now in x]
    return torch.stack([row[0] if isinstance(row, tuple) else row for row in rows])


def snntorch_graph(net, x):
    (export,) = peer("snntorch.export_nir")
    for module in net:
        if hasattr(module, "reset_mem"):
            module.reset_mem()
    return export.export_to_nir(net, x[0], ignore_dims=[0])


@pytest.mark.parametrize("name", SNNTORCH)
def test_graphs_of_snntorch_are_read(name, tmp_path):
    snntorch, _ = peer("snntorch", "nirtorch")
    net, x = seeded(SNNTORCH[name](snntorch)), data(5)
    theirs = stepped(net, x)
    path = through_file(snntorch_graph(net, x), tmp_path)
    known = {"reset_mechanism": "subtract", "reset_delay": True} if net[1].reset_delay else {}
    assert 0.02 < theirs.mean() < 0.98
    assert torch.equal(ours(path, x, **known), theirs)
    assert torch.equal(ours(path, x, writer="snntorch", **known), theirs)


@pytest.mark.parametrize("name", SNNTORCH)
def test_our_graphs_are_those_snntorch_writes(name):
    snntorch, _ = peer("snntorch", "nirtorch")
    net, x = seeded(SNNTORCH[name](snntorch)), data(5)
    theirs = snntorch_graph(net, x)
    own = Flat(graph_of(import_from_nir(theirs), x[0])[0])  # snnTorch's own files have no subgraphs
    assert sorted(own.nodes) == sorted(theirs.nodes)
    assert set(own.edges) == {tuple(edge) for edge in theirs.edges}
    for name, node in theirs.nodes.items():
        assert type(own.nodes[name]) is type(node)
        for field in set(vars(node)) - {"metadata", "input_type", "output_type"}:
            a, b = (torch.as_tensor(getattr(one.nodes[name], field)).double() for one in (own, theirs))
            assert torch.allclose(a, b, rtol=1e-5), (name, field)


@pytest.mark.parametrize("name", ["leaky", "synaptic"])
def test_snntorch_reads_our_graphs(name):
    _, snntorch, back = peer("nirtorch", "snntorch", "snntorch.import_nir")
    options = {**ZERO, "threshold": torch.ones(N) / 2}
    neuron = snn.Leaky(0.8, **options) if name == "leaky" else snn.Synaptic(0.7, 0.8, **options)
    net, x = seeded(neuron), data(5)
    graph, losses = graph_of(net, x[0])
    assert losses == []
    with contextlib.redirect_stdout(io.StringIO()):
        theirs, state, rows = back.import_from_nir(graph), None, []
    for now in x:
        out, state = theirs(now, state)
        rows.append(out.detach())
    assert torch.equal(torch.stack(rows), snn.run(net, x).detach())


def test_snntorch_and_snn_mlir_take_our_integrators(tmp_path):
    """Both refuse an r other than 1; snnTorch then makes a Leaky with beta 0.9 of it, whatever the graph says."""
    _, _, back = peer("nirtorch", "snntorch", "snntorch.import_nir")
    network = sc.Sequential(sc.Linear(5, N), sc.IF(reset_mechanism="zero", reset_delay=False))
    model = sc.Model(network, "numpy", input_shape=5, seed=0)
    graph, losses = graph_of(model)
    assert losses == []
    assert (graph.nodes["1"].r == 1.0).all()
    with contextlib.redirect_stdout(io.StringIO()):
        (spikes, _), _ = back.import_from_nir(graph)(data(5)[0], None)
    assert spikes.shape == (4, N)


def test_snn_mlir_checks_our_graphs(tmp_path):
    peer("snn_mlir")
    for name, neuron in {
        "if": sc.IF(reset_mechanism="zero", reset_delay=False),
        "lif": sc.Leaky(beta=0.9, reset_mechanism="zero", reset_delay=False),
    }.items():
        model = sc.Model(sc.Sequential(sc.Linear(5, N), neuron), "numpy", input_shape=5, seed=0)
        path = sc.export(model, tmp_path / name, to="nir").files[0]
        run = subprocess.run(["snn-mlir", "check", str(path)], capture_output=True, text=True, check=False)
        assert run.returncode == 0, run.stdout + run.stderr


# ---- SpikingJelly --------------------------------------------------------------------------------------------------

JELLY = {
    "if": ("IFNode", {"v_threshold": 0.9}),
    "if-offset": ("IFNode", {"v_threshold": 0.9, "v_reset": -0.3}),
    "lif": ("LIFNode", {"tau": 4.0, "decay_input": False}),
    "lif-decaying-input": ("LIFNode", {"tau": 4.0, "v_threshold": 0.2}),
    "lif-offset": ("LIFNode", {"tau": 4.0, "v_threshold": 0.2, "v_reset": -0.2}),
    "plif": ("ParametricLIFNode", {"init_tau": 3.0, "decay_input": False, "v_threshold": 0.5}),
    "cuba": ("CUBALIFNode", {"c_decay": 0.6, "v_decay": 0.8}),
}


@pytest.fixture
def jelly():
    _, neuron, layer, functional, exchange = peer(
        "nirtorch", *(f"spikingjelly.activation_based.{n}" for n in ("neuron", "layer", "functional", "nir_exchange"))
    )
    logging.getLogger("spikingjelly").setLevel(logging.ERROR)
    return neuron, layer, functional, exchange


def jelly_spikes(net, x, functional):
    functional.reset_net(net)
    with torch.no_grad():
        spikes = torch.stack([net(now) for now in x])
    functional.reset_net(net)
    return spikes


def explicit(net, x):
    """Run a net that takes and returns its state."""
    state, rows = None, []
    with torch.no_grad():
        for now in x:
            out, state = net(now, state)
            rows.append(out)
    return torch.stack(rows)


@pytest.mark.parametrize("name", JELLY)
def test_graphs_of_spikingjelly_are_read_and_written(name, jelly, tmp_path):
    neuron, layer, functional, exchange = jelly
    kind, options = JELLY[name]
    net, x = seeded(getattr(neuron, kind)(**options)), data(5)
    theirs = jelly_spikes(net, x, functional)
    assert 0.02 < theirs.mean() < 0.9
    path = through_file(exchange.export_to_nir(net, x[0]), tmp_path)
    assert torch.equal(ours(path, x, writer="spikingjelly"), theirs)
    own, losses = graph_of(import_from_nir(path), x[0])
    assert losses == []
    assert torch.equal(explicit(exchange.import_from_nir(own, dt=own.metadata["dt"]), x), theirs)


def test_a_convolutional_graph_of_spikingjelly_is_read_and_written(jelly):
    neuron, layer, functional, exchange = jelly
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(2, 3, 3, padding=1, bias=False), neuron.LIFNode(tau=2.0, decay_input=False, v_threshold=0.3),
        layer.AvgPool2d(2, 2), layer.Flatten(), layer.Linear(27, 4), neuron.IFNode(v_threshold=0.2),
    )  # fmt: skip
    net[4].bias.data += 0.2
    x = data(2, 6, 6)
    theirs = jelly_spikes(net, x, functional)
    assert 0.02 < theirs.mean() < 0.9
    module = import_from_nir(exchange.export_to_nir(net, x[0], dt=1e-3), dt=1e-3)
    assert torch.equal(spikes_of(snn.run(module, x)), theirs)
    own, _ = graph_of(module, x[0])
    assert torch.equal(explicit(exchange.import_from_nir(own), x), theirs)


def test_spikingjelly_reads_our_feedback(jelly):
    exchange = jelly[-1]
    neuron = snn.RLeaky(0.8, linear_features=N, threshold=0.5, **ZERO)
    nn.init.zeros_(neuron.recurrent.bias)  # which nirtorch leaves out in the first step
    net, x = seeded(neuron), data(5)
    graph, _ = graph_of(net, x[0])
    spikes = snn.run(net, x).detach()
    assert 0.02 < spikes.mean() < 0.9
    assert torch.equal(explicit(exchange.import_from_nir(graph), x), spikes)


# ---- Norse ---------------------------------------------------------------------------------------------------------


def row(value):
    return torch.full((N,), value)


NORSE = {
    "lif": lambda n: n.LIFBoxCell(n.LIFBoxParameters(tau_mem_inv=row(200.0), v_th=row(0.1), v_leak=row(0.0))),
    "lif-one-number": lambda n: n.LIFBoxCell(
        n.LIFBoxParameters(tau_mem_inv=torch.tensor(200.0), v_th=torch.tensor(0.1))
    ),
    "cuba": lambda n: n.LIFCell(
        n.LIFParameters(tau_mem_inv=row(200.0), tau_syn_inv=row(300.0), v_th=row(0.2), v_leak=row(0.05))
    ),
    "li": lambda n: n.LIBoxCell(n.LIBoxParameters(tau_mem_inv=row(200.0), v_leak=row(0.0))),
    "iaf": lambda n: n.IAFCell(n.IAFParameters(v_th=row(0.5))),
}


@pytest.mark.parametrize("name", NORSE)
def test_graphs_of_norse_are_read(name, tmp_path):
    (norse,) = peer("norse.torch")
    torch.manual_seed(0)
    net, x = norse.SequentialState(nn.Linear(5, N), NORSE[name](norse)), data(5)
    theirs = explicit(net, x)
    graph = norse.to_nir(net, x[0])  # counts the batch as an axis, and has tensors for arrays
    assert theirs.any()
    own = ours(graph, x, writer="norse-1.1")
    if name == "li":
        assert torch.allclose(own, theirs, atol=1e-6)
    else:
        assert 0.02 < theirs.mean() < 0.9
        assert torch.equal(own, theirs)


def test_time_constants_of_norse_are_not_taken_for_seconds():
    (norse,) = peer("norse.torch")
    graph = norse.to_nir(norse.SequentialState(nn.Linear(5, N), NORSE["lif"](norse)), torch.rand(1, 5))
    for options in ({}, {"writer": "norse"}, {"dt": 1e-3}):
        with pytest.raises(NirError, match=r"tau=5e-06 is shorter than a step.*writer=\.\.\. .*norse-1.1"):
            import_from_nir(graph, **options)
    graph = norse.to_nir(norse.SequentialState(nn.Linear(5, N), NORSE["iaf"](norse)), torch.rand(1, 5))
    with pytest.raises(NirError, match="one per step in Norse"):
        import_from_nir(graph)


def test_graphs_as_norse_writes_them_are_read_without_norse():
    """LIFCell of Norse 1.1, by its equations: i jumps by x, then v moves, then i decays; tau is written as dt tau."""
    dt, tau_inv, syn_inv, theta = 1e-3, 200.0, 300.0, 0.9
    x, i, v, rows = data(N), torch.zeros(4, N), torch.zeros(4, N), []
    for now in x:
        i = i + now
        v = v + dt * tau_inv * (i - v)
        z = (v > theta).float()
        v = (1 - z) * v
        i = i - dt * syn_inv * i
        rows.append(z)
    assert 0.02 < torch.stack(rows).mean() < 0.9
    one = row(1.0).numpy()
    node = nir.CubaLIF(tau_mem=dt / tau_inv * one, tau_syn=dt / syn_inv * one, r=one, v_leak=0 * one,
                       v_threshold=theta * one)  # fmt: skip
    assert torch.equal(ours(node, x, writer="norse-1.1"), torch.stack(rows))

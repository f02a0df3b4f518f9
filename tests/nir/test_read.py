"""Graphs that others might write: every node against its equation, and what cannot be read is named."""

from __future__ import annotations

import numpy as np
import pytest

nir = pytest.importorskip("nir", reason="nir is not installed (extra 'nir', Python >= 3.9)")

import spikecore as sc  # noqa: E402
from spikecore.nir import NirError, OffsetLeaky, OffsetSynaptic, export_to_nir, model_from_nir, network_from_nir  # noqa: E402
from tests.nir.nir_rig import inputs  # noqa: E402

DOUBLE = sc.get_engine("numpy", dtype="float64")
DT, N = 1e-3, 4
TAU, FAST = np.array([4e-3, 5e-3, 1e-2, 2e-2]), np.array([2e-3, 3e-3, 4e-3, 5e-3])
R, LEAK, RESET, THETA = (np.array(row) for row in ([1.0, 2.0, 3.0, 2.0], [0.1, 0.0, -0.2, 0.3], [0.0, 0.1, -0.4, 0.3],
                                                   [0.5, 0.6, 0.4, 0.7]))  # fmt: skip
W_IN = np.array([2.0, 1.0, 1.5, 3.0])


def read(*nodes, **options):
    options.setdefault("dt", DT)
    return model_from_nir(nir.NIRGraph.from_list(*nodes), engine=DOUBLE, **options)


def euler(x, tau, r, leak=0.0, theta=None, reset=None, start=None):
    """Forward Euler of NIR's equation, written out."""
    v = np.zeros(x.shape[1:]) + (leak if start is None else start)
    out = []
    for now in x:
        v = v + DT / tau * ((leak - v) + r * now)
        if theta is None:
            out.append(v)
            continue
        z = (v > theta).astype(float)
        v = np.where(z > 0, reset, v)
        out.append(z)
    return np.array(out)


def test_leaky_neurons_with_all_their_numbers_follow_their_equation():
    x = inputs((N,)).astype(np.float64)
    for reset in (RESET, LEAK):
        model = read(nir.LIF(tau=TAU, r=R, v_leak=LEAK, v_threshold=THETA, v_reset=reset))
        expected = euler(x, TAU, R, LEAK, THETA, reset)
        assert 0.02 < expected.mean() < 0.9
        assert np.array_equal(model(x).spikes, expected)
        assert isinstance(model.network.layers[-1], OffsetLeaky) == (reset is RESET)


def test_leaky_integrators_follow_their_equation():
    x = inputs((N,)).astype(np.float64)
    assert np.allclose(read(nir.LI(tau=TAU, r=R, v_leak=np.zeros(N)))(x).spikes, euler(x, TAU, R), atol=1e-12)
    assert np.allclose(read(nir.I(r=R / DT))(x).spikes, np.cumsum(R * x, axis=0), atol=1e-12)


def current(x):
    return euler(x, FAST, W_IN)


def test_current_based_neurons_follow_their_equations():
    x = inputs((N,), scale=3.0).astype(np.float64)
    options = {"tau_syn": FAST, "tau_mem": TAU, "r": R, "w_in": W_IN}
    quiet = read(nir.CubaLI(v_leak=np.zeros(N), **options))
    assert np.allclose(quiet(x).spikes, euler(current(x), TAU, R), atol=1e-12)
    for reset in (RESET, LEAK):
        model = read(nir.CubaLIF(v_leak=LEAK, v_threshold=THETA, v_reset=reset, **options))
        expected = euler(current(x), TAU, R, LEAK, THETA, reset)
        assert 0.02 < expected.mean() < 0.9
        assert np.array_equal(model(x).spikes, expected)
        assert isinstance(model.network.layers[-1], OffsetSynaptic) == (reset is RESET)


@pytest.mark.parametrize("kind", [OffsetLeaky, OffsetSynaptic])
def test_neurons_with_an_offset_have_verified_gradients(kind):
    pytest.importorskip("torch", reason="the torch engine needs torch")
    model = sc.Model(
        sc.Sequential(sc.Linear(3, N), kind(beta=sc.learn(0.8), rho=sc.learn(-0.3), threshold=0.4)), "torch"
    )
    report = sc.verify(model, inputs((3,)), np.array([0, 1, 2]))
    assert report.ok, str(report)
    with pytest.raises(ValueError, match="reset_delay=True is not defined"):
        kind(reset_delay=True)


def test_integrate_and_fire_follows_its_equation():
    x = inputs((N,)).astype(np.float64) / 4
    v, expected = np.zeros((3, N)) + RESET, []
    for now in x:
        v = v + R * now
        expected.append((v > THETA).astype(float))
        v = np.where(v > THETA, RESET, v)
    assert np.array_equal(read(nir.IF(r=R / DT, v_threshold=THETA, v_reset=RESET))(x).spikes, np.array(expected))


def test_the_same_network_in_other_units_spikes_equally():
    x = inputs((N,)).astype(np.float64)
    node = {"r": R, "v_leak": LEAK, "v_threshold": THETA, "v_reset": LEAK}
    seconds = read(nir.LIF(tau=TAU, **node))(x).spikes
    assert np.array_equal(read(nir.LIF(tau=TAU * 1e3, **node), dt=1.0)(x).spikes, seconds)  # milliseconds
    assert np.array_equal(read(nir.LIF(tau=TAU * DT, **node), dt=None, writer="norse-1.1")(x).spikes, seconds)
    assert np.array_equal(read(nir.LIF(tau=TAU, **node), dt=None, writer="norse")(x).spikes, seconds)
    steps = -1.0 / np.log(1.0 - DT / TAU)
    assert np.array_equal(read(nir.LIF(tau=steps, **node), dt=None, writer="sinabs")(x).spikes, seconds)


def test_a_threshold_is_a_step_function_and_behind_an_integrator_a_neuron_without_reset():
    x = inputs((N,)).astype(np.float64)
    alone = read(nir.Threshold(threshold=THETA))
    assert np.array_equal(alone(x).spikes, (x > THETA).astype(float))
    model = read(nir.LI(tau=TAU, r=R, v_leak=LEAK), nir.Threshold(threshold=THETA))
    assert type(model.network.layers[-1]) is sc.Leaky
    assert np.array_equal(model(x).spikes, (euler(x, TAU, R, LEAK) > THETA).astype(float))


def test_scales_delays_and_connections():
    x = inputs((N,)).astype(np.float64)
    assert np.allclose(read(nir.Scale(scale=R))(x).spikes, R * x)
    late = read(nir.Delay(delay=np.array([0.0, DT, 2 * DT, 2 * DT])))(x).spikes
    assert np.array_equal(late[:, :, 0], x[:, :, 0])
    assert np.array_equal(late[2:, :, 3], x[:-2, :, 3])
    assert not late[:2, :, 3].any()
    weight, bias = np.arange(12.0).reshape(3, 4), np.arange(3.0)
    assert np.allclose(read(nir.Affine(weight=weight, bias=bias))(x).spikes, x @ weight.T + bias)
    assert np.allclose(read(nir.Linear(weight=weight))(x).spikes, x @ weight.T)


def windows(x, reduce):
    blocks = [[x[..., i : i + 2, j : j + 3] for j in range(0, 6, 3)] for i in range(0, 4, 2)]
    return np.stack([np.stack([reduce(b, axis=(-2, -1)) for b in row], axis=-1) for row in blocks], axis=-2)


def test_maps():
    x = inputs((2, 4, 6)).astype(np.float64)
    size = {"kernel_size": np.array([2, 3]), "stride": np.array([2, 3]), "padding": np.array([0, 0])}
    shape = nir.Input(input_type=np.array([2, 4, 6]))
    assert np.allclose(read(shape, nir.SumPool2d(**size))(x).spikes, windows(x, np.sum))
    assert np.allclose(read(shape, nir.AvgPool2d(**size))(x).spikes, windows(x, np.mean))
    for first, last, expected in [
        (0, -1, (48,)),
        (0, 1, (8, 6)),
        (1, 2, (2, 24)),
        (-2, -1, (2, 24)),
        (1, 1, (2, 4, 6)),
    ]:
        node = nir.Flatten(input_type=np.array([2, 4, 6]), start_dim=first, end_dim=last)
        flat = model_from_nir(nir.NIRGraph({"input": shape, "f": node, "output": nir.Output(np.array(expected))},
                                           [("input", "f"), ("f", "output")], type_check=False))  # fmt: skip
        assert flat(x).spikes.shape == (*x.shape[:2], *expected)


@pytest.mark.parametrize(("padding", "expected"), [("same", (4, 6)), ("valid", (2, 4)), (1, (4, 6)), ((0, 1), (2, 6))])
def test_paddings_of_convolutions(padding, expected):
    node = nir.Conv2d((4, 6), np.ones((3, 2, 3, 3)), 1, padding, 1, 1, np.arange(3.0))
    found = read(node)
    assert found.output_shape == (3, *expected)
    line = read(nir.Conv1d(6, np.ones((3, 2, 3)), 1, "same", 2, 1, np.zeros(3)))
    assert line.output_shape == (3, 6)


def loop(lif, back, *more):
    nodes = {"input": nir.Input(np.array([N])), "lif": lif, "output": nir.Output(np.array([N])), **dict(more)}
    edges = [("input", "lif"), ("lif", "output")]
    if back is not None:
        nodes["back"] = back
        edges += [("lif", "back"), ("back", "lif")]
    else:
        edges.append(("lif", "lif"))
    return nir.NIRGraph(nodes, edges, type_check=False)


LIF = {"tau": TAU, "r": R, "v_leak": np.zeros(N), "v_threshold": THETA, "v_reset": np.zeros(N)}


@pytest.mark.parametrize("kind", ["dense", "affine", "diagonal", "scale", "edge"])
def test_feedback_goes_through_the_neurons_gain_like_any_input(kind):
    weight, bias = np.random.default_rng(3).normal(size=(N, N)), np.linspace(-1, 1, N)
    back, matrix, add = {
        "dense": (nir.Linear(weight=weight), weight, 0.0),
        "affine": (nir.Affine(weight=weight, bias=bias), weight, bias),
        "diagonal": (nir.Linear(weight=np.diag(bias)), np.diag(bias), 0.0),
        "scale": (nir.Scale(scale=bias), np.diag(bias), 0.0),
        "edge": (None, np.eye(N), 0.0),
    }[kind]
    model = model_from_nir(loop(nir.LIF(**LIF), back), dt=DT, engine=DOUBLE)
    x = inputs((N,)).astype(np.float64)
    v = z = np.zeros((3, N))
    expected = []
    for now in x:
        v = v + DT / TAU * (-v + R * (now + z @ matrix.T + add))
        z = (v > THETA).astype(float)
        v = np.where(z > 0, 0.0, v)
        expected.append(z)
    assert 0.02 < np.mean(expected) < 0.9
    assert np.array_equal(model(x).spikes, np.array(expected))


def test_a_subgraph_and_the_same_nodes_without_it_are_one_network():
    weight = np.random.default_rng(3).normal(size=(N, N))
    inside = loop(nir.LIF(**LIF), nir.Linear(weight=weight))
    outside = nir.NIRGraph(
        {"input": nir.Input(np.array([N])), "rnn": inside, "output": nir.Output(np.array([N]))},
        [("input", "rnn"), ("rnn", "output")],
    )
    first, second = network_from_nir(inside, DT), network_from_nir(outside, DT)
    assert first.network == second.network
    assert second.names == ("rnn_before", "rnn")


def test_sums_of_nodes_are_added():
    first, second = np.eye(N), np.full((N, N), 0.25)
    nodes = {
        "input": nir.Input(np.array([N])), "a": nir.Linear(first), "b": nir.Linear(second), "s": nir.Scale(R),
        "output": nir.Output(np.array([N])),
    }  # fmt: skip
    edges = [("input", "a"), ("input", "b"), ("a", "s"), ("b", "s"), ("s", "output"), ("a", "output")]
    x = inputs((N,)).astype(np.float64)
    found = model_from_nir(nir.NIRGraph(nodes, edges), engine=DOUBLE)
    assert np.allclose(found(x).spikes, R * (x @ (first + second).T) + x)


def test_notes_that_no_longer_fit_the_graph_are_left_aside():
    line = export_to_nir(sc.Model(sc.LI(beta=0.9), input_shape=(N,)))
    line.nodes["fires"] = nir.Threshold(threshold=THETA)
    line.edges = [("input", "li"), ("li", "fires"), ("fires", "output")]
    assert type(network_from_nir(line).network.layers[0]) is sc.Leaky
    spiking = export_to_nir(sc.Model(sc.Leaky(reset_mechanism="none"), input_shape=(N,)))
    del spiking.nodes["leaky.threshold"]
    spiking.edges = [("input", "leaky"), ("leaky", "output")]
    assert type(network_from_nir(spiking).network.layers[0]) is sc.LI


def test_names_mean_nothing_and_an_edge_counts_once():
    ends = {"output": nir.Input(np.array([N])), "x": nir.Output(np.array([N]))}
    nodes = {**ends, "input": nir.Scale(R), "a.b": nir.Scale(R)}
    edges = [("output", "input"), ("input", "a.b"), ("input", "a.b"), ("a.b", "x"), ("input", "x")]
    found = model_from_nir(nir.NIRGraph(nodes, edges, type_check=False), engine=DOUBLE)
    x = inputs((N,)).astype(np.float64)
    assert np.allclose(found(x).spikes, R * x + R * R * x)


def test_what_a_graph_does_not_say_of_a_neuron_may_be_given():
    node = nir.LIF(**LIF)
    found = network_from_nir(
        node, DT, reset_mechanism="subtract", reset_delay=True, surrogate=sc.surrogate.fast_sigmoid(5.0)
    )
    neuron = found.network.layers[-1]
    assert (neuron.reset_mechanism, neuron.reset_delay, neuron.surrogate) == (
        "subtract",
        True,
        sc.surrogate.fast_sigmoid(5.0),
    )
    assert network_from_nir(node, DT).network.layers[-1].reset_mechanism == "zero"


def graph(edges, **nodes):
    ends = {"input": nir.Input(np.array([N])), "output": nir.Output(np.array([N]))}
    return nir.NIRGraph({**ends, **nodes}, edges, type_check=False)


THROUGH = [("input", "a"), ("a", "output")]
MATRIX = np.eye(N)
BAD = {
    "short": (nir.LIF(**{**LIF, "tau": TAU * 1e-6}), {"dt": DT}, r"node lif \(LIF\): tau=4e-09 is shorter than a step"),
    "far": (nir.LIF(**{**LIF, "tau": TAU * 1e4}), {}, r"would be 400000 steps of dt=0.0001, which is only assumed"),
    "negative": (nir.LIF(**{**LIF, "tau": -TAU}), {}, r"tau=-0.02 must be > 0"),
    "step or second": (nir.IF(np.ones(N), THETA, RESET), {}, r"node if \(IF\): r=1 is one per unit of time"),
    "writer": (nir.LIF(**LIF), {"writer": "nors"}, r"unknown writer 'nors'; did you mean 'norse'\?"),
    "dt": (nir.LIF(**LIF), {"dt": -1.0}, r"dt=-1.0 must be"),
    "leak": (nir.LI(tau=TAU, r=R, v_leak=LEAK), {}, r"node li \(LI\): v_leak=0.3 != 0"),
    "delay": (nir.Delay(delay=np.full(N, 1.5 * DT)), {"dt": DT}, r"delay must be a whole number >= 0 of steps"),
    "graph": (3, {}, r"graph=int must be a nir.NIRGraph"),
    "same": (nir.Conv2d((4, 6), np.ones((3, 2, 2, 2)), 1, "same", 1, 1, np.zeros(3)), {}, r"padding='same' needs odd"),
    "matrix": (nir.Linear(np.ones((2, N, N))), {}, r"weight of shape \(2, 4, 4\)"),
    "two neurons": (
        graph([("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")], a=nir.LIF(**LIF), b=nir.LIF(**LIF)),
        {"dt": DT}, r"feedback over a, b: only feedback from a neuron to itself",
    ),
    "no neuron": (
        graph([("input", "a"), ("a", "b"), ("b", "a"), ("b", "output")], a=nir.Linear(MATRIX), b=nir.Linear(MATRIX)),
        {}, r"nodes a, b form a loop without a neuron",
    ),
    "idle": (graph([*THROUGH, ("input", "b")], a=nir.Linear(MATRIX), b=nir.Linear(MATRIX)), {}, r"nodes b lead nowhe"),
    "unfed": (graph([*THROUGH, ("b", "a")], a=nir.Linear(MATRIX), b=nir.Linear(MATRIX)), {}, r"nodes a, b are not fed"),
    "unknown": (graph([*THROUGH, ("a", "c")], a=nir.Linear(MATRIX)), {}, r"edge \('a', 'c'\) names a node"),
    "inputs": (graph(THROUGH, a=nir.Linear(MATRIX), second=nir.Input(np.array([N]))), {}, r"graph has 2 Input nodes"),
    "inside": (
        graph([*THROUGH, ("a", "b"), ("b", "a"), ("b", "c"), ("c", "output")], a=nir.LIF(**LIF), b=nir.Linear(MATRIX),
              c=nir.Linear(MATRIX)), {"dt": DT}, r"node b lies on the feedback of a and is also connected with c",
    ),
    "neurons": (nir.NIRGraph.from_list(nir.Linear(np.ones((3, N))), nir.LIF(**LIF), type_check=False), {"dt": DT},
                r"node lif \(LIF\): v_leak of shape \(4,\) does not fit samples of shape \(3,\)"),
    "damaged": (nir.LIF(**LIF, metadata={"spikecore": "{"}), {}, r"metadata\['spikecore'\] of a LIF is damaged"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_read_is_named(name):
    thing, options, message = BAD[name]
    with pytest.raises(NirError, match=message):
        network_from_nir(thing, **options)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(sc.errors.ShapeError, match=r"node a \(Linear\).*expected \(4,\)"):
        network_from_nir(graph(THROUGH, a=nir.Linear(MATRIX)), input_shape=(3,))
    second = graph([("input", "a"), ("input", "b"), ("a", "c"), ("b", "c"), ("c", "output")], a=nir.Linear(MATRIX),
                   b=nir.Linear(np.ones((2, N))), c=nir.Linear(MATRIX))  # fmt: skip
    with pytest.raises(sc.errors.ShapeError, match=r"node c \(Linear\): its sources differ in shape"):
        network_from_nir(second)

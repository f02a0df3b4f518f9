"""Delays in a connection that leads back: the equation, engines, streams, files, C, rounding, what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.base import Key
from tests.export.c_rig import assert_same, in_c, needs_compiler

RNG = np.random.default_rng(0)
X = (RNG.random((14, 4, 5)) < 0.5).astype("float32")
Y = RNG.integers(0, 3, 4)
N, LONGEST = 6, 4


def network(connection=None):
    back = sc.DelayedLinear(N, N, LONGEST) if connection is None else connection
    hidden = sc.Recurrent(sc.Leaky(beta=0.8, threshold=0.4), back)
    return sc.Sequential(sc.Linear(5, N), hidden, sc.Linear(N, 3), sc.LI(beta=0.9))


def model(engine="numpy", connection=None):
    return sc.Model(network(connection), engine, seed=0, input_shape=(5,))


def by_loops(currents, params, beta, threshold):
    """Spikes of I[t] + sum_i w_oi S_i[t - 1 - d_oi], with linear taps, for a neuron that subtracts a step late."""
    weight, delay, bias = (np.asarray(params[f"1.connection.{n}"], float) for n in ("weight", "delay", "bias"))
    steps, batch, n = currents.shape
    spikes, mem, fired = np.zeros_like(currents), np.zeros((batch, n)), np.zeros((batch, n))
    for t in range(steps):
        back = np.tile(bias, (batch, 1))
        for o, i in np.ndindex(n, n):
            for k in range(min(t - 1, LONGEST) + 1):
                back[:, o] += weight[o, i] * max(0.0, 1.0 - abs(k - delay[o, i])) * spikes[t - 1 - k, :, i]
        mem = beta * mem + currents[t] + back - threshold * fired
        fired = (mem > threshold).astype(float)
        spikes[t] = fired
    return spikes


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_spikes_follow_the_equation(engine):
    if engine == "torch":
        pytest.importorskip("torch", reason="torch is not installed")
    net = model(engine)
    currents = X.astype(float) @ np.asarray(net.params()["0.weight"], float).T + np.asarray(
        net.params()["0.bias"], float
    )
    found = net.engine.to_numpy(net(X, record=True).states["1"].spikes)
    expected = by_loops(currents, net.params(), 0.8, 0.4)
    assert 0.05 < expected.mean() < 0.95
    np.testing.assert_array_equal(found, expected)


CONNECTIONS = [
    None,
    sc.Delay(sc.learn(1.5, per="neuron"), max_delay=3),
    sc.DelayedLinear(N, N, 3, bias=False, kernel="gaussian"),
]


@pytest.mark.parametrize("connection", CONNECTIONS, ids=["linear", "delay", "gaussian"])
def test_gradients_agree_with_torch_and_differences(connection):
    pytest.importorskip("torch", reason="verify compares two engines")
    report = sc.verify(model(connection=connection), X, Y)
    assert report.ok, str(report)


def test_streams_parts_and_files_are_the_sequence(tmp_path):
    net = model()
    whole, early = net(X), net(X[:6])
    np.testing.assert_array_equal(np.concatenate([early.spikes, net(X[6:], state=early.state).spikes]), whole.spikes)
    stream = net.stream(batch_size=4)
    np.testing.assert_array_equal(np.stack([stream.step(x) for x in X]), whole.spikes)
    net.save(tmp_path / "loops.safetensors")
    again = sc.load(tmp_path / "loops.safetensors", engine="numpy")
    assert again.network == net.network
    np.testing.assert_array_equal(again(X).spikes, whole.spikes)


@needs_compiler
def test_c_gives_the_same(tmp_path):
    nets = {"dense": model(), "each": model(connection=CONNECTIONS[1])}
    for name, program in in_c(nets, tmp_path).items():
        assert_same(program, nets[name], X, exact=False)


def test_rounding_reaches_the_loop():
    net = model()
    rounded = sc.compression.round_delays(net, X)
    assert [row.name for row in rounded.layers] == ["1.connection"]
    after = rounded.model.params()["1.connection.delay"]
    np.testing.assert_array_equal(after, net.params()["1.connection.delay"].round())


def test_what_is_refused():
    annealed = sc.DelayedLinear(N, N, 3, kernel="gaussian", sigma_start=2.0, anneal=3)
    with pytest.raises(ValueError, match="Recurrent: connection=.* has an annealed width.* leave out sigma_start"):
        model(connection=annealed)
    with pytest.raises(sc.errors.ShapeError, match=r"Recurrent: the connection turns \(6,\) into \(5,\)"):
        model(connection=sc.DelayedLinear(N, 5, 3))
    with pytest.raises(TypeError, match="a stateless layer, or one with delays such as sc.DelayedLinear"):
        network(sc.Sequential(sc.Delay(2), sc.Linear(N, N)))
    with pytest.raises(ValueError, match=r"1.connection \(DelayedLinear\): weights with delays .* skip=\['1'\]$"):
        sc.compression.quantize(model())
    assert sc.compression.quantize(model(), skip=["1"]).network.layers[1] == network().layers[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sc.DelayedConv2d(2, 3, 3, 0), "DelayedConv2d: max_delay=0"),
        (lambda: sc.DelayedConv2d(3, 2, 3, 2, groups=2), "DelayedConv2d: groups=2 must divide"),
        (lambda: sc.DelayedConv1d(2, 2, 0, 2), "DelayedConv1d: kernel_size=0 must be an int >= 1"),
        (lambda: sc.DelayedConv1d(2, 2, 3, 2, kernel="box"), "DelayedConv1d: .*kernel 'box'"),
        (
            lambda: sc.DelayedConv2d(2, 2, 3, 2).init(Key((0,)), (1, 5, 5)),
            r"DelayedConv2d: samples of shape \(1, 5, 5\)",
        ),
        (lambda: sc.DelayedConv2d(1, 2, 3, 2).init(Key((0,)), (1, 2, 5)), "DelayedConv2d: kernel .* does not fit"),
    ],
)
def test_a_convolution_refuses_by_its_own_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_convolution_prints_its_sizes_as_they_were_written():
    assert repr(sc.DelayedConv2d(2, 3, 3, 4, padding=1)) == "DelayedConv2d(2, 3, 3, 4, padding=1)"

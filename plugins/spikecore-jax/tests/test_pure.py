"""A network as pure functions: JAX's transformations, optax and Flax work on it, with the values of a model."""

from __future__ import annotations

import re

import numpy as np
import pytest

pytest.importorskip("jax", reason="the engine computes with JAX: pip install jax")

import jax
import jax.numpy as jnp
from spikecore_jax import PureNetwork

import spikecore as sc
from spikecore import functional
from spikecore.conformance.rig import assert_close, normal

NET = sc.Sequential(sc.Linear(6, 8), sc.Leaky(beta=sc.learn(0.8), threshold=0.5), sc.Linear(8, 3), sc.Leaky(beta=0.7))
NOISY = sc.Sequential(sc.Linear(6, 40), sc.Dropout(0.5), sc.Leaky(beta=0.8), sc.Linear(40, 3), sc.LI(beta=0.8))
NORMED = sc.Sequential(sc.Conv2d(1, 4, 3), sc.BatchNorm2d(4), sc.Leaky(), sc.Flatten(), sc.Linear(64, 3), sc.LI())
X, LABELS = (np.abs(normal(7, 10, 6)) + 0.3).astype("float32"), np.arange(10) % 3


def loss_of(network, params, x=X):
    return functional.ce_rate_loss().evaluate(network.engine, network.apply(params, x), LABELS)


@pytest.mark.parametrize(("engine", "dtype", "limit"), [("jax", "float32", 1e-6), ("numpy", "float64", 1e-12)])
def test_the_gradient_is_that_of_a_model(engine, dtype, limit):
    with jax.enable_x64(dtype == "float64"):
        network, x = PureNetwork(NET, (6,), dtype=dtype), X.astype(dtype)
        params = network.init(seed=3)
        value, grads = jax.jit(jax.value_and_grad(lambda params: loss_of(network, params, x)))(params)
        model = sc.Model(NET, engine=engine, dtype=dtype, seed=3)
        expected = model.value_and_grad(x, LABELS, loss=functional.ce_rate_loss())
        assert_close(value, expected[0], limit)
        for name, g in expected[1].items():
            assert grads[name].dtype == dtype
            assert_close(grads[name], g, limit, name)


def test_an_ensemble_is_one_vmap():
    network = PureNetwork(NET, (6,), num_steps=5)
    members = [network.init(seed) for seed in range(3)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *members)
    out = jax.jit(jax.vmap(network.apply, in_axes=(0, None)))(stacked, X[0])
    for i, params in enumerate(members):
        np.testing.assert_array_equal(out.spikes[i], network.apply(params, X[0]).spikes)


def test_gradients_per_sample():
    network = PureNetwork(NET, (6,))
    params = network.init()

    def one(params, x, label):
        out = network.apply(params, x[:, None])
        return functional.ce_rate_loss().evaluate(network.engine, out, label[None])

    each = jax.vmap(jax.grad(one), in_axes=(None, 1, 0))(params, X, LABELS)
    whole = jax.grad(lambda params: loss_of(network, params))(params)
    for name, g in whole.items():
        assert_close(each[name].mean(0), g, 1e-5, name)


def test_a_stream_is_a_scan_of_single_steps():
    network = PureNetwork(NET, (6,))
    params = network.init()

    def step(state, x):
        out = network.apply(params, x[None], state=state)
        return out.state, out.spikes[0]

    _, spikes = jax.lax.scan(step, network.rest(params, 10), X)
    np.testing.assert_array_equal(spikes, network.apply(params, X).spikes)


def test_dropout_draws_by_the_key_of_jax():
    network = PureNetwork(NOISY, (6,))
    params = network.init()
    run = jax.jit(lambda key: network.train(params, X, key)[0].membrane)
    one, again, other = run(jax.random.key(1)), run(jax.random.key(1)), run(jax.random.key(2))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()
    several = jax.vmap(run)(jax.random.split(jax.random.key(0), 3))
    assert (several[0] != several[1]).any()
    with pytest.raises(ValueError, match=r"^train: a layer .* pass key=jax.random.key\(0\)"):
        network.train(params, X)


def test_running_statistics_move_as_in_a_model():
    network = PureNetwork(NORMED, (1, 6, 6))
    x = np.abs(normal(4, 10, 1, 6, 6)).astype("float32")
    params, buffers = network.init(seed=3), network.buffers()
    out, moved = jax.jit(network.train)(params, x, buffers=buffers)
    model = sc.Model(NORMED, engine="numpy", seed=3)
    model.fit([(x, LABELS)], loss=functional.ce_membrane_loss(), optimizer=sc.SGD(lr=0.0), progress=False)
    for name, value in model.state()["buffers"].items():
        assert_close(moved[name], value, 1e-5, name)
    assert (network.apply(params, x, buffers=moved).membrane != out.membrane).any()


def test_weights_go_to_a_model_and_back():
    network = PureNetwork(NET, (6,))
    model = sc.Model(NET, engine="torch", seed=5)
    params = {name: jnp.asarray(x) for name, x in model.params().items()}
    assert_close(network.apply(params, X).spikes, np.asarray(model(X).spikes.detach()), 1e-6)
    model.load_state({**model.state(), "params": {name: 2 * x for name, x in params.items()}})
    assert_close(model.params()["0.weight"], 2 * params["0.weight"], 1e-6)
    for name, x in network.init(seed=5).items():
        np.testing.assert_array_equal(x, params[name])


def test_an_optax_loop_of_ten_lines_learns():
    optax = pytest.importorskip("optax", reason="optax comes with the extra test of spikecore-jax")
    train, test = sc.datasets.digits()
    net = sc.Sequential(sc.Linear(64, 100), sc.Leaky(beta=0.9), sc.Linear(100, 10), sc.Leaky(beta=0.9))
    network = PureNetwork(net, (64,), num_steps=15)

    params, optimizer = network.init(seed=0), optax.adam(5e-3)
    slots = optimizer.init(params)

    @jax.jit
    def step(params, slots, x, y):
        def loss(params):
            counts = network.apply(params, x).spikes.sum(0)
            return optax.softmax_cross_entropy_with_integer_labels(counts, y).mean()

        value, grads = jax.value_and_grad(loss)(params)
        updates, slots = optimizer.update(grads, slots)
        return optax.apply_updates(params, updates), slots, value

    for epoch in range(4):
        order = np.random.default_rng(epoch).permutation(len(train.targets))
        for at in np.split(order[: len(order) // 50 * 50], len(order) // 50):
            params, slots, _ = step(params, slots, train.inputs[at], train.targets[at])
    found = network.apply(params, test.inputs).spikes.sum(0).argmax(-1)
    assert (np.asarray(found) == test.targets).mean() > 0.9


def test_a_module_of_flax():
    pytest.importorskip("flax", reason="flax comes with the extra flax of spikecore-jax")
    from flax import linen, nnx
    from spikecore_jax import FlaxNetwork

    pure = PureNetwork(NORMED, (1, 6, 6))
    x = np.abs(normal(4, 10, 1, 6, 6)).astype("float32")
    module = FlaxNetwork(pure)
    variables = module.init(jax.random.key(0), x)
    out = jax.jit(module.apply)(variables, x)
    np.testing.assert_array_equal(out.membrane, pure.apply(variables["params"], x).membrane)
    _, moved = module.apply(variables, x, train=True, mutable=["batch_stats"])
    assert (moved["batch_stats"]["1.running_mean"] != variables["batch_stats"]["1.running_mean"]).all()

    class Within(linen.Module):
        @linen.compact
        def __call__(self, x):
            return linen.Dense(2)(FlaxNetwork(PureNetwork(NET, (6,)))(linen.Dense(6)(x)).spikes.mean(0))

    whole = Within()
    grads = jax.grad(lambda v: whole.apply(v, X).sum())(whole.init(jax.random.key(1), X))
    assert all(bool(jnp.isfinite(g).all()) for g in jax.tree.leaves(grads))
    assert bool((grads["params"]["FlaxNetwork_0"]["0.weight"] != 0).any())

    noisy = FlaxNetwork(PureNetwork(NOISY, (6,)))
    held = noisy.init(jax.random.key(0), X)
    one, two = (noisy.apply(held, X, train=True, rngs={"dropout": jax.random.key(k)}).membrane for k in (1, 2))
    assert (one != two).any()
    newer = nnx.bridge.ToNNX(noisy, rngs=nnx.Rngs(0)).lazy_init(X)
    assert newer(X).membrane.shape == (7, 10, 3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda n, p: n.apply(p, X[0]), sc.errors.ShapeError, r"x of shape (10, 6) must be (time, batch, 6)"),
        (lambda n, p: n.apply(p, X[..., :5]), sc.errors.ShapeError, r"x of shape (7, 10, 5) must be"),
        (lambda n, p: n.apply({**p, "9.weight": X}, X), KeyError, "params: '9.weight' is unknown; the network has 0.w"),
        (lambda n, p: n.apply({**p, "0.bias": X}, X), sc.errors.ShapeError, "params: 0.bias of shape (7, 10, 6) must"),
        (lambda n, p: n.init("a"), TypeError, "init: seed='a' must be a whole number or a key of jax.random"),
        (lambda n, p: jax.jit(n.init)(jax.random.key(0)), TypeError, "init: the key is traced"),
        (lambda n, p: PureNetwork(NET, (6,), num_steps=0), ValueError, "num_steps=0 must be a number of steps"),
        (lambda n, p: PureNetwork(NET, (5,)), sc.errors.ShapeError, "expected (6,); write Linear(5, 8)"),
        (lambda n, p: n.apply(p, X, record="5"), ValueError, "record='5'"),
    ],
)
def test_mistakes_are_named(call, error, message):
    network = PureNetwork(NET, (6,))
    with pytest.raises(error, match=re.escape(message)):
        call(network, network.init())

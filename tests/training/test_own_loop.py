"""``train_step``, ``value_and_grad`` and ``apply``: loops of a user's own, equal to ``fit``."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, spikegen
from spikecore.api.core.layer import Key

RNG = np.random.default_rng(0)
X = RNG.random((20, 6), dtype=np.float32)
Y = np.arange(20) % 4
BATCHES = [(X[i : i + 8], Y[i : i + 8]) for i in range(0, 20, 8)]  # the last one is shorter
ADAM = sc.Adam(lr=0.01, groups=(sc.Group("*.beta", lr=0.05),))
CLIPPED = sc.Adam(lr=1e-2, clip_norm=0.1)


@pytest.fixture(autouse=True)
def _torch():
    pytest.importorskip("torch")


def network():
    return sc.Sequential(
        sc.Linear(6, 8), sc.BatchNorm1d(8), sc.Leaky(beta=sc.learn(0.9)), sc.Dropout(0.3), sc.Linear(8, 4), sc.Leaky()
    )


@pytest.fixture(params=["numpy", "torch"])
def model(request):
    return sc.Model(network(), request.param, seed=3)


def fitted(model, epochs=2, **options):
    other = sc.Model(model.network, model.engine, seed=model.seed)
    other.fit(BATCHES, **{"optimizer": ADAM, **options}, epochs=epochs, progress=False)
    return other


def draws(model, epochs=2):
    """Batches with the draws that ``fit`` has for them."""
    for epoch in range(epochs):
        for i, (x, y) in enumerate(BATCHES):
            yield x, y, {"seed": Key((model.seed, "epoch", epoch), first=8 * i)}


def same(a, b):
    a, b = a.state(), b.state()
    for part in ("params", "buffers", "optimizer"):
        assert a[part].keys() == b[part].keys()
        assert all((a[part][name] == x).all() for name, x in b[part].items()), part
    assert a["step"] == b["step"]


@pytest.mark.parametrize(
    "options",
    [
        {"num_steps": 4},
        {"num_steps": 4, "encoder": spikegen.rate, "optimizer": CLIPPED},
        {"num_steps": 4, "learning": sc.BPTT(window=2), "loss": functional.ce_membrane_loss()},
    ],
)
def test_a_loop_of_train_steps_is_fit(model, options):
    reference, rows = fitted(model, **options), []
    for x, y, named in draws(model):
        rows.append(model.train_step(x, y, **{"optimizer": ADAM, **options}, **named))
    same(model, reference)
    last = [row["loss"] for row in rows[3:]]
    assert reference.history[-1]["loss"] == pytest.approx((8 * last[0] + 8 * last[1] + 4 * last[2]) / 20)
    assert set(rows[0]) == {"loss", "accuracy"}
    assert model.history == []


def test_a_loop_of_gradients_is_fit(model):
    reference = fitted(model, num_steps=4, optimizer=CLIPPED)
    for x, y, named in draws(model):
        _, grads = model.value_and_grad(x, y, num_steps=4, **named)
        model.apply(grads, CLIPPED)
    same(model, reference)


def test_the_executor_is_built_once(model):
    model.train_step(*BATCHES[0], num_steps=4, optimizer=ADAM)
    held = model.trainer.executor
    for x, y in BATCHES:
        model.train_step(x, y, num_steps=4)
        model.value_and_grad(x, y, num_steps=4, learning=sc.BPTT(window=2))
    assert model.trainer.executor is held
    model.train_step(*BATCHES[0], num_steps=4, loss=functional.mse_count_loss())
    assert model.trainer.executor is not held


def test_another_learning_rate_keeps_moments_and_executor(model):
    a, b = sc.SGD(lr=0.1, momentum=0.9), sc.SGD(lr=0.05, momentum=0.9)
    model.train_step(*BATCHES[0], num_steps=4, optimizer=a)
    held, before = model.trainer.executor, model.state()
    model.train_step(*BATCHES[1], num_steps=4, optimizer=b)
    after = model.state()
    assert model.trainer.executor is held
    assert (after["step"], after["lr"]) == (2, 0.05)
    move = after["params"]["0.weight"] - before["params"]["0.weight"]
    assert abs(move + 0.05 * after["optimizer"]["0.weight.momentum_buffer"]).max() < 1e-6


def test_gradients_are_the_engines_and_change_nothing(model):
    before = model.params()
    loss, grads = model.value_and_grad(X, Y, num_steps=4)
    again, same_grads = model.value_and_grad(X, Y, num_steps=4)
    assert loss == again
    assert isinstance(loss, float)
    assert grads.keys() == before.keys()
    assert model.state()["step"] == 0
    to_numpy = model.engine.to_numpy
    assert all((to_numpy(grads[name]) == to_numpy(same_grads[name])).all() for name in grads)
    assert all((model.params()[name] == x).all() for name, x in before.items())


def test_sharpness_aware_steps(model):
    """Two gradients for one step: up the slope, and from there down."""
    state = model.state() if model.input_shape else None
    loss, grads = model.value_and_grad(X, Y, num_steps=4)
    climbed = model.state()
    for name, g in grads.items():
        climbed["params"][name] = climbed["params"][name] + 0.01 * model.engine.to_numpy(g)
    model.load_state(climbed)
    _, grads = model.value_and_grad(X, Y, num_steps=4)
    model.load_state(state)
    model.apply(grads, sc.SGD(lr=0.1))
    assert model.state()["step"] == 1
    assert np.isfinite(loss)


def test_applying_a_gradient_leaves_it_as_it_is(model):
    _, grads = model.value_and_grad(X, Y, num_steps=4)
    before = {name: model.engine.to_numpy(g).copy() for name, g in grads.items()}
    model.apply(grads, sc.SGD(lr=0.1, clip_norm=1e-3))
    model.train_step(X, Y, num_steps=4)
    assert all((model.engine.to_numpy(grads[name]) == g).all() for name, g in before.items())


def test_frozen_parameters_have_no_gradient(model):
    optimizer = sc.SGD(lr=0.1, groups=(sc.Group("0.*", frozen=True),))
    model.train_step(X, Y, num_steps=4, optimizer=optimizer)
    _, grads = model.value_and_grad(X, Y, num_steps=4)
    assert not {"0.weight", "0.bias"} & set(grads)
    assert "4.weight" in grads
    model.apply({name: model.engine.to_numpy(g) for name, g in grads.items()})  # NumPy's arrays are taken, too
    assert model.state()["step"] == 2


def test_bad_gradients_are_refused(model):
    _, grads = model.value_and_grad(X, Y, num_steps=4)
    with pytest.raises(ValueError, match=r"missing \['0.weight'\], unknown \['0.weights'\]"):
        model.apply({("0.weights" if name == "0.weight" else name): g for name, g in grads.items()})
    with pytest.raises(ValueError, match=r"grads: 0.bias=.* must be an array of shape \(8,\)"):
        model.apply({**grads, "0.bias": np.zeros(3)})
    assert model.state()["step"] == 0


def test_lengths(model):
    x = np.repeat(X[None], 5, axis=0)
    short = model.train_step(x, Y, lengths=[5, 2] * 10, loss=functional.ce_count_loss())
    assert np.isfinite(short["loss"])
    with pytest.raises(ValueError, match="lengths"):
        model.train_step(x, Y, lengths=[6, 2] * 10)


def test_a_loss_that_is_not_finite_leaves_the_weights(model):
    before = model.params()

    def broken(out, targets):
        return sc.base.engine_of(out.spikes).xp.sum(out.spikes) * float("nan")

    for call in (model.train_step, model.value_and_grad):
        with pytest.raises(sc.errors.DivergedError, match="the loss is nan"):
            call(X, Y, loss=broken, num_steps=4)
    assert all((model.params()[name] == x).all() for name, x in before.items())


def test_after_it_fit_goes_on_with_the_moments(model):
    for x, y in BATCHES:
        model.train_step(x, y, num_steps=4, optimizer=ADAM)
    model.fit(BATCHES, num_steps=4, optimizer=ADAM, progress=False)
    assert model.state()["step"] == 6
    assert model.epochs_done == 1


def test_a_pickled_model_goes_on(model):
    model.train_step(*BATCHES[0], num_steps=4, optimizer=ADAM)
    other = pickle.loads(pickle.dumps(model))
    for one in (model, other):
        one.train_step(*BATCHES[1], num_steps=4)
    same(other, model)


def test_on_the_ipu_engine():
    model = sc.Model(sc.Sequential(sc.Linear(6, 4), sc.Leaky()), "ipu", simulate=True, seed=3)
    other = sc.Model(model.network, "torch", seed=3)
    for _ in range(2):
        rows = [one.train_step(X[:8], Y[:8], num_steps=4, optimizer=sc.SGD(lr=0.1)) for one in (model, other)]
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], abs=1e-6)
    for call in (lambda: model.value_and_grad(X[:8], Y[:8], num_steps=4), lambda: model.apply({})):
        with pytest.raises(NotImplementedError, match="keeps gradients on the device: use model.train_step"):
            call()

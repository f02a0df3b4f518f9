"""C1: a state that does not fit is refused whole, on every engine, before anything is replaced."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc

torch = pytest.importorskip("torch", reason="the torch engine is among those compared")

X, Y = np.random.default_rng(0).random((8, 40)).astype("float32"), np.arange(8) % 3
ENGINES = {"numpy": {}, "torch": {}, "ipu": {"simulate": True}}
OPTIMIZERS = [sc.SGD(lr=0.1, momentum=0.9), sc.Adam(), sc.AdamW(), sc.RMSprop(momentum=0.5)]


def network():
    return sc.Sequential(
        sc.Linear(40, 64), sc.BatchNorm1d(64), sc.Leaky(beta=sc.learn(0.8, per="neuron"), threshold=0.3),
        sc.Linear(64, 3), sc.Leaky(beta=sc.learn(0.7)),
    )  # fmt: skip


def trained(name, optimizer):
    model = sc.Model(network(), name, seed=1, **ENGINES[name])
    model.fit([(X, Y)], num_steps=3, optimizer=optimizer, progress=False)
    return model


def same(a, b):
    for part in ("params", "buffers", "optimizer"):
        assert list(a[part]) == list(b[part])
        for name, x in a[part].items():
            np.testing.assert_array_equal(x, b[part][name], name)
    assert (a["step"], a["lr"]) == (b["step"], b["lr"])


def wrong_arrays(x):
    """Arrays in the place of ``x`` that cannot be it, by what is wrong with them."""
    yield "shape", np.concatenate([x.reshape(-1), x.reshape(-1)])
    yield "shape", x.reshape(-1)[:1] if x.size > 1 else x.reshape((*x.shape, 1))
    yield "shape", x[None]
    yield "dtype", x.astype("complex64")
    yield "dtype", np.full(x.shape, "1.0")
    yield "dtype", np.full(x.shape, None)
    yield "dtype", x.astype("int64")
    yield "dtype", x > 0


def spoiled(state):
    """(what is wrong, a state with that one fault), for every kind of fault and each part."""
    for part in ("params", "buffers", "optimizer"):
        for name in list(state[part]):
            for what, wrong in wrong_arrays(state[part][name]):
                yield what, {**state, part: {**state[part], name: wrong}}
        name = next(iter(state[part]))
        yield "missing", {**state, part: {k: x for k, x in state[part].items() if k != name}}
        yield "unknown", {**state, part: {**state[part], f"{name}_": state[part][name]}}
        yield "unknown", {**state, part: {(k if k != name else "0.else"): x for k, x in state[part].items()}}
        yield "must", {**state, part: 5}
    for step in (-1, 1.5, True, None, "1", 2**60, float("nan")):
        yield "step", {**state, "step": step}
    for lr in (10**400, -1.0, float("nan"), float("inf"), None, "1", 1j, True):
        yield "lr", {**state, "lr": lr}
    yield "step", {**state, "optimizer": {}}


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("engine", ENGINES)
def test_a_state_with_any_one_fault_is_refused_whole(engine, optimizer):
    """C1: each name, shape and dtype, one wrong at a time; the model is what it was, and trains on."""
    model = trained(engine, optimizer)
    before = model.state()
    count = 0
    for what, state in spoiled(model.state()):
        with pytest.raises((ValueError, KeyError), match=what):
            model.load_state(state)
        count += 1
    assert count > 100
    same(model.state(), before)
    twin = trained(engine, optimizer)
    for one in (model, twin):
        one.fit([(X, Y)], num_steps=3, epochs=2, resume=True, progress=False)
    same(model.state(), twin.state())


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_slots_of_another_optimiser_are_refused(engine):
    """C1: they were dropped without a word, or read as what they are not."""
    kinds = (*OPTIMIZERS, sc.SGD(lr=0.1), sc.RMSprop())
    states = [trained(engine, one).state() for one in kinds]
    refused = 0
    for one, own in zip(kinds, states):
        model = trained(engine, one)
        for state in states:
            mixed = {**own, "optimizer": state["optimizer"]}
            if set(state["optimizer"]) == set(own["optimizer"]):
                model.load_state(mixed)
                continue
            with pytest.raises((KeyError, ValueError), match="optimizer: names do not match|optimizer is empty"):
                model.load_state(mixed)
            refused += 1
    assert refused == 6 * 6 - 6 - 2  # all pairs, less each with itself, and Adam with AdamW


@pytest.mark.parametrize("engine", ["numpy", "torch"])
def test_weights_go_to_a_model_that_was_never_trained(engine):
    """C1: it has no optimiser that slots could belong to, so it takes the weights alone, and starts anew."""
    model, fresh = trained(engine, sc.Adam()), sc.Model(network(), engine, seed=2)
    fresh.load_state(model.state())
    assert fresh.state()["optimizer"] == {}
    np.testing.assert_array_equal(fresh.params()["0.weight"], model.params()["0.weight"])
    fresh.fit([(X, Y)], num_steps=3, progress=False)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda one: type(one).__name__)
def test_kernels_check_sizes_again(optimizer):
    """C1: NumPy's kernel would read, and torch's fused optimiser write, beyond an array that is too small."""
    from spikecore.kernels.update import update

    pytest.importorskip("numba", reason="there is no kernel without Numba")
    param = np.zeros(100_000, "float32")
    slots = {name: np.zeros_like(param) for name in optimizer.slots}
    update(optimizer, param, param, slots, 1, 0.1)
    for wrong in (np.zeros(10, "float32"), np.zeros(100_000, "float64"), np.zeros((1, 100_000), "float32")):
        with pytest.raises(ValueError, match="grad"):
            update(optimizer, param, wrong, slots, 1, 0.1)
        for name in slots:
            with pytest.raises(ValueError, match=name):
                update(optimizer, param, param, {**slots, name: wrong}, 1, 0.1)


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda one: type(one).__name__)
def test_torch_checks_sizes_again(optimizer):
    """C1: also if somebody puts another tensor into the optimiser behind the executor's back."""
    model = trained("torch", optimizer)
    held, weight = model.trainer.executor.torch_optimizer.state, model.trainer.executor.leaves[0]
    for slot in optimizer.slots:
        for wrong in (held[weight][slot][:1, :1].clone(), held[weight][slot].double()):
            right, held[weight][slot] = held[weight][slot], wrong
            before = model.params()
            with pytest.raises(ValueError, match=rf"0\.weight\.{slot}"):
                model.trainer.executor.step(X[None], Y, steps=3)
            assert all(np.array_equal(x, model.params()[name]) for name, x in before.items())
            held[weight][slot] = right

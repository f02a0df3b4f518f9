"""Executors: one training step is the same thing on every engine, and a checkpoint of one continues on another."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import Tree, flatten, map_leaves
from spikecore.conformance import cases
from spikecore.conformance.rig import assert_close, assert_trees_close, host, normal

NETWORK = sc.Sequential(
    sc.Linear(6, 8), sc.BatchNorm1d(8), sc.Leaky(beta=sc.learn(0.8, per="neuron"), threshold=sc.learn(0.5)),
    sc.Dropout(0.2), sc.Linear(8, 3), sc.Leaky(beta=0.7, graded_spikes_factor=sc.learn(1.2)),
)  # fmt: skip
LOSS = functional.ce_count_loss() + 0.3 * functional.mse_membrane_loss()
X, LABELS = normal(7, 5, 6) + 0.4, np.array([0, 1, 2, 1, 0])


def compiled(engine, spec=None, network=NETWORK, loss=LOSS, shape=(6,), **options):
    init = network.init(Key((0, "init")), shape)
    return engine.compile(network, init.params, init.buffers, loss, spec or sc.Adam(lr=0.01), **options)


def train(executor, steps, start=0, x=X):
    return [executor.step(x + 0.01 * i, LABELS, key=Key((0, "epoch", i)))[0] for i in range(start, start + steps)]


def flat(state):
    return {f"{kind}/{name}": x for kind in ("params", "buffers", "optimizer") for name, x in state[kind].items()}


def assert_states_close(a, b, limit):
    assert (a["step"], a["lr"]) == (b["step"], b["lr"])
    a, b = flat(a), flat(b)
    assert set(a) == set(b)
    for name in a:
        size = max(abs(b[name]).max(), 1e-6)  # the bias before a BatchNorm has no gradient but rounding
        assert abs(a[name] - b[name]).max() <= limit * size, name


def test_a_step_is_a_gradient_and_its_application(engine):
    """``value_and_grad`` and ``apply`` of a model; two batches make the mean of their gradients."""
    if not compiled(engine).gradients:
        pytest.skip("the gradient stays on the device")
    whole, parts = compiled(engine), compiled(engine)
    for i in range(3):
        train(whole, 1, start=i)
        parts.gradients.add(X + 0.01 * i, LABELS, key=Key((0, "epoch", i)))
        parts.gradients.apply(parts.gradients.gradient())
    assert_states_close(parts.state(), whole.state(), 0.0)
    for weight, x in ((3.0, X), (1.0, 2.0 * X)):
        parts.gradients.add(x, LABELS, weight=weight, key=Key((0, "epoch", 9)))
    mean = flatten(host(engine, parts.gradients.gradient()))
    single = []
    for x in (X, 2.0 * X):
        parts.gradients.add(x, LABELS, key=Key((0, "epoch", 9)))
        single.append(flatten(host(engine, parts.gradients.gradient())))
    for name in set(mean) - {"0.bias"}:  # before a BatchNorm it has no gradient but rounding
        assert_close(mean[name], (3.0 * single[0][name] + single[1][name]) / 4.0, 1e-12, name)


# Without what a batch moves (buffers), and what rounding alone moves (0.bias).
NEURONS = sc.Sequential(*NETWORK.layers[2:])


def check_add_gradient(engine):
    """A gradient that was made elsewhere waits beside those of batches, and counts by its weight."""
    x, key = normal(7, 5, 8) + 0.4, Key((0, "epoch", 0))
    executor, other = (compiled(engine, network=NEURONS, shape=(8,)) for _ in range(2))
    if executor.gradients is None:
        pytest.skip("the gradient stays on the device")
    given = []
    for scale in (1.0, 2.0, 3.0):
        other.gradients.add(scale * x, LABELS, key=key)
        given.append(other.gradients.gradient())
    first, second, third = (flatten(host(engine, grads)) for grads in given)
    mean = {name: (3.0 * first[name] + second[name] + 2.0 * third[name]) / 6.0 for name in first}

    def wait():
        executor.gradients.add_gradient(given[0], 3.0)
        executor.gradients.add(2.0 * x, LABELS, key=key)
        executor.gradients.add_gradient(given[2], 2.0)

    wait()
    found = flatten(host(engine, executor.gradients.gradient()))
    for name, expected in mean.items():
        assert_close(found[name], expected, 1e-12, name)
    wait()
    executor.gradients.update()
    other.gradients.apply(Tree({name: engine.asarray(grad) for name, grad in mean.items()}))
    assert_states_close(executor.state(), other.state(), 1e-12)


def test_a_gradient_from_elsewhere_waits_for_an_update(engine):
    check_add_gradient(engine)


def check_assign(engine):
    """Parameters from elsewhere take the place of the executor's, which trains on; the optimiser stays as it is."""
    executor, other = compiled(engine), compiled(engine)
    if executor.gradients is None:
        pytest.skip("the parameters stay on the device")
    train(executor, 2)
    before = executor.state()
    halves = map_leaves(lambda x: engine.asarray(0.5 * engine.to_numpy(x)), executor.params)
    kept = host(engine, halves)
    executor.gradients.assign(halves)
    after = {**before, "params": flatten(kept)}
    assert_states_close(executor.state(), after, 0.0)
    other.load(after)
    assert train(executor, 2, start=2) == train(other, 2, start=2)
    assert_trees_close(host(engine, halves), kept, 0.0)


def test_parameters_are_assigned(engine):
    check_assign(engine)


@functools.lru_cache(maxsize=None)
def long_training(steps):
    """The losses of a long training run on the numpy engine, in float64, and the state after it."""
    executor = compiled(sc.get_engine("numpy", dtype="float64"))
    return train(executor, steps), executor.state()


def check_loss_curve(engine, steps=60):
    """The losses of a long training run, and all weights after it, against the numpy engine, in float64."""
    ours, (expected, state) = compiled(engine), long_training(steps)
    found = train(ours, steps)
    assert expected[-1] < 0.8 * expected[0], "it learns"
    assert_close(np.array(found), np.array(expected), 1e-9)
    for name, x in state["params"].items():
        if name != "0.bias":  # no gradient but rounding: Adam makes steps of it
            assert_close(ours.state()["params"][name], x, 1e-9, name)


def test_loss_curve(engine):
    check_loss_curve(engine)


@pytest.mark.parametrize("spec", [spec for _, spec in cases.OPTIMIZERS], **cases.ids(cases.OPTIMIZERS))
def test_resume_is_bit_identical(engine, spec):
    whole, first = compiled(engine, spec), compiled(engine, spec)
    expected = train(whole, 4)
    train(first, 2)
    second = compiled(engine, spec)
    second.load(first.state())
    assert train(second, 2, start=2) == expected[2:]
    assert_states_close(second.state(), whole.state(), 0.0)


def check_moves_between_engines(engine, spec):
    """Two steps on one engine, two on the other: the same as four on either."""
    numpy = sc.get_engine("numpy", dtype="float64")
    x = normal(7, 5, 8) + 0.4
    whole = compiled(numpy, spec, NEURONS, shape=(8,))
    train(whole, 4, x=x)
    for before, after in ((engine, numpy), (numpy, engine)):
        one, two = compiled(before, spec, NEURONS, shape=(8,)), compiled(after, spec, NEURONS, shape=(8,))
        train(one, 2, x=x)
        two.load(one.state())
        train(two, 2, start=2, x=x)
        assert_states_close(two.state(), whole.state(), 1e-10)


@pytest.mark.parametrize("spec", [spec for _, spec in cases.OPTIMIZERS], **cases.ids(cases.OPTIMIZERS))
def test_moves_between_engines(engine, spec):
    check_moves_between_engines(engine, spec)


def test_step_reports_the_loss_before_it_and_the_output(engine):
    executor = compiled(engine, network=cases.DENSE, shape=(5,), loss=functional.mse_membrane_loss())
    x = X[..., :5]
    expected = functional.mse_membrane_loss()(executor.run(x, record="last"), LABELS)
    loss, out = executor.step(x, LABELS, key=Key((0,)))
    assert_close(np.array(loss), engine.to_numpy(expected))
    assert isinstance(loss, float)
    assert tuple(out.spikes.shape) == (7, 5, 3)
    assert executor.state()["step"] == 1


def test_run_trains_nothing_and_continues(engine):
    executor = compiled(engine)
    before = executor.state()
    whole = executor.run(X, record=True)
    early = executor.run(X[:4])
    late = executor.run(X[4:], early.state)
    assert_close(engine.to_numpy(late.spikes), engine.to_numpy(whole.spikes)[4:])
    assert_trees_close(host(engine, late.state), host(engine, whole.state), 1e-12)
    assert set(whole.states) == {"2", "5"}
    assert early.states == {}
    assert_states_close(executor.state(), before, 0.0)


def test_noise_of_a_run_follows_the_numbers_of_its_samples(engine):
    """However samples are divided into runs. Two are of one size: on some engines, of the same code."""
    noisy = sc.Sequential(sc.Linear(6, 8), sc.Noisy(sc.LI(beta=0.8), input_noise=0.5))
    executor = compiled(engine, network=noisy, loss=functional.mse_value_loss())
    whole = executor.run(X).spikes
    for part in (slice(0, 2), slice(2, 4), slice(4, 5)):
        found = executor.run(X[:, part], first=part.start).spikes
        assert_close(engine.to_numpy(found), engine.to_numpy(whole)[:, part])


def test_state_is_a_copy(engine):
    executor = compiled(engine)
    train(executor, 1)
    held = executor.state()
    frozen = map_leaves(np.copy, held["params"]["0.weight"])
    train(executor, 2)
    np.testing.assert_array_equal(held["params"]["0.weight"], frozen)
    for x in flat(held).values():
        x[...] = np.nan
    assert all(np.isfinite(x).all() for x in flat(executor.state()).values())


def test_load_copies(engine):
    executor = compiled(engine)
    train(executor, 2)
    state = executor.state()
    executor.load(state)
    for x in flat(state).values():
        x[...] = np.nan
    assert np.isfinite(train(executor, 1)).all()


def test_load_refuses_other_networks(engine):
    state = compiled(engine, network=cases.DENSE, shape=(5,)).state()
    with pytest.raises(KeyError, match=r"missing .*4\.weight"):
        compiled(engine).load(state)


def test_set_lr(engine):
    """SGD's step is proportional to its rate, from the next step on."""
    moved = []
    for lr in (0.1, 0.05):
        executor = compiled(engine, sc.SGD(lr=1.0))
        before = executor.state()["params"]["4.weight"]
        executor.set_lr(lr)
        train(executor, 1)
        moved.append(before - executor.state()["params"]["4.weight"])
        assert executor.state()["lr"] == lr
    assert_close(moved[0], 2.0 * moved[1], 1e-12)


def check_unreached_parameters(engine, spec):
    """A parameter that the loss does not reach has the gradient zero: weight decay still moves it, on every engine."""
    network = sc.Sequential(sc.Linear(6, 3), sc.Leaky(graded_spikes_factor=sc.learn(1.5)))
    executors = [compiled(one, spec, network, functional.mse_membrane_loss())
                 for one in (engine, sc.get_engine("numpy", dtype="float64"))]  # fmt: skip
    for executor in executors:
        train(executor, 3)
    assert_states_close(executors[0].state(), executors[1].state(), 1e-12)
    again = compiled(engine, spec, network, functional.mse_membrane_loss())
    again.load(executors[0].state())
    assert train(again, 1) == train(executors[0], 1)


@pytest.mark.parametrize("spec", [sc.AdamW(lr=0.1, weight_decay=0.1), sc.SGD(lr=0.1, momentum=0.9, weight_decay=0.1)])
def test_unreached_parameters(engine, spec):
    check_unreached_parameters(engine, spec)


def test_a_network_without_parameters_runs(engine):
    """There is nothing to learn, and a loss to report."""
    executor = compiled(engine, network=sc.Sequential(sc.Leaky()), shape=(3,), loss=functional.mse_membrane_loss())
    losses = [executor.step(X[..., :3], LABELS)[0] for _ in range(2)]
    assert losses[0] == losses[1] > 0
    assert executor.state()["step"] == 2
    executor.set_lr(0.5)
    executor.load(executor.state())


def test_a_loss_that_no_parameter_reaches(engine):
    network, spec = sc.Sequential(sc.Leaky(graded_spikes_factor=sc.learn(2.0))), sc.SGD(lr=0.1, weight_decay=0.5)
    executor = compiled(engine, spec, network, functional.mse_membrane_loss(), shape=(3,))
    executor.step(X[..., :3], LABELS)
    assert_close(executor.state()["params"]["0.graded_spikes_factor"], np.array(2.0 * (1 - 0.05)))


def test_any_callable_is_a_loss(engine):
    def loss(out, targets):
        return sc.base.engine_of(out.membrane).xp.mean((out.membrane - targets) ** 2)

    executor = compiled(engine, loss=loss)
    wanted = normal(7, 5, 3)
    found = [executor.step(X, wanted, key=Key((0, i)))[0] for i in range(15)]
    assert found[-1] < found[0]


def test_window_reaches_the_gradient(engine):
    whole, cut = compiled(engine), compiled(engine, window=2)
    losses = [train(executor, 2) for executor in (whole, cut)]
    assert losses[0][0] == losses[1][0]
    assert losses[0][1] != losses[1][1]


@pytest.mark.parametrize("options", [{"window": 0}, {"window": 2.5}])
def test_bad_options_are_refused(engine, options):
    with pytest.raises(ValueError, match=f"{next(iter(options))}="):
        compiled(engine, **options)


def test_dtype_is_kept_through_training(engine32):
    executor = compiled(engine32)
    train(executor, 2)
    assert {x.dtype.name for x in flat(executor.state()).values()} == {"float32"}

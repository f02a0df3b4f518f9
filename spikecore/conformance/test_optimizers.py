"""Optimisers: twenty steps of each, equal to torch.optim's."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import EMPTY, Init, Key
from spikecore.api.core.tree import Params
from spikecore.conformance import cases
from spikecore.conformance.rig import assert_close, normal

torch = pytest.importorskip("torch", reason="torch.optim is the oracle here")

START, STEPS = normal(3, 2), 20
OPTIMIZERS = pytest.mark.parametrize("spec", [spec for _, spec in cases.OPTIMIZERS], **cases.ids(cases.OPTIMIZERS))


def target(step):
    return normal(3, 2, seed=step) - 1.0


def torchs(spec, leaf):
    """The torch optimiser that a description stands for, by its name and fields."""
    options = {name: value for name, value in vars(spec).items() if name not in ("groups", "keep_zeros", "clip_norm")}
    return getattr(torch.optim, type(spec).__name__)([leaf], **options)


def expected_path(spec, rates, clip_norm=None):
    leaf = torch.tensor(START, requires_grad=True)
    optimizer, path = torchs(spec, leaf), []
    for step, rate in enumerate(rates):
        optimizer.param_groups[0]["lr"] = rate
        optimizer.zero_grad()
        ((leaf - torch.tensor(target(step))) ** 2).sum().backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_([leaf], clip_norm)
        optimizer.step()
        path.append(leaf.detach().numpy().copy())
    return path


def check_update(engine, spec):
    """``Optimizer.update``, in words, on the same gradients."""
    param, slots = engine.asarray(START), {}
    for step, expected in enumerate(expected_path(spec, [spec.lr] * STEPS)):
        grad = 2.0 * (param - engine.asarray(target(step)))
        param, slots = spec.update(engine.xp, param, grad, slots, step + 1, spec.lr)
        assert_close(engine.to_numpy(param), expected, 1e-12, f"step {step}")
        assert set(slots) == set(spec.slots)


@OPTIMIZERS
def test_update(engine, spec):
    check_update(engine, spec)


class Quadratic(sc.base.Stateless):
    """Returns its weight for every sample: the least network with a loss of known gradient."""

    def init(self, key, shape):
        return Init(Params(weight=START), EMPTY, (3, 2))

    def apply(self, engine, params, buffers, x, *, train, key):
        return params.weight + 0.0 * x, buffers


def distance(out, targets):
    engine = sc.base.engine_of(out.spikes)
    off = out.spikes[0, 0, ...] - targets
    return engine.xp.sum(off * off)


def check_executor(engine, spec, clip_norm=None):
    """The same through ``compile``, with a learning rate that changes."""
    spec, network = dataclasses.replace(spec, clip_norm=clip_norm), Quadratic()
    init = network.init(None, None)
    executor = engine.compile(network, init.params, init.buffers, distance, spec)
    rates = [spec.lr * (0.5 if step >= 10 else 1.0) for step in range(STEPS)]
    for step, expected in enumerate(expected_path(spec, rates, clip_norm)):
        executor.set_lr(rates[step])
        executor.step(np.ones((1, 1, 3, 2)), target(step))
        assert_close(executor.state()["params"]["weight"], expected, 1e-12, f"step {step}")
    executor.close()


@OPTIMIZERS
def test_executor(engine, spec):
    check_executor(engine, spec)


@pytest.mark.parametrize("clip_norm", [0.1, 3.0, 1e6])
def test_clip_norm(engine, clip_norm):
    check_executor(engine, sc.SGD(lr=0.1, momentum=0.5), clip_norm)


class Three(sc.base.Stateless):
    """A sum of three weights."""

    def init(self, key, shape):
        return Init(Params({name: START + i for i, name in enumerate(("fast", "weight", "kept"))}), EMPTY, (3, 2))

    def apply(self, engine, params, buffers, x, *, train, key):
        return params.fast + 0.5 * params.weight - params.kept + 0.0 * x, buffers


GROUPS = (
    sc.Group("*", weight_decay=0.0),
    sc.Group("weight", weight_decay=0.1),
    sc.Group("fast", lr=0.03),
    sc.Group("kept", frozen=True),
)


OF_OURS = ("groups", "keep_zeros", "clip_norm", "lr", "weight_decay")


def torchs_groups(spec, clip_norm, rates):
    """The weights after each step, by torch, with the groups that ``GROUPS`` stands for."""
    fast, weight, kept = (torch.tensor(START + i, requires_grad=i < 2) for i in range(3))
    plain = {name: value for name, value in vars(spec).items() if name not in OF_OURS}
    groups = [{"params": [fast], "lr": 0.03, "weight_decay": 0.0}, {"params": [weight], "weight_decay": 0.1}]
    optimizer = getattr(torch.optim, type(spec).__name__)(groups, lr=spec.lr, **plain)
    for step, rate in enumerate(rates):
        for group, base in zip(optimizer.param_groups, (0.03, spec.lr)):
            group["lr"] = base * rate
        optimizer.zero_grad()
        ((fast + 0.5 * weight - kept - torch.tensor(target(step))) ** 2).sum().backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_([fast, weight], clip_norm)
        optimizer.step()
        yield {"fast": fast.detach().numpy(), "weight": weight.detach().numpy(), "kept": START + 2}


@pytest.mark.parametrize("clip_norm", [None, 0.5])
@OPTIMIZERS
def test_groups(engine, spec, clip_norm):
    """Rates and decays of their own, and a parameter that stays, like torch's parameter groups."""
    spec, network = dataclasses.replace(spec, groups=GROUPS, clip_norm=clip_norm), Three()
    init = network.init(None, None)
    executor = engine.compile(network, init.params, init.buffers, distance, spec)
    rates = [0.5 if step >= 10 else 1.0 for step in range(STEPS)]
    for step, expected in enumerate(torchs_groups(spec, clip_norm, rates)):
        executor.set_lr(spec.lr * rates[step])
        executor.step(np.ones((1, 1, 3, 2)), target(step))
        state = executor.state()
        for name, values in expected.items():
            assert_close(state["params"][name], values, 1e-12, f"{name}, step {step}")
        assert {name.partition(".")[0] for name in state["optimizer"]} <= {"fast", "weight"}
    again = engine.compile(network, init.params, init.buffers, distance, spec)
    again.load(state)
    for each in (executor, again):
        each.step(np.ones((1, 1, 3, 2)), target(0))
    assert all((again.state()["params"][name] == x).all() for name, x in executor.state()["params"].items())


class Connected(Quadratic):
    """The same with zeros among its weights, which are connections."""

    connections = ("weight",)

    def init(self, key, shape):
        return Init(Params(weight=np.where(GONE, 0.0, START)), EMPTY, (3, 2))


GONE = np.array([[True, False], [False, True], [False, False]])


def torchs_existing(spec, clip_norm):
    """The weights of the connections that exist after each step, by torch, which knows of no others."""
    leaf = torch.tensor(START[~GONE], requires_grad=True)
    optimizer = torchs(spec, leaf)
    for step in range(STEPS):
        optimizer.zero_grad()
        ((leaf - torch.tensor(target(step)[~GONE])) ** 2).sum().backward()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_([leaf], clip_norm)
        optimizer.step()
        yield leaf.detach().numpy().copy()


def check_keep_zeros(engine, spec, clip_norm=None):
    """Connections that do not exist stay away, and the others are trained as if they were all there is."""
    spec, network = dataclasses.replace(spec, keep_zeros=True, clip_norm=clip_norm), Connected()
    init = network.init(None, None)
    executor = engine.compile(network, init.params, init.buffers, distance, spec)
    for step, expected in enumerate(torchs_existing(spec, clip_norm)):
        executor.step(np.ones((1, 1, 3, 2)), target(step))
        state = executor.state()
        weight = state["params"]["weight"]
        assert_close(weight[~GONE], expected, 1e-12, f"step {step}")
        assert not weight[GONE].any()
        assert not any(state["optimizer"][f"weight.{slot}"][GONE].any() for slot in spec.slots)
    executor.close()


@OPTIMIZERS
def test_zeros_are_kept(engine, spec):
    check_keep_zeros(engine, spec, clip_norm=0.5)


def check_old_moments(engine, spec):
    """The rest of a removed connection's moments neither moves it nor stays."""
    spec, network = dataclasses.replace(spec, keep_zeros=True), Connected()
    init = network.init(None, None)
    executor = engine.compile(network, Params(weight=START), init.buffers, distance, spec)
    executor.step(np.ones((1, 1, 3, 2)), target(0))
    state = executor.state()
    state["params"]["weight"][GONE] = 0.0
    executor.load(state)
    executor.step(np.ones((1, 1, 3, 2)), target(1))
    state = executor.state()
    assert not state["params"]["weight"][GONE].any()
    assert not any(state["optimizer"][f"weight.{slot}"][GONE].any() for slot in spec.slots)


@OPTIMIZERS
def test_old_moments_of_connections_that_are_gone(engine, spec):
    check_old_moments(engine, spec)


def check_no_new_zeros(engine):
    """A step that would end at exactly zero ends beside it, so that the connection stays."""
    network = Connected()
    init = network.init(None, None)
    executor = engine.compile(network, init.params, init.buffers, distance, sc.SGD(lr=0.5, keep_zeros=True))
    executor.step(np.ones((1, 1, 3, 2)), np.zeros((3, 2)))  # the gradient is 2 w, so w - lr 2 w = 0
    weight = executor.state()["params"]["weight"]
    assert (weight[~GONE] == 2.0**-126).all()
    assert (weight[GONE] == 0.0).all()


def test_no_weight_becomes_zero(engine):
    check_no_new_zeros(engine)


def test_zeros_of_other_parameters_are_trained(engine):
    """A parameter that is no connection, such as a bias that begins at zero, is trained as before."""
    network = sc.Linear(3, 2, bias_init=sc.init.constant(0.0))
    init = network.init(Key((0,)), (3,))
    executor = engine.compile(network, init.params, init.buffers, sc.functional.mse_membrane_loss(),
                              sc.SGD(lr=0.1, keep_zeros=True), record=False)  # fmt: skip
    assert executor.trained["weight"].keep_zeros
    assert not executor.trained["bias"].keep_zeros

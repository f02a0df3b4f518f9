"""Optimisers: twenty steps of each, equal to torch.optim's."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import EMPTY, Init
from spikecore.api.core.tree import Params

from . import cases
from .rig import assert_close, normal

torch = pytest.importorskip("torch", reason="torch.optim is the oracle here")

START, STEPS = normal(3, 2), 20
OPTIMIZERS = pytest.mark.parametrize("spec", [spec for _, spec in cases.OPTIMIZERS], **cases.ids(cases.OPTIMIZERS))


def target(step):
    return normal(3, 2, seed=step) - 1.0


def torchs(spec, leaf):
    """The torch optimiser that a description stands for, by its name and fields."""
    options = {name: value for name, value in vars(spec).items() if name != "groups"}
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


class Quadratic(sc.Stateless):
    """Returns its weight for every sample: the least network with a loss of known gradient."""

    def init(self, key, shape):
        return Init(Params(weight=START), EMPTY, (3, 2))

    def apply(self, engine, params, buffers, x, *, train, key):
        return params.weight + 0.0 * x, buffers


def distance(out, targets):
    engine = sc.engine_of(out.spikes)
    off = out.spikes[0, 0, ...] - targets
    return engine.xp.sum(off * off)


def check_executor(engine, spec, clip_norm=None):
    """The same through ``compile``, with a learning rate that changes."""
    network = Quadratic()
    init = network.init(None, None)
    executor = engine.compile(network, init.params, init.buffers, distance, spec, clip_norm=clip_norm)
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


class Three(sc.Stateless):
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


def torchs_groups(spec, clip_norm, rates):
    """The weights after each step, by torch, with the groups that ``GROUPS`` stands for."""
    fast, weight, kept = (torch.tensor(START + i, requires_grad=i < 2) for i in range(3))
    plain = {name: value for name, value in vars(spec).items() if name not in ("groups", "lr", "weight_decay")}
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
    if engine.name == "ipu":
        pytest.skip("the IPU engine refuses groups: tests/test_fit_groups.py")
    spec, network = dataclasses.replace(spec, groups=GROUPS), Three()
    init = network.init(None, None)
    executor = engine.compile(network, init.params, init.buffers, distance, spec, clip_norm=clip_norm)
    rates = [0.5 if step >= 10 else 1.0 for step in range(STEPS)]
    for step, expected in enumerate(torchs_groups(spec, clip_norm, rates)):
        executor.set_lr(spec.lr * rates[step])
        executor.step(np.ones((1, 1, 3, 2)), target(step))
        state = executor.state()
        for name, values in expected.items():
            assert_close(state["params"][name], values, 1e-12, f"{name}, step {step}")
        assert {name.partition(".")[0] for name in state["optimizer"]} <= {"fast", "weight"}
    again = engine.compile(network, init.params, init.buffers, distance, spec, clip_norm=clip_norm)
    again.load(state)
    for each in (executor, again):
        each.step(np.ones((1, 1, 3, 2)), target(0))
    assert all((again.state()["params"][name] == x).all() for name, x in executor.state()["params"].items())


@OPTIMIZERS
def test_descriptions_are_values(spec):
    assert spec == type(spec)(**vars(spec))
    assert hash(spec) == hash(type(spec)(**vars(spec)))
    rms = (("square_avg",), ("square_avg", "momentum_buffer"))
    assert spec.slots in ((), ("momentum_buffer",), ("exp_avg", "exp_avg_sq"), *rms)


BAD = [
    (lambda: sc.SGD(lr=-1.0), "SGD: lr=-1.0"),
    (lambda: sc.Adam(lr=math.nan), "Adam: lr=nan"),
    (lambda: sc.SGD(momentum=1.0), "momentum=1.0"),
    (lambda: sc.SGD(dampening=1.5), "dampening=1.5"),
    (lambda: sc.SGD(nesterov=True), "nesterov needs momentum"),
    (lambda: sc.Adam(betas=(0.9, 1.0)), "betas=1.0"),
    (lambda: sc.Adam(betas=(0.9,)), r"betas=\(0\.9,\) must be 2 values, each a finite number"),
    (lambda: sc.Group("*", lr=-1.0), "Group: lr=-1.0"),
    (lambda: sc.Group("*", weight_decay=math.inf), "Group: weight_decay=inf"),
    (lambda: sc.Group("*"), "has no option"),
    (lambda: sc.Adam(groups=({"match": "*"},)), "groups=.* must be sc.Group objects"),
    (lambda: sc.SGD(lr=0.0, groups=(sc.Group("*", lr=0.1),)), "lr=0.0 cannot be scaled"),
    (lambda: sc.AdamW(weight_decay="much"), "AdamW: weight_decay='much'"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message for _, message in BAD])
def test_bad_arguments_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()

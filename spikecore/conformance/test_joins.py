"""Outputs of branches that are added, multiplied, or joined as in SEW-ResNets."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key
from spikecore.conformance.rig import assert_close, normal, run

JOINS = {  # each with NumPy's formula of the branches' outputs, in their order
    "add": (sc.Add, lambda parts: sum(parts)),
    "multiply": (sc.Multiply, lambda parts: parts[0] * parts[1] * parts[2]),
}
RESIDUALS = {  # of the shortcut and the body
    "add": lambda shortcut, body: shortcut + body,
    "and": np.logical_and,
    "iand": lambda shortcut, body: np.logical_and(shortcut, np.logical_not(body)),
}


def spiking(outs):
    return sc.Sequential(sc.Linear(4, outs), sc.Leaky(threshold=0.1))


def parts_of(engine, layer, x):
    params = layer.init(Key((0, "weights")), x.shape[2:]).params
    return params, [run(engine, child, x, params=params[name]).outputs for name, child in layer.children()]


def check_join(engine, kind):
    build, formula = JOINS[kind]
    layer, x = build(sc.Linear(4, 3), sc.Linear(4, 3, bias=False), spiking(3)), normal(6, 2, 4)
    params, parts = parts_of(engine, layer, x)
    found = run(engine, layer, x, params=params)
    assert_close(found.outputs, formula(parts), 1e-14)
    assert set(found.state) == {"2"}


def check_residual(engine, join):
    layer, x = sc.Residual(spiking(5), spiking(5), join=join), normal(6, 3, 4)
    params, (body, shortcut) = parts_of(engine, layer, x)
    assert 0.1 < body.mean() < 0.9
    assert 0.1 < shortcut.mean() < 0.9
    assert_close(run(engine, layer, x, params=params).outputs, 1.0 * RESIDUALS[join](shortcut, body), 0.0)


@pytest.mark.parametrize("kind", JOINS)
def test_join(engine, kind):
    check_join(engine, kind)


@pytest.mark.parametrize("join", RESIDUALS)
def test_residual_joins_spikes(engine, join):
    check_residual(engine, join)


def test_a_branch_that_is_constant_in_time_is_joined_at_every_step(engine):
    layer, x = sc.Multiply(sc.Sequential(), sc.Leaky(beta=0.9, threshold=1.5)), abs(normal(1, 2, 4))
    out = run(engine, layer, x, steps=5).outputs
    fired = run(engine, sc.Leaky(beta=0.9, threshold=1.5), x, steps=5).outputs
    assert out.shape == (5, 2, 4)
    assert_close(out, x * fired, 1e-14)

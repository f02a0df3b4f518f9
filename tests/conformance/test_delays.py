"""Delays: the suite's cases, engines compared, mutants."""

from __future__ import annotations

import pytest

import spikecore as sc
from spikecore.api.layers import delays
from spikecore.conformance import cases
from spikecore.conformance.rig import (
    assert_trees_close,
    differentiate,
    normal,
)
from spikecore.conformance.test_delays import *  # noqa: F403
from spikecore.conformance.test_delays import CASES, check_annealing, check_equation, check_gradients, check_window


@CASES
def test_torch_agrees_with_numpy(case):
    pytest.importorskip("torch", reason="torch is not installed")
    x, parts = normal(9, 3, *case.shape), ("outputs", "state")
    numpy, torch = (sc.get_engine(name, dtype="float64") for name in ("numpy", "torch"))
    (_, found), (_, expected) = (differentiate(engine, case.layer, x, weigh=parts) for engine in (torch, numpy))
    assert_trees_close(found, expected, 1e-11)


def taps_are_reversed(patch):
    right = delays.taps
    patch.setattr(delays, "taps", lambda e, d, ages, *rest: right(e, d, list(ages)[::-1], *rest))


def delays_are_rounded(patch):
    right = delays.taps
    patch.setattr(delays, "taps", lambda e, d, *rest: right(e, e.xp.round(e.asarray(d)), *rest))


def delays_do_not_learn(patch):
    right = delays.taps
    patch.setattr(delays, "taps", lambda e, d, *rest: right(e, e.stop_gradient(e.asarray(d)), *rest))


def gaussians_are_not_normalised(patch):
    right = delays.taps

    def taps(engine, delay, ages, longest, sigma=None):
        if sigma is None:
            return right(engine, delay, ages, longest)
        z = (engine.asarray([float(k) for k in ages]) - engine.xp.expand_dims(delay, axis=-1)) / sigma
        return engine.xp.exp(-0.5 * z * z)

    patch.setattr(delays, "taps", taps)


def the_state_forgets(patch):
    right = delays.Delayed._advanced
    patch.setattr(delays.Delayed, "_advanced", lambda self, engine, params, state, x: right(
        self, engine, params, self.rest(engine, params, x[0, ...]), x))  # fmt: skip


def the_width_stays(patch):
    patch.setattr(delays.Delayed, "width", lambda self, engine, buffers: self.sigma_start)


MUTANTS = [
    (taps_are_reversed, check_equation, 4),
    (delays_are_rounded, check_equation, 1),
    (delays_are_rounded, check_equation, 5),
    (delays_do_not_learn, check_gradients, 2),
    (gaussians_are_not_normalised, check_equation, 7),
    (the_state_forgets, check_window, 2),
    (the_width_stays, check_annealing, None),
]


@pytest.mark.parametrize(("mutant", "check", "number"), MUTANTS)
def test_mutants_are_found(monkeypatch, mutant, check, number):
    engine = sc.get_engine("numpy", dtype="float64")
    arguments = (engine,) if number is None else (engine, cases.DELAYS[number])
    check(*arguments)
    mutant(monkeypatch)
    with pytest.raises(AssertionError):
        check(*arguments)

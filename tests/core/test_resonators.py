"""Laws of the neurons that swing, and of synapses that adapt: closed forms, stability, ranges, refusals."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import Tree, flatten
from spikecore.conformance.rig import assert_close, assert_trees_close, differentiate, normal, parameters, run

NUMPY = sc.get_engine("numpy", dtype="float64")


def impulse(steps, *shape):
    x = np.zeros((steps, 1, *shape))
    x[0] = 1.0
    return x


@given(beta=st.floats(0.1, 1.0), omega=st.floats(-7.0, 7.0))
@settings(max_examples=20, deadline=None)
def test_a_resonator_answers_a_push_with_a_damped_swing(beta, omega):
    x, t = impulse(30, 1), np.arange(30)
    found = run(NUMPY, sc.ResonateAndFire(beta=beta, omega=omega, reset_mechanism="none"), x).recorded
    assert abs(found.mem.ravel() - beta**t * np.sin(omega * t)).max() <= 1e-12
    assert abs(found.real.ravel() - beta**t * np.cos(omega * t)).max() <= 1e-12


def test_a_resonator_prefers_its_own_period():
    """Pushes every period, half a period, and a period and a half."""
    layer, spikes = sc.ResonateAndFire(beta=0.95, omega=2 * math.pi / 12, threshold=1.2), {}
    for period in (6, 12, 18):
        x = np.zeros((144, 1, 1))
        x[::period] = 0.8
        spikes[period] = run(NUMPY, layer, x).outputs.sum()
    assert spikes[12] > 3
    assert spikes[6] == spikes[18] == 0


def test_an_input_of_the_other_sign_makes_it_fire_half_a_period_later():
    spikes = run(NUMPY, sc.ResonateAndFire(beta=0.95, omega=2 * math.pi / 12), -2.0 * impulse(12, 1)).outputs.ravel()
    assert not spikes[:7].any()
    assert spikes[7:].any()


@given(omega=st.floats(0.0, 99.0), offset=st.floats(0.0, 25.0))
@settings(max_examples=10, deadline=None)
@example(omega=100.0, offset=0.0)
def test_a_balanced_resonator_does_not_grow(omega, offset):
    """Up to the frequency of its boundary, with any damping up to the one that the docstring names."""
    layer = sc.BalancedResonateAndFire(omega=omega, b_offset=offset, threshold=10.0)
    found = run(NUMPY, layer, impulse(200, 1)).recorded
    size = np.hypot(found.mem, found.imag).ravel()
    assert (np.diff(size) <= 1e-12).all()
    if offset == 0.0:
        assert size[-1] == pytest.approx(size[0], rel=1e-9)


def test_a_spike_raises_the_threshold_and_damps_the_swing():
    x = impulse(200, 1) * 300.0
    fired, silent = (run(NUMPY, sc.BalancedResonateAndFire(threshold=theta), x).recorded for theta in (1.0, 10.0))
    assert fired.spikes[0].all() and fired.refr[0] == 1.0  # noqa: PT018
    assert fired.refr[1] == 0.9 + fired.spikes[1]
    assert not silent.spikes.any()
    assert np.hypot(fired.mem, fired.imag)[-1] < 0.9 * np.hypot(silent.mem, silent.imag)[-1]


def test_a_learned_frequency_stays_where_its_boundary_has_a_slope():
    layer, x = sc.BalancedResonateAndFire(omega=sc.learn(np.full(4, 5.0)), dt=0.2, threshold=0.1), normal(20, 2, 4)
    outside, clamped = parameters(omega=[-1.0, 0.0, 5.0, 9.0]), parameters(omega=[0.0, 0.0, 4.995, 4.995])
    np.testing.assert_array_equal(*(run(NUMPY, layer, x, params=p).outputs for p in (outside, clamped)))
    _, grads = differentiate(NUMPY, layer, x, params=outside)
    assert np.isfinite(grads.params.omega).all()
    assert ((grads.params.omega != 0) == [False, True, False, False]).all()


@given(U=st.floats(0.0, 1.0), facilitation=st.floats(0.0, 1.0), depression=st.floats(0.0, 1.0), seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_a_synapse_never_releases_more_than_it_has(U, facilitation, depression, seed):
    x = (np.random.default_rng(seed).random((60, 1, 4)) < 0.4).astype("float64")
    layer = sc.TsodyksMarkram(U=U, facilitation=facilitation, depression=depression)
    found = run(NUMPY, layer, x)
    for part in (found.outputs, found.recorded.util, found.recorded.res):
        assert part.min() >= -1e-12
        assert part.max() <= 1.0 + 1e-12
    assert not found.outputs[x == 0.0].any()


def test_synapses_depress_and_facilitate():
    train = np.ones((6, 1, 1))
    down = run(NUMPY, sc.TsodyksMarkram(U=0.5, facilitation=0.0, depression=0.99), train).outputs.ravel()
    up = run(NUMPY, sc.TsodyksMarkram(U=0.05, facilitation=0.99, depression=0.0), train).outputs.ravel()
    assert (np.diff(down) < 0).all() and down[0] == 0.5  # noqa: PT018
    assert (np.diff(up) > 0).all() and up[0] == 0.05  # noqa: PT018


LINEAR = {
    "StateSpace": sc.StateSpace(modes=3, dt_min=0.05, dt_max=0.3, threshold=0.2),
    "ResonateAndFire": sc.ResonateAndFire(
        beta=sc.learn(0.9, per="neuron"), omega=sc.learn(0.7), threshold=0.5, reset_mechanism="none", parallel=True
    ),
}


@pytest.mark.parametrize("name", ["numpy", "torch"])
@pytest.mark.parametrize("steps", [1, 17, 150])
@pytest.mark.parametrize("neuron", LINEAR)
def test_all_steps_at_once_equal_one_step_after_the_other(name, neuron, steps):
    engine, x = sc.get_engine(name, dtype="float64"), normal(steps, 2, 5)
    layers = [replace(LINEAR[neuron], parallel=way) for way in (True, False)]
    ours, theirs = (run(engine, layer, x) for layer in layers)
    for part in ("outputs", "recorded", "state"):
        assert_trees_close(Tree(one=getattr(ours, part)), Tree(one=getattr(theirs, part)), 1e-12)
    (_, found), (_, expected) = (differentiate(engine, layer, x) for layer in layers)
    assert_trees_close(Tree(flatten(found)), Tree(flatten(expected)), 1e-10)


def test_a_state_space_neuron_forgets_whatever_it_learns():
    """Poles of any sign of log_decay and frequency lie in the left half plane."""
    layer = sc.StateSpace(modes=2, dt_min=0.1, dt_max=0.1, spiking=False)
    params = layer.init(Key((0,)), (1,)).params.replace(log_decay=[[3.0, -1.0]], frequency=[[-40.0, 0.0]])
    out = run(NUMPY, layer, impulse(400, 1), params=parameters(**params)).outputs.ravel()
    assert abs(out[1:10]).max() > 1e-3
    assert abs(out[-100:]).max() < 1e-4 * abs(out[1:10]).max()


def test_its_gradients_are_good_in_float32_for_short_time_steps():
    """exp(d l) - 1 is no difference of near numbers."""
    layer, x = sc.StateSpace(modes=4, dt_min=1e-3, dt_max=1e-3, spiking=False), normal(6, 2, 3)
    (_, single), (_, exact) = (differentiate(sc.get_engine("numpy", dtype=d), layer, x) for d in ("float32", "float64"))
    for name in ("frequency", "log_decay", "log_dt"):
        assert_close(single.params[name], exact.params[name], 1e-4, name)


REFUSED = [
    (lambda: sc.ResonateAndFire(beta=1.2), r"ResonateAndFire: beta=1.2 must be in \[0, 1\]"),
    (lambda: sc.ResonateAndFire(omega=math.inf), "ResonateAndFire: omega=inf must be finite"),
    (lambda: sc.ResonateAndFire(omega=sc.learn_tau(3.0)), "omega=learn_tau.* is for decays"),
    (lambda: sc.ResonateAndFire(parallel=True), "parallel=True needs reset_mechanism='none'"),
    (lambda: sc.BalancedResonateAndFire(omega=101.0), r"omega=101.0 must be in \[0, 100\]"),
    (lambda: sc.BalancedResonateAndFire(b_offset=-1.0), "b_offset=-1.0 must be in"),
    (lambda: sc.BalancedResonateAndFire(dt=0.0), "dt=0.0 must be a finite number > 0"),
    (lambda: sc.TsodyksMarkram(U=1.5), r"TsodyksMarkram: U=1.5 must be in \[0, 1\]"),
    (lambda: sc.StateSpace(modes=0), "StateSpace: modes=0 must be an int >= 1"),
    (lambda: sc.StateSpace(dt_min=0.2, dt_max=0.1), "dt_min=0.2 and dt_max=0.1 must be 0 < dt_min <= dt_max"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_what_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()

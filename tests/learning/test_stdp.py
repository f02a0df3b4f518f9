"""Spike-timing-dependent plasticity: against pairs of spikes written out, on every engine; snnTorch's functions."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore.conformance.rig import assert_close, normal
from spikecore.functional.stdp_learner import STDP, RewardSTDP
from tests.conformance.own_engines import ENGINES, absent, make

PRESENT = [name for name in ENGINES if not absent(name)]
CONNECTIONS = {
    "linear": (sc.Linear(4, 3), (4,), (3,), (3, 4)),
    "conv1d": (sc.Conv1d(2, 3, 3, stride=2, padding=1), (2, 7), (3, 4), (3, 2, 3)),
    "conv2d": (sc.Conv2d(4, 2, (3, 2), padding=(1, 0), dilation=(1, 2), groups=2), (4, 5, 6), (2, 5, 4), (2, 2, 3, 2)),
}


@pytest.fixture(params=PRESENT)
def engine(request):
    return make(request.param)


def spikes(*shape, seed=0):
    return (np.random.default_rng((seed, *shape)).random(shape) < 0.3) * 1.0


def meetings(name, post, pre):
    """Per sample, what meets at each weight, post times pre, loop by loop: (batch, *weight)."""
    layer, _, _, shape = CONNECTIONS[name]
    if name == "linear":
        return post[:, :, None] * pre[:, None, :]
    found = np.zeros((len(pre), *shape))
    padded = np.pad(pre, ((0, 0), (0, 0), *((p, p) for p in layer.padding)))
    per_group = shape[0] // layer.groups
    for o, i, *k in np.ndindex(*shape):
        channel = o // per_group * shape[1] + i
        for at in np.ndindex(*post.shape[2:]):
            place = tuple(a * s + j * d for a, s, j, d in zip(at, layer.stride, k, layer.dilation))
            found[(slice(None), o, i, *k)] += post[(slice(None), o, *at)] * padded[(slice(None), channel, *place)]
    return found


def by_pairs(name, weight, pre, post, tau_pre, tau_post, decay):
    """Each spike behind with every earlier spike before it, and the other way round: per step and sample."""
    changes = []
    for t in range(len(pre)):
        x = sum(decay(tau_pre) ** (t - s) * pre[s] for s in range(t + 1))
        y = sum(decay(tau_post) ** (t - s) * post[s] for s in range(t + 1))
        changes.append(weight**2 * meetings(name, post[t], x) - abs(weight) * meetings(name, y, pre[t]))
    return np.array(changes)


def case(name, steps=6, batch=3):
    layer, inputs, outputs, shape = CONNECTIONS[name]
    return layer, normal(*shape), spikes(steps, batch, *inputs), spikes(steps, batch, *outputs, seed=1)


WEIGHING = {"f_pre": abs, "f_post": lambda w: w * w}


@pytest.mark.parametrize("exponential", [False, True])
@pytest.mark.parametrize("name", CONNECTIONS)
def test_stdp(engine, name, exponential):
    layer, weight, pre, post = case(name)
    decay = (lambda tau: np.exp(-1 / tau)) if exponential else (lambda tau: 1 - 1 / tau)
    expected = by_pairs(name, weight, pre, post, 4.0, 6.0, decay).sum(1)
    rule = STDP(layer, 4.0, 6.0, exponential=exponential, **WEIGHING)
    w, state, total = engine.asarray(weight), None, 0.0
    for t in range(len(pre)):
        change, state = rule.step(w, state, pre[t], engine.asarray(post[t]))
        assert_close(engine.to_numpy(change), expected[t], 1e-12, f"step {t}")
        total = total + change
    at_once, final = rule.run(w, pre, post)
    assert_close(engine.to_numpy(at_once), engine.to_numpy(total), 1e-12, "the whole sequence")
    assert_close(engine.to_numpy(final.pre), engine.to_numpy(state.pre), 1e-12)
    first, between = rule.run(w, pre[:2], post[:2])
    second, final = rule.run(w, pre[2:], post[2:], between)
    assert_close(engine.to_numpy(first + second), expected.sum(0), 1e-12, "in two parts")
    assert_close(engine.to_numpy(final.post), engine.to_numpy(state.post), 1e-12)


@pytest.mark.parametrize("tau", [None, 5.0])
@pytest.mark.parametrize("name", CONNECTIONS)
def test_reward_modulated_stdp(engine, name, tau):
    layer, weight, pre, post = case(name)
    zeta = by_pairs(name, weight, pre, post, 4.0, 6.0, lambda tau: np.exp(-1 / tau))
    rewards = normal(6, 3, seed=2)
    rule, state = RewardSTDP(layer, 4.0, 6.0, tau_eligibility=tau, **WEIGHING), None
    for t in range(len(pre)):
        change, state = rule.step(engine.asarray(weight), state, pre[t], post[t], engine.asarray(rewards[t]))
        z = zeta[t] if tau is None else sum(np.exp(-(t - s) / tau) * zeta[s] / tau for s in range(t + 1))
        assert_close(engine.to_numpy(change), np.tensordot(rewards[t], z, 1), 1e-12, f"step {t}")
    one, _ = rule.step(engine.asarray(weight), None, pre[0], post[0], 2.0)
    assert_close(engine.to_numpy(one), 2.0 * zeta[0].sum(0) / (tau or 1.0), 1e-12)


@pytest.mark.parametrize("tau", [None, 5.0])
def test_a_reward_at_the_end(engine, tau):
    """A sequence with a reward after its last step is its steps, without a reward before; the trace goes on."""
    layer, weight, pre, post = case("linear")
    rule, w, reward = RewardSTDP(layer, 4.0, 6.0, tau_eligibility=tau, **WEIGHING), engine.asarray(weight), [1.0, -2, 3]
    total, state = 0.0, None
    for t in range(len(pre)):
        given = reward if t == len(pre) - 1 or tau is None else 0.0
        change, state = rule.step(w, state, pre[t], post[t], given)
        total = total + engine.to_numpy(change)
    _, between = rule.run(w, pre[:2], post[:2], None, 0.0)
    at_once, final = rule.run(w, pre[2:], post[2:], between, reward)
    before = 0.0 if tau is not None else engine.to_numpy(rule.run(w, pre[:2], post[:2], None, reward)[0])
    assert_close(engine.to_numpy(at_once) + before, total, 1e-12)
    assert set(final) == set(state)
    for name in final:
        assert_close(engine.to_numpy(final[name]), engine.to_numpy(state[name]), 1e-12, name)


def test_causal_pairs_strengthen(engine):
    """The window of STDP: input before output strengthens, after it weakens, less the further apart."""
    rule, sizes = STDP(sc.Linear(1, 1), f_pre=lambda w: 1.0, f_post=lambda w: 1.0), []
    for gap in (-8, -2, 2, 8):
        pre, post = np.zeros((20, 1, 1)), np.zeros((20, 1, 1))
        pre[10], post[10 + gap] = 1.0, 1.0
        sizes.append(float(engine.to_numpy(rule.run(engine.asarray([[0.5]]), pre, post)[0])[0, 0]))
    assert sizes[1] < sizes[0] < 0 < sizes[3] < sizes[2]


@pytest.mark.filterwarnings("ignore")
def test_single_steps_are_snntorchs():
    torch = pytest.importorskip("torch", reason="snnTorch needs torch")
    theirs = pytest.importorskip("snntorch.functional.stdp_learner", reason="snnTorch is not installed")
    from spikecore.functional import stdp_learner as ours

    nn = torch.nn
    for name, layer, shape in (
        ("stdp_linear_single_step", nn.Linear(4, 3), (2, 4)),
        ("mstdp_linear_single_step", nn.Linear(4, 3), (2, 4)),
        ("stdp_conv1d_single_step", nn.Conv1d(2, 3, 3, stride=2, padding=1), (2, 2, 7)),
        ("stdp_conv2d_single_step", nn.Conv2d(2, 3, 3, stride=2), (2, 2, 7, 6)),
    ):
        layer, traces = layer.double(), [(None, None), (None, None)]
        for t in range(3):
            pre = torch.tensor(spikes(*shape, seed=t))
            post = torch.tensor(spikes(*layer(pre).shape, seed=t + 9))
            found = [
                getattr(library, name)(layer, pre, post, *trace, 4.0, 6.0)
                for library, trace in zip((ours, theirs), traces)
            ]
            traces = [one[:2] for one in found]
            assert_close(found[0][2].numpy(), found[1][2].numpy(), 1e-12, name)


BAD = {
    r"layer=Flatten\(\) must be a Linear": lambda: STDP(sc.Flatten()),
    r"tau_pre=0.5 must be >= 1": lambda: STDP(sc.Linear(2, 2), tau_pre=0.5),
    r"tau_eligibility=0 must be >= 1": lambda: RewardSTDP(sc.Linear(2, 2), tau_eligibility=0),
    r"weight of shape \(3, 2\), but Linear has \(2, 3\)": lambda: STDP(sc.Linear(3, 2)).step(
        np.ones((3, 2)), None, np.ones((1, 3)), np.ones((1, 2))),
    r"post spikes of shape \(1, 3\) do not fit": lambda: STDP(sc.Linear(3, 2)).step(
        np.ones((2, 3)), None, np.ones((1, 3)), np.ones((1, 3))),
    r"reward of shape \(2,\), expected \(\) or \(1,\)": lambda: RewardSTDP(sc.Linear(3, 2)).step(
        np.ones((2, 3)), None, np.ones((1, 3)), np.ones((1, 2)), np.ones(2)),
    r"2 steps of pre spikes, 3 of post spikes": lambda: STDP(sc.Linear(3, 2)).run(
        np.ones((2, 3)), np.ones((2, 1, 3)), np.ones((3, 1, 2))),
}  # fmt: skip


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_refused(message):
    with pytest.raises((ValueError, TypeError), match=message):
        BAD[message]()

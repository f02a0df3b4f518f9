"""Rules of plasticity on every engine, against sums over pairs and triplets of spikes, synapse by synapse."""

from __future__ import annotations

import math

import numpy as np
import pytest

import spikecore as sc
from spikecore.conformance.rig import assert_close, normal
from spikecore.plasticity import (
    AdaptiveThreshold,
    Bounds,
    InhibitorySTDP,
    Normalize,
    PowerLawSTDP,
    SynapticScaling,
    TripletSTDP,
    VoltageSTDP,
    neuron_labels,
    neuron_shares,
    vote,
    weighted_vote,
)

STEPS, BATCH, INPUTS, OUTPUTS = 12, 2, 3, 2


def signals(seed=0):
    rng = np.random.default_rng(seed)
    pre, post = rng.random((STEPS, BATCH, INPUTS)) < 0.4, rng.random((STEPS, BATCH, OUTPUTS)) < 0.4
    return pre * 1.0, post * 1.0, 2.0 * rng.random((STEPS, BATCH, OUTPUTS))


def kernel(gaps, tau, nearest=False):
    """The sum over spikes so many steps ago, or the last one alone."""
    gaps = [min(gaps)] if nearest and gaps else gaps
    return sum(math.exp(-gap / tau) for gap in gaps)


def ago(train, t, before=False):
    """Number of steps since the spikes of a train, at t; ``before``: of those before t alone."""
    return [t - s for s in range(t + (not before)) if train[s] > 0]


def mean(train, t, tau, at_rest=0.0):
    """The running mean after step t, from its definition as a weighted sum."""
    decay = math.exp(-1.0 / tau)
    return at_rest * decay ** (t + 1) + sum((1 - decay) * decay ** (t - s) * train[s] for s in range(t + 1))


def triplet(r, w, x, y, u, t):
    near = r.nearest
    potentiation = kernel(ago(x, t), r.tau_plus, near) * (
        r.a2_plus + r.a3_plus * kernel(ago(y, t, before=True), r.tau_y, near)
    )
    depression = kernel(ago(y, t), r.tau_minus, near) * (
        r.a2_minus + r.a3_minus * kernel(ago(x, t, before=True), r.tau_x, near)
    )
    return y[t] * potentiation - x[t] * depression


def voltage(r, w, x, y, u, t):
    u = u if r.peak is None else [r.peak if y[s] else u[s] for s in range(STEPS)]
    fast, slow = (mean(u, t - 1, tau) - r.theta_minus for tau in (r.tau_plus, r.tau_minus))
    scale = 1.0 if r.target is None else (mean(u, t - 1, r.tau_mean) / r.target) ** 2
    potentiation = r.a_plus * mean(x, t, r.tau_x) * max(u[t] - r.theta_plus, 0.0) * max(fast, 0.0)
    return potentiation - r.a_minus * scale * x[t] * max(slow, 0.0)


def power_law(r, w, x, y, u, t):
    triggered = r.lr_post * y[t] * (kernel(ago(x, t), r.tau_pre, r.nearest) - r.x_target) * (r.w_max - w) ** r.mu
    return triggered - r.lr_pre * x[t] * kernel(ago(y, t), r.tau_post, r.nearest) * w**r.mu


def inhibitory(r, w, x, y, u, t):
    alone = kernel(ago(y, t), r.tau) - 2 * r.rate * r.tau
    return (-1 if r.negative else 1) * r.lr * (x[t] * alone + y[t] * kernel(ago(x, t), r.tau))


def scaling(r, w, x, y, u, t):
    return r.lr * w * (r.rate - mean(y, t, r.tau, at_rest=r.rate))


#: A rule, its oracle for one synapse and step, and a mistake in ``products``.
RULES = [
    (TripletSTDP(a2_plus=3e-3, a3_minus=2e-3, tau_y=5.0, tau_x=9.0), triplet, ("before.o2", "after.o2")),
    (TripletSTDP(a2_plus=3e-3, a3_minus=2e-3, tau_y=5.0, tau_x=9.0, nearest=True), triplet, ("before.r2", "before.r1")),
    (VoltageSTDP(), voltage, ("above(before.u_minus", "above(before.u_plus")),
    (VoltageSTDP(peak=None, theta_minus=0.3, theta_plus=1.0, target=0.4, tau_mean=8.0), voltage, ("** 2", "** 1")),
    (PowerLawSTDP(lr_pre=0.02, mu=0.7), power_law, ("self.w_max - weight", "weight")),
    (PowerLawSTDP(nearest=False), power_law, ("- self.x_target", "+ self.x_target")),
    (InhibitorySTDP(rate=0.1), inhibitory, ("2.0 * self.rate", "self.rate")),
    (InhibitorySTDP(negative=False), inhibitory, ("else self.lr", "else -self.lr")),
    (SynapticScaling(rate=0.2, tau=6.0), scaling, ("lambda w: w", "None")),
]
IDS = [f"{type(rule).__name__}{i}" for i, (rule, _, _) in enumerate(RULES)]


def weights():
    return abs(normal(OUTPUTS, INPUTS)).clip(0.05, 0.9)


def written_out(rule, oracle):
    """The change of each weight, from the oracle; and of each step."""
    pre, post, mem = signals()
    w, change = weights(), np.zeros((STEPS, OUTPUTS, INPUTS))
    for t, o, i in np.ndindex(change.shape):
        change[t, o, i] = sum(oracle(rule, w[o, i], pre[:, b, i], post[:, b, o], mem[:, b, o], t) for b in range(BATCH))
    return change


def check_rule(engine, rule, oracle):
    expected, (pre, post, mem), w = written_out(rule, oracle), signals(), engine.asarray(weights())
    whole, final = rule.run(w, pre, post, mem=mem)
    assert_close(engine.to_numpy(whole), expected.sum(0), 1e-12, "the whole sequence")
    state = None
    for t in range(STEPS):
        change, state = rule.step(w, state, pre[t], post[t], mem=mem[t])
        assert_close(engine.to_numpy(change), expected[t], 1e-12, f"step {t}")
    for name in final:
        assert_close(engine.to_numpy(final[name]), engine.to_numpy(state[name]), 1e-12, name)


@pytest.mark.parametrize(("rule", "oracle", "mistake"), RULES, ids=IDS)
def test_rules_are_sums_over_spikes(engine, rule, oracle, mistake):
    check_rule(engine, rule, oracle)


def test_thresholds_follow_their_neurons(engine):
    _, post, _ = signals()
    rule, count = AdaptiveThreshold(0.05, rate=0.1, tau=40.0), STEPS * BATCH
    for shape in ((OUTPUTS,), (1,), ()):
        theta = normal(*shape) if shape else np.array(0.7)
        spikes = post.sum((0, 1)) if shape == (OUTPUTS,) else np.full(shape, post.sum() / OUTPUTS)
        expected = 0.05 * (spikes - 0.1 * count) - count * theta / 40.0
        found = rule.run(engine.asarray(theta), engine.asarray(post))
        assert tuple(found.shape) == shape
        assert_close(engine.to_numpy(found), expected, 1e-12, str(shape))
    maps = np.random.default_rng(0).random((STEPS, BATCH, 3, 4, 5)).round()
    found = rule.run(engine.asarray(np.zeros((3, 1, 1))), engine.asarray(maps))
    expected = 0.05 * (maps.sum((0, 1)).mean((1, 2)) - 0.1 * count)
    assert_close(engine.to_numpy(found), expected[:, None, None], 1e-12, "one threshold per channel")


def test_limits(engine):
    w = normal(3, 2, 2, 2)
    w[1] = 0.0
    clipped = engine.to_numpy(Bounds(-0.5, None).apply(engine.asarray(w)))
    assert (clipped == np.maximum(w, -0.5)).all()
    scaled = engine.to_numpy(Normalize(4.0).apply(engine.asarray(w)))
    assert_close(abs(scaled).sum((1, 2, 3)), np.array([4.0, 0.0, 4.0]), 1e-12)
    assert_close(scaled[0], w[0] * 4.0 / abs(w[0]).sum(), 1e-12)
    single = engine.to_numpy(Normalize(78.4).apply(engine.asarray(w, dtype="float32")))  # 78.4 / TINY is infinite there
    assert_close(abs(single).sum((1, 2, 3)), np.array([78.4, 0.0, 78.4]), 1e-6)


def test_neurons_vote_for_the_class_that_they_stand_for(engine):
    counts, targets = np.array([[5.0, 0, 1, 0], [3, 0, 0, 0], [0, 4, 0, 0], [1, 0, 2, 0]]), np.array([0, 0, 2, 2])
    labels = neuron_labels(engine.asarray(counts), targets, 3)
    assert engine.to_numpy(labels).tolist() == [0, 2, 2, 0]  # the third: 0.5 spikes for a 0, 1 for a 2; the last: none
    said = vote(engine.asarray(counts), labels, 3)
    means = np.stack([counts[:, [0, 3]].mean(1), counts[:, [1, 2]].mean(1)], axis=1)
    assert engine.to_numpy(said).tolist() == [(0, 2)[i] for i in means.argmax(1)]
    assert engine.to_numpy(vote(engine.asarray(np.zeros((2, 4))), np.array([1, 1, 2, 2]), 3)).tolist() == [1, 1]
    shares = neuron_shares(engine.asarray(counts), targets, 3)
    expected = np.array([[4.0 / 4.5, 0, 0.5 / 4.5], [0, 0, 1], [0.5 / 1.5, 0, 1 / 1.5], [0, 0, 0]])
    assert_close(engine.to_numpy(shares), expected, 1e-12)
    said = weighted_vote(engine.asarray(counts), shares)
    assert engine.to_numpy(said).tolist() == (counts @ expected).argmax(1).tolist()
    with pytest.raises(sc.errors.ShapeError, match="a row per neuron"):
        weighted_vote(engine.asarray(counts), np.ones((3, 3)))
    for wrong in (np.ones(4), np.ones((2, 3))):
        with pytest.raises(sc.errors.ShapeError, match="expected"):
            vote(engine.asarray(wrong), labels, 3)
    with pytest.raises(ValueError, match="vote: counts hold NaN or infinity"):
        vote(engine.asarray(np.where(counts > 4.0, np.nan, counts)), labels, 3)
    silent = engine.asarray(np.zeros((2, 3)))
    assert engine.to_numpy(neuron_labels(silent, np.array([2, 1]), 3)).tolist() == [1, 1, 1], "class 0 has no samples"
    for classes, message in (
        (np.array([0, 1, 2, 3]), r"\[3\] = 3 must be in \[0, 3\)"),
        (np.array([0, -1, 2, 2]), r"\[1\] = -1 must be in"),
        (np.array([0.0, 1.7, 2, 2]), "have dtype float64, expected classes as integers"),
    ):
        for function in (neuron_labels, neuron_shares, vote):
            with pytest.raises(ValueError, match=message):
                function(engine.asarray(counts), classes, 3)

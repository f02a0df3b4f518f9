"""What the rules of plasticity are known for: frequencies of pairs, clamped membranes, target rates."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import spikecore as sc
from spikecore.plasticity import (
    AdaptiveThreshold,
    Bounds,
    InhibitorySTDP,
    Normalize,
    Plasticity,
    PowerLawSTDP,
    SynapticScaling,
    TripletSTDP,
    VoltageSTDP,
)

WEIGHT = np.array([[0.5]])


def pairs(rate, gap, count=60):
    """Pairs of spikes, ``rate`` per 1000 steps, the neuron's ``gap`` steps after the input's."""
    period = round(1000 / rate)
    pre, post = np.zeros((2, count * period + 100, 1, 1))
    at = 50 + period * np.arange(count)
    pre[at], post[at + gap] = 1.0, 1.0
    return pre, post


def change(rule, pre, post, **more):
    return rule.run(WEIGHT, pre, post, **more)[0].item()


#: Weight change of pairs at 0.1, 10, 20, 40 and 50 Hz, and its standard error: Sjoestroem, Turrigiano & Nelson 2001, as
#: in table 1 of Pfister & Gerstner 2006.
RATES = (1, 10, 20, 40, 50)  # pairs a second apart no longer know of each other
MEASURED = {
    10: [(-0.04, 0.05), (0.14, 0.10), (0.29, 0.14), (0.53, 0.11), (0.56, 0.26)],
    -10: [(-0.29, 0.08), (-0.41, 0.11), (-0.34, 0.10), (0.56, 0.32), (0.75, 0.19)],
}
NEAREST = {"nearest": True, "a3_plus": 5e-2, "a2_minus": 8e-3, "tau_y": 40.0}


@pytest.mark.parametrize("options", [{}, NEAREST], ids=["all-to-all", "nearest"])
def test_triplets_explain_how_pairs_depend_on_their_frequency(options):
    rule = TripletSTDP(**options)
    for gap, measured in MEASURED.items():
        found = [change(rule, *pairs(rate, gap)) for rate in RATES]
        for rate, value, (mean, error) in zip(RATES, found, measured):
            assert abs(value - mean) < 2.0 * error, f"{gap} ms, {rate} Hz: {value:.2f}, measured {mean} +- {error}"
    # pairs alone cannot: more of them per second never turn weakening into strengthening
    plain = TripletSTDP(a2_plus=5e-3, a3_plus=0.0)
    assert all(change(plain, *pairs(rate, -10)) < 0 for rate in RATES)


def test_clamped_membranes():
    """With the membrane held: nothing at rest, weakening above theta_minus, strengthening above theta_plus."""
    pre = np.zeros((400, 1, 1))
    pre[::40] = 1.0
    held = {
        u: change(VoltageSTDP(peak=None), pre, 0 * pre, mem=np.full(pre.shape, u)) for u in (-0.5, 0.3, 0.9, 1.6, 2.5)
    }
    assert held[-0.5] == 0.0
    assert held[0.9] < held[0.3] < 0.0 < held[1.6] < held[2.5]


def test_voltage_explains_frequencies_too():
    """Behind a spike the membrane stays depolarised for a while: frequent pairs strengthen, rare ones weaken."""

    trace, engine = sc.plasticity.Trace("post", np.exp(-1 / 40)), sc.get_engine("numpy", dtype="float64")

    def pairing(rate, gap):
        pre, post = pairs(rate, gap, count=20)
        return change(VoltageSTDP(), pre, post, mem=trace.over_time(engine, 0.5 * post, np.zeros((1, 1))))

    behind = [pairing(rate, -10) for rate in (2, 20, 50)]
    assert behind[0] < 0.0 < behind[2], behind
    before = [pairing(rate, 10) for rate in (2, 20, 50)]
    assert before == sorted(before), before
    assert before[2] > behind[2]


def driven(rule, name, *, epochs, threshold=1.0, rate=0.05):
    """Firing rates of five neurons after learning, with different constant inputs and noise from 20 others."""
    rng = np.random.default_rng(0)
    x = (rng.random((200, 8, 20)) < 0.05) * 1.0
    layers = sc.Linear(20, 5, weight_init=sc.init.constant(0.02)), sc.Leaky(beta=0.9, threshold=threshold)
    model = sc.Model(sc.Sequential(*layers), engine="numpy", seed=0)
    state = model.state()
    state["params"]["0.bias"] = np.array([0.13, 0.16, 0.2, 0.25, 0.3], "float32")
    model.load_state(state)
    before = model(x).spikes.mean((0, 1))
    model.fit([(x, np.zeros(8))], learning=Plasticity({name: rule}), epochs=epochs, progress=False)
    after = model(x).spikes[100:].mean((0, 1))
    assert abs(before / rate - 1).max() > 0.5, "the rates are right from the beginning"
    return after


def test_inhibition_brings_neurons_to_their_target_rate():
    found = driven((InhibitorySTDP(lr=2e-3, rate=0.05), Bounds(None, 0.0)), "0", epochs=120)
    assert abs(found / 0.05 - 1).max() < 0.25, found


def test_thresholds_bring_neurons_to_their_target_rate():
    threshold = sc.learn(1.0, per="neuron")
    found = driven(AdaptiveThreshold(lr=0.02, rate=0.05), "1", epochs=60, threshold=threshold)
    assert abs(found / 0.05 - 1).max() < 0.1, found


def test_scaling_keeps_ratios():
    """All weights of a neuron change by one factor, up if it is too silent, down if it fires too often."""
    w = np.array([[0.1, 0.2, 0.4], [0.1, 0.2, 0.4]])
    post = np.zeros((50, 1, 2))
    post[::2, 0, 0] = 1.0
    found, _ = SynapticScaling(rate=0.1, tau=10.0).run(w, np.zeros((50, 1, 3)), post)
    assert (found[0] < 0).all()
    assert (found[1] > 0).all()
    np.testing.assert_allclose(found / w, (found / w)[:, :1] * np.ones(3), rtol=1e-12)


def test_a_neuron_moves_towards_the_pattern_that_makes_it_fire():
    """At equilibrium of the power law with mu = 0, weights are at their borders: the pattern."""
    rng, pattern = np.random.default_rng(0), np.arange(10) < 5
    weight, rule = rng.random((1, 10)), PowerLawSTDP(lr_post=0.05)
    for _ in range(60):
        pre = (rng.random((20, 1, 10)) < 0.3 * pattern) * 1.0
        post = np.zeros((20, 1, 1))
        post[-1] = 1.0
        weight = Bounds().apply(weight + rule.run(weight, pre, post)[0])
    assert (weight[0] > 0.9)[pattern].all(), weight
    assert (weight[0] < 0.1)[~pattern].all(), weight


def test_neurons_that_compete_become_bars():
    """Eight neurons, eight patterns, no labels: each neuron becomes one of them, and all are there."""
    bars = np.zeros((8, 4, 4), "float32")
    for i in range(4):
        bars[i, i], bars[4 + i, :, i] = 1.0, 1.0
    bars = bars.reshape(8, 16)
    leaky = sc.Leaky(beta=0.95, threshold=sc.learn(2.0, per="neuron"), reset_mechanism="zero", inhibition=True)
    lateral = sc.Linear(8, 8, bias=False, weight_init=sc.init.constant(-20.0))
    first = sc.Linear(16, 8, bias=False, weight_init=sc.init.uniform(0.2, 0.4))
    model = sc.Model(sc.Sequential(first, sc.Recurrent(leaky, lateral)), engine="numpy", seed=0)
    rules = {
        "0": (PowerLawSTDP(lr_post=0.05), Bounds(0.0, 1.0), Normalize(4.0)),
        "1": AdaptiveThreshold(lr=0.2, rate=2 / 240),
    }
    encoder = functools.partial(sc.spikegen.rate, gain=0.4)
    options = {"epochs": 8, "num_steps": 30, "encoder": encoder, "batch_size": 10, "progress": False}
    model.fit(np.tile(bars, (25, 1)), learning=Plasticity(rules, reduction="sum"), **options)
    match = model.params()["0.weight"] @ bars.T / 4.0
    assert match.max(axis=1).min() > 0.95, match
    assert sorted(match.argmax(axis=1)) == list(range(8))
    assert abs(model.history[-1]["rate"] * 240 - 2.0) < 0.2, "thresholds bring all together to two spikes for an image"

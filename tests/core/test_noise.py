"""Draws inside a step: the generator, its distributions, and ``Noisy`` on every engine."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy import stats

import spikecore as sc
from spikecore import nn as snn
from spikecore.api.core import draws
from spikecore.api.core.layer import EMPTY, Key, Params, Pass
from spikecore.api.core.random import Key as StreamKey
from spikecore.api.neurons.stepper import Stepper
from spikecore.conformance.rig import differentiate, run

HOST = sc.get_engine("numpy", fused=False)
X = np.random.default_rng(0).random((12, 4, 5), dtype=np.float32)
Y = np.array([0, 1, 2, 0])


def published(states):
    """L'Ecuyer's program of 1988 for 16-bit machines, step by step; Z from 1 to 32362."""
    s1, s2, s3 = states
    k = s1 // 206
    s1 = 157 * (s1 - k * 206) - k * 21
    s1 += 32363 if s1 < 0 else 0
    k = s2 // 217
    s2 = 146 * (s2 - k * 217) - k * 45
    s2 += 31727 if s2 < 0 else 0
    k = s3 // 222
    s3 = 142 * (s3 - k * 222) - k * 133
    s3 += 31657 if s3 < 0 else 0
    z = s1 - s2
    z -= 32362 if z > 706 else 0
    z += s3
    z += 32362 if z < 1 else 0
    return z, (s1, s2, s3)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_the_generator_is_the_published_one(name):
    engine, given = sc.get_engine(name), (12, 23456, 31000)
    states = tuple(engine.asarray([float(s)]) for s in given)
    for _ in range(2000):
        p, states = draws.draw(engine, states, None)
        z, given = published(given)
        assert tuple(float(s[0]) for s in states) == given
        assert round(float(p[0]) * draws.VALUES - 0.5) == z % draws.VALUES  # theirs counts from 1, and 32362 is our 0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_no_state_is_rounded_whatever_the_quotient_is_off_by(dtype):
    """Compilers may multiply by 1 / m in one rounding with what follows, or with 1 / m off by a unit."""
    engine = sc.get_engine("numpy", dtype=dtype, fused=False)
    for i, (a, m) in enumerate(draws.GENERATOR):
        whole = np.arange(1, m)
        states = [np.ones(m - 1, dtype)] * 3
        states[i] = whole.astype(dtype)
        _, after = draws.draw(engine, tuple(states), None)
        assert after[i].dtype == dtype
        np.testing.assert_array_equal(after[i], whole * a % m)
        inverse = np.array(1.0 / m, dtype)
        for off in (np.nextafter(inverse, inverse * 2), np.nextafter(inverse, inverse * 0)):
            np.testing.assert_array_equal(np.floor(states[i] * np.array(a, dtype) * off), whole * a // m)


def uniforms(path, steps, shape):
    states, found = draws.first_draws(HOST, path, shape), []
    for _ in range(steps):
        p, states = draws.draw(HOST, states, None)
        found.append(np.asarray(p, "float64").ravel())
    return np.array(found)


def evenly(counts):
    expected = counts.sum() / counts.size
    return stats.chi2.sf(((counts - expected) ** 2).sum() / expected, counts.size - 1)


def test_draws_are_even_and_independent_over_time_neurons_and_layers():
    p, other = uniforms(("a",), 40, (400, 64)), uniforms(("b",), 40, (400, 64))
    assert evenly(np.bincount((p * draws.VALUES).astype(int).ravel(), minlength=draws.VALUES)) > 1e-3
    for first, second in ((p[1:], p[:-1]), (p[2:], p[:-2]), (p[:, 1:], p[:, :-1]), (p, other)):
        counts, *_ = np.histogram2d(first.ravel(), second.ravel(), 64, ((0, 1), (0, 1)))
        assert evenly(counts) > 1e-3
        assert abs(np.corrcoef(first.ravel(), second.ravel())[0, 1]) < 4 / first.size**0.5
    triples, _ = np.histogramdd(np.stack([p[:-2].ravel(), p[1:-1].ravel(), p[2:].ravel()], 1), 16, ((0, 1),) * 3)
    assert evenly(triples) > 1e-3


@pytest.mark.parametrize(
    ("distribution", "exact"),
    [("normal", stats.norm()), ("uniform", stats.uniform(-(3**0.5), 2 * 3**0.5)), ("logistic", stats.logistic())],
)
def test_variates_have_their_distribution(distribution, exact):
    """At every value of p, which says more than any sample; and a sample."""
    every = np.arange(draws.VALUES)
    values = draws.variate(HOST.xp, every.astype("float32"), distribution).astype("float64")
    assert (np.diff(values) > 0).all()
    np.testing.assert_array_equal(values, -values[::-1])
    np.testing.assert_allclose(exact.cdf(values), (every + 0.5) / draws.VALUES, atol=5e-5)
    np.testing.assert_allclose(values.var(), exact.var(), rtol=3e-4)
    np.testing.assert_allclose((values**4).mean(), exact.var() ** 2 * (3 + exact.stats("k")), rtol=5e-3)
    sample = values[(uniforms((distribution,), 50, (50, 40)) * draws.VALUES).astype(int)].ravel()
    assert stats.kstest(sample, exact.cdf).pvalue > 1e-3


NOISES = [
    {"input_noise": 0.3},
    {"threshold_noise": 0.2, "distribution": "logistic"},
    {"input_noise": sc.learn(0.2), "threshold_noise": sc.learn(0.1, per="neuron"), "distribution": "uniform"},
]


def network(noise, neuron=None, reset_delay=True):
    inside = sc.Leaky(beta=sc.learn(0.8), threshold=0.5, reset_delay=reset_delay) if neuron is None else neuron
    behind = sc.Recurrent(sc.Noisy(sc.Synaptic(threshold=0.4), input_noise=0.2), sc.Linear(3, 3))
    return sc.Sequential(sc.Linear(5, 6), sc.Noisy(inside, **noise), sc.Linear(6, 3), behind)


@pytest.mark.parametrize("noise", NOISES, ids=["input", "threshold", "both"])
def test_engines_kernels_and_streams_draw_the_same_bits(noise):
    expected = sc.Model(network(noise), engine=HOST)(X, record=True)
    others = [("numpy", "auto"), ("torch", False), ("torch", "auto")]
    found = [sc.Model(network(noise), engine=sc.get_engine(name, fused=fused)) for name, fused in others]
    for model in found:
        out = model(X, record=True)
        np.testing.assert_array_equal(np.asarray(out.spikes), expected.spikes)
        for layer in ("1", "3"):
            for name in draws.DRAWS:
                np.testing.assert_array_equal(np.asarray(out.states[layer][name]), expected.states[layer][name])
        stream = model.stream(batch_size=4)
        steps = np.stack([np.asarray(stream.step(row)) for row in X])
        np.testing.assert_array_equal(steps, expected.spikes)


@pytest.mark.parametrize("distribution", ["normal", "uniform", "logistic"])
def test_kernels_compute_variates_to_the_bit(distribution):
    layer = sc.Noisy(sc.LI(beta=0.0), input_noise=1.0, distribution=distribution)
    x = np.zeros((20, 30, 50), np.float32)
    found = [run(sc.get_engine(name, fused=f), layer, x).outputs for name in ("numpy", "torch") for f in (False, True)]
    for other in found[1:]:
        np.testing.assert_array_equal(other, found[0])


@pytest.mark.parametrize("noise", NOISES, ids=["input", "threshold", "both"])
@pytest.mark.parametrize("reset_delay", [True, False])
def test_gradients_are_verified(noise, reset_delay):
    model = sc.Model(network(noise, reset_delay=reset_delay), engine="torch", seed=3)
    report = sc.verify(model, X, Y)
    assert report.ok, str(report)


def test_steps_that_are_computed_again_draw_the_same():
    layer, options = sc.Noisy(sc.Leaky(beta=sc.learn(0.8), threshold=0.5), sc.learn(0.3)), {"train": True}
    for name in ("numpy", "torch"):
        plain, again = (sc.get_engine(name, fused=False, checkpoint_every=k, dtype="float64") for k in (None, 5))
        (a, one), (b, two) = (differentiate(e, layer, X, key=Key((1,)), **options) for e in (plain, again))
        assert a == b
        np.testing.assert_allclose(one.params.input_noise, two.params.input_noise, rtol=1e-12)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_training_follows_the_seed_and_evaluation_the_seed_of_the_layer(name):
    def trained(seed, **options):
        model = sc.Model(network(NOISES[0]), engine=name, seed=7)
        model.seed = seed
        data = np.moveaxis(X, 1, 0).repeat(8, 0)
        history = model.fit(data, Y.repeat(8), epochs=2, time_axis=1, batch_size=16, progress=False, **options)
        return [row["loss"] for row in history], model

    losses, model = trained(1)
    assert losses == trained(1)[0]
    assert losses != trained(2)[0]
    first, second = (np.asarray(model(X).spikes) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    same = np.repeat(X[:, :1], 4, axis=1)
    assert len({tuple(row.ravel()) for row in np.moveaxis(np.asarray(model(same, record=True).membrane), 1, 0)}) == 4


def test_a_seed_beyond_64_bits_is_told_the_range():
    with pytest.raises(ValueError, match=r"Noisy: seed=18446744073709551616 must be an int from -\d+ to 9223372036"):
        sc.Noisy(sc.LI(), input_noise=0.1, seed=2**64)


def test_layers_passes_samples_and_seeds_have_noise_of_their_own():
    def shown(key=None, path="", seed=0, x=X):
        layer = sc.Noisy(sc.LI(), input_noise=0.1, seed=seed)
        return layer.run(Pass(HOST, key=key, path=path), Params(neuron=Params()), EMPTY, None, x).outputs

    base = shown()
    for other in (shown(Key((1,))), shown(path="2"), shown(seed=1), shown(x=X[:, 1:])[:, :1] * 1.0):
        assert not np.array_equal(other, base[:, : other.shape[1]])
    np.testing.assert_array_equal(shown(Key((1,)))[:, 2:], shown(StreamKey((1,), first=2), x=X[:, 2:]))
    half = sc.Noisy(sc.LI(), input_noise=0.1)
    out = half.run(Pass(HOST), Params(neuron=Params()), EMPTY, None, X[:6])
    rest = half.run(Pass(HOST), Params(neuron=Params()), EMPTY, out.state, X[6:])
    np.testing.assert_array_equal(np.concatenate([out.outputs, rest.outputs]), base)


def test_noise_of_two_seeds_layers_or_keys_is_not_correlated_at_any_step():
    """Over the neurons of a step: over time, what a constant parts looks independent."""
    x = np.zeros((3, 20, 300), "float32")
    ways = [{"seed": n} for n in range(6)] + [{"path": "2"}, {"key": Key((1,))}, {"key": Key((2,))}]

    def shown(seed=0, **options):
        layer = sc.Noisy(sc.LI(beta=0.0), input_noise=1.0, distribution="uniform", seed=seed)
        return layer.run(Pass(HOST, **options), Params(neuron=Params()), EMPTY, None, x).outputs

    found = [shown(**way) for way in ways]
    for step in range(len(x)):
        r = np.corrcoef([one[step].ravel() for one in found]) - np.eye(len(ways))
        assert abs(r).max() < 5 / x[0].size ** 0.5


def test_noise_on_the_input_is_that_of_the_equation():
    """A membrane without leak sums it up: its variance grows by that of the noise at each step."""
    layer = sc.Noisy(sc.LI(beta=1.0), input_noise=0.5)
    mem = run(HOST, layer, np.zeros((16, 100, 200), np.float32)).outputs
    np.testing.assert_allclose(mem.var(axis=(1, 2)), 0.25 * np.arange(1, 17), rtol=0.05)
    assert abs(mem[-1].mean()) < 4 * 2.0 / 20000**0.5


def test_logistic_noise_on_the_threshold_is_escape_noise():
    u = np.linspace(-0.5, 0.5, 5, dtype=np.float32)
    x = np.broadcast_to(u + 1.0, (50, 200, 5))
    layer = sc.Noisy(sc.Leaky(beta=0.0, reset_mechanism="none"), threshold_noise=0.2, distribution="logistic")
    rate = run(HOST, layer, x).outputs.mean(axis=(0, 1))
    np.testing.assert_allclose(rate, 1.0 / (1.0 + np.exp(-u / 0.2)), atol=4 * 0.5 / 100)


@pytest.mark.parametrize("reset", ["subtract", "subtract_decayed", "zero"])
def test_a_delayed_reset_follows_the_noisy_spike(reset):
    leaky = sc.Leaky(beta=0.75, threshold=0.5, reset_mechanism=reset)
    result = run(HOST, sc.Noisy(leaky, threshold_noise=0.4), X)
    mem = fired = np.zeros_like(X[0])
    differs = False
    for x, spikes, recorded in zip(X, result.outputs, result.recorded.mem):
        kept = mem - fired * 0.5 if reset == "subtract_decayed" else (1 - fired) * mem if reset == "zero" else mem
        differs |= bool(((mem > 0.5) != (fired > 0.5)).any())
        mem, fired = np.float32(0.75) * kept + x - (fired * 0.5 if reset == "subtract" else 0.0), spikes
        np.testing.assert_allclose(recorded, mem, atol=1e-6)
        mem = recorded
    assert differs  # a reset by the membrane alone would be another one


@pytest.mark.parametrize("inside", [False, True])
def test_modules_draw_anew_for_each_sequence_and_follow_torch(inside):
    torch = pytest.importorskip("torch")
    neuron = sc.Noisy(sc.Leaky(threshold=0.5), input_noise=0.3)
    lif = snn.module(sc.Recurrent(neuron, sc.Linear(5, 5)) if inside else neuron, init_hidden=True)
    x = torch.from_numpy(X)

    def stepped():
        lif.reset_mem()
        return torch.stack([lif(row) for row in x])

    def seeded(function):
        torch.manual_seed(5)
        return function()

    assert torch.equal(seeded(stepped), seeded(stepped))
    assert not torch.equal(stepped(), stepped())
    assert torch.equal(seeded(lambda: snn.run(lif, x)), seeded(stepped))
    assert snn.from_torch(torch.nn.Sequential(lif), (5,)).network.layers[0] == lif.described()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: sc.Noisy(sc.Leaky()), "input_noise and threshold_noise are both 0"),
        (lambda: sc.Noisy(sc.Leaky(), input_noise=-0.1), "input_noise=-0.1"),
        (lambda: sc.Noisy(sc.Leaky(), threshold_noise=float("nan")), "threshold_noise=nan"),
        (lambda: sc.Noisy(sc.Leaky(), 0.1, distribution="cauchy"), "unknown distribution 'cauchy'"),
        (lambda: sc.Noisy(sc.ILIF(), threshold_noise=0.1), "ILIF has a rule of its own: give input_noise"),
        (lambda: sc.Noisy(sc.Izhikevich(), threshold_noise=0.1), "Izhikevich has a rule of its own"),
        (lambda: sc.Noisy(sc.LI(), threshold_noise=0.1), "LI has a rule of its own"),
        (lambda: sc.Noisy(sc.SLSTM(input_size=3, hidden_size=3), 0.1), "SLSTM has weights for its input"),
        (lambda: sc.Noisy(sc.Noisy(sc.Leaky(), 0.1), 0.1), "has a state 'draw_1' already"),
        (lambda: sc.Noisy(sc.Leaky(parallel=True, reset_mechanism="none"), 0.1), "parallel=True has no effect"),
    ],
)
def test_bad_input_is_refused_by_name(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_learning_forward_in_time_refuses_noise():
    model = sc.Model(network(NOISES[0]), engine="numpy")
    with pytest.raises(ValueError, match=r"layer 1 \(Noisy\): forward in time, each batch would have the same noise"):
        model.fit(np.moveaxis(X, 1, 0), Y, epochs=1, time_axis=1, learning=sc.EProp(), progress=False)


@dataclass(frozen=True)
class Named(sc.base.Neuron):
    """A neuron of a user's own that has states of these names, and a field ``seed``."""

    seed: int = 0
    state = ("mem", "draw_1")

    def step(self, engine, params, state, x):
        return self.graded(params, self.fires(engine, params, x)), sc.base.State(mem=x, draw_1=state.draw_1 + 1.0)


@dataclass(frozen=True)
class Around(Stepper):
    """A wrapper of a user's own around any neuron."""

    inner: Stepper
    seed: int = 0

    @property
    def state(self):
        return self.inner.state

    @property
    def core(self):
        return self.inner.core

    def init(self, key, shape):
        return self.inner.init(key, shape)

    def prepare(self, engine, params):
        return self.inner.prepare(engine, params)

    def rest(self, engine, params, x):
        return self.inner.rest(engine, params, x)

    def step(self, engine, params, state, x):
        return self.inner.step(engine, params, state, x)


def test_neurons_and_wrappers_of_ones_own_have_what_names_they_like():
    out = Named().run(Pass(HOST), Params(), EMPTY, None, X)
    assert (np.asarray(out.state.draw_1) == len(X)).all()
    noise = [sc.Noisy(sc.LI(), input_noise=0.1, seed=seed) for seed in (1, 2)]
    wanted, found = ([n.run(Pass(HOST), Params(neuron=Params()), EMPTY, None, X).outputs for n in ns]
                     for ns in (noise, [Around(n, seed=5) for n in noise]))  # fmt: skip
    np.testing.assert_array_equal(found, wanted)
    assert not np.array_equal(*found)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda neuron: sc.Refractory(neuron, 2),
        lambda neuron: sc.Recurrent(neuron, sc.OneToOne()),
        lambda neuron: sc.Noisy(neuron, input_noise=0.1),
    ],
    ids=["Refractory", "Recurrent", "Noisy"],
)
@pytest.mark.parametrize("cell", [sc.SLSTM, sc.SpikingGRU])
def test_wrappers_refuse_cells_by_name(wrap, cell):
    with pytest.raises(ValueError, match=f"{cell.__name__} has weights for its input, and this takes neurons without"):
        wrap(cell(input_size=3, hidden_size=3))

"""The library against the installed snnTorch: generated neurons, equal spikes, equal gradients.

What differs on purpose is listed in docs/deviations.md and left out here by name:
immediate-reset (a membrane left above the threshold), rsynaptic-immediate, inhibition-graded, constants-out-of-range.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Tree, flatten

torch = pytest.importorskip("torch", reason="snnTorch needs torch")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    snn = pytest.importorskip("snntorch", reason="snnTorch is not installed (extra 'test', Python >= 3.9)")
    import snntorch.surrogate as theirs_surrogate

pytestmark = pytest.mark.filterwarnings("ignore")  # snnTorch warns of its own affairs

ENGINE = sc.get_engine("torch")
MARGIN = 1e-4  # nearer to the threshold than this, float32 rounding may decide
SURROGATES = {
    "atan": (theirs_surrogate.atan(alpha=2.0), sc.surrogate.atan(alpha=2.0)),
    "fast_sigmoid": (theirs_surrogate.fast_sigmoid(slope=10), sc.surrogate.fast_sigmoid(slope=10.0)),
    "ste": (theirs_surrogate.straight_through_estimator(), sc.surrogate.straight_through_estimator()),
}
decays = st.floats(0.1, 0.98).map(lambda v: round(v, 3))
resets = st.sampled_from(["subtract", "zero", "none"])
STEPS, BATCH = 9, 3


class Pair:
    """One neuron of both libraries, with equal weights, and what both make of one sequence."""

    def __init__(self, theirs, ours, states, shape, names):
        self.theirs, self.ours, self.states, self.shape, self.names = theirs, ours, states, shape, names

    def weights(self):
        init = self.ours.init(Key((0,)), self.shape).params
        flat = flatten(init)
        for ours, theirs in self.names.items():
            value = torch.as_tensor(np.asarray(flat[ours]), dtype=torch.float32)
            target = dict(self.theirs.named_parameters())[theirs]
            target.data = value.reshape(target.shape).clone()
        return {name: ENGINE.asarray(np.asarray(value)) for name, value in flat.items()}, init

    def run(self, x, seed):
        flat, like = self.weights()
        spikes, mem, theirs = self._theirs(x, seed)
        from spikecore.api.core.tree import unflatten

        def function(held):
            out = self.ours.run(Pass(ENGINE, record=True), held.params, Tree(), None, held.x)
            return _loss(out.outputs, out.recorded.mem, seed), (out.outputs, out.recorded.mem)

        held = Tree(params=unflatten(flat, like), x=ENGINE.asarray(x))
        _, (own_spikes, own_mem), grads = ENGINE.value_and_grad(function, held)
        own = {**{theirs_name: flatten(grads.params)[name] for name, theirs_name in self.names.items()}, "x": grads.x}
        return (spikes, mem, theirs), (own_spikes.detach(), own_mem.detach(), own)

    def _theirs(self, x, seed):
        inputs = torch.as_tensor(x, dtype=torch.float32).requires_grad_()
        state = [None] * self.states
        spikes, mems = [], []
        for step in inputs.unbind(0):
            out = self.theirs(step, *state)
            spikes.append(out[0])
            state = list(out[len(out) - self.states :])  # recurrent neurons take their spikes back as well
            mems.append(out[-1])
        spikes, mems = torch.stack(spikes), torch.stack(mems)
        _loss(spikes, mems, seed).backward()
        found = {
            name: p.grad if p.grad is not None else torch.zeros_like(p) for name, p in self.theirs.named_parameters()
        }
        return spikes.detach(), mems.detach(), {**{n: found[n] for n in self.names.values()}, "x": inputs.grad}


def _loss(spikes, mem, seed):
    generator = torch.Generator().manual_seed(seed)
    weights = [torch.rand(part.shape, generator=generator) for part in (spikes, mem)]
    return (weights[0] * spikes).sum() + 0.5 * (weights[1] * mem).sum()


def check(pair, x, seed, threshold, pooled=False):
    (spikes, mem, theirs), (own_spikes, own_mem, own) = pair.run(x, seed)
    if not pooled:
        assume(bool(((mem - threshold).abs() > MARGIN).all()))
    assert torch.equal(spikes, own_spikes)
    assert torch.allclose(mem, own_mem, rtol=1e-5, atol=1e-5)
    for name, expected in theirs.items():
        error = (expected.reshape(-1) - own[name].reshape(-1)).abs().max() / expected.abs().max().clamp_min(1e-6)
        assert error <= 1e-4, (name, float(error))


def draw_input(shape, seed, scale=1.0):
    return np.random.default_rng(seed).random((STEPS, BATCH, *shape)).astype("float32") * scale


@st.composite
def common(draw):
    kind = draw(st.sampled_from(sorted(SURROGATES)))
    return {
        "shape": draw(st.sampled_from([(4,), (1,), (2, 3), (2, 3, 3)])),
        "seed": draw(st.integers(0, 10_000)),
        "reset": draw(resets),
        "threshold": draw(st.floats(0.3, 1.5).map(lambda v: round(v, 3))),
        "surrogates": SURROGATES[kind],
        "learn": draw(st.lists(st.booleans(), min_size=4, max_size=4)),
    }


def maybe(value, wanted):
    return sc.learn(value) if wanted else value


many = settings(
    max_examples=70, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)
some = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow]
)


def options(c, **more):
    theirs = {"threshold": c["threshold"], "spike_grad": c["surrogates"][0], "reset_mechanism": c["reset"], **more}
    return theirs, {"surrogate": c["surrogates"][1], "reset_mechanism": c["reset"]}


@settings(parent=many, max_examples=150)
@given(common(), decays, st.booleans(), st.sampled_from([1.0, 2.5]))
def test_leaky(c, beta, delay, gamma):
    learn_beta, learn_threshold, learn_gamma, _ = c["learn"]
    assume(delay or c["reset"] != "subtract" or c["threshold"] > 1.0)  # immediate-reset: nothing may stay above
    their, own = options(c, reset_delay=delay)
    theirs = snn.Leaky(
        beta,
        learn_beta=learn_beta,
        learn_threshold=learn_threshold,
        graded_spikes_factor=gamma,
        learn_graded_spikes_factor=learn_gamma,
        **their,
    )
    ours = sc.Leaky(
        beta=maybe(beta, learn_beta),
        threshold=maybe(c["threshold"], learn_threshold),
        reset_delay=delay,
        graded_spikes_factor=maybe(gamma, learn_gamma),
        **own,
    )
    wanted = {"beta": learn_beta, "threshold": learn_threshold, "graded_spikes_factor": learn_gamma}
    pair = Pair(theirs, ours, 1, c["shape"], {name: name for name, learned in wanted.items() if learned})
    check(pair, draw_input(c["shape"], c["seed"], 0.6 if not delay else 1.0), c["seed"], c["threshold"])


@many
@given(common(), decays, decays, st.booleans())
def test_synaptic(c, alpha, beta, delay):
    learn_alpha, learn_beta, learn_threshold, _ = c["learn"]
    assume(delay or c["reset"] != "subtract")  # immediate-reset
    their, own = options(c, reset_delay=delay)
    theirs = snn.Synaptic(
        alpha, beta, learn_alpha=learn_alpha, learn_beta=learn_beta, learn_threshold=learn_threshold, **their
    )
    ours = sc.Synaptic(
        alpha=maybe(alpha, learn_alpha),
        beta=maybe(beta, learn_beta),
        reset_delay=delay,
        threshold=maybe(c["threshold"], learn_threshold),
        **own,
    )
    wanted = {"alpha": learn_alpha, "beta": learn_beta, "threshold": learn_threshold}
    pair = Pair(theirs, ours, 2, c["shape"], {name: name for name, learned in wanted.items() if learned})
    check(pair, draw_input(c["shape"], c["seed"], 0.4), c["seed"], c["threshold"])


@many
@given(common(), decays, st.sampled_from(["one", "dense", "conv"]), st.floats(-0.5, 0.5).map(lambda v: round(v, 3)))
def test_rleaky(c, beta, connection, weight):
    recurrent, shape = connect(connection, weight)
    learn_beta, learn_threshold, _, _ = c["learn"]
    their, own = options(c)
    theirs = snn.RLeaky(beta, learn_beta=learn_beta, learn_threshold=learn_threshold, **recurrent, **their)
    ours = sc.RLeaky(
        beta=maybe(beta, learn_beta),
        threshold=maybe(c["threshold"], learn_threshold),
        **{**recurrent, **({"V": sc.learn(weight)} if connection == "one" else {})},
        **own,
    )
    names = {f"neuron.{n}": n for n, w in {"beta": learn_beta, "threshold": learn_threshold}.items() if w}
    names.update(feedback_names(connection))
    check(Pair(theirs, ours, 2, shape, names), draw_input(shape, c["seed"], 0.8), c["seed"], c["threshold"])


@many
@given(
    common(), decays, decays, st.sampled_from(["one", "dense", "conv"]), st.floats(-0.5, 0.5).map(lambda v: round(v, 3))
)
def test_rsynaptic(c, alpha, beta, connection, weight):
    recurrent, shape = connect(connection, weight)
    learn_alpha, learn_beta, learn_threshold, _ = c["learn"]
    their, own = options(c)
    theirs = snn.RSynaptic(
        alpha,
        beta,
        learn_alpha=learn_alpha,
        learn_beta=learn_beta,
        learn_threshold=learn_threshold,
        **recurrent,
        **their,
    )
    ours = sc.RSynaptic(
        alpha=maybe(alpha, learn_alpha),
        beta=maybe(beta, learn_beta),
        threshold=maybe(c["threshold"], learn_threshold),
        **{**recurrent, **({"V": sc.learn(weight)} if connection == "one" else {})},
        **own,
    )
    wanted = {"alpha": learn_alpha, "beta": learn_beta, "threshold": learn_threshold}
    names = {f"neuron.{n}": n for n, w in wanted.items() if w}
    names.update(feedback_names(connection))
    check(Pair(theirs, ours, 3, shape, names), draw_input(shape, c["seed"], 0.4), c["seed"], c["threshold"])


def connect(connection, weight):
    if connection == "one":
        return {"all_to_all": False, "V": weight}, (4,)
    if connection == "dense":
        return {"linear_features": 4}, (4,)
    return {"conv2d_channels": 2, "kernel_size": 3}, (2, 4, 4)


def feedback_names(connection):
    if connection == "one":
        return {"connection.V": "V"}
    return {"connection.weight": "recurrent.weight", "connection.bias": "recurrent.bias"}


@many
@given(common(), st.floats(0.5, 3.0), st.floats(2.0, 8.0), st.booleans())
def test_lapicque(c, resistance, capacitance, by_beta):
    beta = float(np.exp(-1.0 / (resistance * capacitance)))
    circuit = {"beta": beta} if by_beta else {"R": resistance, "C": capacitance}
    learn_threshold = c["learn"][0]
    their, own = options(c)
    theirs = snn.Lapicque(time_step=1, learn_threshold=learn_threshold, **circuit, **their)
    ours = sc.Lapicque(threshold=maybe(c["threshold"], learn_threshold), **circuit, **own)
    names = {"threshold": "threshold"} if learn_threshold else {}
    check(Pair(theirs, ours, 1, c["shape"], names), draw_input(c["shape"], c["seed"], 3.0), c["seed"], c["threshold"])


@many
@given(common(), st.floats(0.6, 0.95), st.floats(0.1, 0.5))
def test_alpha(c, alpha, beta):
    learn_threshold = c["learn"][0]
    their, own = options(c)
    theirs = snn.Alpha(alpha, beta, learn_threshold=learn_threshold, **their)
    ours = sc.Alpha(alpha=alpha, beta=beta, threshold=maybe(c["threshold"], learn_threshold), **own)
    names = {"threshold": "threshold"} if learn_threshold else {}
    check(Pair(theirs, ours, 3, c["shape"], names), draw_input(c["shape"], c["seed"]), c["seed"], c["threshold"])


@some
@given(common())
def test_slstm(c):
    their, own = options(c)  # equal sizes: with others snnTorch loses its state
    theirs = snn.SLSTM(4, 4, **{**their, "threshold": 0.1})
    ours = sc.SLSTM(input_size=4, hidden_size=4, threshold=0.1, **own)
    names = {name: f"lstm_cell.{name}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    check(Pair(theirs, ours, 2, (4,), names), draw_input((4,), c["seed"]), c["seed"], 0.1)


@some
@given(common(), st.sampled_from([{}, {"max_pool": 2}, {"avg_pool": 2}]))
def test_sconv2dlstm(c, pool):
    their, own = options(c)
    theirs = snn.SConv2dLSTM(2, 3, 3, **pool, **{**their, "threshold": 0.07})
    ours = sc.SConv2dLSTM(in_channels=2, out_channels=3, kernel_size=3, threshold=0.07, **pool, **own)
    names = {"weight": "conv.weight", "bias": "conv.bias"}
    pair = Pair(theirs, ours, 2, (2, 4, 4), names)
    check(pair, draw_input((2, 4, 4), c["seed"]), c["seed"], 0.07, pooled="avg_pool" in pool)


@some
@given(common(), decays, st.floats(0.2, 0.8))
def test_state_leaky(c, beta, threshold):
    learn = c["learn"][0]
    theirs = snn.StateLeaky(beta, channels=4, threshold=threshold, spike_grad=c["surrogates"][0], learn_threshold=learn)
    ours = sc.StateLeaky(beta=beta, channels=4, threshold=maybe(threshold, learn), surrogate=c["surrogates"][1])
    x = draw_input((4,), c["seed"], 0.3)
    inputs = torch.as_tensor(x).requires_grad_()
    spikes, mem = theirs(inputs)
    _loss(spikes, mem, c["seed"]).backward()
    pair = Pair(theirs, ours, 0, (4,), {"threshold": "threshold"} if learn else {})
    found = {"x": inputs.grad, **({"threshold": theirs.threshold.grad} if learn else {})}
    pair._theirs = lambda *_: (spikes.detach(), mem.detach(), found)
    check(pair, x, c["seed"], threshold)


@some
@given(common(), decays, st.floats(0.1, 0.6))
def test_delta_leaky(c, beta, change):
    theirs = snn.DeltaLeaky(change, beta, spike_grad=c["surrogates"][0])
    ours = sc.DeltaLeaky(beta=beta, delta_threshold=change, surrogate=c["surrogates"][1])
    pair = Pair(theirs, ours, 0, (4,), {})
    x = draw_input((4,), c["seed"])
    inputs, state = torch.as_tensor(x).requires_grad_(), (torch.zeros(BATCH, 4), torch.zeros(BATCH, 4))
    spikes, mems = [], []
    for step in inputs.unbind(0):
        spk, state = theirs(step, state)
        spikes.append(spk)
        mems.append(state[0])
    spikes, mem = torch.stack(spikes), torch.stack(mems)
    moved = (mem - torch.cat([torch.zeros(1, BATCH, 4), mem[:-1]])).abs()
    assume(bool(((moved - change).abs() > MARGIN).all()))
    _loss(spikes, mem, c["seed"]).backward()
    pair._theirs = lambda *_: (spikes.detach(), mem.detach(), {"x": inputs.grad})
    check(pair, x, c["seed"], -100.0)


@some
@given(st.integers(0, 10_000), st.booleans())
def test_inhibition_lets_the_same_neuron_win(seed, zero):
    reset = "zero" if zero else "subtract"
    theirs = snn.Leaky(0.8, threshold=0.6, inhibition=True, reset_mechanism=reset)
    ours = sc.Leaky(beta=0.8, threshold=0.6, inhibition=True, reset_mechanism=reset)
    check(Pair(theirs, ours, 1, (4,), {}), draw_input((4,), seed), seed, 0.6)


@some
@given(st.integers(0, 10_000), st.integers(1, 6), st.booleans())
def test_state_quantisation(seed, bits, uniform):
    from snntorch.functional import quant as their_quant

    from spikecore.functional import quant

    their = their_quant.state_quant(num_bits=bits, uniform=uniform or bits == 1, threshold=0.6)
    own = quant.state_quant(num_bits=bits, uniform=uniform or bits == 1, threshold=0.6)
    theirs = snn.Leaky(0.8, threshold=0.6, state_quant=their)
    ours = sc.Leaky(beta=0.8, threshold=0.6, state_quant=own)
    x = draw_input((4,), seed)
    (spikes, mem, found), (own_spikes, own_mem, own_found) = Pair(theirs, ours, 1, (4,), {}).run(x, seed)
    assume(bool(((mem - own_mem).abs() < 1e-3).all()))  # a state halfway between two levels may round either way
    assume(bool(((mem - 0.6).abs() > MARGIN).all()))
    assert torch.equal(spikes, own_spikes)
    assert torch.allclose(found["x"], own_found["x"], rtol=1e-4, atol=1e-5)

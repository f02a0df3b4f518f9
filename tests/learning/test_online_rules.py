"""Rules of learning forward in time as users meet them: in ``fit``, in run files, refusals, memory, another library."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import spikecore as sc
from spikecore import backprop, functional
from spikecore.api.core.layer import EMPTY, Init, Params

RNG = np.random.default_rng(0)
X, LABELS = (RNG.random((9, 4, 6)) < 0.5) * 1.0, np.array([0, 1, 2, 1])
MEMBRANE = functional.ce_membrane_loss()
NETWORK = sc.Sequential(
    sc.Linear(6, 8), sc.RLeaky(beta=0.9, linear_features=8, threshold=0.4), sc.Linear(8, 3), sc.LI(beta=0.8)
)


def model(network=NETWORK, engine="numpy", **options):
    return sc.Model(network, engine, dtype="float64", input_shape=(6,), **options)


class ByMember(sc.Leaky):
    """Its reset lets the gradient of the spike through, so that rules that leave spikes out change it."""

    def step(self, engine, params, state, x):
        mem = params.beta * state.mem + x
        spikes = self.spike_of(engine, mem - params.threshold)
        return spikes, sc.base.State(mem=mem - params.threshold * spikes)

    def spike_of(self, engine, u):
        return engine.spike(u, self.surrogate)


class ByWord(ByMember):
    def spike_of(self, engine, u):
        return engine.xp.spike(u, self.surrogate)


@pytest.mark.parametrize("learning", ["ottt", "ndot", "sltt"])
def test_a_neuron_may_spell_its_spike_as_a_word(learning):
    member, word = (
        backprop.learned(model(sc.Sequential(sc.Linear(6, 8), neuron)), X, LABELS, MEMBRANE, learning=learning).grads
        for neuron in (ByMember(beta=0.9, threshold=0.4), ByWord(beta=0.9, threshold=0.4))
    )
    for name, value in member.items():
        np.testing.assert_array_equal(word[name], value, err_msg=name)


# ---- training ------------------------------------------------------------------------------------------------------

RULES = ["eprop", sc.EProp(feedback="adaptive", kappa="readout"), "ostl", "ottt", "ndot", "sltt", "decolle"]


@pytest.mark.parametrize("engine", ["numpy", "torch"])
@pytest.mark.parametrize("learning", RULES, ids=str)
def test_fit_changes_weights_by_the_gradient_of_the_rule(learning, engine):
    ours = model(engine=engine)
    before = ours.params()
    found = backprop.learned(ours, X, LABELS, MEMBRANE, learning=learning)
    row = ours.fit([(X, LABELS)], loss=MEMBRANE, optimizer=sc.SGD(lr=0.5), learning=learning, progress=False)[-1]
    assert row["loss"] == pytest.approx(found.loss, rel=1e-12)
    for name, value in ours.params().items():
        np.testing.assert_allclose(value, before[name] - 0.5 * found.grads[name], rtol=0, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(
    "learning",
    [sc.EProp(feedback="adaptive", kappa="readout", update_every=4), sc.DECOLLE(update_every=4)],
    ids=["eprop", "decolle"],
)
def test_updates_within_a_sequence_and_an_interrupted_training_go_on(learning, tmp_path):
    whole, parts = model(seed=1), model(seed=1)
    options = {"learning": learning, "progress": False}
    whole.fit([(X, LABELS)], loss=MEMBRANE, optimizer=sc.Adam(lr=0.01), epochs=4, **options)
    parts.fit([(X, LABELS)], loss=MEMBRANE, optimizer=sc.Adam(lr=0.01), epochs=2, **options)
    parts.save(tmp_path / "half.safetensors")
    parts = sc.load(tmp_path / "half.safetensors", engine="numpy")
    parts.fit([(X, LABELS)], loss=MEMBRANE, optimizer=sc.Adam(lr=0.01), epochs=4, resume=True, **options)
    for name, value in whole.params().items():
        np.testing.assert_array_equal(parts.params()[name], value, err_msg=name)


def test_a_stream_of_steps_is_the_sequence():
    rule = sc.EProp(feedback="direct", kappa=np.float32(0.5))
    whole, stream = (backprop.learned(model(), x, LABELS, MEMBRANE, learning=rule) for x in (X, iter(X)))
    assert whole.loss == stream.loss
    for name, g in whole.grads.items():
        np.testing.assert_array_equal(stream.grads[name], g)


def test_targets_of_a_users_loss_vary_in_a_stream_as_in_a_sequence():
    loss = backprop.per_step(squares, "sum")
    aims, ours = RNG.random((9, 4, 3)), model()
    whole = backprop.learned(ours, X, aims, loss, learning="sltt")
    assert backprop.learned(ours, iter(X), aims, loss, learning="sltt", num_steps=9).loss == whole.loss
    with pytest.raises(ValueError, match=r"\(9, 4, 3\), which may begin with \(time, batch\).*pass num_steps"):
        backprop.learned(ours, iter(X), aims, loss, learning="sltt")


def test_the_functions_are_the_rules():
    ours = model()
    pairs = [
        (backprop.online(ours, X, LABELS), "eprop"),
        (backprop.online(ours, X, LABELS, trace="factorised"), sc.OTTT()),
        (backprop.rtrl(ours, X[:3], LABELS), "rtrl"),
        (backprop.bptt(ours, X, LABELS), "bptt"),
    ]
    for found, learning in pairs:
        expected = backprop.learned(ours, X[:3] if learning == "rtrl" else X, LABELS, learning=learning)
        assert found.loss == expected.loss
        for name, g in expected.grads.items():
            np.testing.assert_array_equal(found.grads[name], g)


# ---- refusals ------------------------------------------------------------------------------------------------------

WRONG = {
    "a word": (lambda: sc.EProp("randon"), ValueError, "EProp: .*did you mean 'random'"),
    "no word": (lambda: sc.OTTT(3), ValueError, "OTTT: feedback=3 must be a str"),
    "kappa": (lambda: sc.EProp(kappa=np.float32(1.0)), ValueError, r"kappa=.*1.0.* must be a number in \[0, 1\)"),
    "kappa of ostl": (lambda: sc.OSTL(kappa=-0.1), ValueError, r"OSTL: kappa=-0.1 must be a number in \[0, 1\)"),
    "no number": (lambda: sc.EProp(kappa="leak"), (TypeError, ValueError), "kappa"),
    "decay": (lambda: sc.OTTT("adaptive", decay=2.0), ValueError, "OTTT: decay=2.0 must be from 0 to 1"),
    "decay of nothing": (
        lambda: sc.EProp(feedback="random", decay=0.5),
        ValueError,
        "EProp: decay=0.5 is for feedback='adaptive', not feedback='random'",
    ),
    "trace": (lambda: sc.DECOLLE("fast"), ValueError, "DECOLLE: .*'fast'"),
    "another trace": (lambda: backprop.online(model(), X, LABELS, trace="layer"), ValueError, "trace='layer'"),
    "a class": (lambda: model().fit([(X, LABELS)], learning=sc.EProp), TypeError, "learning="),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_options_are_refused(name):
    make, error, message = WRONG[name]
    with pytest.raises(error, match=message):
        make()


class Twice(sc.RLeaky):
    """Takes its input twice; the ``RLeaky`` inside does not."""

    def step(self, engine, params, state, x):
        return super().step(engine, params, state, 2.0 * x)


class TwiceRecurrent(sc.Recurrent):
    def step(self, engine, params, state, x):
        return super().step(engine, params, state, 2.0 * x)


class Squared(sc.base.Stateless):
    def init(self, key, shape):
        return Init(Params(), EMPTY, shape)

    def apply(self, engine, params, buffers, x, *, train, key):
        return x * x, buffers


READOUT = sc.EProp(kappa="readout")
UNFIT = {
    "no memory behind": (
        sc.Sequential(sc.Linear(6, 4), sc.Leaky(), sc.Linear(4, 3)), READOUT,
        r"behind it comes a connection, which has no memory.*sc\.LI\(\)"),
    "several states": (
        sc.Sequential(sc.Linear(6, 4), sc.Leaky(), sc.Linear(4, 3), sc.Synaptic(alpha=0.5, beta=0.8)), READOUT,
        r"layer 3 \(Synaptic\) has the states syn, mem.*give kappa as a number"),
    "several decays": (
        sc.Sequential(sc.Linear(6, 4), sc.Leaky(), sc.Linear(4, 3), sc.LI(beta=np.array([0.5, 0.6, 0.7]))), READOUT,
        "its neurons do not share one linear leak.*give kappa as a number"),
    "refractory around": (
        sc.Sequential(sc.Linear(6, 3), sc.Refractory(sc.RLeaky(linear_features=3))), "eprop", "is not elementwise"),
    "two in one": (
        sc.Sequential(sc.Linear(6, 3), sc.Recurrent(sc.RLeaky(linear_features=3), sc.Linear(3, 3))), "ottt",
        "is not elementwise"),
    "a step of its own": (sc.Sequential(sc.Linear(6, 3), Twice(linear_features=3)), "ottt", "is not elementwise"),
    "so in a wrapper": (
        sc.Sequential(sc.Linear(6, 3), TwiceRecurrent(sc.Leaky(), sc.Linear(3, 3))), "eprop", "is not elementwise"),
    "feedback of zeros": (
        sc.Sequential(sc.Linear(6, 4), sc.Leaky(), sc.Linear(4, 3, weight_init=sc.init.constant(0.0)), sc.LI()),
        sc.OTTT(feedback="random"), r"layer 2 \(Linear\): its weight_init draws zeros.*feedback='direct'"),
    "two states, ndot": (
        sc.Sequential(sc.Linear(6, 4), sc.Synaptic(alpha=0.5, beta=0.8), sc.Linear(4, 3), sc.LI()), "ndot",
        r"layer 1 \(Synaptic\) has the states syn, mem, but learning='ndot'.*use learning='ottt' or learning='eprop'"),
    "a difference of membranes, ndot": (
        sc.Sequential(sc.Linear(6, 3), sc.DeltaLeaky()), "ndot",
        r"layer 1 \(DeltaLeaky\) fires by its last membrane, too.*use learning='ottt' or learning='eprop'"),
    "two with weights, ndot": (
        sc.Sequential(sc.Linear(6, 4), sc.Leaky(), sc.GradedSpikes(4), sc.Linear(4, 3), sc.LI()), "ndot",
        r"layer 3 \(Linear\) is the second with weights between two neurons.*use learning='ottt'"),
    "a product between neurons, ndot": (
        sc.Sequential(sc.Linear(6, 4), sc.Leaky(), Squared(), sc.Linear(4, 3), sc.LI()), "ndot",
        r"layer 2 \(Squared\) between neurons is not linear.*use average pooling, or learning='ottt'"),
    "branches": (
        sc.Sequential(sc.Linear(6, 3), sc.Residual(sc.RLeaky(linear_features=3))), "decolle", "use learning='rtrl'"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_networks_that_do_not_fit_are_refused_with_a_remedy(name):
    network, rule, message = UNFIT[name]
    with pytest.raises(ValueError, match=message):
        backprop.learned(model(network), X, LABELS, functional.ce_rate_loss(), learning=rule)


def test_a_recurrent_layer_with_a_step_of_its_own_takes_it_everywhere():
    twice, once = (model(sc.Sequential(sc.Linear(6, 3), kind(linear_features=3))) for kind in (Twice, sc.RLeaky))
    ways = [backprop.learned(twice, X, LABELS, learning=way) for way in ("bptt", "rtrl")]
    np.testing.assert_array_equal(*(found.out.spikes for found in ways))
    assert (ways[0].out.spikes != backprop.bptt(once, X, LABELS).out.spikes).any()


STREAMS = {  # steps, targets, options, message
    "features": ([X[0, :, :5]], LABELS, {}, r"step 0 of the stream: .*\(4, 5\).*\(batch, 6\)"),
    "batch": ([X[0], X[1, :2]], LABELS, {}, r"step 1 of the stream: it has 2 samples, but those before have 4"),
    "not finite": ([X[0], X[1] * np.nan], LABELS, {}, r"step 1 of the stream: input\[0, 0\] is nan"),
    "class": (X, [0, 1, 7, 1], {}, "7"),
    "targets": (X, [0, 1, 2], {}, r"targets have shape \(3,\), expected \(4,\)"),
    "fewer steps": (X[:4], LABELS, {"num_steps": 5}, "num_steps=5, but the stream ended after 4 steps"),
    "more steps": (X, LABELS, {"num_steps": 5}, "num_steps=5, but the stream has more steps"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_streams_that_do_not_fit_are_refused(name):
    steps, targets, options, message = STREAMS[name]
    with pytest.raises(ValueError, match=message):
        backprop.learned(model(), iter(steps), targets, MEMBRANE, learning="sltt", **options)


def test_a_window_is_for_bptt():
    with pytest.raises(TypeError, match="EProp: unknown argument 'window'"):
        sc.EProp(window=3)
    with pytest.raises(TypeError, match=r"learned: unknown argument 'window': write learning=sc\.BPTT\(window=3\)"):
        backprop.learned(model(), X, LABELS, learning="eprop", window=3)


def test_an_engine_that_keeps_its_gradients():
    pytest.importorskip("torch", reason="the ipu engine needs torch")
    ours = sc.Model(NETWORK, "ipu", simulate=True, input_shape=(6,))
    with pytest.raises(NotImplementedError, match="returns no gradients: learning=EProp"):
        ours.fit([(X, LABELS)], learning=sc.EProp(feedback="random"), progress=False)


# ---- memory --------------------------------------------------------------------------------------------------------


def peak(steps, rule):
    """Peak memory in bytes of a gradient of a stream of so many steps."""
    network = sc.Sequential(
        sc.Linear(60, 50), sc.Recurrent(sc.ALIF(), sc.Linear(50, 50)), sc.Linear(50, 3), sc.LI(beta=0.8))  # fmt: skip
    ours, inputs = sc.Model(network, "numpy", dtype="float64", input_shape=(60,)), np.random.default_rng(1)
    stream = ((inputs.random((4, 60)) < 0.2) * 1.0 for _ in range(steps))
    tracemalloc.start()
    try:
        backprop.learned(ours, stream, LABELS, MEMBRANE, learning=rule, num_steps=steps, record=False)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("few", "many", "rule"),
    [
        (4, 16, sc.EProp(kappa="readout", feedback="direct")),
        pytest.param(100, 5000, sc.EProp(kappa="readout", feedback="direct"), marks=pytest.mark.slow),
        pytest.param(4, 64, sc.OSTL(kappa="readout"), marks=pytest.mark.slow),
    ],
)
def test_memory_does_not_depend_on_the_number_of_steps(few, many, rule):
    peak(2, rule)  # fills caches
    first, second = peak(few, rule), peak(many, rule)
    print(f"{first:,} bytes for {few} steps, {second:,} for {many}")
    assert abs(second - first) <= 0.05 * first


# ---- another library -----------------------------------------------------------------------------------------------

STEPS, INS, NEURONS, OUTS = 12, 5, 6, 3


def squares(out, targets):
    xp = sc.base.engine_of(out.spikes).xp
    distance = out.spikes - targets
    return xp.sum(distance * distance)


def grads_of_braintrace(x, params, targets, adaptation):
    """Gradients by braintrace's EProp of a recurrent layer of (A)LIF neurons before a linear readout; sums over time.

    It takes means over the steps of a sequence, and the readout's own weights get no gradient from it. Its learning
    signal is the derivative by the states after a step; so the adaptation that a threshold has at t is a state of t.
    """
    jax = pytest.importorskip("jax", reason="jax is not installed: extra 'peers'")
    braintrace = pytest.importorskip("braintrace", reason="braintrace is not installed: extra 'peers'")
    import brainstate

    jnp = jax.numpy

    @jax.custom_jvp
    def spike(u):
        return (u > 0) * 1.0

    @spike.defjvp
    def _(primals, tangents):
        return spike(primals[0]), tangents[0] / (1.0 + (jnp.pi * primals[0]) ** 2)

    def connection(layer):
        held = {"weight": jnp.asarray(params[f"{layer}.weight"].T), "bias": jnp.asarray(params[f"{layer}.bias"])}
        return brainstate.ParamState(held)

    class Net(brainstate.nn.Module):
        def __init__(self):
            super().__init__()
            self.enters, self.back, self.out = (connection(layer) for layer in ("0", "1.connection", "2"))

        def init_state(self, *arguments, **options):
            self.mem, self.adapt = (brainstate.HiddenState(jnp.zeros(NEURONS)) for _ in range(2))

        reset_state = init_state

        def update(self, x):
            enters, back = self.enters.value, self.back.value
            spikes = spike(self.mem.value - (0.4 + adaptation * self.adapt.value))  # of the step before
            fired = jax.lax.stop_gradient(spikes)
            current = braintrace.matmul(x, enters["weight"], enters["bias"])
            current = current + braintrace.matmul(fired, back["weight"], back["bias"])
            mem, adapt = 0.9 * self.mem.value + current - 0.4 * fired, 0.95 * self.adapt.value + 0.05 * spikes
            self.mem.value, self.adapt.value = mem, adapt
            return spike(mem - (0.4 + adaptation * adapt)) @ self.out.value["weight"] + self.out.value["bias"]

    with jax.enable_x64(True) if hasattr(jax, "enable_x64") else jax.experimental.enable_x64():
        learner = braintrace.compile(Net(), braintrace.EProp, jnp.asarray(x[0]))
        found = learner.etrace_grad(
            jnp.asarray(x), jnp.asarray(targets), step_fn=lambda x, y: jnp.sum((learner(x) - y) ** 2)
        )
    enters, back = found["enters",], found["back",]
    sums = {"0.weight": enters["weight"].T, "0.bias": enters["bias"]}
    sums.update({"1.connection.weight": back["weight"].T, "1.connection.bias": back["bias"]})
    return {name: STEPS * np.asarray(g) for name, g in sums.items()}


@pytest.mark.slow
@pytest.mark.parametrize("neuron", ["LIF", "ALIF"])
def test_braintrace(neuron):
    x = (np.random.default_rng(3).random((STEPS, INS)) < 0.4) * 1.0
    targets = np.random.default_rng(4).random((STEPS, OUTS))
    adaptation = 0.7 if neuron == "ALIF" else 0.0
    ours = sc.Model(
        sc.Sequential(
            sc.Linear(INS, NEURONS),
            sc.Recurrent(
                sc.ALIF(beta=0.9, rho=0.95, adaptation=adaptation, threshold=0.4), sc.Linear(NEURONS, NEURONS)
            ),
            sc.Linear(NEURONS, OUTS),
        ),
        "numpy", dtype="float64", input_shape=(INS,),
    )  # fmt: skip
    loss = backprop.per_step(squares, "sum")
    found = backprop.learned(ours, x[:, None], targets[:, None], loss, learning="eprop")
    assert 0.1 < ours(x[:, None], record=True).states["1"].spikes.mean() < 0.9
    for name, expected in grads_of_braintrace(x, ours.params(), targets, adaptation).items():
        assert abs(expected).max() > 0
        np.testing.assert_allclose(found.grads[name], expected, rtol=0, atol=1e-10 * abs(expected).max(), err_msg=name)

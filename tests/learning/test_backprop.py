"""Learning through time: memory, streams, losses of single steps, and what is refused."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikecore as sc
from spikecore import backprop, functional
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import Params, flatten, map_leaves
from spikecore.api.learning.factorised import Factorised
from spikecore.api.learning.online import Online
from spikecore.api.learning.rule import LearningRun
from spikecore.api.learning.stack import Block
from spikecore.api.learning.steps import stepwise, targets_of

ENGINE = sc.get_engine("numpy", dtype="float64", fused=False)
DENSE = sc.Sequential(
    sc.Linear(6, 8), sc.Leaky(beta=sc.learn(0.9), threshold=0.4), sc.Linear(8, 3), sc.Leaky(beta=0.8, threshold=0.4)
)
RNG = np.random.default_rng(0)
X, LABELS = RNG.random((9, 4, 6)), np.array([0, 1, 2, 1])


def model(network=DENSE, **options):
    return sc.Model(network, ENGINE, **options)


def same(a, b):
    assert list(a) == list(b)
    for name in a:
        np.testing.assert_allclose(a[name], b[name], rtol=0, atol=1e-12, err_msg=name)


# ---- memory --------------------------------------------------------------------------------------------------------


def stream(steps, samples, features):
    """Inputs each of which is made when it is asked for."""
    rng = np.random.default_rng(1)
    return (rng.random((samples, features)) for _ in range(steps))


def peaks(function, counts):
    """Peak memory of ``function(count)`` in bytes; caches of small blocks are filled before."""
    function(counts[0])
    found = []
    for count in counts:
        tracemalloc.start()
        try:
            function(count)
            found.append(tracemalloc.get_traced_memory()[1])
        finally:
            tracemalloc.stop()
    return found


WAYS = {
    "exact": (sc.Sequential(sc.Linear(200, 100), sc.Leaky(beta=0.9)), 4),
    "factorised": (sc.Sequential(sc.Linear(4000, 20), sc.Leaky(beta=0.9)), 4),
    "rtrl": (sc.Sequential(sc.Linear(8000, 1), sc.RLeaky(linear_features=1)), 1),
}


@pytest.mark.parametrize("counts", [(20, 100), pytest.param((100, 1000), marks=pytest.mark.slow)])
@pytest.mark.parametrize("way", WAYS)
def test_memory_does_not_depend_on_the_number_of_steps(way, counts):
    network, samples = WAYS[way]
    ours, labels, options = model(network), np.zeros(samples, dtype="int64"), {"record": False}
    learn = backprop.rtrl if way == "rtrl" else backprop.online
    if way != "rtrl":
        options["trace"] = way
    features = network.layers[0].in_features
    few, many = peaks(lambda count: learn(ours, stream(count, samples, features), labels, **options), counts)
    print(f"{way}: {few:,} bytes for {counts[0]} steps, {many:,} for {counts[1]}")
    assert abs(many - few) <= 0.1 * few


def test_memory_of_bptt_does():
    ours = model(WAYS["exact"][0])
    few, many = peaks(lambda count: backprop.bptt(ours, np.zeros((count, 4, 200)), np.zeros(4, "int64")), (20, 200))
    assert many > 5 * few


# ---- streams -------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(lengths=st.lists(st.integers(1, 4), min_size=1, max_size=4), trace=st.sampled_from(["exact", "factorised"]))
def test_a_sequence_may_come_in_any_pieces(lengths, trace):
    x = np.random.default_rng(2).random((sum(lengths), 4, 6))
    init = DENSE.init(Key((0, "init")), (6,))
    loss = functional.ce_rate_loss()
    found = []
    for cuts in ([], np.cumsum(lengths)[:-1]):
        rule = Online(DENSE, stepwise(loss), targets_of(ENGINE, loss, LABELS, len(x), 4), len(x), trace)
        run = LearningRun(rule, ENGINE, map_leaves(ENGINE.asarray, init.params), init.buffers)
        outputs = [run.feed(piece).spikes for piece in np.split(x, cuts)]
        found.append((np.concatenate(outputs), flatten(run.take()[1])))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    same(found[0][1], found[1][1])


@pytest.mark.parametrize("way", [backprop.online, backprop.rtrl])
def test_an_iterator_of_steps_is_the_sequence(way):
    ours = model(sc.Sequential(sc.Linear(6, 3), sc.Leaky(beta=0.8)))
    whole, stream = way(ours, X, LABELS), way(ours, iter(X), LABELS)
    assert whole.loss == stream.loss
    same(whole.grads, stream.grads)
    np.testing.assert_array_equal(whole.out.spikes, stream.out.spikes)
    assert whole.out.spikes.shape == (9, 4, 3)
    assert way(ours, iter(X), LABELS, record=False).out.spikes is None


@pytest.mark.parametrize("way", [backprop.online, backprop.rtrl])
def test_a_constant_input_is_the_repeated_one(way):
    ours = model(sc.Sequential(sc.Linear(6, 3), sc.Leaky(beta=0.8)))
    constant, repeated = way(ours, X[0], LABELS, num_steps=5), way(ours, np.repeat(X[:1], 5, axis=0), LABELS)
    same(constant.grads, repeated.grads)


def test_encoder_and_time_axis():
    ours = model(sc.Sequential(sc.Linear(6, 3), sc.Leaky(beta=0.8)))
    encoded = {"num_steps": 5, "encoder": sc.spikegen.rate}
    same(backprop.online(ours, X[0], LABELS, **encoded).grads, backprop.bptt(ours, X[0], LABELS, **encoded).grads)
    moved = np.moveaxis(X, 0, 1)
    same(backprop.online(ours, moved, LABELS, time_axis=1).grads, backprop.bptt(ours, X, LABELS).grads)
    with pytest.raises(ValueError, match="leave out encoder and time_axis"):
        backprop.online(ours, iter(X), LABELS, **encoded)


@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("reset", ["subtract", "subtract_decayed", "zero", "none"])
def test_the_leak_of_a_factorised_trace_is_that_of_a_silent_neuron(reset, delay):
    options = {"reset_mechanism": reset, "reset_delay": delay}
    leaks = {
        sc.Leaky(beta=0.75, **options): {"mem": {"mem": 0.75, "x": 1.0}},
        sc.Synaptic(alpha=0.5, beta=0.75, **options): {
            "syn": {"syn": 0.5, "mem": 0.0, "x": 1.0},
            "mem": {"syn": 0.5, "mem": 0.75, "x": 1.0},
        },
    }
    for neuron, expected in leaks.items():
        fields = neuron.prepare(ENGINE, Params())
        found = Factorised(Block((), "0", neuron, "0"), lambda path: Params()).leak(ENGINE, fields, np.zeros((2, 3)))
        assert {name: dict(row) for name, row in found.items()} == expected


# ---- losses --------------------------------------------------------------------------------------------------------


def squares(out, targets):
    """A loss of one's own, of one step or many, with one target per sample or per step."""
    distance = out.spikes - targets
    return ENGINE.xp.sum(distance * distance) / 4.0


@pytest.mark.parametrize("over_time", ["mean", "sum"])
@pytest.mark.parametrize("vary", [True, False])
def test_a_loss_of_ones_own(over_time, vary):
    targets = RNG.random((9, 4, 3)) if vary else RNG.random((4, 3))
    ours, loss = model(), 0.5 * backprop.per_step(squares, over_time) + functional.l1_rate_sparsity(1e-2)
    expected = backprop.bptt(ours, X, targets, loss)
    factor = 0.5 / (9 if over_time == "mean" else 1)
    plain = backprop.bptt(ours, X, targets, lambda out, y: factor * squares(out, y) + 1e-2 * ENGINE.xp.sum(out.spikes))
    assert abs(expected.loss - plain.loss) < 1e-12
    for way in (backprop.online, backprop.rtrl):
        found = way(ours, X, targets, loss)
        assert abs(found.loss - expected.loss) < 1e-12
        np.testing.assert_allclose(found.grads["2.weight"], expected.grads["2.weight"], atol=1e-12)


def test_targets_that_vary_in_time():
    targets = RNG.random((9, 4, 3))
    loss = functional.mse_membrane_loss(time_var_targets=True)
    ours = model()
    expected = backprop.bptt(ours, X, targets, loss)
    same(backprop.rtrl(ours, X, targets, loss).grads, expected.grads)
    np.testing.assert_allclose(
        backprop.online(ours, iter(X), targets, loss).grads["2.weight"], expected.grads["2.weight"], atol=1e-12
    )
    with pytest.raises(ValueError, match="targets end after 4 steps"):
        backprop.online(ours, iter(X), targets[:4], loss)


@pytest.mark.parametrize("vary", [True, False])
def test_updates_within_a_sequence_see_the_targets_of_their_steps(vary):
    loss = functional.mse_membrane_loss(time_var_targets=True) if vary else functional.mse_membrane_loss()
    targets = RNG.random((9, 4, 3)) if vary else LABELS
    ours, by_hand = model(), model()
    ours.fit([(X, targets)], loss=loss, optimizer=sc.SGD(lr=0.1), learning=sc.BPTT(update_every=4), progress=False)
    executor = by_hand.engine.compile(
        DENSE, by_hand.trainer.executor.params, by_hand.trainer.executor.buffers, loss, sc.SGD(lr=0.1)
    )
    state = None
    for start, stop in ((0, 4), (4, 8), (8, 9)):
        part = targets[start:stop] if vary else targets
        _, out = executor.step(X[start:stop], part, state=state)
        state = out.state
    same(ours.params(), executor.state()["params"])


def test_dropout_is_the_same_with_one_update_per_sequence():
    network = sc.Sequential(sc.Linear(6, 8), sc.Dropout(0.5), sc.Leaky(), sc.Linear(8, 3), sc.Leaky())
    found = []
    for options in ({}, {"learning": sc.BPTT(update_every=9)}, {"learning": sc.BPTT(update_every=3)}):
        ours = model(network)
        ours.fit([(X, LABELS)], optimizer=sc.SGD(lr=0.1), progress=False, **options)
        found.append(ours.params()["0.weight"])
    np.testing.assert_array_equal(found[0], found[1])
    assert abs(found[0] - found[2]).max() > 0


def test_learning_forward_in_time_reduces_the_loss():
    for options in ({"learning": "eprop"}, {"learning": sc.OTTT(update_every=3)}):
        ours = model()
        rows = ours.fit([(X, LABELS)], optimizer=sc.Adam(lr=0.02), epochs=15, progress=False, **options)
        assert rows[-1]["loss"] < 0.95 * rows[0]["loss"]
        assert "accuracy" in rows[-1]


# ---- what is refused -----------------------------------------------------------------------------------------------

STACK = sc.Sequential(sc.Linear(6, 3), sc.Leaky())
REFUSED = {
    "branches": (
        sc.Sequential(sc.Linear(6, 3), sc.Residual(sc.LI())), {}, "layer 1 is a Residual.*use learning='rtrl'"),
    "two layers of weights": (
        sc.Sequential(sc.Linear(6, 4), sc.Linear(4, 3), sc.Leaky()), {},
        r"layers 0 \(Linear\), 1 \(Linear\) before neuron 2.*trace='factorised'"),
    "leaks that differ": (
        sc.Sequential(sc.Linear(6, 3), sc.Leaky(beta=sc.learn(np.array([0.5, 0.6, 0.7])))), {"trace": "factorised"},
        "do not share one linear leak .*use trace='exact'"),
    "no linear leak": (
        sc.Sequential(sc.Linear(6, 3), sc.Izhikevich()), {"trace": "factorised"}, "do not share one linear leak"),
    "no linear layer": (
        sc.Sequential(sc.Linear(6, 3), sc.LayerNorm(3), sc.Leaky()), {"trace": "factorised"},
        "LayerNorm.*is not linear"),
    "no linear layer, without weights": (
        sc.Sequential(sc.Linear(6, 3), sc.LayerNorm(3, affine=False), sc.Leaky()), {"trace": "factorised"},
        "layer 1 .LayerNorm. is not linear"),
    "statistics": (
        sc.Sequential(sc.Linear(6, 3), sc.BatchNorm1d(3), sc.Leaky()), {}, "layer 1 has running statistics"),
    "dropout": (
        sc.Sequential(sc.Linear(6, 3), sc.Dropout(0.1), sc.Leaky()), {}, "layer 1 .Dropout.: .*leave the layer out"),
    "noise": (
        sc.Sequential(sc.Linear(6, 3), sc.Leaky(surrogate=sc.surrogate.SSO())), {},
        "a stochastic surrogate draws noise"),
    "nothing to learn": (sc.Sequential(sc.LI()), {}, "the network has no parameters"),
    "counts": (STACK, {"loss": functional.ce_count_loss()}, "ce_count_loss.*is not known step by step.*per_step"),
    "no scalar": (STACK, {"loss": functional.ce_rate_loss(reduction="none")}, "reduction='none' gives no scalar"),
    "another trace": (STACK, {"trace": "fast"}, "trace='fast' must be one of exact, factorised"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_online_learning_cannot_do_is_refused_with_a_remedy(case):
    network, options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        backprop.online(model(network, input_shape=(6,)), X, LABELS, **options)


def test_labels_out_of_range_are_refused():
    for way in (backprop.bptt, backprop.online, backprop.rtrl):
        with pytest.raises(ValueError, match=r"targets\[0\] = 7 is out of range"):
            way(model(), X, np.array([7, 0, 0, 0]))


def test_a_mean_and_a_sum_need_the_number_of_steps():
    ours, loss = model(), functional.ce_rate_loss() + functional.l1_rate_sparsity(1e-2)
    with pytest.raises(ValueError, match="pass num_steps"):
        backprop.online(ours, iter(X), LABELS, loss)
    same(backprop.online(ours, iter(X), LABELS, loss, num_steps=9).grads, backprop.online(ours, X, LABELS, loss).grads)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"learning": "eprob"}, ValueError, "did you mean 'eprop'"),
        ({"learning": 3}, TypeError, "learning=3 must be one of bptt, eprop"),
        ({"learning": sc.BPTT}, TypeError, "a way of learning with options such as"),
        ({"window": 3}, TypeError, r"write learning=sc\.BPTT\(window=3\)"),
        ({"learning": "ottt", "loss": functional.ce_count_loss()}, ValueError, "is not known step by step"),
    ],
)
def test_what_fit_refuses(options, error, message):
    ours = model(input_shape=(6,))
    before = ours.params()
    with pytest.raises(error, match=message):
        ours.fit([(X, LABELS)], progress=False, **options)
    same(ours.params(), before)


def test_a_way_of_learning_refuses_options_out_of_range():
    with pytest.raises(ValueError, match="BPTT: update_every=0 must be an int >= 1"):
        sc.BPTT(update_every=0)
    with pytest.raises(TypeError, match="EProp: unknown argument 'window'"):
        sc.EProp(window=3)


def test_a_window_below_one_is_refused():
    with pytest.raises(ValueError, match="window=0 must be an int >= 1"):
        backprop.bptt(model(), X, LABELS, window=0)


def test_per_step_refuses():
    with pytest.raises(TypeError, match="must be a callable"):
        backprop.per_step(3)
    with pytest.raises(ValueError, match="over_time='max' must be 'mean' or 'sum'"):
        backprop.per_step(squares, "max")


def test_an_engine_that_keeps_its_gradients():
    pytest.importorskip("torch", reason="the ipu engine needs torch")
    ours = sc.Model(DENSE, "ipu", simulate=True, input_shape=(6,))
    reference = sc.Model(DENSE, "numpy", input_shape=(6,))
    found, expected = (backprop.bptt(m, X.astype("float32"), LABELS, window=4) for m in (ours, reference))
    for name, g in expected.grads.items():
        np.testing.assert_allclose(found.grads[name], g, atol=1e-5 * abs(g).max())
    with pytest.raises(NotImplementedError, match="keeps gradients on the device"):
        backprop.online(ours, X.astype("float32"), LABELS)
    with pytest.raises(NotImplementedError, match="returns no gradients: learning=EProp"):
        ours.fit([(X, LABELS)], learning="eprop", progress=False)


def test_the_module_says_what_it_has():
    assert {"BPTT", "RTRL", "TBPTT", "bptt", "online", "rtrl", "per_step"} <= set(dir(backprop))
    with pytest.raises(AttributeError, match="did you mean 'bptt'"):
        _ = backprop.bpttt


@pytest.mark.parametrize("trace", ["exact", "factorised"])
def test_a_layer_that_computes_something_else_than_its_base_has_no_trace(trace):
    class Squared(sc.Linear):
        def apply(self, *arguments, **options):
            y, buffers = super().apply(*arguments, **options)
            return y * y, buffers

    class Renamed(sc.Linear):
        """Computes what Linear does."""

    def online(layer):
        model = sc.Model(sc.Sequential(layer, sc.LI()), "numpy", seed=0)
        backprop.online(model, np.ones((3, 2, 4), "float32"), [0, 1], loss=functional.ce_membrane_loss(), trace=trace)

    online(Renamed(4, 3))
    with pytest.raises(ValueError, match=r"Squared\).*use .*BPTT"):
        online(Squared(4, 3))

"""Learning through time: truncated BPTT, eligibility traces and real-time recurrent learning against BPTT."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import backprop, functional
from spikecore.api.core.layer import Key
from spikecore.api.core.tree import map_leaves
from spikecore.conformance import cases
from spikecore.conformance.rig import assert_close, normal

LABELS = np.array([0, 2])
RATE = functional.ce_rate_loss()
BOTH = functional.ce_rate_loss() + 0.3 * functional.mse_membrane_loss() + functional.l1_rate_sparsity(1e-2)
names = {"ids": repr}


def model(engine, network, shape=(5,)):
    return sc.Model(network, engine, input_shape=shape)


def batch(shape=(5,), time=7, samples=2):
    return normal(time, samples, *shape) + 0.5


def under(name, layers):
    return any(name == layer or name.startswith(f"{layer}.") for layer in layers)


def assert_equal_to_bptt(found, expected, layers=None, limit=1e-10):
    """Loss, and the gradients of the named layers (None: all), and that there is something to compare."""
    assert abs(found.loss - expected.loss) <= 1e-12 * abs(expected.loss)
    compared = [name for name in expected.grads if layers is None or under(name, layers)]
    assert list(found.grads) == list(expected.grads)
    assert any(abs(expected.grads[name]).max() > 0 for name in compared)
    for name in compared:
        assert_close(found.grads[name], expected.grads[name], limit, name)


# ---- eligibility: exact for the last layer of neurons --------------------------------------------------------------

RECURRENT_LAYERS = ("RLeaky", "RLeaky-maps", "RSynaptic", "Recurrent-delays", "Recurrent-own-delay", "Recurrent-maps")
COUPLED = ("SLSTM", "SpikingGRU", "SConv2dLSTM", "LinearLeaky", "LeakyParallel",
           "LeakyParallel-tau", "LeakyParallel-dense", "AssociativeLeaky", "MaskedPSN", "StateSpace",
           *(case.name for case in cases.WHOLE))  # fmt: skip
SOME = ("Leaky-subtract-immediate", "Leaky-zero-delayed", "Synaptic", "ALIF", "Izhikevich")
ELEMENTWISE = [case for case in (*cases.LEAKY[:6], *cases.FAMILY) if case.name not in (*COUPLED, *RECURRENT_LAYERS)
               and case not in cases.NOISE]  # fmt: skip


def check_last_layer(engine, case, trace="exact", loss=RATE):
    network = sc.Sequential(sc.Linear(5, 4), sc.Leaky(beta=0.8, threshold=0.4), sc.Linear(4, 5), case.layer)
    ours, x = model(engine, network), batch()
    found = backprop.online(ours, x, LABELS, loss, trace=trace)
    assert_equal_to_bptt(found, backprop.bptt(ours, x, LABELS, loss), ("2", "3"))


@pytest.mark.parametrize("case", [case for case in ELEMENTWISE if case.name in SOME], **names)
def test_the_last_layer_learns_as_by_bptt(engine, case):
    check_last_layer(engine, case)


@pytest.mark.parametrize("trace", ["exact", "factorised"])
def test_losses_of_membranes_and_sums_over_time(engine, trace):
    neuron = cases.Case("Leaky", sc.Leaky(beta=sc.learn(0.7), threshold=sc.learn(0.5)))
    check_last_layer(engine, neuron, trace, BOTH)


def check_factorised(engine):
    check_last_layer(engine, cases.Case("Synaptic", sc.Synaptic(alpha=0.6, beta=0.8, threshold=0.4)), "factorised")


def test_a_shared_linear_leak_factorises(engine):
    check_factorised(engine)


MAPS = {
    "exact-convolution": ("exact", sc.Sequential(
        sc.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 0), groups=2), sc.Leaky(threshold=0.3)), ("0", "1")),
    "exact-flattened": ("exact", sc.Sequential(
        sc.Conv2d(4, 2, 3), sc.Flatten(), sc.Synaptic(threshold=sc.learn(0.3))), ("0", "2")),
    "factorised-pooled": ("factorised", sc.Sequential(
        sc.Conv2d(4, 2, 3), sc.AvgPool2d(2), sc.Leaky(beta=sc.learn(0.7), threshold=0.3)), ("0", "2")),
    "factorised-transposed": ("factorised", sc.Sequential(
        sc.InstanceNorm2d(4), sc.ConvTranspose2d(4, 2, 3, stride=2), sc.AdaptiveAvgPool2d((3, 4)),
        sc.Leaky(threshold=0.3)), ("1", "3")),
    "factorised-chain": ("factorised", sc.Sequential(
        sc.Conv2d(4, 2, 3), sc.Flatten(), sc.Linear(24, 6), sc.GradedSpikes(6), sc.Leaky(threshold=0.1)),
        ("0", "2", "3", "4")),
}  # fmt: skip


@pytest.mark.parametrize("case", MAPS)
def test_convolutions_learn_as_by_bptt(engine, case):
    trace, network, layers = MAPS[case]
    network = sc.Sequential(*network.layers, sc.Flatten())
    ours, x = model(engine, network, (4, 5, 6)), batch((4, 5, 6), time=4)
    found = backprop.online(ours, x, LABELS, trace=trace)
    assert_equal_to_bptt(found, backprop.bptt(ours, x, LABELS), layers)


def test_layers_behind_the_last_neuron_are_exact(engine):
    network = sc.Sequential(sc.Linear(5, 4), sc.ALIF(beta=sc.learn(0.8)), sc.Linear(4, 4), sc.Linear(4, 3))
    ours, x = model(engine, network), batch()
    assert_equal_to_bptt(backprop.online(ours, x, LABELS), backprop.bptt(ours, x, LABELS))


def test_layers_below_point_in_the_direction_of_bptt(engine):
    """They are an approximation; cosines of the weights above 0.9 in this net, and not 1."""
    ours, x = model(engine, cases.DENSE), batch(time=12)
    found, expected = (
        backprop.online(ours, x, LABELS).grads["0.weight"],
        backprop.bptt(ours, x, LABELS).grads["0.weight"],
    )
    cosine = (found * expected).sum() / np.sqrt((found**2).sum() * (expected**2).sum())
    assert 0.9 < cosine < 0.9999


# ---- real-time recurrent learning: exact everywhere ----------------------------------------------------------------

RECURRENT = {
    "dense": cases.DENSE,
    "recurrent": sc.Sequential(sc.Linear(5, 3), sc.RLeaky(beta=sc.learn(0.7), linear_features=3, threshold=0.4)),
    "one neuron": sc.RSynaptic(linear_features=5, threshold=0.3),
    "wrapped": sc.Sequential(sc.Linear(5, 3), sc.Recurrent(sc.ALIF(threshold=0.4), sc.Linear(3, 3))),
    "gated": sc.Sequential(
        sc.SLSTM(input_size=5, hidden_size=2, threshold=0.1), sc.LinearLeaky(in_features=2, out_features=3)),
    "learned rest": sc.Sequential(sc.Linear(5, 3), sc.Izhikevich(b=sc.learn(0.2), c=sc.learn(-65.0), threshold=-66.5)),
    "branches": sc.Sequential(sc.Residual(sc.Sequential(sc.Linear(5, 5), sc.Leaky(threshold=0.3))), sc.Leaky()),
}  # fmt: skip


def check_forward_mode(engine, network):
    ours, x = model(engine, network), batch(time=5)
    loss = BOTH if network is cases.DENSE else functional.ce_rate_loss()
    assert_equal_to_bptt(backprop.rtrl(ours, x, LABELS, loss), backprop.bptt(ours, x, LABELS, loss))


@pytest.mark.parametrize("name", RECURRENT)
def test_real_time_recurrent_learning_is_bptt(engine, name):
    check_forward_mode(engine, RECURRENT[name])


# ---- truncated BPTT ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("window", [7, 50])
def test_a_window_as_long_as_the_sequence_is_bptt(engine, window):
    ours, x = model(engine, cases.DENSE), batch()
    found = backprop.bptt(ours, x, LABELS, BOTH, window=window)
    assert_equal_to_bptt(found, backprop.bptt(ours, x, LABELS, BOTH))


def check_truncated(engine):
    """A window cuts where the parts of a sequence meet: one gradient, the mean of the parts', each from the last state
    of the part before as a constant.
    """
    loss, x, ours = functional.ce_rate_loss(), batch(), model(engine, cases.DENSE)
    found = backprop.bptt(ours, x, LABELS, loss, window=3)
    state, total = None, {name: 0.0 for name in found.grads}
    for start in range(0, 7, 3):
        part = x[start : start + 3]
        executor = compiled(engine, ours, loss)
        before = executor.state()["params"]
        _, out = executor.step(part, LABELS, state=state)
        state = map_leaves(engine.stop_gradient, out.state)
        for name, value in executor.state()["params"].items():
            total[name] = total[name] + len(part) / 7 * (before[name] - value)
    for name, g in found.grads.items():
        assert_close(total[name], g, 1e-10, name)
    whole = backprop.bptt(ours, x, LABELS, loss)
    assert abs(whole.grads["0.weight"] - found.grads["0.weight"]).max() > 1e-4


def compiled(engine, ours, loss):
    """An executor whose step is the gradient: SGD with a rate of 1."""
    init = ours.network.init(Key((0, "init")), ours.input_shape)
    return engine.compile(ours.network, init.params, init.buffers, loss, sc.SGD(lr=1.0))


def test_a_window_cuts_where_parts_meet(engine):
    if not compiled(engine, model(engine, cases.DENSE), functional.ce_rate_loss()).gradients:
        pytest.skip("its executor goes on only from its own last step")
    check_truncated(engine)


def learns(engine, options):
    """Whether an engine's executor can learn so: from its own gradients alone, only by BPTT."""
    one = compiled(engine, model(engine, cases.DENSE), functional.ce_rate_loss())
    return one.gradients is not None or (isinstance(options["learning"], sc.BPTT) and one.resting is not None)


def trained(engine, **options):
    """Losses and weights of a short training run."""
    ours, x = model(engine, cases.DENSE), batch(time=9)
    rows = ours.fit([(x, LABELS)], optimizer=sc.Adam(lr=0.01), epochs=2, progress=False, **options)
    return np.array([row["loss"] for row in rows]), ours.params()


@pytest.mark.parametrize(
    "options",
    [
        {"learning": sc.BPTT(update_every=3)},
        {"learning": "eprop"},
        {"learning": sc.OTTT(update_every=2)},
        {"learning": "rtrl"},
    ],
    ids=repr,
)
def test_every_way_of_learning_trains_alike_on_every_engine(engine, options):
    if not learns(engine, options):
        with pytest.raises(NotImplementedError, match=r"returns no gradients: learning=.* needs numpy or torch"):
            trained(engine, **options)
        return
    (losses, params), (expected, theirs) = (
        trained(engine, **options),
        trained(sc.get_engine("numpy", dtype="float64"), **options),
    )
    assert losses[-1] < losses[0]
    assert_close(losses, expected, 1e-10)
    for name in theirs:
        assert_close(params[name], theirs[name], 1e-10, name)


def check_updates_of_whole_sequences(engine, options):
    """With an update per sequence, the last weights are BPTT's."""
    if not learns(engine, options):
        pytest.skip("its executor takes no gradient made elsewhere")
    (losses, params), (expected, theirs) = trained(engine, **options), trained(engine)
    assert_close(losses, expected, 1e-10)
    for name in theirs:
        assert_close(params[name], theirs[name], 1e-10, name)


@pytest.mark.parametrize(
    "options",
    [{"learning": sc.BPTT(update_every=9)}, {"learning": sc.BPTT(update_every=99)}, {"learning": "rtrl"}],
    ids=repr,
)
def test_one_update_per_sequence_is_bptt(engine, options):
    check_updates_of_whole_sequences(engine, options)


@pytest.mark.parametrize("case", [case for case in cases.FAMILY if case.name in COUPLED], **names)
def test_a_neuron_that_is_not_elementwise_is_refused(engine, case):
    network = sc.Sequential(case.layer, sc.Flatten(), sc.LI())
    with pytest.raises(ValueError, match=r"layer 0 \(\w+\) is not elementwise.*use learning='rtrl'"):
        backprop.online(model(engine, network, case.shape), batch(case.shape), LABELS)

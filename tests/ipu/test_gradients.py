"""The IPU engine's gradients, read off the simulated device: those of autograd, and a wrong one is noticed."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

import spikecore as sc
from spikecore import functional
from spikecore.api.core.layer import Key
from spikecore.api.core.variants import unfused
from spikecore.api.verification.gradient import Problem, gradient
from spikecore.conformance import cases
from spikecore.conformance.rig import error
from spikecore.engines.ipu.findings import NotForIpu
from spikecore.samples import Loader
from tests.digits import digits
from tests.ipu.ipu_rig import batch

EVERY = [(neuron.name, neuron.layer, neuron.shape) for neuron in cases.NEURONS]
WITH_SURROGATE = [
    (sc.Synaptic, {}), (sc.Alpha, {"threshold": 0.5}), (sc.ALIF, {"threshold": 0.5}),
    (sc.Lapicque, {"R": 1.0, "C": 5.0, "threshold": 0.3}), (sc.IF, {}),
    (sc.RLeaky, {"linear_features": 5}), (sc.RSynaptic, {"linear_features": 5}),
    (sc.SLSTM, {"input_size": 5, "hidden_size": 4, "threshold": 0.1}), (sc.DeltaLeaky, {}),
    (sc.Izhikevich, {"threshold": -66.5}), (sc.StateLeaky, {"threshold": 0.5}),
    (sc.LeakyParallel, {"input_size": 5, "hidden_size": 4, "threshold": 0.3}),
]  # fmt: skip


@pytest.mark.turns(len(WITH_SURROGATE))  # each surrogate meets one of the neurons, and each neuron a surrogate
@pytest.mark.parametrize("neuron", WITH_SURROGATE, ids=[kind.__name__ for kind, _ in WITH_SURROGATE])
@pytest.mark.parametrize("surrogate", [one for _, one in cases.SURROGATES], ids=[name for name, _ in cases.SURROGATES])
def test_gradients_of_every_surrogate(surrogate, neuron):
    kind, options = neuron
    check_gradients(kind(surrogate=surrogate, **options), (5,))


@pytest.mark.parametrize(("name", "layer", "shape"), EVERY, ids=[one[0] for one in EVERY])
def test_gradients_by_one_step_of_sgd(name, layer, shape):
    """Every neuron: float32 through the simulated executor against autograd; the bar is 1e-5."""
    check_gradients(layer, shape)


def check_gradients(layer, shape):
    network = sc.Sequential(sc.GradedSpikes(shape[0], constant_factor=1.1), layer, sc.Flatten())
    rng = np.random.default_rng(0)
    x = (1.5 * rng.normal(size=(8, 4, *shape)) + 0.3).astype("float32")
    init = network.init(Key((0, "init")), shape)
    weights = rng.normal(size=(8, 4, *init.shape)).astype("float32")

    def loss(out, targets):
        return (out.spikes * targets).sum() / 32.0

    problem = Problem(network, loss, init.params, init.buffers, x, weights, None, 0)
    ours = gradient(sc.get_engine("ipu", simulate=True, check=False), problem)
    theirs = gradient(unfused(sc.get_engine("torch")), problem)
    assert ours.out is None, "read off one step"
    assert abs(ours.loss - theirs.loss) <= 1e-5 * max(1.0, abs(theirs.loss))
    largest = max(float(abs(g).max()) for g in theirs.grads.values())
    for parameter, g in theirs.grads.items():
        if parameter != "inputs" and abs(g).max() > 1e-6 * largest:
            assert error(ours.grads[parameter], g) <= 1e-5, parameter


def test_a_custom_backward_would_be_noticed(monkeypatch):
    """The comparison has teeth: with the torch engine's spike for the detached one, layers below stand still."""
    from spikecore.engines.ipu import words
    from spikecore.engines.torch.spike import SpikeFunction

    network = sc.Sequential(sc.Linear(6, 3), sc.Leaky())
    init = network.init(Key((0, "init")), (6,))
    x, labels = batch()
    problem = Problem(network, functional.ce_count_loss(), init.params, init.buffers, x[None], labels, 5, 0)
    right = gradient(sc.get_engine("ipu", simulate=True), problem)
    assert abs(right.grads["0.weight"]).max() > 0

    def spoiled(device, dtype, original=words.words):
        xp = original(device, dtype)
        xp.spike = lambda u, surrogate: SpikeFunction.apply(u, surrogate, xp)
        return xp

    monkeypatch.setattr("spikecore.engines.ipu.traced.words", spoiled)
    wrong = gradient(sc.get_engine("ipu", simulate=True, check=False), problem)
    assert wrong.loss == right.loss, "the same forward, no error"
    assert abs(wrong.grads["0.weight"]).max() == 0.0
    with pytest.raises(NotForIpu, match=r"layer 1: autograd\.Function: SpikeFunction"):
        gradient(sc.get_engine("ipu", simulate=True), problem)


def demo_run(steps=100):
    """The demonstration's digits run: its network, loss, optimiser and batches."""
    train, test = digits()
    network = sc.Sequential(sc.Linear(64, 128), sc.Leaky(), sc.Linear(128, 10), sc.Leaky())
    return network, train, test, Loader(train, batch_size=64, shuffle=True, seed=0, drop_last=True)


@pytest.mark.parametrize("batches", [20, pytest.param(100, marks=pytest.mark.slow)])
def test_digits_step_by_step(batches):
    """Each batch as one step from the weights of the torch run: equal to 1e-6."""
    network, _, _, loader = demo_run()
    init = network.init(Key((0, "init")), (64,))
    loss, spec = functional.ce_rate_loss(), sc.Adam(lr=2e-3)
    ours, theirs = (
        engine.compile(network, init.params, init.buffers, loss, spec)
        for engine in (sc.get_engine("ipu", simulate=True), unfused(sc.get_engine("torch")))
    )
    done, worst, epoch = 0, 0.0, 0
    while done < batches:
        loader.set_epoch(epoch)
        for x, y in loader:
            if done == batches:
                break
            ours.load(theirs.state())
            found = [one.step(x[None], y, steps=15, key=Key((0, done)))[0] for one in (ours, theirs)]
            assert abs(found[0] - found[1]) <= 1e-6 * max(1.0, found[1])
            a, b = ours.state()["params"], theirs.state()["params"]
            worst = max([worst, *(float(abs(a[name] - b[name]).max()) for name in b)])
            done += 1
        epoch += 1
    print(f"largest difference of a weight after one step, {batches} batches: {worst:.1e}")
    assert worst <= 1e-6


@pytest.mark.slow
def test_digits_free_run():
    """Trained freely with the demonstration's settings: accuracies within two points."""
    network, train, test, loader = demo_run()
    found = []
    for engine in (sc.get_engine("ipu", simulate=True), sc.get_engine("torch")):
        one = sc.Model(network, engine, seed=0)
        one.fit(
            loader, loss=functional.ce_rate_loss(), optimizer=sc.Adam(lr=2e-3), epochs=20, num_steps=15, progress=False
        )
        result = one.evaluate(Loader(test, batch_size=256, shuffle=False), num_steps=15, progress=False)
        found.append(result["accuracy"])
    print(f"accuracy: ipu, simulated {found[0]:.3%}; torch {found[1]:.3%}")
    assert abs(found[0] - found[1]) <= 0.02

"""Layers on the IPU engine where PopTorch has rules of its own: where they run, ties, padding."""

# ruff: noqa: E402 (nothing of this can be imported without torch)

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the IPU engine is made of torch ops")

import spikecore as sc
from spikecore import functional
from spikecore.api.core.layer import Key, Pass
from spikecore.api.layers.containers import Sequential
from spikecore.api.verification.gradient import Problem, gradient
from spikecore.conformance import cases
from spikecore.conformance.rig import error
from spikecore.engines.ipu import simulation
from spikecore.engines.ipu.traced import TracedEngine, TracedPass
from spikecore.engines.ipu.words import words
from spikecore.engines.torch.namespace import words as torch_words
from tests.ipu.ipu_rig import batch, fitted, model
from tests.ipu.test_lowering import gradient as on_device

MAPS = sc.Sequential(
    sc.Conv2d(1, 3, 3, padding=1), sc.BatchNorm2d(3), sc.Leaky(threshold=0.3), sc.MaxPool2d(2), sc.Conv2d(3, 4, 3),
    sc.AvgPool2d(2, padding=(0, 1)), sc.Leaky(threshold=0.1), sc.Flatten(), sc.Linear(8, 3), sc.Leaky(),
    sc.Linear(3, 3), sc.Leaky(),
)  # fmt: skip
NETWORKS = [("maps", MAPS, (1, 8, 8)), *((case.name, case.layer, case.shape) for case in cases.NETWORKS)]

# ---- where layers run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "network", "shape"), NETWORKS, ids=[one[0] for one in NETWORKS])
@pytest.mark.parametrize("record", [(), True], ids=["plain", "recorded"])
def test_every_layer_says_where_it_runs(name, network, shape, record):
    """A4: a Linear behind a neuron, layers over maps behind each other, and whatever else is nested."""
    host, seen = sc.get_engine("ipu", simulate=True), []
    init = network.init(Key((0,)), shape)
    traced = TracedEngine(host, "cpu", "float32", iter(lambda: torch.rand(4, 1), None))
    run = TracedPass(traced, train=False, key=Key((0,)), record=record, entered=seen.append)
    params, buffers = (sc.api.core.tree.map_leaves(host.asarray, tree) for tree in (init.params, init.buffers))
    network.run(run, params, buffers, None, host.asarray(np.ones((3, 2, *shape), "float32")))
    expected = [path for path, _ in network.children()]
    assert [path for path in seen if "." not in path] == expected
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize("first", range(1, 12))
def test_a_stage_begins_with_its_layer(monkeypatch, first):
    """A4: everything up to the layer lies on one IPU, everything from it on on the next; weights are torch's."""
    events, start = [], simulation.Block.start

    def started(user_id=None, ipu_id=None):
        events.append(ipu_id)
        start(user_id, ipu_id)

    def spied(kind, method):
        original = getattr(kind, method)
        monkeypatch.setattr(kind, method, lambda self, *a, **k: (events.append(self), original(self, *a, **k))[1])

    monkeypatch.setattr(simulation.Block, "start", started)
    for kind, method in ((sc.Conv2d, "apply"), (sc.MaxPool2d, "apply"), (sc.AvgPool2d, "apply"), (sc.Linear, "apply"),
                         (sc.Flatten, "apply"), (sc.BatchNorm2d, "apply"), (sc.Leaky, "step")):  # fmt: skip
        spied(kind, method)
    x, y = np.random.default_rng(0).random((6, 1, 8, 8), dtype="float32"), np.arange(6) % 3
    fitted(model(MAPS, pipeline={"0": 0, str(first): 1}, gradient_accumulation=3, check=False), [(x, y)], num_steps=2)
    passes = events[events.index(0) :]
    last = len(passes) - 1 - passes[::-1].index(0)
    before, after = passes[last + 1 : passes.index(1, last)], passes[passes.index(1, last) + 1 :]
    layers = list(MAPS.layers)
    assert {id(one) for one in before} == {id(one) for one in layers[:first]}
    assert {id(one) for one in after} == {id(one) for one in layers[first:]}


@dataclass(frozen=True, init=False)
class Secretive(Sequential):
    """A container that runs its layers without a word."""

    def run(self, run, params, buffers, state, x):
        silent = Pass(run.engine, run.steps, run.train, run.key, run.record, run.window)
        return super().run(silent, params, buffers, state, x)


def test_a_stage_that_never_begins_is_an_error():
    """A4: instead of staying on one IPU."""
    network = Secretive(sc.Linear(6, 3), sc.Leaky(), sc.Linear(3, 3), sc.Leaky())
    options = {"pipeline": {"0": 0, "2": 1}, "gradient_accumulation": 3, "check": False}
    with pytest.raises(ValueError, match="pipeline: layer '0' was never entered by itself"):
        fitted(model(network, **options), [batch(6)])


# ---- ties ----------------------------------------------------------------------------------------------------------

SPIKES = (torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(1)) > 0.6).float()
POOLED = [((2, 2), (2, 2), (0, 0)), ((3, 2), (1, 2), (1, 1)), ((3, 3), (2, 2), (1, 0))]
WORDS = {
    **{f"max_pool {k}": (lambda xp, x, a=a: xp.max_pool(x, *a)) for k, a in enumerate(POOLED)},
    "max_pool 1d": lambda xp, x: xp.max_pool(x[0], (3,), (2,), (1,)),
    "max": lambda xp, x: xp.max(x, axis=2),
    "max of all": lambda xp, x: xp.max(x),
    "max of two axes": lambda xp, x: xp.max(x, axis=(1, 3), keepdims=True),
    "min": lambda xp, x: xp.min(x, axis=-1, keepdims=True),
    "maximum": lambda xp, x: xp.maximum(x, xp.flip(x, axis=2)),
    "minimum": lambda xp, x: xp.minimum(x, 0.5 * x),
}


@pytest.mark.usefixtures("many_ipus")
@pytest.mark.parametrize("word", WORDS.values(), ids=WORDS)
def test_extremes_over_spikes_have_torchs_gradient(word):
    """A7: read off the device, where a tied extreme otherwise gets the whole gradient; values are bit for bit."""
    plain, ours = torch_words("cpu", "float32"), words("cpu", "float32")
    weights = torch.rand(word(plain, SPIKES).shape, generator=torch.Generator().manual_seed(2))
    x = SPIKES.clone().requires_grad_()
    value = word(plain, x)
    assert torch.equal(word(ours, x), value)
    (value * weights).sum().backward()
    found = on_device(lambda x: word(ours, x) * weights, SPIKES)
    torch.testing.assert_close(found, x.grad, atol=2e-6, rtol=1e-5)
    spoiled = on_device(lambda x: word(plain, x) * weights, SPIKES)
    assert not torch.allclose(spoiled, x.grad, atol=1e-2), "torch's own word would have another"


def gradients_agree(network, shape, loss=None, limit=1e-5):
    """The network's gradients, read off one step on the device, against the torch engine's."""
    rng = np.random.default_rng(0)
    init = network.init(Key((0, "init")), shape)
    x = rng.normal(size=(6, 4, *shape)).astype("float32") + 0.4
    loss = functional.ce_rate_loss() if loss is None else loss
    problem = Problem(network, loss, init.params, init.buffers, x, rng.integers(0, init.shape[0], 4), None, 0)
    ours, theirs = (
        gradient(engine, problem) for engine in (sc.get_engine("ipu", simulate=True), sc.get_engine("torch"))
    )
    largest = max(float(abs(g).max()) for g in theirs.grads.values())
    assert largest > 0
    for name, g in theirs.grads.items():
        if name != "inputs" and abs(g).max() > 1e-6 * largest:
            assert error(ours.grads[name], g) <= limit, name


def pooled(pool, channels=3, space=2):
    """A network that pools spikes."""
    conv = {1: sc.Conv1d, 2: sc.Conv2d}[space]
    neuron = sc.Leaky(threshold=0.2)
    return sc.Sequential(conv(1, channels, 3, padding=1), neuron, pool, sc.Flatten(), sc.Leaky(threshold=0.1))


def test_max_pooling_of_spikes_learns_as_on_torch():
    """A7: in a network, and in a neuron that pools itself."""
    gradients_agree(pooled(sc.MaxPool2d(2)), (1, 6, 6))
    gradients_agree(pooled(sc.MaxPool2d(3, 2, padding=1)), (1, 6, 6))
    gradients_agree(pooled(sc.MaxPool1d(2), space=1), (1, 6))
    gradients_agree(MAPS, (1, 8, 8))


def test_losses_of_extremes_learn_as_on_torch():
    """A7: the largest membrane of a neuron that stays at rest is reached at every step."""
    quiet = sc.Sequential(
        sc.Linear(6, 5), sc.Leaky(threshold=0.5), sc.Linear(5, 3, bias=False), sc.Leaky(threshold=50.0)
    )
    gradients_agree(quiet, (6,), functional.ce_max_membrane_loss())
    gradients_agree(quiet, (6,), functional.ce_temporal_loss())


# ---- padding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pool", "shape"),
    [(sc.AvgPool1d(2, padding=1), (1, 6)), (sc.AvgPool1d(3, 2, padding=1), (1, 7)),
     (sc.AvgPool2d(2, padding=(1, 0)), (1, 6, 6)), (sc.AvgPool2d(2, padding=(0, 1)), (1, 6, 6)),
     (sc.AvgPool2d(3, 2, padding=1), (1, 6, 6)), (sc.AvgPool2d((3, 2), (1, 2), padding=(1, 1)), (1, 5, 6))],
    ids=repr,
)  # fmt: skip
def test_averages_are_padded_as_on_torch(pool, shape):
    """A8: values and gradients, whatever the padding."""
    x = np.random.default_rng(0).random((3, 2, *shape), dtype="float32")
    network = sc.Sequential(pool, sc.Flatten(), sc.LI())
    ours, theirs = (sc.Model(network, engine, input_shape=shape)(x) for engine in
                    (sc.get_engine("ipu", simulate=True), "torch"))  # fmt: skip
    np.testing.assert_array_equal(ours.spikes.numpy(), theirs.spikes.detach().numpy())
    gradients_agree(pooled(pool, space=len(shape) - 1), shape)


# ---- layers that change the size of maps, or normalise -------------------------------------------------------------

RESIZED = {
    "transposed": ((1, 4, 4), sc.ConvTranspose2d(1, 3, 3, stride=2, output_padding=1), sc.AdaptiveMaxPool2d((2, 3))),
    "transposed-1d": ((1, 6), sc.ConvTranspose1d(1, 3, 3, 2, padding=1, dilation=2), sc.AdaptiveAvgPool1d(4)),
    "groups": ((1, 6, 6), sc.Conv2d(1, 4, 3), sc.GroupNorm(2, 4), sc.Upsample(size=(5, 3), mode="bilinear")),
    "instances": ((1, 4, 4), sc.Conv2d(1, 4, 3), sc.InstanceNorm2d(4), sc.Upsample(scale_factor=2), sc.ZeroPad2d(1)),
    "threshold": ((1, 4, 4), sc.Conv2d(1, 4, 3), sc.ThresholdDependentBatchNorm2d(4, 0.3), sc.Identity()),
    "time": ((1, 4, 4), sc.Conv2d(1, 4, 3), sc.TemporalEffectiveBatchNorm2d(4, 6)),
    "cubes": ((1, 4, 4, 3), sc.Conv3d(1, 4, 2), sc.BatchNorm3d(4), sc.AvgPool3d(2, 1), sc.ConvTranspose3d(4, 4, 2)),
}


@pytest.mark.parametrize(("shape", "layers"), [(x[0], x[1:]) for x in RESIZED.values()], ids=RESIZED)
def test_they_pass_the_check_and_learn_as_on_torch(shape, layers):
    network = sc.Sequential(*layers, sc.Leaky(threshold=0.3), sc.GlobalAvgPool(), sc.Leaky(threshold=0.1))
    gradients_agree(network, shape)
    x, y = np.random.default_rng(1).random((4, *shape), dtype="float32"), np.arange(4) % 3
    fitted(model(network, input_shape=shape), [(x, y)], num_steps=6)  # the check comes first, and refuses

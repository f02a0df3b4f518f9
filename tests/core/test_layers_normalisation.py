"""Normalisation for spiking networks and of each sample: against SpikingJelly, across processes, by their laws."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import spikecore as sc
from spikecore.api.core.layer import Key, ShapeError
from spikecore.api.core.ranks import Ranks
from spikecore.api.core.tree import Params, Tree
from spikecore.conformance.rig import assert_close, cotangents, differentiate, normal, run
from tests.conformance.own_engines import absent, make

torch = pytest.importorskip("torch", reason="torch is the oracle here")

ENGINES = [name for name in ("numpy", "numpy-strict", "torch", "ipu") if not absent(name)]
ON_EACH_ENGINE = pytest.mark.parametrize("engine", [make(name) for name in ENGINES], ids=ENGINES)
STEPS = 4


def spikingjelly_layers():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("spikingjelly", reason="SpikingJelly is not installed (extra 'peers')")
        from spikingjelly.activation_based import layer

    return layer


# ---- tdBN and TEBN are SpikingJelly's ------------------------------------------------------------------------------

PEERS = [  # ours, the arguments of theirs before the number of features, the shape of a sample
    (sc.ThresholdDependentBatchNorm1d(3, threshold=0.5, alpha=0.7), (0.7, 0.5), (3,)),
    (sc.ThresholdDependentBatchNorm1d(3, alpha=2.0, eps=1e-3), (2.0, 1.0), (3, 5)),
    (sc.ThresholdDependentBatchNorm2d(2, threshold=1.5, momentum=0.3), (1.0, 1.5), (2, 3, 2)),
    (sc.TemporalEffectiveBatchNorm1d(3, STEPS), (STEPS,), (3,)),
    (sc.TemporalEffectiveBatchNorm1d(3, STEPS, affine=False), (STEPS,), (3, 5)),
    (sc.TemporalEffectiveBatchNorm2d(2, STEPS, momentum=0.3), (STEPS,), (2, 3, 2)),
]
EACH_PEER = pytest.mark.parametrize(
    ("layer", "first", "shape"), PEERS, ids=[f"{i}-{type(one[0]).__name__}" for i, one in enumerate(PEERS)]
)


def theirs(layer, first):
    options = {"eps": layer.eps, "momentum": layer.momentum, "affine": getattr(layer, "affine", True)}
    kind = getattr(spikingjelly_layers(), type(layer).__name__)
    return kind(*first, layer.num_features, **options).double()


@EACH_PEER
def test_the_first_weights_are_spikingjellys(layer, first, shape):
    ours, module = layer.init(Key((0,)), shape).params, theirs(layer, first)
    wanted = {name: value.detach().numpy() for name, value in module.named_parameters()}
    assert set(ours) == set(wanted)
    for name, value in wanted.items():
        np.testing.assert_array_equal(ours[name].astype("float32"), value.astype("float32"))


@ON_EACH_ENGINE
@EACH_PEER
def test_outputs_gradients_and_statistics_are_spikingjellys(engine, layer, first, shape):
    """With weights that were copied from the module; two batches of training, then evaluation."""
    module, init = theirs(layer, first), layer.init(Key((0,)), shape)
    with torch.no_grad():
        for value in module.parameters():
            value += torch.tensor(normal(*value.shape, scale=0.3))
    params = Params({name: value.detach().numpy() for name, value in module.named_parameters()})
    x = normal(STEPS, 3, *shape) * 2 + 1
    leaf = torch.tensor(x, requires_grad=True)
    y = module(leaf)
    (y * torch.tensor(cotangents(Tree(outputs=x)).outputs)).sum().backward()
    _, grads = differentiate(engine, layer, x, params=params, train=True, weigh=("outputs",))
    assert_close(grads.inputs, leaf.grad.numpy(), 1e-11)
    assert set(grads.params) == set(dict(module.named_parameters()))
    for name, value in module.named_parameters():
        assert_close(grads.params[name], value.grad.numpy(), 1e-11, name)
    found = run(engine, layer, x, params=params, buffers=init.buffers, train=True)
    assert_close(found.outputs, y.detach().numpy(), 1e-12)
    for train in (True, False):
        x, module = normal(STEPS, 3, *shape, seed=5), module.train(train)
        wanted = module(torch.tensor(x)).detach().numpy()
        found = run(engine, layer, x, params=params, buffers=found.buffers, train=train)
        assert_close(found.outputs, wanted, 1e-12)
        for name in ("running_mean", "running_var"):
            assert_close(found.buffers[name], getattr(module, name).numpy(), 1e-12)


# ---- TEBN, whatever is installed -----------------------------------------------------------------------------------


@ON_EACH_ENGINE
@pytest.mark.parametrize("train", [True, False])
def test_tebn_is_batch_norm_with_a_scale_for_each_step(engine, train):
    layer, x = sc.TemporalEffectiveBatchNorm1d(3, STEPS), normal(STEPS, 5, 3)
    scale, weight, bias = normal(STEPS), normal(3, seed=1), normal(3, seed=2)
    buffers = Tree(running_mean=normal(3), running_var=1 + abs(normal(3)))
    plain = {"buffers": buffers, "train": train}
    params = Params(weight=weight, bias=bias, scale=scale)
    found = run(engine, layer, x, params=params, **plain)
    alone = run(engine, sc.BatchNorm1d(3), x, params=Params(weight=weight, bias=bias), **plain)
    assert_close(found.outputs, scale[:, None, None] * alone.outputs, 1e-12)
    assert_close(found.buffers.running_var, alone.buffers.running_var, 1e-12)
    constant = run(engine, layer, x[:1], params=params, steps=STEPS, **plain).outputs
    first = run(engine, sc.BatchNorm1d(3), x[:1], params=Params(weight=weight, bias=bias), **plain).outputs
    assert_close(constant, scale[:, None, None] * first, 1e-12)


def test_tebn_takes_one_length_and_whole_sequences_only():
    engine, layer = make("numpy"), sc.TemporalEffectiveBatchNorm1d(3, STEPS)
    for steps, x in ((None, normal(3, 2, 3)), (5, normal(1, 2, 3))):
        with pytest.raises(ShapeError, match=r"TemporalEffectiveBatchNorm1d.*\d time steps, expected time_steps=4"):
            run(engine, layer, x, steps=steps)
    with pytest.raises(ValueError, match="has running statistics: it runs on whole sequences"):
        layer.step(engine, layer.init(Key((0,)), (3,)).params, None, normal(2, 3))


# ---- samples by themselves -----------------------------------------------------------------------------------------

ALONE = [
    (sc.GroupNorm(2, 4), (4, 3, 2)),
    (sc.InstanceNorm1d(3, affine=True), (3, 4)),
    (sc.InstanceNorm2d(3), (3, 2, 2)),
    (sc.LayerNorm(5), (5,)),
]


@ON_EACH_ENGINE
@pytest.mark.parametrize(("layer", "shape"), ALONE, ids=[type(one[0]).__name__ for one in ALONE])
def test_nothing_passes_between_samples_or_steps(engine, layer, shape):
    """In training, too: a sample comes out as it does alone, and another one's loss has no gradient by it."""
    x = normal(3, 4, *shape)
    whole = run(engine, layer, x, train=True).outputs
    assert_close(run(engine, layer, x[1:2, 2:3], train=True).outputs, whole[1:2, 2:3], 1e-12)
    held = engine.asarray(x)
    params = layer.init(Key((0,)), shape).params

    def loss(x):
        y, _ = layer.apply(
            engine, Params({n: engine.asarray(v) for n, v in params.items()}), Tree(), x, train=True, key=None
        )
        return engine.xp.sum(y[1, 2, ...] ** 3), ()

    grad = engine.to_numpy(engine.value_and_grad(loss, held)[2])
    assert (grad[1, 2] != 0).any()
    grad[1, 2] = 0
    assert not grad.any()
    assert not type(layer).mixes_samples


def test_with_a_group_for_each_channel_group_norm_is_instance_norm():
    engine, x = make("numpy"), normal(3, 2, 4, 3, 2)
    option = {"params": Params(weight=normal(4), bias=normal(4, seed=1))}
    grouped = run(engine, sc.GroupNorm(4, 4), x, **option).outputs
    assert_close(grouped, run(engine, sc.InstanceNorm2d(4, affine=True), x, **option).outputs, 1e-13)


def test_of_one_value_nothing_would_be_left():
    """torch gives zeros for it, or refuses; here it is always refused."""
    for layer, shape, says in (
        (sc.GroupNorm(4, 4), (4,), "one value in each of 4 groups.*take fewer groups"),
        (sc.InstanceNorm1d(3), (3, 1), r"InstanceNorm1d: samples of shape \(3, 1\) have one position"),
        (sc.InstanceNorm2d(3), (3, 1, 1), "have one position"),
    ):
        with pytest.raises(ShapeError, match=says):
            layer.init(Key((0,)), shape)


# ---- over the parts of several processes ---------------------------------------------------------------------------


class Both(Ranks):
    """One of two processes that hold parts of a batch; what the other one contributes is known beforehand."""

    size = 2

    def __init__(self, others):
        self.others = iter(others)

    def rows(self, x):
        return [x, next(self.others)]

    def sum(self, x):
        return x + next(self.others)


ACROSS = [
    (sc.ThresholdDependentBatchNorm2d(2, threshold=0.5), (2, 3, 2)),
    (sc.TemporalEffectiveBatchNorm1d(3, STEPS), (3,)),
    (sc.GroupNorm(2, 4), (4, 3)),
]


@pytest.mark.parametrize(("layer", "shape"), ACROSS, ids=[type(one[0]).__name__ for one in ACROSS])
def test_statistics_over_two_processes_are_those_of_the_whole_batch(layer, shape):
    """Outputs and running statistics of a part are those that one process with all of the batch computes."""
    from spikecore.engines.torch.across import sync_statistics

    engine, x = make("torch"), normal(STEPS, 5, *shape) + 1
    own, other = torch.tensor(x[:, :3]), torch.tensor(x[:, 3:])
    axes = (0, 1, *range(3, x.ndim))
    moments = engine.xp.moments(other, axes)
    size = torch.full_like(moments[0], float(other[:, :, 0].numel()))
    parted = sync_statistics(engine, Both([torch.stack((size, *moments))]), 5)
    whole = run(engine, layer, x, train=True)
    part = run(parted, layer, own.numpy(), train=True)
    assert_close(part.outputs, whole.outputs[:, :3], 1e-12)
    for name, value in whole.buffers.items():
        assert_close(part.buffers[name], value, 1e-12)

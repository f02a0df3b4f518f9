"""Losses and metrics: snnTorch's golden values, formulas, gradients, weights, reductions, populations."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional, spikegen
from spikecore.api.core.tree import State, Tree
from spikecore.api.functional.base import evaluate
from spikecore.api.layers.network import Output
from spikecore.conformance import cases, golden, reference
from spikecore.conformance.rig import assert_close, differences, need, normal

LABELS = np.array([2, 0, 1, 1])
NAMES = ("ce_rate_loss", "ce_count_loss", "mse_count_loss", "mse_membrane_loss")


def value_and_grad(engine, loss, values, labels):
    values, labels = engine.asarray(values), engine.asarray(labels, dtype="int64")
    found, _, grad = engine.value_and_grad(lambda x, y: (loss(x, y), ()), values, labels)
    return engine.to_numpy(found), engine.to_numpy(grad)


def check_golden(engine, name, options, value, slope):
    loss = getattr(functional, name)(**options)
    values = golden.MEMBRANE if "membrane" in name else golden.SPIKES
    if slope is None:
        found = engine.to_numpy(loss(engine.asarray(values), engine.asarray(golden.LABELS, dtype="int64")))
    else:
        found, grad = value_and_grad(engine, loss, values, golden.LABELS)
        assert_close(abs(grad).sum(), np.array(slope), 1e-5, "sum of |gradient|")
    assert_close(found, np.array(value), 5e-6, "value")  # printed with six digits


def outputs(engine, spikes, mem):
    return Output(spikes, {"0": State(mem=mem)}, Tree(), "0")


def check_gradient(engine, loss):
    """Of every loss by spikes and membrane, against finite differences."""
    spikes, mem = abs(normal(5, 4, 3)), normal(5, 4, 3, seed=1)
    labels = engine.asarray(LABELS, dtype="int64")

    def value(held, labels):
        return loss(outputs(engine, held.spikes, held.mem), labels), ()

    held = Tree(spikes=engine.asarray(spikes), mem=engine.asarray(mem))
    _, _, grads = engine.value_and_grad(value, held, labels)

    def at(**moved):
        arrays = {name: engine.asarray(x) for name, x in {"spikes": spikes, "mem": mem, **moved}.items()}
        return float(engine.to_numpy(value(Tree(arrays), labels)[0]))

    for name, x in (("spikes", spikes), ("mem", mem)):
        expected = differences(lambda moved, name=name: at(**{name: moved}), x)
        assert_close(engine.to_numpy(grads[name]), expected, 1e-6, name)


@pytest.mark.parametrize(("name", "options", "value", "slope"), golden.LOSSES)
def test_golden_values(engine, name, options, value, slope):
    check_golden(engine, name, options, value, slope)


@pytest.mark.parametrize(("name", "options", "value"), golden.POPULATION_LOSSES)
def test_golden_population(engine, name, options, value):
    loss = getattr(functional, name)(population_code=True, num_classes=3, **options)
    found = loss(engine.asarray(golden.POPULATION), golden.LABELS)
    assert_close(engine.to_numpy(found), np.array(value), 5e-6)


@pytest.mark.parametrize("loss", [loss for _, loss in cases.LOSSES], **cases.ids(cases.LOSSES))
def test_gradient(engine, loss):
    check_gradient(engine, loss)


@pytest.mark.parametrize("name", NAMES)
def test_weights_and_reductions(engine, name):
    """From the losses per sample: their mean, sum, and the plain mean of weight[y] loss; normalised, torch's mean."""
    spikes, mem = (normal(6, 4, 3, seed=4) > 0) * 1.0, normal(6, 4, 3)
    each = reference.losses(spikes, mem, LABELS)[name]
    values = engine.asarray(mem if "membrane" in name else spikes)
    weight, kind = golden.WEIGHT, getattr(functional, name)
    own = weight[LABELS].reshape(-1, *(1,) * (each.ndim - 1))
    expected = {
        (): each.mean(),
        (("reduction", "sum"),): each.sum(),
        (("reduction", "none"),): each,
        (("weight", tuple(weight)),): (own * each).mean(),
        (("weight", tuple(weight)), ("reduction", "sum")): (own * each).sum(),
        (("weight", tuple(weight)), ("normalise", True)): (own * each).mean() / own.mean(),
    }
    for options, value in expected.items():
        found = kind(**dict(options))(values, engine.asarray(LABELS, dtype="int64"))
        assert_close(engine.to_numpy(found), np.asarray(value), 1e-13, str(options))


def test_normalised_weights_are_torchs(engine):
    torch = pytest.importorskip("torch", reason="torch is the oracle here")
    counts = normal(6, 4, 3)
    found = functional.ce_count_loss(weight=golden.WEIGHT, normalise=True)(engine.asarray(counts), LABELS)
    expected = torch.nn.functional.cross_entropy(
        torch.tensor(counts.sum(0)), torch.tensor(LABELS), weight=torch.tensor(golden.WEIGHT)
    )
    assert_close(engine.to_numpy(found), expected.numpy())


def test_population_code_pools_contiguous_blocks(engine):
    """A population of equal neurons is the pooled spikes."""
    spikes = (normal(5, 4, 6) > 0) * 1.0
    pooled = spikes.reshape(5, 4, 3, 2).sum(3)
    for name in ("ce_rate_loss", "ce_count_loss"):
        kind = getattr(functional, name)
        both = [
            kind(population_code=True, num_classes=3)(engine.asarray(spikes), LABELS),
            kind()(engine.asarray(pooled), LABELS),
        ]
        assert_close(engine.to_numpy(both[0]), engine.to_numpy(both[1]))


def test_targets_over_time(engine):
    mem, wanted = normal(5, 4, 3), normal(5, 4, 3, seed=1)
    found = functional.mse_membrane_loss(time_var_targets=True)(engine.asarray(mem), wanted)
    assert_close(engine.to_numpy(found), ((mem - wanted) ** 2).mean())


def test_losses_add_and_scale(engine):
    spikes, mem = engine.asarray(abs(normal(5, 4, 3))), engine.asarray(normal(5, 4, 3))
    out = outputs(engine, spikes, mem)
    rate, membrane = functional.ce_rate_loss(), functional.mse_membrane_loss()

    def quiet(out, targets):
        return engine.xp.mean(out.spikes)

    total = 2 * (rate + 0.5 * membrane) + quiet
    expected = 2 * rate(out, LABELS) + membrane(out, LABELS) + quiet(out, LABELS)
    assert_close(engine.to_numpy(total(out, LABELS)), engine.to_numpy(expected))
    assert_close(
        engine.to_numpy(total.evaluate(engine, out, engine.asarray(LABELS, dtype="int64"))), engine.to_numpy(expected)
    )


@pytest.mark.parametrize("loss", [loss for _, loss in cases.LOSSES], **cases.ids(cases.LOSSES))
def test_dtype_in_is_dtype_out(engine32, loss):
    out = outputs(engine32, engine32.asarray(abs(normal(5, 4, 3))), engine32.asarray(normal(5, 4, 3)))
    labels = engine32.asarray(LABELS, dtype="int64")
    assert engine32.to_numpy(evaluate(loss, engine32, out, labels)).dtype == "float32"


def test_accuracy_rate(engine):
    spikes = engine.asarray(golden.SPIKES)
    assert functional.accuracy_rate(spikes, golden.LABELS) == 0.5
    assert functional.accuracy_rate(spikes, engine.asarray(golden.LABELS, dtype="int64")) == 0.5
    assert functional.accuracy_rate(outputs(engine, spikes, spikes), golden.LABELS) == 0.5
    assert functional.accuracy_rate(engine.asarray(golden.POPULATION), golden.LABELS, True, 3) == 0.0
    tie = engine.asarray(np.ones((2, 1, 4)))
    assert functional.accuracy_rate(tie, [0]) == 1.0
    assert functional.accuracy_rate(tie, [1]) == 0.0


@pytest.mark.parametrize("metric", [functional.accuracy_rate, functional.accuracy_temporal])
def test_an_accuracy_is_a_number_of_both_kinds(engine, metric):
    """B4: tutorial 6 takes ``.item()`` of it, others format it, compare it, or write it as JSON."""
    found = metric(engine.asarray(golden.SPIKES), golden.LABELS)
    assert isinstance(found, float)
    assert found.item() == found == 0.5
    assert json.loads(json.dumps(found)) == 0.5


def readable_by_numpy(engine):
    """Skip a case where the array library refuses NumPy, since arrays are not in the host's memory."""
    try:
        np.asarray(engine.asarray([1.0]))
    except TypeError as refusal:
        pytest.skip(str(refusal))


CUSTOM = {
    "spikegen": lambda engine, y: spikegen.to_one_hot(y, 3),
    "by NumPy": lambda engine, y: engine.asarray(np.eye(3)[np.asarray(y)]),
    "by comparison": lambda engine, y: engine.xp.astype(
        engine.xp.expand_dims(y, axis=1) == engine.xp.arange(3), engine.dtype
    ),
}


@pytest.mark.parametrize("way", CUSTOM)
def test_labels_in_a_loss_of_ones_own(engine, way):
    """D10: labels are a constant of the pass, so NumPy may read them; the membrane may not be read."""
    if way != "by comparison":
        need(engine, "reading")
    if way == "by NumPy":
        readable_by_numpy(engine)
    code = CUSTOM[way]

    def loss(out, y):
        here = sc.base.engine_of(out.membrane)
        return -here.xp.mean(here.xp.sum(here.xp.log_softmax(out.membrane, axis=-1) * code(here, y), axis=-1))

    weights = []
    for each in (loss, functional.ce_membrane_loss()):
        model = sc.Model(sc.Sequential(sc.Linear(3, 3), sc.Leaky()), engine, seed=0)
        model.fit([(normal(5, 4, 3), LABELS)], loss=each, optimizer=sc.SGD(lr=0.5), progress=False)
        weights.append(model.params()["0.weight"])
    assert_close(weights[0], weights[1], 1e-6)


def test_membrane_that_was_not_recorded(engine):
    out = Output(engine.asarray(np.ones((2, 4, 3))), {}, Tree(), None)
    with pytest.raises(ValueError, match="not recorded"):
        functional.mse_membrane_loss()(out, LABELS)


def test_masks_add_up_to_their_number(engine):
    """Or are refused: the standard adds up numbers only."""
    mask = engine.asarray(np.arange(6.0).reshape(2, 3)) > 1.0
    with contextlib.suppress(TypeError):
        assert engine.to_numpy(engine.xp.sum(mask, axis=1)).tolist() == [1, 3]

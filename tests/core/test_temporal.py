"""Losses and metrics on numpy, strict and torch alike; spike times and their gradient; sequences of unequal length."""

from __future__ import annotations

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional as F
from spikecore.api.core.tree import State, Tree
from spikecore.api.layers.network import Output
from spikecore.conformance.rig import assert_close, differences, normal
from tests.conformance.own_engines import ENGINES, absent, make

PRESENT = [name for name in ENGINES if not absent(name)]
LABELS = np.array([2, 0, 1, 1])
WEIGHT = (0.2, 0.3, 0.5)
LENGTHS = np.array([6, 4, 5, 4])
SMOOTH = {
    "ce_rate": F.ce_rate_loss(weight=WEIGHT),
    "ce_count": F.ce_count_loss(weight=WEIGHT, normalise=True),
    "ce_max_membrane": F.ce_max_membrane_loss(),
    "mse_count": F.mse_count_loss(correct_rate=0.7, incorrect_rate=0.2),
    "mse_membrane": F.mse_membrane_loss(reduction="sum", weight=WEIGHT),
}
TIMED = {
    "mse_temporal": F.mse_temporal_loss(weight=WEIGHT),
    "mse_temporal-tolerance": F.mse_temporal_loss(on_target=1, off_target=3, tolerance=2),
    "mse_temporal-multi": F.mse_temporal_loss(on_target=[0, 1], off_target=[-2, -1], multi_spike=True),
    "ce_temporal": F.ce_temporal_loss(weight=WEIGHT),
    "ce_temporal-reciprocal": F.ce_temporal_loss(inverse="reciprocal"),
}
ALL = {**SMOOTH, **TIMED}


@pytest.fixture(params=PRESENT)
def engine(request):
    return make(request.param)


def spikes(seed=0, shape=(6, 4, 3)):
    return (normal(*shape, seed=seed) > 0.4) * 1.0


def value_and_grad(engine, loss, values, targets=LABELS, lengths=None):
    option = {} if lengths is None else {"lengths": lengths}
    labels = engine.asarray(targets, dtype=None if np.asarray(targets).dtype.kind == "f" else "int64")
    value, _, grad = engine.value_and_grad(lambda x, y: (loss(x, y, **option), ()), engine.asarray(values), labels)
    return engine.to_numpy(value), engine.to_numpy(grad)


# ---- engines agree -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("lengths", [None, LENGTHS], ids=["equal", "unequal"])
@pytest.mark.parametrize("name", ALL)
def test_engines_agree(engine, name, lengths):
    """Value to 1e-12, gradient to 1e-10, on spikes and on any numbers."""
    for values in (spikes(), normal(6, 4, 3)):
        found = value_and_grad(engine, ALL[name], values, lengths=lengths)
        expected = value_and_grad(sc.get_engine("numpy", dtype="float64"), ALL[name], values, lengths=lengths)
        assert_close(found[0], expected[0], 1e-12, "value")
        assert_close(found[1], expected[1], 1e-10, "gradient")


@pytest.mark.parametrize("name", SMOOTH)
def test_finite_differences_with_lengths(engine, name):
    values, loss = normal(6, 4, 3, seed=2), SMOOTH[name]
    _, grad = value_and_grad(engine, loss, values, lengths=LENGTHS)

    def at(x):
        return float(engine.to_numpy(loss(engine.asarray(x), LABELS, lengths=LENGTHS)))

    assert_close(grad, differences(at, values), 1e-6)


# ---- sequences of unequal length -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_padding_does_not_count(engine, name):
    """Each sample's loss is what it is alone and unpadded; nothing reaches the padding, whatever stands there."""
    loss, low = ALL[name], normal(6, 4, 3) - 2.0  # below the zeros of a wrong mask
    for values in (spikes(1), low) if name in SMOOTH else (spikes(1),):
        sample = type(loss)(**{**vars(loss), "weight": None, "reduction": "none"})
        together = engine.to_numpy(sample(engine.asarray(values), LABELS, lengths=LENGTHS))
        for i, n in enumerate(LENGTHS):
            alone = engine.to_numpy(sample(engine.asarray(values[:n, i : i + 1]), LABELS[i : i + 1]))
            assert_close(together[i : i + 1], alone, 1e-14, f"sample {i}")
        value, grad = value_and_grad(engine, loss, values, lengths=LENGTHS)
        padding = np.arange(6)[:, None] >= LENGTHS
        assert not grad[padding].any()
        other = np.where(padding[..., None], 5.0, values)
        assert_close(engine.to_numpy(loss(engine.asarray(other), LABELS, lengths=LENGTHS)), value, 0.0)


def test_full_lengths_change_nothing(engine):
    for name, loss in ALL.items():
        for values in (spikes(), normal(6, 4, 3)):
            plain, full = value_and_grad(engine, loss, values), value_and_grad(engine, loss, values, lengths=[6] * 4)
            assert_close(full[0], plain[0], 1e-14, name)
            assert_close(full[1], plain[1], 1e-13, name)


def test_accuracies_with_lengths(engine):
    values = np.zeros((4, 2, 2))
    values[0, 0, 0] = values[2:, 0, 1] = 1.0
    values[1, 1, 1] = values[0, 1, 0] = values[3, 1, 0] = 1.0
    x = engine.asarray(values)
    assert F.accuracy_rate(x, [1, 0]) == 1.0
    assert F.accuracy_rate(x, [0, 0], lengths=[2, 1]) == 1.0
    assert F.accuracy_temporal(x, [0, 0]) == 1.0
    assert F.accuracy_temporal(x, [1, 1]) == 0.0


@pytest.mark.parametrize(
    ("lengths", "message"),
    [([1, 2], r"shape \(2,\), expected \(4,\)"), ([0, 1, 1, 1], r"lengths\[0\] = 0.* in \[1, 6\]"),
     ([1, 7, 1, 1], r"lengths\[1\] = 7"), ([1, 1.5, 1, 1], r"lengths\[1\] = 1.5")],
)  # fmt: skip
def test_bad_lengths(lengths, message):
    with pytest.raises(ValueError, match=message):
        F.ce_rate_loss()(spikes(), LABELS, lengths=lengths)


# ---- spike times ---------------------------------------------------------------------------------------------------

TRAIN = np.array([[0, 0, 1], [1, 0, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1]], float).reshape(5, 1, 3)


def test_first_spike_and_its_gradient(engine):
    """-g where the first spike is; a silent neuron has a shadow spike at the last step."""
    reader = F.SpikeTime()
    times, targets = (engine.to_numpy(x) for x in reader(engine.asarray(TRAIN), engine.asarray([2], dtype="int64")))
    assert times.tolist() == [[1, 4, 0]]
    assert targets.tolist() == [[4, 4, 0]], "the right class first, the others last; in snnTorch all are 0"
    weights = np.array([[1.0, 2.0, 3.0]])
    _, grad = value_and_grad(engine, lambda x, y: engine.xp.sum(reader(x, y)[0] * engine.asarray(weights)), TRAIN, [2])
    expected = np.zeros((5, 1, 3))
    expected[1, 0, 0], expected[4, 0, 1], expected[0, 0, 2] = -1.0, -2.0, -3.0
    np.testing.assert_array_equal(grad, expected)


def test_several_spikes(engine):
    """snnTorch wipes out a whole time slice, so that [[1, 2], [2, 4]] comes out as [[1, 2], [4, 4]]."""
    reader = F.SpikeTime(target_is_time=True, multi_spike=True)
    wanted = np.array([[0, 1, 2], [3, -1, 1]], float).reshape(2, 1, 3)
    held = wanted.copy()
    times, targets = (engine.to_numpy(x) for x in reader(engine.asarray(TRAIN), engine.asarray(wanted)))
    assert times.tolist() == [[[1, 4, 0]], [[2, 4, 4]]]
    assert targets.tolist() == [[[0, 1, 2]], [[3, 4, 1]]]
    np.testing.assert_array_equal(wanted, held, "targets are not written")
    _, grad = value_and_grad(engine, lambda x, y: engine.xp.sum(reader(x, y)[0]), TRAIN, wanted)
    assert grad[:, 0].T.tolist() == [[0, -1, -1, 0, 0], [0, 0, 0, 0, -2], [-1, 0, 0, 0, -1]]


def test_tolerance(engine):
    """Strictly nearer than the tolerance is on target, and costs nothing."""
    wanted = np.array([[2.0, 2.0, 2.0]])
    reader = F.SpikeTime(target_is_time=True, tolerance=2)
    assert engine.to_numpy(reader(engine.asarray(TRAIN), wanted)[0]).tolist() == [[2, 4, 0]]
    _, grad = value_and_grad(engine, F.mse_temporal_loss(target_is_time=True, tolerance=2), TRAIN, wanted)
    assert not grad[:, 0, 0].any()
    assert grad[:, 0, 1:].any()


def test_temporal_losses_against_formulas(engine):
    times, right = np.array([1, 4, 0]), 2
    code = np.eye(3)[right]
    found = engine.to_numpy(F.mse_temporal_loss()(engine.asarray(TRAIN), [right]))
    assert_close(found, np.mean(((times - 4 * (1 - code)) / 5) ** 2))
    for inverse, logits in (("negate", -times), ("reciprocal", 1 / (times + 1))):
        found = engine.to_numpy(F.ce_temporal_loss(inverse=inverse)(engine.asarray(TRAIN), [right]))
        assert_close(found, -np.log(np.exp(logits[right]) / np.exp(logits).sum()), 1e-14)


def test_a_target_after_the_last_step_asks_for_no_spike(engine):
    """B10: ``mse_temporal_loss(off_target=T)`` as in snnTorch's documentation; and times as arrays."""
    x = np.zeros((4, 1, 2))
    x[1, 0, 0] = 1.0
    found = F.mse_temporal_loss(on_target=1, off_target=4)(engine.asarray(x), [0])
    assert_close(engine.to_numpy(found), (0 + (1 / 4) ** 2) / 2)
    arrays = F.mse_temporal_loss(on_target=np.array([1, 2]), off_target=np.array([3, 4]), multi_spike=True)
    assert arrays == F.mse_temporal_loss(on_target=[1, 2], off_target=[3, 4], multi_spike=True)
    with pytest.raises(ValueError, match=r"target time 5 must be in \[-4, 4\]"):
        F.mse_temporal_loss(off_target=5)(engine.asarray(x), [0])


def test_population_fires_with_its_first_neuron(engine):
    x = np.zeros((4, 1, 4))
    x[2, 0, 0] = x[1, 0, 1] = x[3, 0, 2] = 1.0
    found = F.mse_temporal_loss(population_code=True, num_classes=2)(engine.asarray(x), [0])
    assert_close(engine.to_numpy(found), ((1 / 4) ** 2 + 0) / 2)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("graded", [False, True])
def test_gradient_is_snntorchs(graded):
    torch = pytest.importorskip("torch", reason="snnTorch needs torch")
    theirs = pytest.importorskip("snntorch.functional", reason="snnTorch is not installed")
    y = torch.tensor(LABELS)
    for ours, wanted in (
        (F.mse_temporal_loss(on_target=1, off_target=4), theirs.mse_temporal_loss(on_target=1, off_target=4)),
        (F.mse_temporal_loss(off_target=6), theirs.mse_temporal_loss(off_target=6)),  # B10: as many as there are steps
        (F.ce_temporal_loss(), theirs.ce_temporal_loss()),
        (F.ce_temporal_loss(weight=WEIGHT), theirs.ce_temporal_loss(weight=torch.tensor(WEIGHT))),
        (F.ce_max_membrane_loss(), theirs.ce_max_membrane_loss()),
    ):
        grads = []
        for loss in (ours, wanted):
            x = torch.tensor(spikes(3) if not graded else normal(6, 4, 3), dtype=torch.float32, requires_grad=True)
            if graded and "temporal" in type(ours).__name__:
                continue
            value = loss(x, y)
            value.backward()
            grads.append((value.detach().numpy(), x.grad.sum(0).numpy()))  # ties of a maximum are shared differently
        if grads:
            assert_close(grads[0][0], grads[1][0].astype("float64"), 1e-6)
            assert_close(grads[0][1], grads[1][1].astype("float64"), 1e-6)


# ---- in a model ----------------------------------------------------------------------------------------------------


def test_losses_train_models(engine):
    data = [(normal(5, 4, 3), LABELS)]
    network = sc.Sequential(sc.Linear(3, 3), sc.Leaky(threshold=0.3))
    for loss in (F.ce_temporal_loss() + F.l1_rate_sparsity(1e-3), F.mse_temporal_loss(), F.ce_max_membrane_loss()):
        model = sc.Model(network, engine)
        before = model.params()["0.weight"]
        assert np.isfinite(model.fit(data, loss=loss, progress=False)[-1]["loss"])
        assert (before != model.params()["0.weight"]).any()


def test_l1_rate_sparsity(engine):
    values = spikes()
    x = engine.asarray(values)
    out = Output(x, {"0": State(mem=x)}, Tree(), "0")
    assert_close(engine.to_numpy(F.l1_rate_sparsity()(x)), np.array(1e-5 * values.sum()))
    total = F.ce_rate_loss() + F.l1_rate_sparsity(0.1)
    expected = engine.to_numpy(F.ce_rate_loss()(out, LABELS)) + 0.1 * values.sum()
    assert_close(engine.to_numpy(total(out, LABELS)), expected)


BAD = {
    r"give arguments by keyword": lambda: F.mse_count_loss(0.8, 0.2),
    r"inverse='invert' must be one of negate, reciprocal": lambda: F.ce_temporal_loss(inverse="invert"),
    r"multi_spike is False": lambda: F.mse_temporal_loss(on_target=[0, 1], off_target=[2, 3]),
    r"multi_spike is True": lambda: F.SpikeTime(multi_spike=True),
    r"must hold equally many": lambda: F.SpikeTime(multi_spike=True, on_target=[0], off_target=[1, 2]),
    r"tolerance=-1 must be >= 0": lambda: F.SpikeTime(tolerance=-1),
    r"no classes to weight": lambda: F.mse_temporal_loss(target_is_time=True, weight=WEIGHT),
    r"target time 9 must be in \[-6, 6\]": lambda: F.mse_temporal_loss(on_target=9)(spikes(), LABELS),
    r"target time 9.0 must be in": lambda: F.SpikeTime(target_is_time=True)(spikes(), np.full((4, 3), 9.0)),
    r"do not fit spikes": lambda: F.SpikeTime(target_is_time=True)(spikes(), np.zeros((3, 4))),
    r"targets\[0\] = 3 is out of range": lambda: F.SpikeTime()(spikes(), LABELS + 1),
    r"weight has shape \(2,\), expected \(3,\)": lambda: F.ce_rate_loss(weight=[1, 2])(spikes(), LABELS),
    r"Lambda=inf must be a finite number": lambda: F.l1_rate_sparsity(float("inf")),
}


@pytest.mark.parametrize("message", BAD)
def test_bad_arguments_are_refused(message):
    with pytest.raises((ValueError, TypeError), match=message):
        BAD[message]()

"""Losses of other libraries: each follows its equation, has a gradient that finite differences agree with, and
leaves out padding.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import spikecore as sc
from spikecore import functional as F
from spikecore.api.functional import ctc, spikemax
from spikecore.api.functional.targets import targets_on
from spikecore.api.functional.values import NumberLoss
from spikecore.conformance import loss_equations as equations
from spikecore.conformance.rig import assert_close, differences, normal

LABELS = np.array([2, 0, 1, 1])
SEQUENCES = np.array([[1, 1, -1], [2, 1, 2], [-1, -1, -1], [1, 2, -1]])
LENGTHS = [5, 4, 3, 5]
WEIGHT = (0.5, 2.0, 1.5)
RATES = {"max_rate": 0.3, "min_rate": 0.1}
# loss, its equation, and one mistake: what holds the text, what stands there, and what stands there instead
CASES = {
    "tet": (F.tet_loss(), equations.tet, (F.tet_loss.per_sample, "1.0 - self.Lambda", "1.0")),
    "tet-phi": (
        F.tet_loss(Lambda=0.3, phi=0.2),
        partial(equations.tet, Lambda=0.3, phi=0.2),
        (F.tet_loss.per_sample, "- self.phi", "- 1.0"),
    ),
    "spikemax": (F.spikemax_loss(), equations.spikemax, (F.spikemax_loss._log_p, "+ self.eps", "+ 0.0")),
    "spikemax-window": (
        F.spikemax_loss(moving_window=3),
        partial(equations.spikemax, window=3),
        (spikemax.moving_mean, "(window - 1, 0)", "(0, window - 1)"),
    ),
    "spikemax-softmax": (
        F.spikemax_loss(mode="softmax", moving_window=2, eps=0.5),
        partial(equations.spikemax, mode="softmax", window=2),
        (F.spikemax_loss._log_p, "log_softmax(rates", "log_softmax(2.0 * rates"),
    ),
    "similarity": (
        F.spike_similarity_loss(),
        equations.similarity,
        (F.spike_similarity_loss._similar, "xp.sqrt(", "("),
    ),
    "similarity-sigmoid-bce": (
        F.spike_similarity_loss(kernel="sigmoid", distance="bce", scale=0.1),
        partial(equations.similarity, kernel="sigmoid", distance="bce", scale=0.1),
        (F.spike_similarity_loss._similar, "self.scale * products)", "products)"),
    ),
    "similarity-gaussian-l1": (
        F.spike_similarity_loss(kernel="gaussian", distance="l1", scale=3.0),
        partial(equations.similarity, kernel="gaussian", distance="l1", scale=3.0),
        (F.spike_similarity_loss._similar, "2.0 * products", "products"),
    ),
    "event-rate": (
        F.event_rate_loss(**RATES),
        partial(equations.event_rate, **RATES),
        (F.event_rate_loss.cost, "rate - self.max_rate", "rate"),
    ),
    "event-rate-low": (
        F.event_rate_loss(max_rate=4.0, min_rate=3.0),
        partial(equations.event_rate, max_rate=4.0, min_rate=3.0),
        (F.event_rate_loss.cost, "self.min_rate - rate", "rate - self.min_rate"),
    ),
    "silence": (
        F.silence_loss(4.0),
        partial(equations.silence, min_spikes=4.0),
        (F.silence_loss.cost, "missing * missing", "missing"),
    ),
    "sparsity": (
        F.sparsity_loss(2.5),
        partial(equations.sparsity, max_spikes=2.5),
        (F.sparsity_loss.cost, "0.5 * square", "square"),
    ),
    "ctc": (F.ctc_loss(), equations.ctc, (ctc.Alignment.step, "+ params.skips", "")),
    "ctc-blank": (
        F.ctc_loss(blank=3, per_label=True),
        partial(equations.ctc, blank=3, per_label=True),
        (ctc._likelihood, "& (ahead != behind)", ""),
    ),
}
NUMBERS = normal(4, 3, seed=5)  # values of samples
UNIT = {"mean": (20.0, -3.0, 0.0), "deviation": (5.0, 0.1, 2.0)}
STEPS = np.array([[2, 0, -1, 1], [1, 1, -1, 0], [-1, 2, -1, 2], [0, 0, 1, -1], [0, 2, 1, 1]])  # (time, batch)
TARGETS = {
    **{"value": NUMBERS, "value-huber": NUMBERS, "value-quantiles": NUMBERS[:, 0], "labels": (NUMBERS > 0.0) * 1},
    "value-unit": np.array(UNIT["mean"]) + UNIT["deviation"] * NUMBERS,
}
CASES.update(
    {
        "value": (
            F.mse_value_loss(),
            partial(equations.value, cost=equations.squared),
            (F.mse_value_loss.cost, "(read - wanted) * ", ""),
        ),
        "value-unit": (
            F.mse_value_loss(**UNIT),
            partial(equations.value, cost=equations.squared, **UNIT),
            (NumberLoss.standard, "/ deviation", ""),
        ),
        "value-huber": (
            F.huber_value_loss(delta=0.7, over_time="last"),
            partial(equations.value, cost=partial(equations.huber, delta=0.7), over_time="last"),
            (F.huber_value_loss.cost, "0.5 * square", "square"),
        ),
        "value-quantiles": (
            F.quantile_value_loss(over_time="max"),
            partial(equations.value, cost=equations.pinball, over_time="max", per_value=3),
            (F.quantile_value_loss.cost, "(q - 1.0)", "-q"),
        ),
        "labels": (
            F.bce_value_loss(over_time="sum"),
            partial(equations.value, cost=equations.binary, over_time="sum"),
            (F.bce_value_loss.cost, "(read + softplus)", "read"),
        ),
        "steps": (
            F.ce_step_loss(),
            equations.step_labels,
            (F.ce_step_loss.compute, "steps.sum(counted), 1.0", "steps.sum(counted), 4.0"),
        ),
        "steps-weights": (
            F.ce_step_loss(weight=WEIGHT, normalise=True),
            partial(equations.step_labels, weight=WEIGHT, normalise=True),
            (F.ce_step_loss.compute, "losses * weights", "losses"),
        ),
        "steps-ignored": (
            F.ce_step_loss(ignore_index=2),
            partial(equations.step_labels, ignore_index=2),
            (F.ce_step_loss.compute, " * counted", ""),
        ),
    }
)
EVERY = pytest.mark.parametrize("name", CASES)


def targets_of(name):
    if name.startswith("steps"):
        return abs(STEPS) if name == "steps-ignored" else STEPS
    return SEQUENCES if name.startswith("ctc") else TARGETS.get(name, LABELS)


def values_of(name):
    """Values that are positive, as rates and shares of spikes are, where the equation needs it."""
    classes = 4 if name == "ctc-blank" else 3
    return (
        normal(5, 4, classes)
        if name.startswith(("ctc", "tet", "value", "labels", "steps"))
        else abs(normal(5, 4, classes))
    )


def check_equation(engine, name):
    loss, equation, _ = CASES[name]
    values, targets = values_of(name), targets_of(name)
    for lengths in (None, LENGTHS):
        found = loss(engine.asarray(values), targets, lengths)
        assert found.shape == ()
        assert_close(engine.to_numpy(found), np.array(equation(values, targets, lengths)), 1e-12, f"lengths={lengths}")


@EVERY
def test_a_loss_follows_its_equation(engine, name):
    check_equation(engine, name)


@EVERY
def test_gradient_and_padding(engine, name):
    """Finite differences on the engine itself; no gradient reaches the padding, whatever stands there."""
    loss, values, targets = CASES[name][0], values_of(name), targets_of(name)
    held = targets_on(engine, targets)

    def at(x):
        return float(engine.to_numpy(loss(engine.asarray(x), held, LENGTHS)))

    value, _, grad = engine.value_and_grad(lambda x, y: (loss(x, y, LENGTHS), ()), engine.asarray(values), held)
    grad = engine.to_numpy(grad)
    assert float(engine.to_numpy(value)) == at(values)
    where = np.random.default_rng(0).permutation(values.size)[:12]  # finite differences at some of the entries

    def part(few):
        moved = values.ravel().copy()
        moved[where] = few
        return at(moved.reshape(values.shape))

    assert_close(grad.ravel()[where], differences(part, values.ravel()[where]), 1e-6, "gradient")
    padding = np.arange(len(values))[:, None] >= np.array(LENGTHS)
    assert not grad[padding].any()
    other = np.where(padding[..., None], -7.0, values)
    assert at(other) == at(values)


@EVERY
def test_float32_stays_float32(engine32, name):
    found = engine32.to_numpy(CASES[name][0](engine32.asarray(values_of(name)), targets_of(name), LENGTHS))
    assert found.dtype == "float32"
    assert_close(found, np.array(CASES[name][1](values_of(name), targets_of(name), LENGTHS)), 2e-5)


# ---- CTC -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blank", [0, 2])
def test_ctc_is_torchs(engine, blank):
    """Value and gradient to 1e-10 at random ragged sequences, longer than the equation can enumerate."""
    torch = pytest.importorskip("torch", reason="its ctc_loss is the oracle")
    rng, steps, classes = np.random.default_rng(blank), 20, 5
    values, lengths = 2.0 * rng.normal(size=(steps, 6, classes)), [20, 18, 9, 20, 5, 12]
    counts, others = [7, 1, 4, 9, 0, 3], [c for c in range(classes) if c != blank]
    targets = np.full((6, 9), -1)
    for row, n in zip(targets, counts):
        row[:n] = rng.choice(others, n)
    targets[0, :4] = others[1]  # equal neighbours
    x = torch.tensor(values, requires_grad=True)
    expected = torch.nn.functional.ctc_loss(
        torch.log_softmax(x, -1), torch.tensor(targets.clip(min=0)), torch.tensor(lengths), torch.tensor(counts),
        blank=blank, reduction="none",
    )  # fmt: skip
    expected.mean().backward()
    loss, held = F.ctc_loss(blank=blank), engine.asarray(targets, dtype="int64")
    value, _, grad = engine.value_and_grad(lambda v, y: (loss(v, y, lengths), ()), engine.asarray(values), held)
    assert_close(engine.to_numpy(value), expected.detach().numpy().mean(), 1e-10, "value")
    assert_close(engine.to_numpy(grad), x.grad.numpy(), 1e-10, "gradient")


def test_what_cannot_be_aligned_is_infinite_or_refused(engine):
    values, targets = engine.asarray(normal(3, 2, 3)), np.array([[1, 1, -1], [1, 1, 2]])
    loss = F.ctc_loss(reduction="none")
    with pytest.raises(ValueError, match=r"targets\[1\] needs 4 steps .* but the sample has 3"):
        loss(values, targets)
    inside = engine.to_numpy(loss.compute(engine, values, engine.asarray(targets, dtype="int64")))
    assert np.isfinite(inside[0])
    assert inside[1] == np.inf


def test_sequences_are_decoded_and_compared(engine):
    best = np.array([[0, 1, 1, 0, 1, 2], [2, 2, 0, 2, 1, 1]]).T  # (time, batch)
    out = engine.asarray(np.eye(3)[best])
    assert F.ctc_decode(out) == [[1, 1, 2], [2, 2, 1]]
    assert F.ctc_decode(out, lengths=[2, 4]) == [[1], [2, 2]]
    assert F.ctc_decode(out, blank=2) == [[0, 1, 0, 1], [0, 1]]
    assert F.label_error_rate(out, [[1, 1, 2], [2, 2, 1]]) == 0.0
    assert F.label_error_rate(out, [[1, 2, -1], [2, 1, 1]]) == 2 / 5  # one to delete, one to exchange
    assert F.label_error_rate(out, [[-1], [-1]]) == 6.0


# ---- in training ---------------------------------------------------------------------------------------------------

NET = sc.Sequential(sc.Linear(4, 6), sc.Leaky(threshold=0.4), sc.Linear(6, 3), sc.LI(beta=0.8))
BATCH = abs(normal(5, 4, 4))


COSTS = F.silence_loss(3.0, layers=("1",)) + F.event_rate_loss(0.1, 0.05, layers=("1",))


def trained(engine):
    model = sc.Model(NET, engine, seed=0)
    model.fit([(BATCH, LABELS)], loss=F.tet_loss() + COSTS, optimizer=sc.SGD(lr=0.5), progress=False)
    return model


def test_regularisers_train_hidden_layers(engine):
    """In fit and evaluate, beside a loss that reads outputs; all engines take the same step."""
    model, expected = trained(engine), trained(sc.get_engine("numpy", dtype="float64"))
    assert_close(model.params()["0.weight"], expected.params()["0.weight"], 1e-6)
    rows = [each.evaluate([(BATCH, LABELS)], progress=False) for each in (model, expected)]
    assert_close(np.array(rows[0]["loss"]), np.array(rows[1]["loss"]), 1e-6)

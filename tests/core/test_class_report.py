"""Precision, recall and F1 of each class, against scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore import functional

RNG = np.random.default_rng(0)
TRUE = RNG.integers(0, 4, (30, 8))
SAID = np.where(RNG.random((30, 8)) < 0.6, TRUE, RNG.integers(0, 5, (30, 8)))


@pytest.mark.parametrize("several", [False, True], ids=["steps", "several labels"])
def test_the_figures_are_scikit_learns(several):
    learn = pytest.importorskip("sklearn.metrics", reason="its report is the oracle")
    true, said = (TRUE > 1, SAID > 1) if several else (TRUE, SAID)
    report = functional.class_report(true, said)
    flat = (true, said) if several else (true.ravel(), said.ravel())
    precision, recall, f1, count = learn.precision_recall_fscore_support(*flat, zero_division=0.0)
    rows = [(row.precision, row.recall, row.f1, row.samples) for row in report.rows]
    np.testing.assert_allclose(rows, np.stack([precision, recall, f1, count], axis=1))
    assert report.f1 == pytest.approx(learn.f1_score(*flat, average="macro", zero_division=0.0))
    assert report.accuracy == pytest.approx(np.mean(true == said))


def test_steps_that_are_ignored_do_not_count_and_names_are_shown():
    masked = np.where(np.arange(8) < 3, -1, TRUE)
    report = functional.class_report(masked, SAID, labels=["P", "Q", "R", "S", "T"])
    assert [(row.name, row.samples) for row in report.rows][3] == ("S", int((TRUE[:, 3:] == 3).sum()))
    same = functional.class_report(TRUE[:, 3:], SAID[:, 3:])
    assert report.accuracy == same.accuracy
    first, second, *_ = repr(report).splitlines()
    assert first.split() == ["class", "precision", "recall", "f1", "samples"]
    assert second.split()[0] == "P"
    assert "<table>" in report._repr_html_()


@pytest.mark.parametrize(
    ("message", "true", "said", "options"),
    [
        ("have shape .30, 8. and predicted .8,.", TRUE, SAID[0], {}),
        ("every label is ignore_index=-1", np.full(3, -1), np.zeros(3, int), {}),
        ("classes must be whole numbers >= 0", TRUE + 0.5, SAID, {}),
        ("labels has 2 names, and there is a class 4", TRUE, SAID, {"labels": ["a", "b"]}),
    ],
)
def test_what_cannot_be_reported_is_refused(message, true, said, options):
    with pytest.raises(ValueError, match=message):
        functional.class_report(true, said, **options)

"""Pictures of how close gradients are to the exact ones: the artists hold the figures of the reports."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib")
from matplotlib.figure import Figure  # noqa: E402

import spikecore as sc  # noqa: E402
from spikecore import spikeplot, surrogate  # noqa: E402
from spikecore.api.verification.agreement import Agreement  # noqa: E402
from spikecore.eventprop import BiasCase  # noqa: E402
from tests.spikeplot.spikeplot_rig import cut_texts, nothing_global_changes, overlapping_texts  # noqa: E402, F401


def rule(cosines, ratios, verdicts):
    names = [f"{n}.weight" for n in range(len(cosines))]
    parts = zip(names, cosines, ratios, verdicts)
    return SimpleNamespace(
        rows=[SimpleNamespace(agreement=Agreement(name, (), c, r, 0.0), verdict=v) for name, c, r, v in parts],
        learning="eprop",
    )


def test_bars_are_cosines_and_ratios_from_the_exact_gradient():
    report = rule([1.0, 0.5, -0.2, np.nan], [1.0, 0.1, 20.0, np.nan], ["exact", "approximate", "FAIL", "zero"])
    (bars,) = spikeplot.gradient_agreement(report).values()
    assert [bar.get_width() for bar in bars.cosine] == [1.0, 0.5, -0.2]
    np.testing.assert_allclose([bar.get_x() + bar.get_width() for bar in bars.ratio], [1.0, 0.1, 20.0])
    left, right = bars.cosine[0].axes, bars.ratio[0].axes
    assert [label.get_text() for label in left.get_yticklabels()] == [f"{n}.weight" for n in range(4)]
    assert left.get_xlim() == (-1.05, 1.05)
    assert right.get_xscale() == "log"
    assert {text.get_text().strip(): round(text.get_position()[1]) for text in right.texts} == {"exact": 0, "FAIL": 2}


def test_several_rules_share_the_rows():
    reports = {name: rule([1.0, c], [1.0, 0.5], ["exact", "approximate"]) for name, c in (("a", 0.9), ("b", 0.8))}
    axes = Figure().subplots(1, 2)
    drawn = spikeplot.gradient_agreement(reports, axes)
    assert list(drawn) == ["a", "b"]
    assert [bars.cosine[1].get_width() for bars in drawn.values()] == [0.9, 0.8]
    places = [bars.cosine[1].get_y() + bars.cosine[1].get_height() / 2 for bars in drawn.values()]
    np.testing.assert_allclose(places, [0.8, 1.2])
    assert drawn["a"].cosine[0].get_facecolor() != drawn["b"].cosine[0].get_facecolor()


def test_a_report_of_verify_is_drawn_as_it_stands():
    x, y = np.random.default_rng(0).random((5, 4, 6)), np.arange(4) % 3
    model = sc.Model(sc.Sequential(sc.Linear(6, 3), sc.Leaky()), engine="numpy")
    report = sc.verify(model, x, y, learning="eprop", against="numpy")
    bars = spikeplot.gradient_agreement(report)["learning='eprop'"]
    assert [bar.get_width() for bar in bars.cosine] == [row.agreement.cosine for row in report.rows]
    bars.cosine[0].figure.canvas.draw()  # all ratios are 1: the axis has room all the same
    low, high = bars.ratio[0].axes.get_xlim()
    assert low < 0.99 < 1.01 < high


@pytest.mark.parametrize(
    "reports", [{}, {"a": rule([], [], [])}, {"a": rule([1], [1], ["exact"]), "b": rule([1] * 2, [1] * 2, "ee")}]
)
def test_reports_that_do_not_fit_are_refused(reports):
    with pytest.raises(ValueError, match="reports: need at least one"):
        spikeplot.gradient_agreement(reports)


def test_a_report_without_learning_is_refused():
    report = sc.verify(sc.Model(sc.Leaky(beta=sc.learn(0.9)), "numpy"), np.ones((3, 2, 2)), [0, 1], differences=False)
    for reports, name in ((report, "reports="), ({"a": report}, r"reports\['a'\]=")):
        with pytest.raises((TypeError, ValueError), match=f"{name}.*must be a report of sc.verify.*learning"):
            spikeplot.gradient_agreement(reports)


# ---------------------------------------------------------------------------------------- surrogates


def bias(surrogates, steps=(1.0, 0.1)):
    cases = []
    for number, (dt, each) in enumerate((dt, each) for dt in steps for each in surrogates):
        rows = [Agreement("0.weight", (), 0.1 * number, 1.0 + number, 0.0)]
        rows += [Agreement(name, (), 1.0, 1.0, 0.0) for name in ("2.weight", "all")]
        cases.append(BiasCase(each, dt, tuple(rows), ("0.weight",), 1.0, 5, (), (0.0, 0.0)))
    return SimpleNamespace(cases=tuple(cases))


def test_cosines_are_drawn_over_the_number_in_which_surrogates_differ():
    drawn = spikeplot.surrogate_bias(bias([surrogate.fast_sigmoid(slope=slope) for slope in (1.0, 10.0, 100.0)]))
    assert list(drawn) == ["0.weight, dt=1", "0.weight, dt=0.1"]
    fine = drawn["0.weight, dt=0.1"]
    np.testing.assert_allclose(fine.cosine.get_xydata(), [[1.0, 0.3], [10.0, 0.4], [100.0, 0.5]])
    np.testing.assert_allclose(fine.ratio.get_ydata(), [4.0, 5.0, 6.0])
    assert fine.cosine.axes.get_xlabel() == "slope of fast_sigmoid"
    assert fine.cosine.axes.get_xscale() == "log"


@pytest.mark.parametrize(
    "surrogates",
    [
        [surrogate.atan(), surrogate.sigmoid()],
        [surrogate.superspike(slope=1.0, scale=1.0), surrogate.superspike(slope=2.0, scale=3.0)],
        [surrogate.atan(alpha=np.ones(3)), surrogate.atan(alpha=2.0)],
        [surrogate.atan(), surrogate.atan()],
    ],
)
def test_other_surrogates_stand_side_by_side_without_lines_between_them(surrogates):
    lines = spikeplot.surrogate_bias(bias(surrogates))["0.weight, dt=1"]
    assert lines.cosine.get_xdata().tolist() == [0, 1]
    assert lines.cosine.get_linestyle() == "None"
    names = [label.get_text() for label in lines.cosine.axes.get_xticklabels()]
    assert names == [type(each).__name__ for each in surrogates]


def test_texts_do_not_overlap():
    report = rule([1.0, 0.9, -0.5], [1.0, 0.1, 0.01], ["exact", "approximate", "FAIL"])
    rules = spikeplot.gradient_agreement({f"rule {n}": report for n in range(3)})["rule 0"].cosine[0].figure
    kinds = spikeplot.surrogate_bias(bias([surrogate.atan(), surrogate.sigmoid()]))["0.weight, dt=1"].cosine.figure
    for figure in (rules, kinds):
        assert overlapping_texts(figure) == cut_texts(figure) == []

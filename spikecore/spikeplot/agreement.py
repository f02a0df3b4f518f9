"""Agreement of gradients with the exact ones: of learning rules by parameter, of surrogates by their slope."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Sequence, Tuple, Union

from spikecore.arguments import checked, shown
from spikecore.spikeplot.style import (
    CYCLE,
    DASHES,
    GREY,
    ORANGE,
    artists_text,
    dress,
    figure_of,
    grid_of,
    legend_below,
    panels_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import BarContainer
    from matplotlib.lines import Line2D

    from spikecore.api.verification.learning_report import LearningReport
    from spikecore.eventprop.bias import BiasCase, SurrogateBias

MARKERS = "osD^v"
EXACT: Dict[str, Any] = {"color": GREY, "linestyle": DASHES[1], "linewidth": 1.0, "zorder": 0}


class GradientAgreement(NamedTuple):
    """The bars of `gradient_agreement` for one rule, one per parameter; none where a gradient is zero."""

    cosine: BarContainer
    ratio: BarContainer

    def __repr__(self) -> str:
        return artists_text(self)


class BiasLines(NamedTuple):
    """The lines of `surrogate_bias` for one parameter and one time step."""

    cosine: Line2D
    ratio: Line2D

    def __repr__(self) -> str:
        return artists_text(self)


@checked
def gradient_agreement(
    reports: Union[LearningReport, Mapping[str, LearningReport]], axes: Union[Axes, Sequence[Axes], None] = None
) -> Dict[str, GradientAgreement]:
    """Draw how close the gradients of learning rules are to the exact ones, by parameter.

    The first panel has the cosine of the angle between both gradients, the second the ratio of their norms; broken
    lines are the exact gradient's. "exact" marks the gradients that the rule leaves nothing out of, FAIL those of them
    that are not exact.

    Args:
        reports: the result of `sc.verify(..., learning=rule)`, or several by name.
        axes: two axes to draw on. Default: a new figure.

    Returns:
        The bars of each report, by its name; of a single report by that of its rule.

    Raises:
        ValueError: there is no report, one is not of ``learning``, two have other parameters, or the number of axes is
            not 2.
    """
    named = _by_name(reports)
    names = _parameters(named)
    height = 0.8 / len(named)
    left, right = _panels(len(names) * max(1.0, 0.6 * len(named))) if axes is None else panels_of(axes, 2)
    artists = {}
    for number, (label, report) in enumerate(named.items()):
        color = CYCLE[number % len(CYCLE)]
        offset = (number + 0.5) * height - 0.4
        rows = [(place + offset, row) for place, row in enumerate(report.rows)]
        artists[label] = GradientAgreement(
            _bars(left, [(y, row.agreement.cosine) for y, row in rows], 0.0, height, color, label),
            _bars(right, [(y, row.agreement.ratio) for y, row in rows], 1.0, height, color, label),
        )
        for y, row in rows:
            if row.verdict == "FAIL":
                right.text(1.0, y, " FAIL", color=ORANGE, va="center", fontsize=9, weight="bold", zorder=4)
            elif row.verdict == "exact":
                right.text(1.0, y, "exact ", color=GREY, ha="right", va="center", fontsize=9 if height > 0.3 else 7)
    for ax in (left, right):
        ax.axvline(1.0, **EXACT)
        ax.set_yticks(range(len(names)), names)
        ax.set_ylim(len(names) - 0.5, -0.5)
        ax.tick_params(axis="y", length=0)
    left.set_xlim(-1.05 if any(row.agreement.cosine < 0 for each in named.values() for row in each.rows) else 0.0, 1.05)
    _plain_logarithm(right, "x")
    dress(left, "cosine with the exact gradient", "")
    dress(right, "norm ÷ exact norm", "")
    if len(named) > 1 and axes is None:
        legend_below(left.figure, [bars.cosine for bars in artists.values()], list(artists))
    return artists


def _by_name(reports: Any) -> Dict[str, LearningReport]:
    """Reports by name; a single one has that of its rule."""
    several = isinstance(reports, Mapping)
    for name, report in reports.items() if several else [(None, reports)]:
        if not hasattr(report, "learning"):
            place = f"[{name!r}]" if several else ""
            raise ValueError(f"reports{place}={shown(report)} must be a report of sc.verify(..., learning=...)")
    return dict(reports) if several else {reports.learning: reports}


def _parameters(named: Mapping[str, LearningReport]) -> List[str]:
    """The names of the rows, which all reports must have."""
    rows = [[row.agreement.name for row in report.rows] for report in named.values()]
    if not rows or not rows[0] or any(each != rows[0] for each in rows):
        raise ValueError(f"reports: need at least one, and the same parameters in all; they have {rows}")
    return rows[0]


def _panels(rows: float) -> List[Axes]:
    figure = figure_of(7.6, 1.3 + 0.3 * rows)
    return list(figure.subplots(1, 2, sharey=True, squeeze=False).flat)


def _bars(
    ax: Axes, values: Sequence[Tuple[float, float]], start: float, height: float, color: str, label: str
) -> BarContainer:
    there = [(y, x) for y, x in values if math.isfinite(x)]
    places, widths = [y for y, _ in there], [x - start for _, x in there]
    return ax.barh(places, widths, 0.9 * height, left=start, color=color, label=label)


def _plain_logarithm(ax: Axes, which: str) -> None:
    """Make an axis logarithmic, with plain numbers and a margin."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = getattr(ax, f"{which}axis")
    getattr(ax, f"set_{which}scale")("log")
    low, high = axis.get_view_interval()
    span = max(low, high) / min(low, high)
    margin = max(span**0.05, 1.1)
    getattr(ax, f"set_{which}lim")(low / margin, high * margin)
    axis.set_major_locator(LogLocator(base=10.0, subs=(1.0, 2.0, 5.0) if span < 100.0 else (1.0,), numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, place: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


@checked
def surrogate_bias(report: SurrogateBias, axes: Union[Axes, Sequence[Axes], None] = None) -> Dict[str, BiasLines]:
    """Draw how close surrogate gradients are to the exact gradient, by surrogate: cosines, and ratios of norms.

    There is a line for the weights of each layer before the last, whose gradients pass the surrogate, and for each time
    step. If the surrogates differ in one number, such as their slope, it is the horizontal axis.

    Args:
        report: the result of `eventprop.model_bias` or `eventprop.surrogate_bias`.
        axes: two axes to draw on. Default: a new figure.

    Returns:
        The lines of each layer's weights and time step, by name, such as "0.weight, dt=1".

    Raises:
        ValueError: the number of axes is not 2.
    """
    left, right = grid_of(2, 2, 3.8, 2.8) if axes is None else panels_of(axes, 2)
    by_step: Dict[float, List[BiasCase]] = {}
    for case in report.cases:
        by_step.setdefault(case.dt, []).append(case)
    surrogates = [case.surrogate for case in report.cases[: len(report.cases) // len(by_step)]]
    label, x = _varying(surrogates)
    hidden = report.cases[0].hidden
    lines = {}
    for number, (dt, cases) in enumerate(by_step.items()):
        for place, name in enumerate(hidden):
            style: Dict[str, Any] = {
                "color": CYCLE[place % len(CYCLE)],
                "linestyle": DASHES[number % len(DASHES)] if label else "none",  # between kinds there is nothing
                "marker": MARKERS[number % len(MARKERS)],
                "markersize": 4.5,
                "linewidth": 1.6,
            }
            key = f"{name}, dt={dt:.4g}"
            (cosine,) = left.plot(x, [case.cosine[name] for case in cases], label=key, **style)
            (ratio,) = right.plot(x, [case.ratio[name] for case in cases], label=key, **style)
            lines[key] = BiasLines(cosine, ratio)
    for ax in (left, right):
        ax.axhline(1.0, **EXACT)
        if label:
            _plain_logarithm(ax, "x")
        else:
            ax.set_xticks(x, [type(each).__name__ for each in surrogates], rotation=30, ha="right", fontsize=8)
            ax.set_xlim(-0.5, len(x) - 0.5)
    _plain_logarithm(right, "y")
    dress(left, label, "cosine with the exact gradient")
    dress(right, label, "norm ÷ exact norm")
    if axes is None:
        legend_below(left.figure, [each.cosine for each in lines.values()], list(lines))
    return lines


def _varying(surrogates: Sequence[Any]) -> Tuple[str, List[float]]:
    """The name and the values of the one number > 0 in which surrogates differ; "" and places if there is no such."""
    places: List[float] = list(range(len(surrogates)))
    if len({type(each) for each in surrogates}) != 1 or not dataclasses.is_dataclass(surrogates[0]):
        return "", places
    columns = {f.name: [getattr(each, f.name) for each in surrogates] for f in dataclasses.fields(surrogates[0])}
    fixed = {name for name, (first, *rest) in columns.items() if all(value is first for value in rest)}
    numbers = {name: column for name, column in columns.items() if all(isinstance(v, (int, float)) for v in column)}
    differing = {name: column for name, column in numbers.items() if len(set(column)) > 1}
    if len(differing) != 1 or fixed | set(numbers) != set(columns):
        return "", places
    ((name, column),) = differing.items()
    if min(column) <= 0:
        return "", places
    return f"{name} of {type(surrogates[0]).__name__}", [float(value) for value in column]

"""The errors in a report of gradient verification, with their limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from spikecore.arguments import checked
from spikecore.spikeplot.style import BLUE, FAINT, GREY, ORANGE, artists_text, dress, figure_of, legend_below, panels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from spikecore.api.verification.report import Report

PREFIX = "gradient "


class GradientErrors(NamedTuple):
    """The artists of `gradient_errors` for one check: x relative error, y row. A kind that does not occur is empty."""

    ok: Line2D
    equal: Line2D  # errors of exactly 0, drawn near the left edge of the logarithmic axis
    failed: Line2D
    limit: Line2D

    def __repr__(self) -> str:
        return artists_text(self)


@checked
def gradient_errors(
    report: Report, axes: Union[Axes, Sequence[Axes], None] = None, *, checks: Optional[Sequence[str]] = None
) -> Dict[str, GradientErrors]:
    """Draw the relative error of each parameter's gradient on a logarithmic scale, with the limit; a panel per check.

    A dot is an error within the limit, a cross with "FAIL" is one above it. An error that is not finite is a cross near
    the right edge. An open triangle near the left edge is an error of exactly 0. For a gradient that could not be
    compared, the reason is written in its row.

    Args:
        report: the result of `sc.verify`, or anything with `rows` that have check, name ("gradient
            0.weight"), max_rel, limit and verdict ("ok", "FAIL", or why there is no number).
        axes: axes to draw on, one per check, in any nesting. Default: a new figure.
        checks: names of the checks to show, such as ["float64", "finite differences"]. Default: all with gradients.

    Returns:
        The artists of each check, by its name.

    Raises:
        ValueError: the report has no gradients, or lacks one of `checks`.
    """
    rows = [row for row in report.rows if row.name.startswith(PREFIX)]
    available = list(dict.fromkeys(row.check for row in rows))
    wanted = available if checks is None else list(checks)
    if not wanted or not set(wanted) <= set(available):
        raise ValueError(f"checks={checks!r}: the report has gradients of the checks {available}")
    names = list(dict.fromkeys(row.name[len(PREFIX) :] for row in rows if row.check in wanted))
    panels = _panels(len(wanted), len(names)) if axes is None else panels_of(axes, len(wanted))
    artists = {}
    for ax, check in zip(panels, wanted):
        artists[check] = _panel(ax, [row for row in rows if row.check == check], names)
        dress(ax, "relative error", "", check)
    if axes is None:
        _legend(panels[0].figure, list(artists.values()))
    return artists


def _panels(count: int, rows: int) -> List[Axes]:
    figure = figure_of(2.0 + 2.9 * count, 1.5 + 0.3 * rows)
    return list(figure.subplots(1, count, sharey=True, squeeze=False).flat)


def _panel(ax: Axes, rows: List[Any], names: List[str]) -> GradientErrors:
    place = {PREFIX + name: number for number, name in enumerate(names)}
    compared = [row for row in rows if row.max_rel is not None]
    left, right = _frame(ax, compared, names)
    span = math.log(right / left)
    left_edge, right_edge = left * math.exp(0.03 * span), left * math.exp(0.97 * span)
    points: Dict[str, List[Any]] = {"ok": [], "equal": [], "failed": []}
    for row in rows:
        y = place[row.name]
        if row.max_rel is None:
            ax.text(0.5, y, row.verdict, transform=ax.get_yaxis_transform(), color=GREY, ha="center", va="center")
        elif row.verdict != "ok":
            x = row.max_rel if math.isfinite(row.max_rel) and row.max_rel > 0 else right_edge
            points["failed"].append((x, y))
            _fail(ax, x, y, past_middle=math.log(x / left) > 0.5 * span)
        else:
            points["ok" if row.max_rel > 0 else "equal"].append((row.max_rel or left_edge, y))
    # The rows of a check have the same limit. If they differ, the smallest is drawn.
    limit = min((row.limit for row in compared), default=math.nan)
    line = ax.axvline(limit, color=GREY, linewidth=1.0, linestyle=(0, (5, 3)))
    if compared:
        ax.axvspan(limit, right, color=FAINT, linewidth=0, zorder=0)
    return GradientErrors(
        _marks(ax, points["ok"], BLUE, "o"),
        _marks(ax, points["equal"], BLUE, "<", markerfacecolor="none"),
        _marks(ax, points["failed"], ORANGE, "X", markersize=8),
        line,
    )


def _frame(ax: Axes, compared: List[Any], names: List[str]) -> Tuple[float, float]:
    """Set scales and ticks; returns the limits of the horizontal axis."""
    from matplotlib.ticker import LogLocator, NullLocator

    finite = [x for row in compared for x in (row.max_rel, row.limit) if x and math.isfinite(x)]
    left, right = (min(finite) / 30, max(finite) * 30) if finite else (1e-16, 1.0)
    ax.set_xscale("log")
    ax.set_xlim(left, right)
    ax.xaxis.set_major_locator(LogLocator(numticks=7))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.tick_params(axis="y", length=0)
    return left, right


def _marks(ax: Axes, points: List[Any], color: str, marker: str, **style: Any) -> Line2D:
    x, y = zip(*points) if points else ((), ())
    options: Dict[str, Any] = {"markersize": 6, **style}
    (line,) = ax.plot(x, y, linestyle="none", marker=marker, color=color, zorder=3, **options)
    return line


def _fail(ax: Axes, x: float, y: float, *, past_middle: bool) -> None:
    """Write FAIL beside the cross, on the side that has room."""
    ax.annotate(
        "FAIL",
        (x, y),
        xytext=(-8 if past_middle else 8, 0),
        textcoords="offset points",
        ha="right" if past_middle else "left",
        va="center",
        color=ORANGE,
        fontsize=9,
        weight="bold",
    )


def _legend(figure: Any, artists: List[GradientErrors]) -> None:
    names = {"ok": "within the limit", "equal": "exactly equal", "failed": "failed", "limit": "limit"}
    handles, labels = [], []
    for field, label in names.items():
        lines = [getattr(panel, field) for panel in artists if len(getattr(panel, field).get_xdata())]
        if lines:
            handles.append(lines[0])
            labels.append(label)
    legend_below(figure, handles, labels)

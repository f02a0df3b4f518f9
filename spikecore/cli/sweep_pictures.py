"""The pictures of a sweep: its history, each key by itself, and all keys side by side.

Drawn here, because Optuna's own leave out pruned trials, which are often half of all, and print labels over each other.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from spikecore.cli.pictures import save
from spikecore.spikeplot.style import BLUE, GREY, ORANGE, dress, legend_below, percent, whole_numbers
from spikecore.tracking.layers import blank_figure

HISTORY, SLICES, PARALLEL = "history.png", "slices.png", "parallel.png"
COLUMNS = 3

Row = Dict[str, Any]  # of a trial: trial, state, the metric, and the values of the keys


class Axis:
    """A key as numbers on an axis.

    Args:
        key: of the run file.
        names: its choices as texts; empty for a range.
        log: whether the axis is logarithmic.
    """

    def __init__(self, key: str, names: Sequence[str] = (), log: bool = False) -> None:
        self.key, self.log = key, log
        self.names = [name.replace("(", "\n(", 1) for name in names]  # of tables, in two lines

    def place(self, row: Row) -> float:
        """Position of a trial's value: a number, or the index of a choice."""
        return float(row[self.key])

    def dress(self, ax: Any) -> None:
        """Place ticks with their texts on the x-axis of a panel."""
        from matplotlib.ticker import LogLocator, NullFormatter

        if self.names:
            ax.set_xticks(range(len(self.names)), self.names)
            ax.tick_params(axis="x", labelsize=max(6, 10 - len(self.names)))
            ax.set_xlim(-0.5, len(self.names) - 0.5)
        elif self.log:
            ax.set_xscale("log")
            low, high = ax.get_xlim()
            ax.xaxis.set_minor_formatter(NullFormatter())
            if high / low < 100:  # powers of ten would be too few
                ax.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                ax.xaxis.set_major_formatter(lambda value, place: f"{value:g}")


def draw(directory: Path, rows: List[Row], axes: List[Axis], metric: str, maximize: bool) -> List[Path]:
    """Draw the pictures of a sweep.

    Args:
        directory: folder of the pictures.
        rows: the trials that have a value.
        axes: the keys that the sweep varies; of choices, rows have the indices.
        metric: what the sweep judges by.
        maximize: whether larger values are better.

    Returns:
        the files written.

    Raises:
        ImportError: matplotlib is missing.
    """
    complete = [row for row in rows if row["state"] == "complete"]
    best = (max if maximize else min)(complete, key=lambda row: row[metric])
    figures = {
        HISTORY: _history(rows, metric, maximize),
        SLICES: _slices(rows, axes, metric, best),
        PARALLEL: _parallel(complete, axes, metric, best),
    }
    for name, figure in figures.items():
        save(figure, directory / name)
    return [directory / name for name in figures]


def _history(rows: List[Row], metric: str, maximize: bool) -> Any:
    figure = blank_figure(7.0, 3.4)
    ax = figure.subplots()
    handles = _marks(ax, rows, [row["trial"] for row in rows], metric)
    complete = [row for row in rows if row["state"] == "complete"]
    so_far = (np.maximum if maximize else np.minimum).accumulate([row[metric] for row in complete])
    numbers = [*(row["trial"] for row in complete), rows[-1]["trial"]]
    (line,) = ax.plot(numbers, [*so_far, so_far[-1]], color=ORANGE, linewidth=1.6, drawstyle="steps-post")
    dress(ax, "trial", _words(metric), "Trials and the best so far")
    whole_numbers(ax.xaxis)
    _percent(ax.yaxis, metric)
    legend_below(figure, [*handles.values(), line], [*handles, "best so far"])
    return figure


def _slices(rows: List[Row], axes: List[Axis], metric: str, best: Row) -> Any:
    columns = 2 if len(axes) == 4 else min(len(axes), COLUMNS)
    lines = -(-len(axes) // columns)
    figure = blank_figure(max(3.4 * columns, 4.4), 2.7 * lines + 0.4)
    panels = list(figure.subplots(lines, columns, squeeze=False, sharey=True).flat)
    for ax in panels[len(axes) :]:
        ax.remove()
    handles: Dict[str, Any] = {}
    for ax, axis in zip(panels, axes):
        handles.update(_marks(ax, rows, [axis.place(row) for row in rows], metric))
        handles["best"] = ax.plot(axis.place(best), best[metric], "*", color=ORANGE, markersize=13, zorder=4)[0]
        axis.dress(ax)
        dress(ax, axis.key, _words(metric) if ax.get_subplotspec().is_first_col() else "")
        _percent(ax.yaxis, metric)
    legend_below(figure, list(handles.values()), list(handles))
    return figure


def _parallel(complete: List[Row], axes: List[Axis], metric: str, best: Row) -> Any:
    """A line for each complete trial through an upright axis for each key, and one for the metric."""
    every = [*axes, Axis(metric)]
    figure = blank_figure(max(1.9 * len(every), 5.0), 3.6)
    ax = figure.subplots()
    spans = [_span(axis, complete) for axis in every]
    ranked = sorted(complete, key=lambda row: abs(row[metric] - best[metric]), reverse=True)
    for rank, row in enumerate(ranked, start=1):
        heights = [_height(axis, axis.place(row), span) for axis, span in zip(every, spans)]
        style: Dict[str, Any] = {"color": BLUE, "linewidth": 1.0}
        if row is best:
            style = {"color": ORANGE, "linewidth": 2.2, "zorder": 3}
        ax.plot(range(len(every)), heights, alpha=1.0 if row is best else 0.15 + 0.6 * rank / len(ranked), **style)
    for place, (axis, span) in enumerate(zip(every, spans)):
        ax.axvline(place, color=GREY, linewidth=0.8, zorder=1)
        for height, text in _labels(axis, span, metric):
            box = {"facecolor": ax.get_facecolor(), "edgecolor": "none", "alpha": 0.8, "pad": 1}
            offset: Any = {"xytext": (4, 0), "textcoords": "offset points", "va": "center"}
            ax.annotate(text, (place, height), fontsize=8, bbox=box, zorder=4, **offset)
    keys = [".\n".join(axis.key.rsplit(".", 1)) for axis in axes]
    ax.set_xticks(range(len(every)), [*keys, _words(metric)])
    ax.tick_params(axis="x", length=0, labelsize=8)
    ax.set_yticks([])
    ax.set_xlim(-0.2, len(every) - 0.55)
    ax.spines[:].set_visible(False)
    ax.set_title("Complete trials; the best in orange, the darker the better", fontsize=11)
    return figure


def _marks(ax: Any, rows: List[Row], places: List[float], metric: str) -> Dict[str, Any]:
    """Dots for complete trials, crosses for pruned ones; returns one of each by its label."""
    handles = {}
    for state, label, style in (
        ("complete", "complete", {"marker": "o", "color": BLUE}),
        ("pruned", "pruned: value of the last epoch", {"marker": "x", "color": GREY}),
    ):
        chosen = [(place, row[metric]) for place, row in zip(places, rows) if row["state"] == state]
        if chosen:
            handles[label] = ax.plot(*zip(*chosen), linestyle="", markersize=5, zorder=3, **style)[0]
    return handles


def _span(axis: Axis, rows: List[Row]) -> Tuple[float, float]:
    places = [0.0, len(axis.names) - 1.0] if axis.names else [axis.place(row) for row in rows]
    return min(places), max(places)


def _height(axis: Axis, place: float, span: Tuple[float, float]) -> float:
    """Position of a value on an upright axis, between 0 and 1."""
    low, high, place = (math.log(value) if axis.log else value for value in (*span, place))
    return 0.5 if high == low else (place - low) / (high - low)


def _labels(axis: Axis, span: Tuple[float, float], metric: str) -> List[Tuple[float, str]]:
    if axis.names:
        return [(_height(axis, index, span), name) for index, name in enumerate(axis.names)]
    written = percent if axis.key == metric and "accuracy" in metric else "{:.3g}".format
    return [
        (_height(axis, value, span), written(round(value, 4) if written is percent else value))
        for value in dict.fromkeys(span)
    ]


def _words(metric: str) -> str:
    return metric.replace("val_", "validation ", 1).replace("_", " ")


def _percent(axis: Any, metric: str) -> None:
    if "accuracy" in metric:
        axis.set_major_formatter(lambda value, place: percent(value))

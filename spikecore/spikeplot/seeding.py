"""Pictures of several trainings that differ by their seed: a middle line, and a band for the spread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Literal, Mapping, NamedTuple, Optional, Sequence, Union

import numpy as np

from spikecore.arguments import checked
from spikecore.spikeplot.style import CYCLE, DASHES, artists_text, dress, figure_of, percent, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PolyCollection
    from matplotlib.lines import Line2D

    History = Sequence[Mapping[str, Any]]
else:
    History = Any  # looked at below, where a single history in the place of several is told apart

MIDDLES: Dict[str, Any] = {"mean": np.mean, "median": np.median}
BANDS = {"range": (0.0, 100.0), "quartiles": (25.0, 75.0)}


class SeedLines(NamedTuple):
    """The artists of `seeds` for one group: the line of its middle, and the band around it."""

    middle: Line2D
    band: PolyCollection

    def __repr__(self) -> str:
        return artists_text(self)


@checked
def seeds(
    histories: Union[Mapping[str, Sequence[History]], Sequence[History]],
    column: str = "val_accuracy",
    ax: Optional[Axes] = None,
    *,
    middle: Literal["mean", "median"] = "mean",
    band: Literal["range", "quartiles"] = "range",
) -> Dict[str, SeedLines]:
    """Draw a column of the histories of several trainings by epoch: a line for the middle, a band for the spread.

    Trainings of one group differ by their seed alone; groups differ by a setting. Where two bands overlap, the
    difference may be chance. Only epochs that all trainings of a group have are drawn.

    Args:
        histories: the histories of several trainings, such as `[model.history for model in models]`, or several such
            lists by the name of their group. A history has a row for each epoch; rows without epoch are counted from 1.
        column: the key of the rows to draw, such as "loss" or "val_accuracy". Accuracies are in [0, 1].
        ax: axes to draw on. Default: axes of a new figure.
        middle: the line: "mean" (default) or "median" over the trainings.
        band: the band: "range" (default), from the smallest to the largest value, or "quartiles", which leave out the
            lowest and the highest quarter, interpolated linearly.

    Returns:
        The artists of each group by its name; of histories without groups by `column`.

    Raises:
        ValueError: there is no group or no history, no epoch with this column is in all histories of a group, or
            `middle` or `band` is another word.
    """
    for name, word, known in (("middle", middle, MIDDLES), ("band", band, BANDS)):
        if word not in known:
            raise ValueError(f"{name}={word!r} must be one of {', '.join(map(repr, known))}")
    groups = dict(histories) if isinstance(histories, Mapping) else {column: histories}
    tables = {name: _table(f"histories[{name!r}]", each, column) for name, each in groups.items()}
    if not tables:
        raise ValueError("histories: need at least one group of histories")
    if ax is None:
        ax = figure_of(5.2, 3.2).subplots()
    artists = {}
    for number, (name, (epochs, values)) in enumerate(tables.items()):
        color, dashes = CYCLE[number % len(CYCLE)], DASHES[number // len(CYCLE) % len(DASHES)]
        label = f"{name} ({len(values)} {'seeds' if len(values) > 1 else 'seed'})"
        low, high = np.percentile(values, BANDS[band], axis=0)
        filled = ax.fill_between(epochs, low, high, color=color, alpha=0.22, linewidth=0)
        (line,) = ax.plot(epochs, MIDDLES[middle](values, axis=0), color=color, linestyle=dashes, label=label)
        line.set_linewidth(1.8)
        if len(epochs) <= 40:  # dots mark the epochs; a single epoch has no line
            line.set(marker="o", markersize=3.5)
        artists[name] = SeedLines(line, filled)
    if "accuracy" in column:
        ax.yaxis.set_major_formatter(lambda value, place: percent(value))
    title = f"{middle}; band: {'smallest to largest' if band == 'range' else 'quartiles'}"
    dress(ax, "epoch", column.replace("val_", "validation ").replace("_", " "), title)
    whole_numbers(ax.xaxis)
    ax.legend(frameon=False, fontsize=9)
    return artists


def _table(place: str, histories: Any, column: str) -> Any:
    """The epochs that all histories have with this column, and its values (trainings, epochs)."""
    if not len(histories) or isinstance(histories, Mapping) or isinstance(histories[0], Mapping):
        raise ValueError(f"{place}: need a list of histories, one for each seed: [model.history for model in models]")
    points: List[Dict[int, float]] = [
        {int(row.get("epoch", number)): float(row[column]) for number, row in enumerate(rows, 1) if _has(row, column)}
        for rows in histories
    ]
    epochs = sorted(set(points[0]).intersection(*points[1:]))
    if not epochs:
        known = ", ".join(dict.fromkeys(key for rows in histories for row in rows for key in row))
        raise ValueError(f"column={column!r}: {place} have no epoch in which all have it; their columns: {known}")
    return epochs, np.array([[one[epoch] for epoch in epochs] for one in points])


def _has(row: Mapping[str, Any], column: str) -> bool:
    return row.get(column) is not None

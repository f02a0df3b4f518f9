"""Loss and metrics by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Sequence, Tuple, Union

from spikecore.arguments import checked
from spikecore.spikeplot.style import BLUE, ORANGE, dress, grid_of, panels_of, percent, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

OTHERS = ("epoch", "lr", "seconds", "samples_per_s")  # columns that are not drawn
VALIDATION = "val_"


@checked
def training_curves(
    history: Iterable[Mapping[str, Any]], axes: Union[Axes, Sequence[Axes], None] = None
) -> Dict[str, Line2D]:
    """Draw loss and metrics by epoch, in training and validation, one panel for each.

    Args:
        history: rows with the keys epoch, loss, accuracy or other metrics, and the same with val_ in front, such as
            `model.history`. A row may lack any key; rows without epoch are counted from 1. Accuracies are in [0, 1].
        axes: axes to draw on, one for each of `curve_names(history)`, in this order. Default: a new figure.

    Returns:
        The line of each key.

    Raises:
        ValueError: no row has a loss or a metric, or the number of axes is wrong.
    """
    history = list(history)
    points, kinds = _points(history), curve_names(history)
    if not kinds:
        raise ValueError("history: no row has loss, accuracy, val_loss or val_accuracy, or another metric")
    panels = grid_of(len(kinds), len(kinds), 3.8, 2.8) if axes is None else panels_of(axes, len(kinds))
    lines = {}
    for ax, kind in zip(panels, kinds):
        for key, label, color in ((kind, "training", BLUE), (VALIDATION + kind, "validation", ORANGE)):
            if key in points:
                epochs, values = zip(*points[key])
                (lines[key],) = ax.plot(epochs, values, color=color, label=label, linewidth=1.6)
                if len(epochs) <= 40:  # dots mark the epochs; a single epoch has no line
                    lines[key].set(marker="o", markersize=3.5)
        if "accuracy" in kind:
            ax.yaxis.set_major_formatter(lambda value, place: percent(value))
        dress(ax, "epoch", kind.replace("_", " "))
        whole_numbers(ax.xaxis)
        ax.legend(frameon=False, fontsize=9)
    return lines


def curve_names(history: Iterable[Mapping[str, Any]]) -> List[str]:
    """Names of the panels of `training_curves`: the loss first, then the metrics."""
    names = dict.fromkeys(key[len(VALIDATION) :] if key.startswith(VALIDATION) else key for key in _points(history))
    return sorted(names, key=lambda name: name != "loss")


def _points(history: Iterable[Mapping[str, Any]]) -> Dict[str, List[Tuple[float, float]]]:
    """The points (epoch, value) of each key."""
    points: Dict[str, List[Tuple[float, float]]] = {}
    for number, row in enumerate(history, start=1):
        epoch = row["epoch"] if row.get("epoch") is not None else number
        for key, value in row.items():
            if key not in OTHERS and value is not None:
                points.setdefault(key, []).append((float(epoch), float(value)))
    return points

"""Loss and accuracy by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, Sequence, Tuple, Union

from spikecore.arguments import checked
from spikecore.spikeplot.style import BLUE, ORANGE, dress, grid_of, panels_of, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

CURVES = (
    ("loss", (("loss", "training", BLUE), ("val_loss", "validation", ORANGE))),
    ("accuracy", (("accuracy", "training", BLUE), ("val_accuracy", "validation", ORANGE))),
)


@checked
def training_curves(
    history: Iterable[Mapping[str, Any]], axes: Union[Axes, Sequence[Axes], None] = None
) -> Dict[str, Line2D]:
    """Loss and accuracy by epoch, in training and validation.

    Args:
        history: rows with the keys epoch, loss, accuracy, val_loss, val_accuracy; a row may lack any of them (without
            epoch it counts as the next one, from 1). Accuracies are fractions in [0, 1].
        axes: one for each of loss and accuracy that the history has, in this order.

    Returns:
        The drawn line of each key.
    """
    points = _points(history)
    kinds = [(kind, curves) for kind, curves in CURVES if any(key in points for key, _, _ in curves)]
    if not kinds:
        raise ValueError("history: no row has loss, accuracy, val_loss or val_accuracy")
    panels = grid_of(len(kinds), len(kinds), 3.8, 2.8) if axes is None else panels_of(axes, len(kinds))
    lines = {}
    for ax, (kind, curves) in zip(panels, kinds):
        for key, label, color in curves:
            if key in points:
                epochs, values = zip(*points[key])
                (lines[key],) = ax.plot(epochs, values, color=color, label=label, linewidth=1.6)
                if len(epochs) <= 40:  # dots show where epochs lie, and a single one at all
                    lines[key].set(marker="o", markersize=3.5)
        if kind == "accuracy":
            from matplotlib.ticker import PercentFormatter

            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        dress(ax, "epoch", kind, kind.capitalize())
        whole_numbers(ax.xaxis)
        ax.legend(frameon=False, fontsize=9)
    return lines


def _points(history: Iterable[Mapping[str, Any]]) -> Dict[str, List[Tuple[float, float]]]:
    """{key: [(epoch, value), …]} of the keys that occur."""
    points: Dict[str, List[Tuple[float, float]]] = {}
    for number, row in enumerate(history, start=1):
        for _, curves in CURVES:
            for key, _, _ in curves:
                if row.get(key) is not None:
                    epoch = row["epoch"] if row.get("epoch") is not None else number
                    points.setdefault(key, []).append((float(epoch), float(row[key])))
    return points

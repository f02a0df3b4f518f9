"""Predicted values against true ones, and labels over time beside the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Sequence

import numpy as np

from spikecore.arguments import ArrayLike, checked
from spikecore.spikeplot.data import host
from spikecore.spikeplot.style import BLUE, CYCLE, FAINT, ORANGE, artists_text, dress, figure_of, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.image import AxesImage
    from matplotlib.lines import Line2D

MOST_POINTS, MOST_SEQUENCES = 20_000, 64


class FittedValues(NamedTuple):
    """The artists of `fitted_values`: the points, and the line on which predictions are right."""

    points: PathCollection
    right: Line2D

    def __repr__(self) -> str:
        return artists_text(self)


class LabelsOverTime(NamedTuple):
    """The artists of `labels_over_time`: the image, whose rows are each sequence's truth and its prediction."""

    image: AxesImage

    def __repr__(self) -> str:
        return artists_text(self)


@checked
def fitted_values(targets: ArrayLike, predicted: ArrayLike, ax: Optional[Axes] = None) -> FittedValues:
    """Draw predicted values against true ones: a point for each value; those on the line are right.

    Args:
        targets: true values, of any shape; at most 20,000.
        predicted: predicted values in the same shape, such as `model.predict(x)`.
        ax: axes to draw on. Default: axes of a new figure.

    Returns:
        The artists: `points` and `right`, the line.

    Raises:
        ValueError: shapes differ, there is no value or too many, or a value is not finite.
    """
    true, said = host(targets), host(predicted)
    if true.shape != said.shape or not 1 <= true.size <= MOST_POINTS:
        raise ValueError(
            f"targets and predicted have shapes {true.shape} and {said.shape}: need 1 to {MOST_POINTS:,} values, as "
            "many in both"
        )
    true, said = true.reshape(-1).astype(float), said.reshape(-1).astype(float)
    if not (np.isfinite(true).all() and np.isfinite(said).all()):
        raise ValueError("targets and predicted must be finite: a value is NaN or infinite")
    ax = figure_of(3.8, 3.8).subplots() if ax is None else ax
    low, high = min(true.min(), said.min()), max(true.max(), said.max())
    (right,) = ax.plot([low, high], [low, high], color=ORANGE, linewidth=1.2, label="right")
    size = float(np.clip(4000.0 / true.size, 4.0, 18.0))
    points = ax.scatter(true, said, s=size, color=BLUE, alpha=0.6, linewidths=0.0, zorder=3)
    error = np.abs(said - true).mean()
    dress(ax, "true value", "predicted value", f"mean absolute error {error:.3g}")
    return FittedValues(points, right)


@checked
def labels_over_time(
    targets: ArrayLike,
    predicted: ArrayLike,
    ax: Optional[Axes] = None,
    *,
    labels: Optional[Sequence[Any]] = None,
    ignore_index: int = -1,
) -> LabelsOverTime:
    """Draw labels at each step: for each sequence a row with the truth and below it one with what is predicted.

    Args:
        targets: class indices, (time,) or (sequences, time), at most 64 sequences; `labels.T` of (time, batch).
        predicted: predicted class indices in the same shape, such as `model.predict(x, time_axis=1)`.
        ax: axes to draw on. Default: axes of a new figure.
        labels: names of the classes by index. Default: their indices.
        ignore_index: label of steps that do not count, which are left empty; default -1.

    Returns:
        The artists: `image`, whose array has the rows.

    Raises:
        ValueError: shapes differ, there are no or too many sequences, a class is no whole number, or it has no name.
    """
    true, said = (np.atleast_2d(host(each)) for each in (targets, predicted))
    if true.shape != said.shape or true.ndim != 2 or not 1 <= len(true) <= MOST_SEQUENCES or not true.size:
        raise ValueError(
            f"targets and predicted have shapes {host(targets).shape} and {host(predicted).shape}: need (time,) or "
            f"(sequences, time), the same in both, with 1 to {MOST_SEQUENCES} sequences"
        )
    counted = true != ignore_index
    used = np.concatenate([true[counted], said[counted]])
    if (used != np.floor(used)).any() or (used < 0).any():
        raise ValueError("targets and predicted must be class indices, whole numbers >= 0")
    largest = int(used.max()) if used.size else 0
    names = [str(name) for name in (range(largest + 1) if labels is None else labels)]
    if largest >= len(names):
        raise ValueError(f"labels has {len(names)} names, and there is a class {largest}: need a name for each class")
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap

    shown = np.where(np.repeat(counted, 2, axis=0), np.stack([true, said], axis=1).reshape(-1, true.shape[1]), np.nan)
    ax = figure_of(7.0, 1.2 + 0.45 * len(true)).subplots() if ax is None else ax
    many = colormaps["turbo"](np.linspace(0.05, 0.95, len(names)))
    colours = ListedColormap(CYCLE[: len(names)] if len(names) <= len(CYCLE) else many)
    image = ax.imshow(shown, aspect="auto", cmap=colours, vmin=-0.5, vmax=len(names) - 0.5, interpolation="nearest")
    ax.set_yticks(range(len(shown)), ["true", "predicted"] * len(true), fontsize=8)
    for row in range(1, len(true)):
        ax.axhline(2 * row - 0.5, color=FAINT, linewidth=3.0)
    bar = ax.figure.colorbar(image, ax=ax, ticks=range(len(names)))
    bar.ax.set_yticklabels(names, fontsize=8)
    hits = (true == said)[counted]
    share = percent(round(float(hits.mean()), 3)) if hits.size else "0 %"
    dress(ax, "time step", "", f"{share} of {hits.size} steps right")
    ax.grid(visible=False)
    return LabelsOverTime(image)

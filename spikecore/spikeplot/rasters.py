"""Raster plots: a mark for each spike, time steps to the right, neurons upwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence, Tuple

import numpy as np

from spikecore.arguments import ArrayLike, checked
from spikecore.spikeplot.data import fired, names_of, neurons_of
from spikecore.spikeplot.style import BLUE, counted, dress, figure_of, name_rows, size_of, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

MOST_BARS = 50  # neurons up to which a spike is a bar; of more, a dot
# Options of `scatter` that set the colour inside a mark, and those that set a mark's shape or outline.
FILL = frozenset({"c", "color", "facecolors", "facecolor"})
SHAPE = frozenset({"marker", "linewidths", "linewidth", "lw", "edgecolors", "edgecolor", "facecolors", "facecolor"})


@checked
def raster(
    spikes: ArrayLike,
    ax: Optional[Axes] = None,
    *,
    batch_index: Optional[int] = None,
    labels: Optional[Sequence[Any]] = None,
    graded: bool = False,
    **scatter: Any,
) -> PathCollection:
    """Draw one mark for each spike: time steps to the right, neurons upwards.

    Up to 50 neurons, a mark is a vertical bar, of more a dot. With `s` or `marker` it is the mark of `Axes.scatter`.
    Its colour is visible on light and on dark backgrounds.

    Args:
        spikes: (time,), (time, neurons), or (time, batch, *features) with `batch_index`; 0 is no spike, 1 and -1 are
            one.
        ax: axes to draw on. Default: axes of a new figure.
        batch_index: index of the sample to show; its features are flattened.
        labels: names of the neurons, from the lowest row, such as classes; all are shown. Default: their numbers, all
            of them up to 12 neurons.
        graded: whether spikes may have other values, of either sign; a mark is then the fainter the smaller its spike.
            Default False.
        scatter: options of `Axes.scatter`, such as s=1.5, c="black".

    Returns:
        The marks, at (time step, neuron).

    Raises:
        ValueError: `spikes` has another shape or values that are no spikes, the sample does not exist, or `labels` has
            another length.
    """
    values = neurons_of("spikes", spikes, batch_index)  # (time, neurons)
    at, neurons = fired("spikes", values, graded), values.shape[1]
    names = None if labels is None else names_of("labels", labels, neurons)
    figure = None
    if ax is None:
        figure = figure_of(7.0, min(6.0, 2.4 + (0.03 if names is None else 0.15) * neurons))
        ax = figure.subplots()
    dress(ax, "time step", "neuron" if names is None else "", _title(ax, at))
    frame_rows(ax, at.shape, names)
    if figure is not None:
        figure.draw_without_rendering()  # computes the layout: the size of marks depends on the size of the axes
    if graded and at.any():
        sizes = np.abs(values[at])  # in the order of `marks`
        scatter = {"alpha": np.clip(sizes / sizes.max(), 0.15, 1.0), **scatter}
    return marks(ax, at, scatter)


def frame_rows(ax: Axes, shape: Tuple[int, ...], names: Optional[Sequence[str]] = None) -> None:
    """Limits and ticks of a raster of shape (time, neurons)."""
    ax.set_xlim(-0.5, max(shape[0], 1) - 0.5)
    ax.set_ylim(-0.5, max(shape[1], 1) - 0.5)
    whole_numbers(ax.xaxis, ax.yaxis)
    name_rows(ax, shape[1], names)


def marks(ax: Axes, at: np.ndarray, scatter: Mapping[str, Any]) -> PathCollection:
    """The marks of the spikes (time, neurons) on axes that are laid out."""
    time, neuron = np.nonzero(at)
    return ax.scatter(time, neuron, **_mark_style(ax, at.shape, len(time), scatter))


def _title(ax: Axes, at: np.ndarray) -> str:
    """A title with the number of neurons and spikes, on two lines if the axes are narrow."""
    rate = at.mean() if at.size else 0.0
    counts = f"{counted(at.shape[1], 'neuron')}, {counted(int(at.sum()), 'spike')}"
    title = f"{counts} ({rate:.3g} per neuron and step)"
    return title.replace(" (", "\n(") if 6 * len(title) > size_of(ax)[0] else title


def _mark_style(ax: Axes, shape: Tuple[int, ...], count: int, scatter: Mapping[str, Any]) -> Dict[str, Any]:
    """Options for `scatter`; the caller's replace them.

    A bar is as high as its row, and at least 2.5 points. A dot has the size of its cell of neuron and step, more if
    there are few spikes, and at least 1.2 points.
    """
    style: Dict[str, Any] = {} if FILL & scatter.keys() else {"c": BLUE}
    width, height = size_of(ax)
    step, row = width / max(shape[0], 1), height / max(shape[1], 1)
    if not scatter.keys() & (SHAPE | {"s"}) and shape[1] <= MOST_BARS:
        style.update(marker="|", s=min(max(0.8 * row, 2.5), 14.0) ** 2, linewidths=min(max(0.5 * step, 0.7), 1.5))
    elif "s" not in scatter:
        room = width * height / max(count, 1)  # for each spike
        style.update(s=max(0.8 * min(row, step), min(0.3 * room**0.5, 3.0), 1.2) ** 2)
    if not (style.keys() | scatter.keys()) & SHAPE:
        style.update(marker="o", linewidths=0)  # an outline would be larger than the dot
    return {**style, **scatter}

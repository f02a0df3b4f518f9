"""Raster plots: a mark for each spike, time steps to the right, neurons upwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Tuple

import numpy as np

from spikecore.arguments import ArrayLike, checked
from spikecore.spikeplot.data import neurons_of
from spikecore.spikeplot.style import counted, dress, figure_of, size_of, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

# Options of `scatter` that set the colour inside a mark, and those that set a mark's shape or outline.
FILL = frozenset({"c", "color", "facecolors", "facecolor"})
SHAPE = frozenset({"marker", "linewidths", "linewidth", "lw", "edgecolors", "edgecolor", "facecolors", "facecolor"})


@checked
def raster(
    spikes: ArrayLike, ax: Optional[Axes] = None, *, batch_index: Optional[int] = None, **scatter: Any
) -> PathCollection:
    """Draw one mark for each spike: time steps to the right, neurons upwards.

    Args:
        spikes: (time,), (time, neurons), or (time, batch, *features) with `batch_index`; a value that is not zero is a
            spike.
        ax: axes to draw on. Default: axes of a new figure.
        batch_index: index of the sample to show; its features are flattened.
        scatter: options of `Axes.scatter`, such as s=1.5, c="black".

    Returns:
        The marks, at (time step, neuron).

    Raises:
        ValueError: `spikes` has another shape, or the sample does not exist.
    """
    fired = neurons_of("spikes", spikes, batch_index) != 0  # (time, neurons)
    steps, neurons = fired.shape
    figure = None
    if ax is None:
        figure = figure_of(7.0, min(6.0, 2.4 + 0.03 * neurons))
        ax = figure.subplots()
    ax.set_xlim(-0.5, max(steps, 1) - 0.5)
    ax.set_ylim(-0.5, max(neurons, 1) - 0.5)
    dress(ax, "time step", "neuron", _title(ax, fired))
    whole_numbers(ax.xaxis, ax.yaxis)
    if figure is not None:
        figure.draw_without_rendering()  # computes the layout: the size of marks depends on the size of the axes
    time, neuron = np.nonzero(fired)
    return ax.scatter(time, neuron, **_mark_style(ax, fired.shape, len(time), scatter))


def _title(ax: Axes, fired: np.ndarray) -> str:
    """A title with the number of neurons and spikes, on two lines if the axes are narrow."""
    rate = fired.mean() if fired.size else 0.0
    counts = f"{counted(fired.shape[1], 'neuron')}, {counted(int(fired.sum()), 'spike')}"
    title = f"{counts} ({rate:.3g} per neuron and step)"
    return title.replace(" (", "\n(") if 6 * len(title) > size_of(ax)[0] else title


def _mark_style(ax: Axes, shape: Tuple[int, ...], count: int, scatter: Mapping[str, Any]) -> Dict[str, Any]:
    """Options for `scatter`: vertical lines as high as a row if rows are at least 5 points high, else dots.

    The caller's options replace them. A dot has the size of its cell of neuron and step, more if there are few spikes,
    and at least 1.2 points.
    """
    style: Dict[str, Any] = {} if FILL & scatter.keys() else {"c": "black"}
    width, height = size_of(ax)
    step, row = width / max(shape[0], 1), height / max(shape[1], 1)
    if not scatter.keys() & (SHAPE | {"s"}) and row >= 5:
        style.update(marker="|", s=min(0.8 * row, 14.0) ** 2, linewidths=min(max(0.5 * step, 0.7), 1.5))
    elif "s" not in scatter:
        room = width * height / max(count, 1)  # for each spike
        style.update(s=max(0.8 * min(row, step), min(0.3 * room**0.5, 3.0), 1.2) ** 2)
    if not (style.keys() | scatter.keys()) & SHAPE:
        style.update(marker="o", linewidths=0)  # an outline would be larger than the dot
    return {**style, **scatter}

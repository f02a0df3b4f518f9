"""Spikes as marks: time steps to the right, neurons upwards."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional

import numpy as np

from spikecore.spikeplot.data import neurons_of
from spikecore.spikeplot.style import counted, dress, figure_of, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection


def raster(
    spikes: Any, ax: Optional[Axes] = None, *, batch_index: Optional[int] = None, **scatter: Any
) -> PathCollection:
    """One mark for each spike: time steps to the right, neurons upwards.

    Args:
        spikes: (time,), (time, neurons), or (time, batch, *features) with `batch_index`; not zero is a spike.
        ax: where to draw.
        batch_index: the sample to show; its features are laid out flat.
        scatter: options of `Axes.scatter`, such as s=1.5, c="black".

    Returns:
        The marks, at (time step, neuron).
    """
    fired = neurons_of("spikes", spikes, batch_index) != 0  # (time, neurons)
    steps, neurons = fired.shape
    if ax is None:
        ax = figure_of(7.0, min(6.0, 2.4 + 0.03 * neurons)).subplots()
    time, neuron = np.nonzero(fired)
    marks = ax.scatter(time, neuron, **_mark_style(ax, neurons, scatter))
    ax.set_xlim(-0.5, max(steps, 1) - 0.5)
    ax.set_ylim(-0.5, max(neurons, 1) - 0.5)
    rate = fired.mean() if fired.size else 0.0
    title = f"{counted(neurons, 'neuron')}, {counted(len(time), 'spike')} ({rate:.3g} per neuron and step)"
    dress(ax, "time step", "neuron", title)
    whole_numbers(ax.xaxis, ax.yaxis)
    return marks


def _mark_style(ax: Axes, neurons: int, scatter: Mapping[str, Any]) -> Dict[str, Any]:
    """Upright ticks as tall as a row where rows are tall enough to see them, else dots; the caller's options win."""
    style: Dict[str, Any] = {} if {"c", "color"} & set(scatter) else {"c": "black"}
    row = ax.get_window_extent().height / ax.figure.dpi * 72 / max(neurons, 1)  # points
    if "s" not in scatter and "marker" not in scatter and row >= 3:
        style.update(marker="|", s=min(0.8 * row, 14.0) ** 2, linewidths=1.1)
    elif "s" not in scatter:
        style.update(s=max(0.9 * row, 1.2) ** 2)
    if "marker" not in style and not {"linewidths", "linewidth", "lw"} & set(scatter):
        style.update(linewidths=0)  # a dot's outline would be larger than the dot
    return {**style, **scatter}

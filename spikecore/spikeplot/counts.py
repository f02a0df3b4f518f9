"""The number of spikes of each output neuron: a picture of a prediction by firing rate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, NamedTuple, Optional, Sequence, Union

import numpy as np

from spikecore.arguments import ArrayLike, Colour, checked
from spikecore.spikeplot.animation import play
from spikecore.spikeplot.data import fired, first_steps, names_of, neurons_of
from spikecore.spikeplot.style import (
    BLUE,
    FAINT,
    ORANGE,
    artists_text,
    canvas_of,
    counted,
    dress,
    size_of,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D


class SpikeCount(NamedTuple):
    """The artists of `spike_count`: the bars, and the dots at their ends."""

    bars: LineCollection
    dots: Line2D

    def __repr__(self) -> str:
        return artists_text(self)


@checked
def spike_count(
    data: ArrayLike,
    fig: Optional[Figure] = None,
    ax: Optional[Axes] = None,
    labels: Optional[Sequence[Any]] = None,
    num_steps: Union[int, bool] = False,
    animate: bool = False,
    interpolate: int = 1,
    gridshader: bool = True,
    interval: float = 25,
    time_step: Union[float, bool] = False,
    *,
    batch_index: Optional[int] = None,
    color: Colour = BLUE,
    gridcolor: Colour = FAINT,
    scannercolor: Colour = ORANGE,
    graded: bool = False,
) -> Union[SpikeCount, FuncAnimation]:
    """Draw the number of spikes of each neuron as a horizontal bar, as a picture or as an animation.

    The axis ends at the number of steps, so a bar also shows a rate: the neuron of a full bar fired at every step.

    Args:
        data: spikes, (time, neurons), or (time, batch, *features) with `batch_index`; 0 is no spike, 1 and -1 are one.
        fig: figure to draw on. Default: that of `ax`, or a new one.
        ax: axes to draw on. Default: new axes on `fig`.
        labels: names of the neurons, from the lowest bar. Default: their numbers. If there is no room for all names,
            every second, fifth, tenth, ... is shown.
        num_steps: number of steps to count, from the first. Default: all.
        animate: return an animation in which the bars grow and a line moves along the steps.
        interpolate: pictures per time step of the animation, ≥ 1; more make the line move more smoothly.
        gridshader: shade every second interval between two ticks.
        interval: milliseconds per picture, > 0. Default 25.
        time_step: seconds per step; the axis then shows seconds. Default: steps.
        batch_index: index of the sample to show.
        color: colour of bars and dots.
        gridcolor: colour of the shading.
        scannercolor: colour of the moving line.
        graded: whether spikes may have other values; each that is not zero counts as one spike. Default False.

    Returns:
        The artists, or with `animate` the animation, which a notebook plays: keep a reference to it while it plays.

    Raises:
        ValueError: an array has another shape or values that are no spikes, `labels` another length, or a number is out
            of range.
    """
    spikes = fired("data", first_steps(neurons_of("data", data, batch_index), num_steps), graded)
    names = names_of("labels", range(spikes.shape[1]) if labels is None else labels, spikes.shape[1])
    if isinstance(interpolate, bool) or not isinstance(interpolate, (int, np.integer)) or interpolate < 1:
        raise ValueError(f"interpolate={interpolate!r}: need a whole number of pictures per time step, at least 1")
    steps = len(spikes)
    own = fig is None and ax is None
    figure, ax = canvas_of(fig, ax, 6.0, max(2.2, min(8.0, 1.1 + 0.3 * len(names))), moving=animate)
    totals = np.concatenate([np.zeros((1, len(names)), int), np.cumsum(spikes, axis=0)])  # after 0, 1, … steps
    artists = _bars(ax, totals[-1], color)
    _frame(ax, names, steps, float(time_step), gridcolor if gridshader else None)
    if not ax.get_xlabel():
        ax.set_xlabel("spike count" + (" × time step (s)" if time_step else "") + ("; line: time" if animate else ""))
    if not animate:
        dress(ax, "", "neuron", f"{counted(int(totals[-1].sum()), 'spike')} in {counted(steps, 'time step')}")
        ax.grid(visible=False)
        return artists
    dress(ax, "", "neuron")
    ax.grid(visible=False)
    scanner = ax.axvline(0.0, color=scannercolor, linewidth=2.0)

    def show(picture: int) -> None:
        scanner.set_xdata([picture / interpolate] * 2)
        _lengthen(artists, totals[picture // interpolate])

    # The animation has an extra step, so that the last picture shows the counts of all steps.
    return play(figure, ax, show, steps + 1, interval, interpolate, own=own)


def _bars(ax: Axes, counts: np.ndarray, color: Any) -> SpikeCount:
    rows = np.arange(len(counts))
    size = min(0.7 * size_of(ax)[1] / max(len(rows), 1), 7.0)  # a wider bar would reach into the next row
    bars = ax.hlines(rows, 0.0, counts, color=color, linewidth=size, alpha=0.45, zorder=2)
    (dots,) = ax.plot(counts, rows, "o", color=color, markersize=max(size, 2.0), zorder=3, clip_on=False)
    return SpikeCount(bars, dots)


def _lengthen(artists: SpikeCount, counts: np.ndarray) -> None:
    artists.bars.set_segments([[(0.0, row), (float(count), row)] for row, count in enumerate(counts)])
    artists.dots.set_xdata(counts)


def _frame(ax: Axes, names: List[str], steps: int, seconds: float, shade: Any) -> None:
    """Set limits and ticks, and shade every second interval between ticks."""
    ax.set_xlim(0, steps)
    ax.set_ylim(-0.6, len(names) - 0.4)
    most = size_of(ax)[1] / 10  # a name needs a height of 10 points
    every = next((n for k in range(6) for n in (10**k, 2 * 10**k, 5 * 10**k) if len(names) <= n * most), len(names))
    ax.set_yticks(range(0, len(names), every), names[::every])
    whole_numbers(ax.xaxis)
    ticks = [tick for tick in ax.xaxis.get_major_locator().tick_values(0, steps) if 0 <= tick <= steps]
    ax.set_xticks(ticks, [f"{tick * seconds:g}" for tick in ticks] if seconds else None)
    if shade is not None:
        for left, right in list(zip(ticks, [*ticks[1:], steps]))[1::2]:
            ax.axvspan(left, right, color=shade, linewidth=0, zorder=0)

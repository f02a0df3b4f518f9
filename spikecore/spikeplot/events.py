"""Frames of an event camera: ON events in blue, OFF events in orange, on white."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Union

import numpy as np

from spikecore.arguments import ArrayLike, checked
from spikecore.spikeplot.animation import play
from spikecore.spikeplot.data import chosen, first_steps, host, sample_of
from spikecore.spikeplot.style import BLUE, GREY, ORANGE, canvas_of, grid_of, legend_below, panels_of

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

MOST_FRAMES, COLUMNS = 64, 8


@checked
def event_frames(
    frames: ArrayLike,
    axes: Union[Axes, Sequence[Axes], None] = None,
    *,
    steps: Union[int, Sequence[int]] = 8,
    batch_index: Optional[int] = None,
) -> List[AxesImage]:
    """Draw frames as a grid of images. A stronger colour means more events; pixels with ON and OFF events are dark.

    All frames have the same scale. The strength of the colour grows with the square root of the count, so that single
    events are visible beside pixels with many events.

    Args:
        frames: counts of events, ≥ 0: (time, polarity, height, width) as `datasets.transforms.ToFrames` makes them,
            with polarities 0 OFF and 1 ON or with one channel; or (time, height, width); with `batch_index`
            (time, batch, ...).
        axes: axes to draw on, one per frame, in any nesting. Default: a new figure.
        steps: number of frames to show, in equal distances from the first to the last; or their indices. Default 8.
        batch_index: index of the sample to show.

    Raises:
        ValueError: `frames` has another shape or values below 0, or a step or the sample does not exist.
    """
    counts = _counts(frames, batch_index)
    if isinstance(steps, (int, np.integer)) and steps >= 1:
        places = np.linspace(0, len(counts) - 1, min(int(steps), len(counts)))
        shown = chosen("steps", places.round().astype(int).tolist(), len(counts), "time steps", MOST_FRAMES)
    else:
        shown = chosen("steps", steps, len(counts), "time steps", MOST_FRAMES)
    colours = _coloured(counts)
    height, width = counts.shape[2:]
    columns = -(-len(shown) // -(-len(shown) // COLUMNS))  # rows of the same length, if possible
    own = axes is None
    side = max(1.25, 3.0 / columns)  # one or two frames are larger, because the legend is wide
    panels = (
        grid_of(len(shown), columns, side, side * min(max(height / width, 0.3), 3) + 0.2)
        if axes is None
        else panels_of(axes, len(shown))
    )
    images = []
    for ax, step in zip(panels, shown):
        images.append(ax.imshow(colours[step], interpolation="nearest"))
        _frame(ax)
        if not ax.get_title():
            ax.set_title(f"step {step}", fontsize=9)
    if own and counts.shape[1] == 2:
        _legend(panels[0].figure)
    return images


@checked
def event_animation(
    frames: ArrayLike,
    fig: Optional[Figure] = None,
    ax: Optional[Axes] = None,
    num_steps: Union[int, bool] = False,
    interval: float = 40,
    *,
    batch_index: Optional[int] = None,
) -> FuncAnimation:
    """Show frames as an animation: `event_animation(frames).save("events.gif", writer="pillow")`.

    A notebook plays it if it is the value of the cell's last line. Keep a reference to it while it plays in a window.

    Args:
        frames: counts of events, as in `event_frames`.
        fig: figure to draw on. Default: that of `ax`, or a new one.
        ax: axes to draw on. Default: new axes on `fig`.
        num_steps: number of steps to show, from the first. Default: all.
        interval: milliseconds per step, > 0. Default 40.
        batch_index: index of the sample to show.

    Raises:
        ValueError: as for `event_frames`, or a number is out of range.
    """
    counts = first_steps(_counts(frames, batch_index), num_steps)
    colours = _coloured(counts)
    own = fig is None and ax is None
    figure, ax = canvas_of(fig, ax, 3.2, 3.5, moving=True)
    image = ax.imshow(colours[0], interpolation="nearest")
    _frame(ax)
    if own and counts.shape[1] == 2:
        _legend(figure)
    return play(figure, ax, lambda step: image.set_data(colours[step]), len(colours), interval, own=own)


def _counts(frames: Any, batch_index: Optional[int]) -> np.ndarray:
    """Counts of one sample as (time, polarity, height, width)."""
    array = host(frames)
    if batch_index is not None:
        array = sample_of("frames", array, batch_index)
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in (1, 2) or not array.size:
        raise ValueError(
            f"frames has shape {host(frames).shape}: need (time, polarity, height, width) with one or two polarities, "
            "(time, height, width), or batch_index to choose a sample of (time, batch, ...)"
        )
    if not (np.isfinite(array).all() and array.min() >= 0):
        raise ValueError(f"frames has values from {array.min()} to {array.max()}: need counts of events, at least 0")
    return array.astype(np.float64)


def _coloured(counts: np.ndarray) -> np.ndarray:
    """Colours (time, height, width, 3): each polarity subtracts from white what its own colour lacks."""
    strength = np.sqrt(counts / max(counts.max(), np.finfo(float).tiny))
    inks = (ORANGE, BLUE) if counts.shape[1] == 2 else ("#222222",)
    image = np.ones((len(counts), *counts.shape[2:], 3))
    for polarity, ink in enumerate(inks):
        lacking = 1.0 - np.array([int(ink[i : i + 2], 16) / 255 for i in (1, 3, 5)])
        image -= strength[:, polarity, :, :, None] * lacking
    return image.clip(0.0, 1.0)


def _frame(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set(color=GREY, linewidth=0.5)


def _legend(figure: Any) -> None:
    from matplotlib.patches import Patch

    legend_below(figure, [Patch(color=BLUE), Patch(color=ORANGE)], ["ON: brighter", "OFF: darker"])

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
    """A grid of still frames. The stronger the colour, the more events; where ON and OFF meet it is dark.

    One scale holds for all frames; colour grows with the square root of the count, so that single events show beside
    pixels with many.

    Args:
        frames: (time, polarity, height, width) as `datasets.transforms.ToFrames` makes them, polarity 0 OFF and 1 ON,
            or one channel; (time, height, width); with `batch_index` (time, batch, ...). Counts, at least 0.
        axes: one per frame shown, in any nesting.
        steps: how many frames to show, spread evenly from the first step to the last, or which.
        batch_index: the sample to show.
    """
    counts = _counts(frames, batch_index)
    if isinstance(steps, (int, np.integer)) and steps >= 1:
        places = np.linspace(0, len(counts) - 1, min(int(steps), len(counts)))
        shown = chosen("steps", places.round().astype(int).tolist(), len(counts), "time steps", MOST_FRAMES)
    else:
        shown = chosen("steps", steps, len(counts), "time steps", MOST_FRAMES)
    colours = _coloured(counts)
    height, width = counts.shape[2:]
    columns = -(-len(shown) // -(-len(shown) // COLUMNS))  # rows of one length, where that is possible
    own = axes is None
    side = max(1.25, 3.0 / columns)  # one or two frames are larger: the legend needs the width
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
    """The same frames as a moving picture: `event_animation(frames).save("events.gif", writer="pillow")`.

    Args:
        frames: as in `event_frames`.
        fig: the figure to draw on; default that of `ax`, or a new one.
        ax: where to draw; default new axes on `fig`.
        num_steps: how many steps to show, from the first; default all.
        interval: milliseconds per step.
        batch_index: the sample to show.
    """
    counts = first_steps(_counts(frames, batch_index), num_steps)
    colours = _coloured(counts)
    own = fig is None and ax is None
    figure, ax = canvas_of(fig, ax, 3.2, 3.5)
    image = ax.imshow(colours[0], interpolation="nearest")
    _frame(ax)
    if own and counts.shape[1] == 2:
        _legend(figure)
    return play(figure, ax, lambda step: image.set_data(colours[step]), len(colours), interval, own=own)


def _counts(frames: Any, batch_index: Optional[int]) -> np.ndarray:
    """(time, polarity, height, width) of one sample."""
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
    """(time, height, width, 3): white, less what each polarity's colour lacks of white."""
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

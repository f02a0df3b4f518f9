"""Membrane potentials over time, with thresholds and spikes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from spikecore.arguments import ArrayLike, Numbers, checked
from spikecore.spikeplot.data import chosen, fired, host, neurons_of, per_neuron
from spikecore.spikeplot.style import (
    BLUE,
    GREY,
    ORANGE,
    artists_text,
    dress,
    grid_of,
    legend_below,
    panels_of,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MOST_TRACES = 24
FEW = 4  # default number of neurons


class Traces(NamedTuple):
    """The artists of `traces`, one per neuron: membrane, threshold, spikes. The last two are empty if not given."""

    mem: List[Line2D]
    threshold: List[Line2D]
    spikes: List[Line2D]

    def __repr__(self) -> str:
        return artists_text(self)


@checked
def traces(
    mem: ArrayLike,
    spikes: Optional[ArrayLike] = None,
    axes: Union[Axes, Sequence[Axes], Tuple[int, int], None] = None,
    *,
    threshold: Optional[Numbers] = None,
    neurons: Union[int, Sequence[int], None] = None,
    batch_index: Optional[int] = None,
    dim: Optional[Tuple[int, int]] = None,
    titles: Optional[Sequence[str]] = None,
    spk: Optional[ArrayLike] = None,
    spk_height: Optional[float] = None,
    graded: bool = False,
) -> Traces:
    """Draw membrane potentials over time, one panel per neuron, with the threshold as a line and each spike as a dot.

    Args:
        mem: (time,), (time, neurons), or (time, batch, *features) with `batch_index`.
        spikes: array of the same shape; 0 is no spike, 1 and -1 are one, marked on the membrane at its step.
        axes: axes to draw on, one per neuron, in any nesting. Default: a new figure. A pair of numbers is `dim`.
        threshold: a number for all neurons, or an array with one number per neuron of a sample. An array of size 1
            counts as one number.
        neurons: number of neurons to show, from the first, or their indices. Default: 4, or one per panel of `dim`.
        batch_index: index of the sample to show.
        dim: (rows, columns) of the panels of a new figure, which then have the same scale. Default: one column.
        titles: titles of the panels, from the first; panels without a title are allowed.
        spk: snnTorch's name for `spikes`.
        spk_height: draw mem + spk_height · spikes instead of dots; in the units of mem.
        graded: whether spikes may have other values; each that is not zero is marked. Default False.

    Raises:
        ValueError: shapes do not fit, `spikes` has values that are none, a neuron or sample does not exist, or two
            arguments exclude each other.
    """
    spikes = _either(spikes, spk)
    axes, dim = _grid(axes, dim)
    potential = neurons_of("mem", mem, batch_index)  # (time, neurons)
    at = None if spikes is None else fired("spikes", neurons_of("spikes", spikes, batch_index), graded)
    if at is not None and at.shape != potential.shape:
        raise ValueError(f"spikes {host(spikes).shape} and mem {host(mem).shape} must have the same shape")
    panels_wanted = int(np.prod(dim)) if dim else FEW
    shown = chosen(
        "neurons",
        panels_wanted if neurons is None else neurons,
        potential.shape[1],
        "neurons",
        panels_wanted if dim else MOST_TRACES,
    )
    level = None if threshold is None else per_neuron(threshold, potential.shape[1])
    if at is not None and spk_height is not None:
        potential, at = potential + spk_height * at, None
    panels = _panels(axes, dim, len(shown))
    artists = Traces([], [], [])
    for ax, index in zip(panels, shown):
        _draw(ax, artists, potential[:, index], None if at is None else at[:, index], level, index)
    _label(panels, shown, titles, own=axes is None, dim=dim)
    if axes is None:
        named = [("membrane", artists.mem), ("threshold", artists.threshold), ("spike", artists.spikes)]
        handles, labels = zip(*((lines[0], name) for name, lines in named if lines))
        if len(handles) > 1:
            legend_below(panels[0].figure, handles, labels)
    return artists


def _either(spikes: Any, spk: Any) -> Any:
    if spikes is not None and spk is not None:
        raise ValueError("spk is another name of spikes: give one of them")
    return spk if spikes is None else spikes


def _grid(axes: Any, dim: Any) -> Tuple[Any, Optional[Tuple[int, int]]]:
    """The arguments (axes, dim). snnTorch's third argument is `dim`, so a pair of numbers as `axes` becomes `dim`."""
    if isinstance(axes, (tuple, list)) and axes and all(isinstance(each, (int, np.integer)) for each in axes):
        if dim is not None:
            raise ValueError(f"axes={axes!r} and dim={dim!r}: give one of them")
        axes, dim = None, axes
    if axes is not None and dim is not None:
        raise ValueError(f"dim={dim!r} is for a new figure: leave out dim or axes")
    if dim is not None and (len(dim) != 2 or min(dim) < 1):
        raise ValueError(f"dim={dim!r}: need (rows, columns), each at least 1")
    return axes, None if dim is None else (int(dim[0]), int(dim[1]))


def _panels(axes: Any, dim: Optional[Tuple[int, int]], count: int) -> List[Axes]:
    if axes is not None:
        return panels_of(axes, count)
    if dim is None:
        return grid_of(count, 1, 7.0, 1.25 + 0.8 / count, sharex=True)  # title, labels and legend need 0.8
    rows, columns = dim
    return grid_of(count, columns, max(1.6, 8.0 / columns), max(1.0, 5.0 / rows), sharex=True, sharey=True)


def _draw(ax: Axes, artists: Traces, potential: np.ndarray, spikes: Any, level: Any, index: int) -> None:
    """Draw one neuron, and append its lines to `artists`."""
    if level is not None:
        artists.threshold.append(ax.axhline(level[index], color=GREY, linewidth=0.9, linestyle=(0, (5, 3)), zorder=1))
    artists.mem.extend(ax.plot(np.arange(len(potential)), potential, color=BLUE, linewidth=1.3, zorder=2))
    if spikes is not None:
        at = np.flatnonzero(spikes)
        dots: Dict[str, Any] = {
            "linestyle": "none",
            "marker": "o",
            "markersize": 4,
            "color": ORANGE,
            "clip_on": False,
            "in_layout": at.size > 0,  # matplotlib's layout places an empty line at the corner of the figure
        }
        artists.spikes.extend(ax.plot(at, potential[at], zorder=3, **dots))
    ax.set_xlim(0, max(len(potential) - 1, 1))


def _label(panels: List[Axes], shown: List[int], titles: Any, *, own: bool, dim: Any) -> None:
    """Label neurons beside the panels of a column or above those of a grid, and the time below the lowest panels."""
    columns = dim[1] if dim else 1
    for number, (ax, index) in enumerate(zip(panels, shown)):
        if titles is not None and number < len(titles):
            ax.set_title(str(titles[number]), fontsize=9 if dim else 11)
        elif dim:
            ax.set_title(f"neuron {index}", fontsize=9)
        lowest = not own or number >= len(panels) - columns
        dress(ax, "time step" if lowest else "", "" if dim else f"neuron {index}")
        whole_numbers(ax.xaxis)
    if own:
        panels[0].figure.suptitle("Membrane potential", fontsize=11)
        if not dim:
            panels[0].figure.align_ylabels(panels)

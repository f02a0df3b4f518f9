"""The picture of textbooks: input, membrane with its threshold, and spikes of a neuron, one below the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from spikecore.arguments import ArrayLike, Numbers, checked
from spikecore.spikeplot.data import chosen, fired, host, neurons_of, per_neuron
from spikecore.spikeplot.rasters import frame_rows, marks
from spikecore.spikeplot.style import CYCLE, GREY, artists_text, dress, figure_of, panels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D

    from spikecore.base import Output

MOST = 8  # neurons whose membranes can be told apart in one panel


class Stack(NamedTuple):
    """The artists of `stack`. Lists are empty, and marks None, for what is not drawn."""

    inputs: List[Union[Line2D, PathCollection]]
    mem: List[Line2D]
    threshold: List[Line2D]
    spikes: Optional[PathCollection]

    def __repr__(self) -> str:
        return artists_text(self)


@checked
def stack(
    mem: Union[ArrayLike, Output],
    spikes: Optional[ArrayLike] = None,
    inputs: Optional[ArrayLike] = None,
    axes: Union[Axes, Sequence[Axes], None] = None,
    *,
    threshold: Optional[Numbers] = None,
    neurons: Union[int, Sequence[int]] = 1,
    batch_index: Optional[int] = None,
    layer: Optional[str] = None,
    graded: bool = False,
) -> Stack:
    """Draw input, membrane with its threshold, and spikes of a neuron below one another, over the same time.

    `spikeplot.stack(mem, spikes, current, threshold=1.0)` for arrays; `spikeplot.stack(out, inputs=x, batch_index=0)`
    for what a model returns. Inputs that are 0 or 1 are drawn as a raster, others as lines.

    Args:
        mem: membrane potentials, (time,), (time, neurons), or (time, batch, *features) with `batch_index`; or the
            `Output` of a model, whose recorded layer `layer` is drawn.
        spikes: array of the same shape; 0 is no spike, 1 and -1 are one. Default: those of the `Output`, which may be
            graded, else no panel.
        inputs: (time,), (time, features), or with `batch_index` (time, batch, *features). Default: no panel.
        axes: axes to draw on, one per panel: input if given, membrane, spikes if given. Default: a new figure.
        threshold: a number, or one per neuron of a sample, drawn as a dashed line; in the units of `mem`.
        neurons: number of neurons to show, from the first, or their indices; at most 8. Default: the first one.
        batch_index: index of the sample to show.
        layer: name of a recorded layer of an `Output`. Default: the last one that was recorded.
        graded: whether `spikes` may have other values; each that is not zero is a spike. Default False.

    Returns:
        The artists: input, membranes and thresholds by neuron, and spikes.

    Raises:
        ValueError: shapes do not fit, `spikes` has values that are none, or a neuron, a sample or a layer does not
            exist.
    """
    graded = graded or spikes is None  # those of an Output are spikes
    mem, spikes = _recorded(mem, spikes, layer)
    potential = neurons_of("mem", mem, batch_index)  # (time, neurons)
    shown = chosen("neurons", neurons, potential.shape[1], "neurons", MOST)
    at = None if spikes is None else fired("spikes", neurons_of("spikes", spikes, batch_index), graded)
    if at is not None and at.shape != potential.shape:
        raise ValueError(f"spikes {host(spikes).shape} and mem {host(mem).shape} must have the same shape")
    given = None if inputs is None else _inputs(inputs, batch_index, potential.shape, shown)
    level = None if threshold is None else per_neuron(threshold, potential.shape[1])
    panels = _panels(axes, given, at, len(shown))
    middle = panels[0 if given is None else 1]
    artists = Stack([], [], [], None)
    for number, index in enumerate(shown):
        color, name = CYCLE[number % len(CYCLE)], f"neuron {index}"
        artists.mem.extend(middle.plot(potential[:, index], color=color, linewidth=1.5, label=name))
    for value in [] if level is None else dict.fromkeys(level[shown].tolist()):
        artists.threshold.append(middle.axhline(value, color=GREY, linewidth=1.0, linestyle=(0, (5, 3)), zorder=1))
    dress(middle, "time step" if at is None else "", "membrane")
    if at is not None:
        dress(panels[-1], "time step", "spikes")
        frame_rows(panels[-1], (len(at), len(shown)), [str(index) if len(shown) > 1 else "" for index in shown])
    if given is not None:
        dress(panels[0], "", "input spikes" if _spiking(given) else "input")
        if _spiking(given):
            frame_rows(panels[0], given.shape, [""] if given.shape[1] == 1 else None)
        else:
            artists.inputs.extend(_lines(panels[0], given, len(shown)))
    middle.set_xlim(-0.5, len(potential) - 0.5)
    _legend(middle, artists)
    if axes is None:
        middle.figure.canvas.figure.draw_without_rendering()  # computes the layout, on which the size of marks depends
    if given is not None and _spiking(given):
        artists.inputs.append(marks(panels[0], given != 0, {}))
    return artists if at is None else artists._replace(spikes=marks(panels[-1], at[:, shown], {}))


def _recorded(mem: Any, spikes: Any, layer: Optional[str]) -> Tuple[Any, Any]:
    """Membranes and spikes, out of an `Output` if it was given."""
    if not hasattr(mem, "states"):
        if layer is not None:
            raise ValueError(f"layer={layer!r} is for an Output of a model: leave it out for arrays")
        return mem, spikes
    names = [name for name, state in mem.states.items() if "mem" in state]
    name = names[-1] if layer is None and names else layer
    if name not in names:
        remedy = "call the model with record=True" if layer is None or not names else "give one of them"
        raise ValueError(f"layer={layer!r}: the Output has membranes of layers {names}: {remedy}")
    state = mem.states[name]
    own = state.get("spikes")
    if own is not None and np.array_equal(host(own), host(state["mem"])):
        own = None  # a readout whose output is its membrane
    return state["mem"], own if spikes is None else spikes


def _inputs(inputs: Any, batch_index: Optional[int], shape: Tuple[int, ...], shown: List[int]) -> np.ndarray:
    """The inputs to draw, (time, features): those of the neurons, if there is one for each."""
    given = host(inputs)
    # What is the same for all samples has no batch.
    values = neurons_of("inputs", given, None if given.ndim == 1 else batch_index)
    if len(values) != shape[0]:
        raise ValueError(f"inputs has {len(values)} time steps and mem has {shape[0]}: need the same number")
    return values[:, shown] if values.shape[1] == shape[1] else values


def _panels(axes: Any, given: Any, spikes: Any, neurons: int) -> List[Axes]:
    heights = [*([1.0] if given is not None else []), 1.7, *([0.35 + 0.12 * neurons] if spikes is not None else [])]
    if axes is not None:
        return panels_of(axes, len(heights))
    figure = figure_of(7.0, 0.6 + 1.1 * sum(heights))
    return list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights).flat)


def _spiking(given: np.ndarray) -> bool:
    """Whether an input is drawn as a raster: it has no other values than 0 and 1, and a 1."""
    return bool(((given == 0) | (given == 1)).all() and given.any())


def _lines(ax: Axes, given: np.ndarray, shown: int) -> List[Line2D]:
    """Inputs (time, features) as lines, in the colours of the neurons if there is one for each."""
    colours = CYCLE if given.shape[1] == shown else (GREY,)
    lines = []
    for number, values in enumerate(given.T):
        width = 1.3 if given.shape[1] <= MOST else 0.6
        lines += ax.plot(values, color=colours[number % len(colours)], linewidth=width)
    return lines


def _legend(ax: Axes, artists: Stack) -> None:
    """The name of the threshold inside the panel of the membrane, or with those of several neurons above it."""
    neurons = artists.mem if len(artists.mem) > 1 else []
    handles = [*neurons, *artists.threshold[:1]]
    names = [*(str(line.get_label()) for line in neurons), "threshold"][: len(handles)]
    if neurons:
        ax.legend(handles, names, frameon=False, fontsize=8, ncols=5, loc="lower left", bbox_to_anchor=(0.0, 1.0))
    elif handles:
        ax.legend(handles, names, frameon=False, fontsize=8)

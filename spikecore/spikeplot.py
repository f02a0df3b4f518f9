"""Spike rasters, membrane traces and training curves, from arrays of any engine.

Each function draws on the axes it is given, or on a figure of its own, and returns the artists; `artist.figure` leads
to the figure: `spikeplot.raster(spikes).figure.savefig("raster.png")`. No pyplot, and nothing global is changed. Time
is axis 0. An axis label or title that is already set stays.

Bad arguments raise ValueError, and a missing matplotlib an ImportError that names the extra to install.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection
    from matplotlib.lines import Line2D

# The Okabe–Ito palette: told apart by colour-blind readers too.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
MOST_TRACES = 24
CURVES = (
    ("loss", (("loss", "training", BLUE), ("val_loss", "validation", ORANGE))),
    ("accuracy", (("accuracy", "training", BLUE), ("val_accuracy", "validation", ORANGE))),
)


class Traces(NamedTuple):
    """What `traces` drew: per neuron its membrane, threshold and spikes; the last two empty where none were given."""

    mem: List[Line2D]
    threshold: List[Line2D]
    spikes: List[Line2D]


def raster(
    spikes: Any, ax: Optional[Axes] = None, *, batch_index: Optional[int] = None, **scatter: Any
) -> PathCollection:
    """One mark for each spike: time steps to the right, neurons upwards.

    Args:
        spikes: (time,), (time, neurons), or (time, batch, *features) with `batch_index`; not zero is a spike.
        ax: where to draw.
        batch_index: the sample to show; its features are laid out flat.
        scatter: options of `Axes.scatter`, such as s=1.5, c="black".
    """
    fired = _neurons("spikes", spikes, batch_index) != 0  # (time, neurons)
    steps, neurons = fired.shape
    if ax is None:
        ax = _figure(7.0, min(6.0, 2.4 + 0.03 * neurons)).subplots()
    time, neuron = np.nonzero(fired)
    marks = ax.scatter(time, neuron, **_mark_style(ax, neurons, scatter))
    ax.set_xlim(-0.5, max(steps, 1) - 0.5)
    ax.set_ylim(-0.5, max(neurons, 1) - 0.5)
    rate = fired.mean() if fired.size else 0.0
    title = f"{_count(neurons, 'neuron')}, {_count(len(time), 'spike')} ({rate:.3g} per neuron and step)"
    _dress(ax, "time step", "neuron", title)
    _whole_numbers(ax.xaxis, ax.yaxis)
    return marks


def traces(
    mem: Any,
    spikes: Any = None,
    axes: Union[Axes, Sequence[Axes], None] = None,
    *,
    threshold: Any = None,
    neurons: Union[int, Sequence[int]] = 4,
    batch_index: Optional[int] = None,
) -> Traces:
    """Membrane potentials over time, one panel per neuron, with the threshold as a line and each spike as a dot.

    Args:
        mem: (time,), (time, neurons), or (time, batch, *features) with `batch_index`.
        spikes: of the same shape; not zero is a spike, marked on the membrane at its step.
        axes: one per neuron shown, in any nesting; a single one for a single neuron.
        threshold: a number, or one per neuron of a sample (any shape that broadcasts to its features).
        neurons: how many to show, from the first, or which.
        batch_index: the sample to show.
    """
    potential = _neurons("mem", mem, batch_index)  # (time, neurons)
    fired = None if spikes is None else _neurons("spikes", spikes, batch_index) != 0
    if fired is not None and fired.shape != potential.shape:
        raise ValueError(f"spikes {np.shape(spikes)} and mem {np.shape(mem)} must have the same shape")
    steps, shown = np.arange(len(potential)), _chosen(neurons, potential.shape[1])
    level = None if threshold is None else _per_neuron(threshold, potential.shape[1])
    panels = _panels(axes, len(shown))
    drawn = Traces([], [], [])
    for ax, index in zip(panels, shown):
        if level is not None:
            drawn.threshold.append(ax.axhline(level[index], color=GREY, linewidth=0.9, linestyle=(0, (5, 3)), zorder=1))
        drawn.mem.extend(ax.plot(steps, potential[:, index], color=BLUE, linewidth=1.3, zorder=2))
        if fired is not None:
            at = np.flatnonzero(fired[:, index])
            dots: Dict[str, Any] = {
                "linestyle": "none",
                "marker": "o",
                "markersize": 4,
                "color": ORANGE,
                "clip_on": False,
                "in_layout": at.size > 0,  # without data, unclipped dots count as one at the corner of the figure
            }
            drawn.spikes.extend(ax.plot(at, potential[at, index], zorder=3, **dots))
        ax.set_xlim(0, max(len(steps) - 1, 1))
        _dress(ax, "time step" if ax is panels[-1] or axes is not None else "", f"neuron {index}")
        _whole_numbers(ax.xaxis)
    if axes is None:
        panels[0].figure.suptitle("Membrane potential", fontsize=11)
        panels[0].figure.align_ylabels(panels)
        _legend_below(panels[0], drawn)
    return drawn


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
    lines = {}
    for ax, (kind, curves) in zip(_panels(axes, len(kinds), across=True), kinds):
        for key, label, color in curves:
            if key in points:
                epochs, values = zip(*points[key])
                (lines[key],) = ax.plot(epochs, values, color=color, label=label, linewidth=1.6)
                if len(epochs) <= 40:  # dots show where epochs lie, and a single one at all
                    lines[key].set(marker="o", markersize=3.5)
        if kind == "accuracy":
            from matplotlib.ticker import PercentFormatter

            ax.yaxis.set_major_formatter(PercentFormatter(1.0))
        _dress(ax, "epoch", kind, kind.capitalize())
        _whole_numbers(ax.xaxis)
        ax.legend(frameon=False, fontsize=9)
    return lines


# ------------------------------------------------------------------------------------------------ data


def _host(values: Any) -> np.ndarray:
    """A NumPy array of any engine's array, without importing that engine."""
    if hasattr(values, "detach"):  # torch; double, because NumPy has no bfloat16
        values = values.detach().cpu().double()
    elif hasattr(values, "get") and hasattr(values, "__cuda_array_interface__"):  # cupy
        values = values.get()
    return np.asarray(values)


def _neurons(name: str, values: Any, batch_index: Optional[int]) -> np.ndarray:
    """(time, neurons) of one sample."""
    array = _host(values)
    if batch_index is None:
        if array.ndim not in (1, 2):
            raise ValueError(
                f"{name} has shape {array.shape}: need (time, neurons), "
                "or batch_index to choose a sample of (time, batch, *features)"
            )
        return array[:, None] if array.ndim == 1 else array
    if array.ndim < 2 or not -array.shape[1] <= batch_index < array.shape[1]:
        raise ValueError(f"batch_index={batch_index}: {name} has shape {array.shape}, (time, batch, *features)")
    sample = array[:, batch_index]
    return sample.reshape(len(sample), int(np.prod(sample.shape[1:])))


def _per_neuron(threshold: Any, neurons: int) -> np.ndarray:
    level = _host(threshold).reshape(-1)
    if level.size not in (1, neurons):
        raise ValueError(f"threshold has {level.size} values: need one, or one for each of {neurons} neurons")
    return np.broadcast_to(level, (neurons,))


def _chosen(neurons: Union[int, Sequence[int]], available: int) -> List[int]:
    if isinstance(neurons, (int, np.integer)):
        shown = list(range(min(int(neurons), available)))
    else:
        shown = [int(index) for index in neurons]
    if not shown or len(shown) > MOST_TRACES or not all(0 <= index < available for index in shown):
        raise ValueError(
            f"neurons={neurons!r}: need a count or indices of 1 to {MOST_TRACES} of the {available} neurons (from 0)"
        )
    return shown


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


# ------------------------------------------------------------------------------------------------ drawing


def _figure(width: float, height: float) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('spikeplot draws with matplotlib: pip install "spikecore[plot]"') from error
    return Figure(figsize=(width, height), layout="constrained")


def _panels(axes: Any, count: int, *, across: bool = False) -> List[Axes]:
    """The caller's axes, of which there must be `count`, or new ones: beside each other, or a column sharing time."""
    if axes is None:
        if across:
            return list(_figure(3.8 * count, 3.2).subplots(1, count, squeeze=False).flat)
        return list(_figure(7.0, 1.0 + 1.25 * count).subplots(count, 1, sharex=True, squeeze=False).flat)
    given = list(np.asarray(axes, dtype=object).reshape(-1))
    if len(given) != count:
        raise ValueError(f"axes: {len(given)} given, {count} needed")
    return given


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


def _dress(ax: Axes, x: str, y: str, title: str = "") -> None:
    """Label what has no label yet; a faint grid behind the data."""
    if not ax.get_xlabel():
        ax.set_xlabel(x)
    if not ax.get_ylabel():
        ax.set_ylabel(y)
    if not ax.get_title():
        ax.set_title(title, fontsize=11)
    ax.grid(visible=True, color="#e4e4e4", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def _whole_numbers(*axis: Any) -> None:
    from matplotlib.ticker import MaxNLocator

    for each in axis:
        each.set_major_locator(MaxNLocator(integer=True, nbins="auto", steps=[1, 2, 5, 10]))


def _legend_below(ax: Axes, drawn: Traces) -> None:
    named = [("membrane", drawn.mem), ("threshold", drawn.threshold), ("spike", drawn.spikes)]
    handles, labels = zip(*((lines[0], name) for name, lines in named if lines))
    if len(handles) > 1:
        place: Dict[str, Any] = {"loc": "outside lower center", "ncols": len(handles)}
        ax.figure.legend(handles, labels, frameon=False, fontsize=9, **place)


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" + ("" if number == 1 else "s")

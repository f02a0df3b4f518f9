"""Surrogate derivatives as functions of the distance from the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from spikecore.arguments import checked
from spikecore.spikeplot.data import host
from spikecore.spikeplot.style import (
    BLUE,
    CYCLE,
    DASHES,
    FAINT,
    GREY,
    artists_text,
    dress,
    grid_of,
    legend_below,
    panels_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

DISTANCE = "u = U − θ"


class SurrogateLines(NamedTuple):
    """The artists of `surrogate_curves` for one surrogate."""

    derivative: Line2D
    curve: Optional[Line2D]  # the antiderivative; None if it is not drawn

    def __repr__(self) -> str:
        return artists_text(self)


@checked
def surrogate_curves(
    curves: Mapping[str, Sequence[Any]], axes: Union[Axes, Sequence[Axes], None] = None, *, columns: int = 4
) -> Dict[str, SurrogateLines]:
    """Draw the derivative of each surrogate, and its antiderivative if you pass it.

    Compute the arrays by `surrogate.derivative(xp, u)` and `surrogate.antiderivative(xp, u)`, with an engine's `xp`.

    Args:
        curves: by name (u, derivative) or (u, derivative, antiderivative), arrays (points,); u is the distance of the
            membrane from the threshold. The antiderivative is shifted so that it starts at 0.
        axes: axes to draw on, one per surrogate, in any nesting; or single axes for all derivatives. Default: a new
            figure with one panel per surrogate.
        columns: number of panels in a row of a new figure, ≥ 1. Default 4.

    Returns:
        The lines of each surrogate, by name.

    Raises:
        ValueError: `curves` is empty, or arrays of one surrogate differ in shape.
    """
    arrays_of = {name: _checked(name, arrays) for name, arrays in curves.items()}
    if not arrays_of:
        raise ValueError("curves is empty: need by name (u, derivative) or (u, derivative, antiderivative)")
    if columns < 1:
        raise ValueError(f"columns={columns!r}: need at least 1")
    if hasattr(axes, "plot"):
        return _together(axes, arrays_of)
    count = len(arrays_of)
    columns = min(columns, count)
    width = max(2.75, 3.6 / columns)  # a single panel is wider, because the legend is wide
    panels = grid_of(count, columns, width, 2.0, sharex=True) if axes is None else panels_of(axes, count)
    lines = {name: _panel(ax, name, arrays) for ax, (name, arrays) in zip(panels, arrays_of.items())}
    if axes is None:
        for ax in panels[:-columns]:
            ax.set_xlabel("")
        _legend(panels[0].figure, list(lines.values()))
    return lines


def _checked(name: str, arrays: Sequence[Any]) -> Tuple[np.ndarray, ...]:
    values = tuple(host(array) for array in arrays)
    if len(values) not in (2, 3) or values[0].ndim != 1 or len({array.shape for array in values}) != 1:
        raise ValueError(
            f"curves[{name!r}] has arrays of shapes {[array.shape for array in values]}: need (u, derivative) or "
            "(u, derivative, antiderivative), each (points,)"
        )
    return values


def _panel(ax: Axes, name: str, arrays: Tuple[np.ndarray, ...]) -> SurrogateLines:
    u, derivative, *rest = arrays
    ax.axvline(0.0, color=FAINT, linewidth=1.0, zorder=0)
    curve = None
    for values in rest:
        (curve,) = ax.plot(u, values - values[0], color=GREY, linewidth=1.3, linestyle=(0, (5, 2)))
    (line,) = ax.plot(u, derivative, color=BLUE, linewidth=1.7)
    ax.set_xlim(float(u.min()), float(u.max()))
    if not ax.get_title():
        ax.set_title(name, fontsize=9, family="monospace")
    ax.tick_params(labelsize=8)
    dress(ax, DISTANCE, "")
    return SurrogateLines(line, curve)


def _together(ax: Any, arrays_of: Mapping[str, Tuple[np.ndarray, ...]]) -> Dict[str, SurrogateLines]:
    """Draw all derivatives on the same axes. Curves of the same colour have different dashes."""
    ax.axvline(0.0, color=FAINT, linewidth=1.0, zorder=0)
    lines = {}
    for number, (name, (u, derivative, *_)) in enumerate(arrays_of.items()):
        dashes: Any = DASHES[number // len(CYCLE) % len(DASHES)]
        (line,) = ax.plot(u, derivative, color=CYCLE[number % len(CYCLE)], linestyle=dashes, linewidth=1.6, label=name)
        lines[name] = SurrogateLines(line, None)
    dress(ax, DISTANCE, "dS/du in the backward pass")
    ax.legend(frameon=False, fontsize=9)
    return lines


def _legend(figure: Any, lines: List[SurrogateLines]) -> None:
    handles, labels = [lines[0].derivative], ["derivative: what the backward pass uses"]
    for curve in [line.curve for line in lines if line.curve is not None][:1]:
        handles.append(curve)
        labels.append("antiderivative, from 0 at the left")
    legend_below(figure, handles, labels)

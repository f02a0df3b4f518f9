"""Surrogate derivatives as curves over the distance from the threshold."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from spikecore.arguments import checked
from spikecore.spikeplot.data import host
from spikecore.spikeplot.style import BLUE, CYCLE, DASHES, FAINT, GREY, dress, grid_of, legend_below, panels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

DISTANCE = "u = U − θ"


class SurrogateLines(NamedTuple):
    """What `surrogate_curves` drew of one surrogate."""

    derivative: Line2D
    curve: Optional[Line2D]  # the antiderivative, where it was given and drawn


@checked
def surrogate_curves(
    curves: Mapping[str, Sequence[Any]], axes: Union[Axes, Sequence[Axes], None] = None, *, columns: int = 4
) -> Dict[str, SurrogateLines]:
    """The derivative of each surrogate, and where given the curve that it is the derivative of.

    Evaluate a surrogate where you want it: `one.derivative(xp, u)`, `one.antiderivative(xp, u)`, with an engine's `xp`.

    Args:
        curves: by name (u, derivative) or (u, derivative, antiderivative), arrays of one length; u is the distance of
            the membrane from the threshold. The antiderivative is drawn from 0 at the left.
        axes: one per surrogate, in any nesting; or a single one, for the derivatives of all. Default a panel for each.
        columns: panels in a row of a figure of its own.
    """
    checked = {name: _checked(name, arrays) for name, arrays in curves.items()}
    if not checked:
        raise ValueError("curves is empty: need by name (u, derivative) or (u, derivative, antiderivative)")
    if columns < 1:
        raise ValueError(f"columns={columns!r}: need at least 1")
    if hasattr(axes, "plot"):
        return _together(axes, checked)
    columns = min(columns, len(checked))
    width = max(2.75, 3.6 / columns)  # a single one is wider: the legend needs it
    panels = grid_of(len(checked), columns, width, 2.0, sharex=True) if axes is None else panels_of(axes, len(checked))
    lines = {name: _panel(ax, name, arrays) for ax, (name, arrays) in zip(panels, checked.items())}
    if axes is None:
        for ax in panels[:-columns]:
            ax.set_xlabel("")
        _legend(panels[0].figure, list(lines.values()))
    return lines


def _checked(name: str, arrays: Sequence[Any]) -> Tuple[np.ndarray, ...]:
    values = tuple(host(each) for each in arrays)
    if len(values) not in (2, 3) or values[0].ndim != 1 or len({each.shape for each in values}) != 1:
        raise ValueError(
            f"curves[{name!r}] has arrays of shapes {[each.shape for each in values]}: need (u, derivative) or "
            "(u, derivative, antiderivative), each (points,)"
        )
    return values


def _panel(ax: Axes, name: str, arrays: Tuple[np.ndarray, ...]) -> SurrogateLines:
    u, derivative, *rest = arrays
    ax.axvline(0.0, color="#cccccc", linewidth=1.0, zorder=0)
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


def _together(ax: Any, checked: Mapping[str, Tuple[np.ndarray, ...]]) -> Dict[str, SurrogateLines]:
    """All derivatives on one scale; dashes change when the colours have been through."""
    ax.axvline(0.0, color=FAINT, linewidth=1.0, zorder=0)
    lines = {}
    for number, (name, (u, derivative, *_)) in enumerate(checked.items()):
        dashes: Any = DASHES[number // len(CYCLE) % len(DASHES)]
        (line,) = ax.plot(u, derivative, color=CYCLE[number % len(CYCLE)], linestyle=dashes, linewidth=1.6, label=name)
        lines[name] = SurrogateLines(line, None)
    dress(ax, DISTANCE, "dS/du in the backward pass")
    ax.legend(frameon=False, fontsize=9)
    return lines


def _legend(figure: Any, lines: List[SurrogateLines]) -> None:
    handles, labels = [lines[0].derivative], ["derivative: what the backward pass uses"]
    for curve in [each.curve for each in lines if each.curve is not None][:1]:
        handles.append(curve)
        labels.append("antiderivative, from 0 at the left")
    legend_below(figure, handles, labels)

"""What all pictures share: colours, figures, panels, labels."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Dict, List, Sequence, Tuple

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The Okabe–Ito palette: told apart by colour-blind readers too (M. Okabe, K. Ito, Color Universal Design, 2008).
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#666666"
CYCLE = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "black")
FAINT = "#e4e4e4"
# A colour-blind reader's second witness, for more curves than there are colours.
DASHES = ("solid", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))


def figure_of(width: float, height: float) -> Any:
    """Where to draw if the caller gives no axes; ImportError names the extra to install.

    In a program that has imported pyplot, its current figure if that is still empty, else a new current one: what
    ``plt.show()``, ``plt.gcf()`` and ``plt.savefig()`` are about. In others a figure that is its owner's alone.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('spikeplot draws with matplotlib: pip install "spikecore[plot]"') from error
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is None:
        return Figure(figsize=(width, height), layout="constrained")
    current = pyplot.gcf() if pyplot.get_fignums() else None
    if current is None or current.get_children() != [current.patch]:
        return pyplot.figure(figsize=(width, height), layout="constrained")
    if current.get_layout_engine() is None:
        current.set_layout_engine("constrained")
    return current


def panels_of(axes: Any, count: int) -> List[Axes]:
    """The caller's axes in any nesting, of which there must be `count`."""
    given = list(np.asarray(axes, dtype=object).reshape(-1))
    if len(given) != count:
        raise ValueError(f"axes: {len(given)} given, {count} needed")
    return given


def grid_of(count: int, columns: int, width: float, height: float, **shared: Any) -> List[Axes]:
    """`count` new panels of this size in rows of `columns`; the last row may be short."""
    rows = -(-count // columns)
    figure = figure_of(width * columns, height * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    for ax in grid.flat[count:]:
        ax.remove()
    for ax in grid.flat[max(count - columns, 0) : count]:  # the lowest of each column, also above a gap
        ax.tick_params(labelbottom=True)
    return list(grid.flat[:count])


def canvas_of(fig: Any, ax: Any, width: float, height: float) -> Any:
    """(figure, axes) from what the caller gave of the two; the figure is the one that is saved, never a part of it."""
    if ax is None:
        figure = figure_of(width, height) if fig is None else fig
        return figure.canvas.figure, figure.subplots()
    root = ax.figure.canvas.figure
    if fig is not None and fig.canvas.figure is not root:
        raise ValueError("ax lies on another figure than fig: pass the axes' own figure, or leave fig out")
    return root, ax


def dress(ax: Axes, x: str, y: str, title: str = "") -> None:
    """Label what has no label yet; a faint grid behind the data."""
    if not ax.get_xlabel():
        ax.set_xlabel(x)
    if not ax.get_ylabel():
        ax.set_ylabel(y)
    if not ax.get_title():
        ax.set_title(title, fontsize=11)
    ax.grid(visible=True, color=FAINT, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def size_of(ax: Axes) -> Tuple[float, float]:
    """Width and height in points; in a figure not laid out yet about a tenth too small."""
    box, scale = ax.get_window_extent(), 72 / ax.figure.dpi
    return box.width * scale, box.height * scale


def whole_numbers(*axis: Any) -> None:
    """Ticks at integers, also where there is only one in sight."""
    from matplotlib.ticker import MaxNLocator

    for each in axis:
        each.set_major_locator(MaxNLocator(integer=True, nbins="auto", steps=[1, 2, 5, 10], min_n_ticks=1))


def legend_below(figure: Any, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """One legend for all panels, under them, in as many rows as the figure is too narrow for one."""
    room, widths = 72 * figure.get_figwidth(), [5 * len(label) + 40 for label in labels]
    columns = len(labels) if sum(widths) <= room else max(int(room // max(widths)), 1)
    place: Dict[str, Any] = {"loc": "outside lower center", "ncols": columns}
    figure.legend(handles, labels, frameon=False, fontsize=9, **place)


def counted(number: int, noun: str) -> str:
    """Such as "1,024 spikes"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")

"""Colours, figures, panels and labels of all pictures."""

from __future__ import annotations

import importlib
import math
import sys
from typing import TYPE_CHECKING, Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from spikecore.installing import to_install
from spikecore.printing import in_notebook
from spikecore.spikeplot.notebook import show_once, shows_inline

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The Okabe–Ito palette, for colour-blind readers (M. Okabe, K. Ito, Color Universal Design, 2008). Blue, orange and
# grey have a contrast of 3 : 1 or more with white and with black, so marks are visible on any style and any page.
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#757575"
CYCLE = (BLUE, ORANGE, "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#999999")
FAINT = (0.5, 0.5, 0.5, 0.2)  # grids and shading: see-through, so that they are faint on any background
# Dashes distinguish curves of the same colour, if there are more curves than colours.
DASHES = ("solid", (0, (5, 2)), (0, (1, 1.2)), (0, (6, 2, 1, 2)))


def figure_of(width: float, height: float, *, moving: bool = False) -> Any:
    """The figure to draw on if the caller passes no axes; width and height in inches.

    If the program has imported pyplot, or runs in a notebook, this is pyplot's current figure if it is empty, else a
    new current one. So a notebook shows it below the cell, and ``plt.show()``, ``plt.gcf()`` and ``plt.savefig()`` use
    it. Otherwise it is a new figure that pyplot does not know: it is freed when the caller drops it.

    Args:
        width, height: in inches.
        moving: whether it is that of an animation, which a notebook plays by itself. There it is not pyplot's, or a
            still picture would stand below.

    Raises:
        ImportError: matplotlib is missing; names the extra to install.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(f"spikeplot draws with matplotlib: {to_install('plot')}") from error
    pyplot: Any = sys.modules.get("matplotlib.pyplot")
    if pyplot is None and in_notebook():
        pyplot = importlib.import_module("matplotlib.pyplot")
    if pyplot is None or moving and shows_inline():
        return Figure(figsize=(width, height), layout="constrained")
    current = pyplot.gcf() if pyplot.get_fignums() else None
    if current is None or current.get_children() != [current.patch]:
        current = pyplot.figure(figsize=(width, height), layout="constrained")
        show_once(current)
    if current.get_layout_engine() is None:
        current.set_layout_engine("constrained")
    return current


def panels_of(axes: Any, count: int) -> List[Axes]:
    """The caller's axes as a flat list. ValueError if their number is not `count`."""
    given = list(np.asarray(axes, dtype=object).reshape(-1))
    if len(given) != count:
        raise ValueError(f"axes: {len(given)} given, {count} needed, one per panel")
    return given


def grid_of(count: int, columns: int, width: float, height: float, **shared: Any) -> List[Axes]:
    """Make `count` panels of this size (inches) in rows of `columns`; the last row may be shorter."""
    rows = -(-count // columns)
    figure = figure_of(width * columns, height * rows + 0.4)
    grid = figure.subplots(rows, columns, squeeze=False, **shared)
    for ax in grid.flat[count:]:
        ax.remove()
    for ax in grid.flat[max(count - columns, 0) : count]:  # the lowest panel of each column
        ax.tick_params(labelbottom=True)
    return list(grid.flat[:count])


def canvas_of(fig: Any, ax: Any, width: float, height: float, *, moving: bool) -> Any:
    """(figure, axes) from the caller's `fig` and `ax`, which may be None. A subfigure gives its whole figure."""
    if ax is None:
        figure = figure_of(width, height, moving=moving) if fig is None else fig
        return figure.canvas.figure, figure.subplots()
    root = ax.figure.canvas.figure
    if fig is not None and fig.canvas.figure is not root:
        raise ValueError("ax lies on another figure than fig: pass the figure of ax, or leave fig out")
    return root, ax


def dress(ax: Axes, x: str, y: str, title: str = "") -> None:
    """Set labels and title if they are empty, and draw a faint grid behind the data."""
    if not ax.get_xlabel():
        ax.set_xlabel(x)
    if not ax.get_ylabel():
        ax.set_ylabel(y)
    if not ax.get_title():
        ax.set_title(title, fontsize=11)
    ax.grid(visible=True, color=FAINT, linewidth=0.6, linestyle="-")
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def size_of(ax: Axes) -> Tuple[float, float]:
    """Width and height in points. Before the figure's layout is computed, they are about a tenth too small."""
    box, scale = ax.get_window_extent(), 72 / ax.figure.dpi
    return box.width * scale, box.height * scale


def whole_numbers(*axis: Any) -> None:
    """Place ticks at integers only, even if the axis shows just one."""
    from matplotlib.ticker import MaxNLocator

    for single in axis:
        single.set_major_locator(MaxNLocator(integer=True, nbins="auto", steps=[1, 2, 5, 10], min_n_ticks=1))


def name_rows(ax: Axes, rows: int, names: Optional[Sequence[str]], most: int = 12) -> None:
    """Place a tick at every row of an axis that has names, or not more than `most` rows; the text fits the rows.

    The layout may make rows lower still, for a title and labels, so the text takes less room than there seems to be.
    Where rows are lower than 9 points, every second, third, ... has a name, and numbers are placed as matplotlib does.
    """
    row = size_of(ax)[1] / max(rows, 1)
    if names is None and not (1 < rows <= most and row >= 9):
        return
    every = max(1, math.ceil(9 / row))
    ax.set_yticks(range(0, rows, every), None if names is None else names[::every])
    ax.tick_params(axis="y", labelsize=min(0.6 * row * every, 10.0))


def legend_below(figure: Any, handles: Sequence[Any], labels: Sequence[str]) -> None:
    """Draw one legend for all panels below them, in several rows if the figure is narrow."""
    room, widths = 72 * figure.get_figwidth(), [5 * len(label) + 40 for label in labels]
    columns = len(labels) if sum(widths) <= room else max(int(room // max(widths)), 1)
    place: Dict[str, Any] = {"loc": "outside lower center", "ncols": columns}
    figure.legend(handles, labels, frameon=False, fontsize=9, **place)


def colour_bar(ax: Axes, image: Any, label: str, shrink: float = 1.0) -> None:
    """Draw a colour bar without a frame, which takes room from the axes."""
    bar: Any = ax.figure.colorbar(image, ax=ax, pad=0.02, shrink=shrink)
    bar.set_label(label, fontsize=9)
    bar.outline.set_visible(False)


def artists_text(artists: Any) -> str:
    """Named artists as text for their ``__repr__``: how many of which kind each field has."""
    parts = []
    for name, value in artists._asdict().items():
        several = list(value) if isinstance(value, list) else [] if value is None else [value]
        kinds = ", ".join(dict.fromkeys(type(each).__name__ for each in several))
        parts.append(f"{name}: {len(several)} {kinds}" if several else f"{name}: none")
    return f"{type(artists).__name__}({'; '.join(parts)})"


def percent(share: float) -> str:
    """A share as text, such as "97.5 %" and "100 %"."""
    return f"{round(100 * share, 6):g} %"


def counted(number: int, noun: str) -> str:
    """A number with its noun, such as "1,024 spikes"."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")

"""Pictures of workloads, a line for each side: time against rate; time and memory against each size that grows."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Sequence, Tuple

from benchmarks.report import Row
from benchmarks.workloads import growth
from spikecore.files import write_atomically
from spikecore.installing import to_install

SUFFIXES = (".svg", ".png")
MARKERS = "osD^v<>"
TICKS = (0.5, 1, 2, 5, 10, 20, 30)  # per cent
Points = Dict[str, List[Tuple[float, float]]]


class Panel(NamedTuple):
    """Lines by their names, and what stands around them."""

    title: str
    x: str
    y: str
    ticks: Sequence[float]
    lines: Points


def problems(path: Path) -> List[str]:
    """What is in the way of writing a picture to a file."""
    found = []
    if path.suffix not in SUFFIXES or not path.parent.is_dir():
        found.append(f"--plot {path}: must end in .svg or .png and lie in a directory that exists")
    if importlib.util.find_spec("matplotlib") is None:
        found.append(f"--plot needs matplotlib: {to_install('plot')}")
    return found


def of_rates(rows: Sequence[Row]) -> List[Panel]:
    """A panel for each kind of layers of the workload ``rates``."""
    axis = "neurons that fire at a step (%)"
    percent = {
        kind: {name: [(100.0 * rate, time) for rate, time in points] for name, points in panel.items()}
        for kind, panel in lines(rows).items()
    }
    return [Panel(kind, axis, "ms", TICKS, panel) for kind, panel in percent.items()]


def of_growth(rows: Sequence[Row]) -> List[Panel]:
    """Two panels for each size of the workload ``growth``: time, and peak memory where there is enough of it."""
    panels = []
    for axis, sides in growth.lines(rows).items():
        title, ticks = growth.AXES[axis], sorted({value for line in sides.values() for value, _ in line})
        time = {side: [(value, row.median) for value, row in line] for side, line in sides.items()}
        memory = {
            side: [(value, row.memory) for value, row in line if (row.memory or 0.0) > growth.SMALL]
            for side, line in sides.items()
        }
        panels.append(Panel("time", title, "ms", ticks, time))
        panels.append(Panel("peak memory", title, "MB", ticks, memory))  # type: ignore[arg-type]  # None is not > SMALL
    return panels


def draw(panels: Sequence[Panel], path: Path) -> None:
    """Draw panels and write the picture; the same panels give the same bytes.

    Args:
        panels: the panels, in rows of two.
        path: the file, .svg or .png.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    from spikecore.spikeplot.style import CYCLE, FAINT

    names = list(dict.fromkeys(name for panel in panels for name in panel.lines))
    columns = min(2, max(1, len(panels)))
    height = -(-len(panels) // columns)
    figure = Figure(figsize=(4.0 * columns, 2.9 * height + 0.6), layout="constrained")
    grid = figure.subplots(max(1, height), columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    for axes, panel in zip(grid.flat, panels):
        for name, points in panel.lines.items():
            if not points:
                continue
            number = names.index(name)
            x, y = zip(*points)
            color, marker = CYCLE[number % len(CYCLE)], MARKERS[number % len(MARKERS)]
            axes.plot(x, y, color=color, marker=marker, markersize=4, linewidth=1.6, label=name)
        axes.set(xscale="log", yscale="log", title=panel.title, xlabel=panel.x, ylabel=panel.y)
        axes.set_xticks(panel.ticks)
        axes.set_xlim(panel.ticks[0] / 1.2, panel.ticks[-1] * 1.2)
        low, high = axes.get_ylim()
        low = min(low, high / 5.0)  # noise is not to fill a panel
        axes.set_ylim(low, high)
        wide = high > 200.0 * low
        steps = (1.0,) if wide else (1.0, 2.0, 5.0) if high > 20.0 * low else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
        axes.set_yticks([t for p in range(-3, 6) for t in (n * 10.0**p for n in steps) if low <= t <= high])
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(plain)
            axis.set_minor_locator(NullLocator())
        axes.grid(color=FAINT, linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
    handles: Dict[str, Any] = {}
    for axes in figure.axes:
        handles.update((str(line.get_label()), line) for line in axes.get_lines())
    figure.legend(handles.values(), handles, frameon=False, loc="outside lower center", ncols=3, fontsize=9)
    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "spikecore", "svg.fonttype": "none"}):  # no random names; text as text
        extra = {"metadata": {"Date": None}} if path.suffix == ".svg" else {"dpi": 110}
        figure.savefig(buffer, format=path.suffix[1:], **extra)
    write_atomically(path, buffer.getvalue())


def lines(rows: Sequence[Row]) -> Dict[str, Points]:
    """For each kind of layers and each side its points (rate, median), by rising rate.

    A row's kind is its group up to the last comma. Its rate is the first: that of the spikes that come in.
    """
    found: Dict[str, Dict[str, List[Tuple[float, float]]]] = {}
    for row in rows:
        if row.figures:
            side = found.setdefault(row.group.rpartition(", ")[0], {}).setdefault(row.side, [])
            side.append((next(iter(row.rates.values())), row.median))
    return {kind: {name: sorted(points) for name, points in panel.items()} for kind, panel in found.items()}

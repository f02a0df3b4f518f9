"""The picture of the workload ``rates``: time against rate, a panel for each kind of layers, a line for each side."""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any, Dict, List, Tuple

from benchmarks.report import Row, Section
from spikecore.files import write_atomically
from spikecore.installing import to_install

SUFFIXES = (".svg", ".png")
MARKERS = "osD^v<>"
TICKS = (0.5, 1, 2, 5, 10, 20, 30)  # per cent


def problems(path: Path) -> List[str]:
    """What is in the way of writing a picture to a file."""
    found = []
    if path.suffix not in SUFFIXES or not path.parent.is_dir():
        found.append(f"--plot {path}: must end in .svg or .png and lie in a directory that exists")
    if importlib.util.find_spec("matplotlib") is None:
        found.append(f"--plot needs matplotlib: {to_install('plot')}")
    return found


def draw(section: Section, path: Path) -> None:
    """Draw the rows of the workload and write the picture; the same rows give the same bytes.

    Args:
        section: the results.
        path: the file, .svg or .png.
    """
    import matplotlib
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullLocator

    from spikecore.spikeplot.style import CYCLE, FAINT

    panels = lines(section.rows)
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    columns = min(2, max(1, len(panels)))
    height = -(-len(panels) // columns)
    figure = Figure(figsize=(4.0 * columns, 2.9 * height + 0.6), layout="constrained")
    grid = figure.subplots(max(1, height), columns, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.remove()
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    for axes, (kind, panel) in zip(grid.flat, panels.items()):
        for name, points in panel.items():
            number = names.index(name)
            percent, times = zip(*((100.0 * rate, time) for rate, time in points))
            color, marker = CYCLE[number % len(CYCLE)], MARKERS[number % len(MARKERS)]
            axes.plot(percent, times, color=color, marker=marker, markersize=4, linewidth=1.6, label=name)
        axes.set(xscale="log", yscale="log", title=kind, xlabel="neurons that fire at a step (%)", ylabel="ms")
        axes.set_xticks(TICKS)
        low, high = axes.get_ylim()
        low = min(low, high / 5.0)  # noise is not to fill a panel
        axes.set_ylim(low, high)
        steps = (1.0, 2.0, 5.0) if high > 20.0 * low else (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)
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


def lines(rows: Tuple[Row, ...]) -> Dict[str, Dict[str, List[Tuple[float, float]]]]:
    """For each kind of layers and each side its points (rate, median), by rising rate.

    A row's kind is its group up to the last comma. Its rate is the first: that of the spikes that come in.
    """
    found: Dict[str, Dict[str, List[Tuple[float, float]]]] = {}
    for row in rows:
        if row.figures:
            side = found.setdefault(row.group.rpartition(", ")[0], {}).setdefault(row.side, [])
            side.append((next(iter(row.rates.values())), row.median))
    return {kind: {name: sorted(points) for name, points in panel.items()} for kind, panel in found.items()}

"""Draws the README's chart from the tables of benchmarks.md, into docs/images/chart.svg: ``python docs/make_chart.py``.

The figures are read from the page, so the chart never says anything else. Needs the extra plot.
"""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Tuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

DOCS = Path(__file__).parent
PAGE, CHART = DOCS / "benchmarks.md", DOCS / "images" / "chart.svg"
INK, OURS, BY_HAND, PEER = "#7f868f", "#e4572e", "#6d8fb3", "#aebfd1"  # each readable on white and on dark pages
CELL = re.compile(
    r"^\| (?P<group>[^|]+) \| (?P<side>[^|]+) \| (?P<median>[\d.]+) \([^|]*\) \| (?P<relative>[\d.]+)×? \|"
)


class Bar(NamedTuple):
    """One row of a panel: whose it is, and the rows of the page that it shows."""

    label: str
    group: str
    side: str
    by_hand: str = ""  # the side whose first layer was called once for all steps, by hand


class Panel(NamedTuple):
    """A heading of the page and what is drawn of its table; the first bar is ours."""

    heading: str
    title: str
    unit: str
    bars: Tuple[Bar, ...]


STEP = "n=512, forward and backward"
PANELS = (
    Panel(
        "A training step: tutorial 5",
        "Time: a training step of\nsnnTorch's tutorial 5 (784-1000-10)",
        "ms",
        (
            Bar("spikecore", "Leaky", "torch engine"),
            Bar("JAX, by hand", "Leaky", "JAX by hand", "JAX by hand, hoisted"),
            Bar("snnTorch", "Leaky", "snnTorch", "snnTorch, hoisted"),
            Bar("SpikingJelly", "Leaky, zero; LI", "SpikingJelly m", "SpikingJelly m, hoisted"),
        ),
    ),
    Panel(
        "Open Neuromorphic's workload",
        "Time: forward and backward,\n512 neurons, 500 steps of spikes",
        "ms",
        (
            Bar("spikecore", f"Leaky, {STEP}", "torch engine"),
            Bar("Spyx (JAX)", f"Spyx's LIF, {STEP}", "Spyx"),
            Bar("snnTorch", f"Leaky, {STEP}", "snnTorch"),
            Bar("SpikingJelly", f"Leaky, zero, {STEP}", "SpikingJelly m"),
        ),
    ),
    Panel(
        "Peak memory",
        "Memory: a training step of\ntutorial 5 with 100 steps",
        "MB",
        (
            Bar("spikecore", "Leaky, T=100", "torch engine"),
            Bar("JAX, by hand", "Leaky, T=100", "JAX by hand", "JAX by hand, hoisted"),
            Bar("snnTorch", "Leaky, T=100", "snnTorch", "snnTorch, hoisted"),
            Bar("SpikingJelly", "Leaky, zero; LI, T=100", "SpikingJelly m", "SpikingJelly m, hoisted"),
        ),
    ),
)


def tables(text: str) -> Dict[str, Dict[Tuple[str, str], Tuple[float, float]]]:
    """By heading: for each (group, side) of its table the median and the ratio to the group's first side."""
    found: Dict[str, Dict[Tuple[str, str], Tuple[float, float]]] = {}
    heading = ""
    for line in text.splitlines():
        if line.startswith("## "):
            heading = line[3:].strip()
        row = CELL.match(line)
        if row:
            rows = found.setdefault(heading, {})
            rows[row["group"], row["side"]] = float(row["median"]), float(row["relative"])
    return found


def draw(text: str) -> bytes:
    """The chart as SVG; the same page gives the same bytes."""
    figures = tables(text)
    style: Dict[str, Any] = {"svg.hashsalt": "spikecore", "svg.fonttype": "none", "font.size": 9.5}
    style.update({"text.color": INK, "xtick.color": INK, "ytick.color": INK, "axes.edgecolor": INK})
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(10.5, 2.5), layout="constrained")
        figure.get_layout_engine().set(wspace=0.08)  # type: ignore[union-attr]
        for axes, panel in zip(figure.subplots(1, len(PANELS)), PANELS):
            _panel(axes, panel, figures[panel.heading])
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    return buffer.getvalue()


def _panel(axes: Axes, panel: Panel, rows: Dict[Tuple[str, str], Tuple[float, float]]) -> None:
    values = [rows[bar.group, bar.side] for bar in panel.bars]
    longest = max(value for value, _ in values)
    for place, (bar, (value, ratio)) in enumerate(zip(panel.bars, values)):
        axes.barh(place, value, height=0.62, color=PEER if place else OURS)
        note = f"{value:.3g} {panel.unit}" if place == 0 else f"{ratio:g}×"
        if bar.by_hand:
            value_by_hand, ratio_by_hand = rows[bar.group, bar.by_hand]
            axes.barh(place, value_by_hand, height=0.62, color=BY_HAND)
            note = f"{ratio:g}× ({ratio_by_hand:g}×)"
        axes.text(value + longest / 50.0, place, note, va="center", fontweight="bold" if place == 0 else "normal")
    labels: List[str] = [bar.label for bar in panel.bars]
    axes.set_yticks(range(len(labels)), labels)
    axes.set_ylim(3.5, -0.5)
    axes.set_xlim(0.0, 1.36 * longest)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.set_title(panel.title, loc="left", fontsize=9.5, color=INK)


if __name__ == "__main__":
    CHART.write_bytes(draw(PAGE.read_text(encoding="utf-8")))
    print(CHART)

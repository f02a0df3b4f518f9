"""The chart of README and Home, ``docs/images/chart.svg``, which never says anything else than benchmarks.md."""

from __future__ import annotations

import re
from typing import Dict, NamedTuple, Tuple

from .canvas import Canvas

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


PANELS = (
    Panel(
        "A training step: tutorial 5",
        "**Time**: a training step of snnTorch’s tutorial 5",
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
        "**Time**: forward and backward, 512 neurons, 500 steps",
        "ms",
        (
            Bar("spikecore", "Leaky", "torch engine"),
            Bar("Spyx (JAX)", "Spyx's LIF", "Spyx"),
            Bar("snnTorch", "Leaky", "snnTorch"),
            Bar("SpikingJelly", "Leaky, zero", "SpikingJelly m"),
        ),
    ),
    Panel(
        "Peak memory",
        "**Memory**: a training step of tutorial 5, 100 steps",
        "MB",
        (
            Bar("spikecore", "Leaky", "torch engine"),
            Bar("JAX, by hand", "Leaky", "JAX by hand", "JAX by hand, hoisted"),
            Bar("snnTorch", "Leaky", "snnTorch", "snnTorch, hoisted"),
            Bar("SpikingJelly", "Leaky, zero; LI", "SpikingJelly m", "SpikingJelly m, hoisted"),
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


def chart(text: str) -> str:
    """The chart as SVG, from the page's text."""
    figures = tables(text)
    row_height, panel_height, left = 23, 134, 108
    d = Canvas(panel_height * len(PANELS) - 8, title="Time and memory of spikecore beside other libraries")
    for number, panel in enumerate(PANELS):
        rows, top = figures[panel.heading], panel_height * number
        longest = max(rows[bar.group, bar.side][0] for bar in panel.bars)
        d.text(8, top + 16, panel.title, anchor="start")
        for place, bar in enumerate(panel.bars):
            (value, ratio), y = rows[bar.group, bar.side], top + 28 + row_height * place
            ours = place == 0
            colour = "orange" if ours else "ink"
            length = 264 * value / longest
            d.text(left - 8, y + 13, f"**{bar.label}**" if ours else bar.label, colour, "end")
            bare = {"rx": 0, "stroke_width": 0}
            d.box(left, y, length, 16, colour=colour, fade=0.9 if ours else 0.35, **bare)
            note = f"**{value:.3g} {panel.unit}**" if ours else f"{ratio:g}×"
            if bar.by_hand:
                value_by_hand, ratio_by_hand = rows[bar.group, bar.by_hand]
                d.box(left, y, 264 * value_by_hand / longest, 16, colour=colour, fade=0.6, **bare)
                note = f"{ratio:g}× ({ratio_by_hand:g}×)"
            d.text(left + length + 7, y + 13, note, colour, "start")
        d.line((left, top + 24), (left, top + 24 + row_height * len(panel.bars)), width=1)
    return d.svg()

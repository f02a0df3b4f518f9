"""Accuracy and errors of a converted network by the number of time steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, Sequence, Union

from spikecore.arguments import checked
from spikecore.spikeplot.style import BLUE, CYCLE, DASHES, GREY, dress, grid_of, panels_of, percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

    from spikecore.convert.report import ConversionReport


@checked
def conversion_curves(report: ConversionReport, axes: Union[Axes, Sequence[Axes], None] = None) -> Dict[str, Line2D]:
    """Draw a converted network's accuracy and the errors of its layers by the number of time steps, in two panels.

    A broken line is the accuracy of the network that was converted. Without labels, the first panel shows the share of
    the samples that get the same class from both.

    Args:
        report: what `Conversion.report` returns, or anything with num_steps, accuracy, ann_accuracy, agreement, and
            layers that have place and errors.
        axes: two axes to draw on. Default: a new figure.

    Returns:
        The lines: "accuracy" or "agreement", "ann" if there are labels, and each layer's error by its place.

    Raises:
        ValueError: the number of axes is not 2.
    """
    left, right = grid_of(2, 2, 3.8, 2.8) if axes is None else panels_of(axes, 2)
    lines: Dict[str, Any] = {}
    kind = "accuracy" if report.accuracy else "agreement"
    options: Dict[str, Any] = {"marker": "o", "markersize": 3.5, "linewidth": 1.6}
    (lines[kind],) = left.plot(report.num_steps, getattr(report, kind), color=BLUE, label="converted", **options)
    if report.ann_accuracy is not None:
        lines["ann"] = left.axhline(report.ann_accuracy, color=GREY, linestyle=DASHES[1], linewidth=1.2, label="ANN")
        left.legend(frameon=False, fontsize=9)
    for number, layer in enumerate(report.layers):
        style: Dict[str, Any] = {
            "color": CYCLE[number % len(CYCLE)],
            "linestyle": DASHES[number // len(CYCLE) % len(DASHES)],
        }
        (lines[layer.place],) = right.plot(report.num_steps, layer.errors, label=layer.place, **options, **style)
    left.yaxis.set_major_formatter(lambda value, place: percent(value))
    right.set_yscale("log")
    for ax in (left, right):
        ax.set_xscale("log", base=2)
        ax.set_xticks(report.num_steps, [str(steps) for steps in report.num_steps])
        ax.minorticks_off()
    dress(left, "time steps", "accuracy" if kind == "accuracy" else "same class as the ANN")
    dress(right, "time steps", "relative error")
    right.legend(frameon=False, fontsize=7)
    return lines

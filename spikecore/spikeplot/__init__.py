"""Pictures of spikes, membranes, events, activity, surrogates, training and gradients, from arrays of any engine.

Each function draws on the axes that you pass, and returns the artists. `artist.figure` is the figure:
`spikeplot.raster(spikes).figure.savefig("raster.png")`. Without axes, the function makes a figure. A notebook shows it
below the cell. If the program has imported pyplot, it is pyplot's current figure, for `plt.show()` and similar
functions. No other global state changes. Axis 0 of an array is time. Labels and titles that are already set stay.
Colours are visible on light and on dark backgrounds. docs/gallery.md shows all pictures.

Wrong arguments raise ValueError. A missing matplotlib raises an ImportError that names the extra to install.

Of the core it uses the check of arguments alone: what it draws are arrays, and reports of which it reads the rows.

Begin with `rasters.py`, the smallest picture, and `style.py`, which all share.
"""

from __future__ import annotations

from typing import Any, Callable

from spikecore.arguments import argument_kind as _argument_kind
from spikecore.spikeplot.activity import activity_map
from spikecore.spikeplot.agreement import BiasLines, GradientAgreement, gradient_agreement, surrogate_bias
from spikecore.spikeplot.animation import animator
from spikecore.spikeplot.classes import Confusion, confusion
from spikecore.spikeplot.conversion import conversion_curves
from spikecore.spikeplot.counts import SpikeCount, spike_count
from spikecore.spikeplot.events import event_animation, event_frames
from spikecore.spikeplot.fields import weights
from spikecore.spikeplot.membranes import Traces, traces
from spikecore.spikeplot.predictions import predictions
from spikecore.spikeplot.rasters import raster
from spikecore.spikeplot.seeding import SeedLines, seeds
from spikecore.spikeplot.stack import Stack, stack
from spikecore.spikeplot.surrogates import SurrogateLines, surrogate_curves
from spikecore.spikeplot.tasks import FittedValues, LabelsOverTime, fitted_values, labels_over_time
from spikecore.spikeplot.training import training_curves
from spikecore.spikeplot.verification import GradientErrors, gradient_errors


def _has(name: str) -> Callable[[Any], bool]:
    return lambda value: hasattr(value, name)


for _name in ("axes:Axes", "colors:Colormap", "figure:Figure"):
    _argument_kind(f"matplotlib.{_name}")
for _place, _words, _read in (  # reports of others, of which pictures read rows, cases or steps
    ("spikecore.api.verification.report:Report", "sc.verify", "rows"),
    ("spikecore.api.verification.learning_report:LearningReport", "sc.verify(..., learning=...)", "rows"),
    ("spikecore.convert.report:ConversionReport", "Conversion.report", "num_steps"),
    ("spikecore.eventprop.bias:SurrogateBias", "sc.eventprop.model_bias", "cases"),
):
    _argument_kind(_place, f"a report of {_words}", _has(_read))

__all__ = [
    "BiasLines",
    "Confusion",
    "FittedValues",
    "GradientAgreement",
    "GradientErrors",
    "LabelsOverTime",
    "SeedLines",
    "SpikeCount",
    "Stack",
    "SurrogateLines",
    "Traces",
    "activity_map",
    "animator",
    "confusion",
    "conversion_curves",
    "event_animation",
    "event_frames",
    "fitted_values",
    "gradient_agreement",
    "gradient_errors",
    "labels_over_time",
    "predictions",
    "raster",
    "seeds",
    "spike_count",
    "stack",
    "surrogate_bias",
    "surrogate_curves",
    "traces",
    "training_curves",
    "weights",
]

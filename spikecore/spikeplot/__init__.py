"""Pictures of spikes, membranes, events, activity, surrogates, training and gradients, from arrays of any engine.

Each function draws on the axes it is given and returns the artists; `artist.figure` leads to the figure:
`spikeplot.raster(spikes).figure.savefig("raster.png")`. Without axes it makes a figure, which in a program that has
imported pyplot is pyplot's current one, for `plt.show()` and the like. Nothing else is global. Time is axis 0. An axis
label or title that is already set stays. The gallery shows all of them.

Bad arguments raise ValueError, and a missing matplotlib an ImportError that names the extra to install.
"""

from __future__ import annotations

from spikecore.spikeplot.activity import activity_map
from spikecore.spikeplot.animation import animator
from spikecore.spikeplot.counts import SpikeCount, spike_count
from spikecore.spikeplot.events import event_animation, event_frames
from spikecore.spikeplot.membranes import Traces, traces
from spikecore.spikeplot.rasters import raster
from spikecore.spikeplot.surrogates import SurrogateLines, surrogate_curves
from spikecore.spikeplot.training import training_curves
from spikecore.spikeplot.verification import GradientErrors, gradient_errors

__all__ = [
    "GradientErrors",
    "SpikeCount",
    "SurrogateLines",
    "Traces",
    "activity_map",
    "animator",
    "event_animation",
    "event_frames",
    "gradient_errors",
    "raster",
    "spike_count",
    "surrogate_curves",
    "traces",
    "training_curves",
]

"""Learning through time: BPTT and truncated BPTT, online learning (e-prop, OSTL, OTTT), real-time recurrent learning.

See docs/learning.md for the equations, and for which to use when.
"""

from spikecore.api.backprop.fitting import Learning as Learning
from spikecore.api.backprop.gradients import bptt as bptt
from spikecore.api.backprop.gradients import online as online
from spikecore.api.backprop.gradients import rtrl as rtrl
from spikecore.api.backprop.steps import per_step as per_step

"""Exact gradients through spike times, without a surrogate and without time steps; see docs/exact_gradients.md.

import spikecore as sc

network = sc.eventprop.Network([sc.eventprop.Layer(5, 100), sc.eventprop.Layer(100, 3)], duration=60.0)
loss = sc.eventprop.first_spike_loss(tau=0.5)
fitted = sc.eventprop.fit(network, data, loss)

Of the core it uses the types of losses, clipping and Adam, the reports of ``verify``, and the storage of compiled
kernels. Time has no steps here, so networks, runs and gradients are its own.

Begin with ``network.py``; then ``layer_run.py``, which finds the spikes, and ``layer_adjoint.py``, which goes back.
"""

from __future__ import annotations

from spikecore.eventprop.bias import BiasCase, SurrogateBias, surrogate_bias
from spikecore.eventprop.gradient import Gradient, gradient
from spikecore.eventprop.losses import (
    EventLoss,
    first_spike_loss,
    max_membrane_loss,
    mean_membrane_loss,
    spike_count_loss,
    spike_time_loss,
)
from spikecore.eventprop.model_bias import model_bias
from spikecore.eventprop.network import Layer, Network, Run
from spikecore.eventprop.spikes import Spikes
from spikecore.eventprop.stepped import frames, to_model
from spikecore.eventprop.training import Fitted, evaluate, fit
from spikecore.eventprop.verification import verify

__all__ = [
    "BiasCase",
    "EventLoss",
    "Fitted",
    "Gradient",
    "Layer",
    "Network",
    "Run",
    "Spikes",
    "SurrogateBias",
    "evaluate",
    "first_spike_loss",
    "fit",
    "frames",
    "gradient",
    "max_membrane_loss",
    "mean_membrane_loss",
    "model_bias",
    "spike_count_loss",
    "spike_time_loss",
    "surrogate_bias",
    "to_model",
    "verify",
]

"""The origin of a loss that is not finite."""

from __future__ import annotations

import math
from typing import Any

from spikecore.api.core.host import not_finite
from spikecore.api.core.layer import layer_name
from spikecore.api.layers.containers import walk
from spikecore.api.training.data import DeviceBatch
from spikecore.api.training.diagnosis import Diagnosis, broken


def origin(model: Any, loss: Any, kept: DeviceBatch) -> str:
    """Origin of a loss that is not finite: a weight, or a layer with its time step; "" if none is found."""
    executor = model.trainer.executor
    if executor.gradients is None or executor.divided is not None:
        return ""
    found = broken(model.params())
    if found:
        return f"{found[0]} holds NaN or infinity"
    _, out = Diagnosis(model, loss, None, True).run(kept)[0]
    for name, layer in walk(model.network):
        for state, values in out.states.get(name, {}).items():
            told = _first(model.engine.to_numpy(values))
            if told:
                return f"{state} of layer {name or '(the network)'} ({layer_name(layer)}) is {told}"
    read = out.spikes if out.readout is None or out.behind else out.membrane
    size = float(model.engine.to_numpy(model.engine.xp.max(abs(read))))
    return f"every state is finite, the largest output is {size:.2g}, so it is the loss itself"


def _first(values: Any) -> str:
    """The first entry (time, batch, *features) that is not finite, in words; "" if there is none."""
    for step, now in enumerate(values):
        if not math.isfinite(float(abs(now).max())):
            sample, *neuron = place = not_finite(now)[0]
            where = f"sample {sample}, neuron {tuple(neuron)}" if neuron else f"sample {sample}"
            return f"{now[place]} from time step {step} of {len(values)} on ({where})"
    return ""

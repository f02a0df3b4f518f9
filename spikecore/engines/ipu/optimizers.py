"""Optimiser descriptions as ``poptorch.optim``, and the names of their arrays on the device."""

from __future__ import annotations

from typing import Any, Dict, Optional

import torch

from spikecore.api.core.tree import leaves
from spikecore.api.training.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop

KNOWN = "SGD, Adam, AdamW, RMSprop"
#: How PopART names the arrays of a parameter; SGD's are those of separate accumulators, PopTorch's default. Nobody has
#: seen them on a device: what is not found is an error.
_ADAM = {"exp_avg": "Accl1___", "exp_avg_sq": "Accl2___"}
PREFIXES: Dict[Any, Dict[str, str]] = {
    SGD: {"momentum_buffer": "Accl1___"},
    Adam: _ADAM,
    AdamW: _ADAM,
    RMSprop: {"square_avg": "Accl1___", "momentum_buffer": "Accl3___"},
}
STEP = "Step___"


def build(poptorch: Any, spec: Optional[Optimizer], params: Any, lr: float, options: Dict[str, Any]) -> Any:
    """A ``poptorch.optim`` optimiser.

    Args:
        poptorch: the module, or the simulation of it.
        spec: the description.
        params: the parameters of the module.
        lr: the learning rate at hand.
        options: loss_scaling, max_grad_norm; only those that are set.

    Raises:
        TypeError: an optimiser that PopTorch cannot run.
        ValueError: a norm to clip by with RMSprop.
    """
    if isinstance(spec, AdamW):
        return poptorch.optim.AdamW(
            params, lr=lr, betas=spec.betas, eps=spec.eps, weight_decay=spec.weight_decay, **options
        )
    if isinstance(spec, Adam):
        return poptorch.optim.Adam(
            params, lr=lr, betas=spec.betas, eps=spec.eps, weight_decay=spec.weight_decay, **options
        )
    if isinstance(spec, RMSprop):
        if "max_grad_norm" in options:
            raise ValueError("clip_norm: PopTorch's RMSprop does not clip; use SGD, Adam or AdamW, or leave it out")
        used = {"momentum": spec.momentum} if spec.momentum else {}
        return poptorch.optim.RMSprop(
            params, lr=lr, alpha=spec.alpha, eps=spec.eps, weight_decay=spec.weight_decay, **used, **options
        )
    if isinstance(spec, SGD):
        given = {"momentum": spec.momentum, "nesterov": spec.nesterov}
        used = {name: value for name, value in given.items() if value}
        if dampened(spec):
            used["dampening"] = 0.0  # until the first step; what is not given here cannot be changed later
        return poptorch.optim.SGD(params, lr=lr, weight_decay=spec.weight_decay, **used, **options)
    raise TypeError(f"optimizer={spec!r} is not one that an IPU runs: {KNOWN}")


def dampened(spec: Optional[Optimizer]) -> bool:
    """Whether the first step is another one: SGD's velocity begins at the first gradient, but at zero on the device.

    Without momentum nothing is dampened.
    """
    return isinstance(spec, SGD) and spec.momentum > 0 and spec.dampening > 0


def slots(spec: Optimizer, params: Any, held: Dict[str, Any], scale: float = 1.0) -> Dict[str, Any]:
    """Arrays by "<parameter>.<slot>", from the device's by PopART's names; empty before the first step.

    Args:
        spec: the optimiser.
        params: the parameters.
        held: the device's arrays.
        scale: the loss scaling, with which SGD's velocity is multiplied there.

    Raises:
        KeyError: an array is not there: then no checkpoint can hold the optimiser.
    """
    found = {}
    for name, _ in leaves(params) if held else ():
        for slot, key in _keys(spec, name).items():
            if key not in held:
                raise KeyError(
                    f"the optimiser state on the device has no {key!r}, only {', '.join(sorted(held))}: it cannot "
                    "be kept in a checkpoint; save without continuing, or report these names"
                )
            found[f"{name}.{slot}"] = held[key] / _factor(spec, scale)
    return found


def device_state(spec: Optimizer, params: Any, held: Dict[str, Any], step: int, scale: float = 1.0) -> Dict[str, Any]:
    """The inverse of ``slots``, after ``step`` steps; zeros, as before the first, if nothing is held."""
    found = {}
    for name, value in leaves(params):
        for slot, key in _keys(spec, name).items():
            found[key] = held[f"{name}.{slot}"] * _factor(spec, scale) if held else torch.zeros_like(value)
        if isinstance(spec, Adam):
            found[f"{STEP}params.{name}"] = torch.tensor(float(step) if held else 0.0)
    return found


def _keys(spec: Optimizer, name: str) -> Dict[str, str]:
    """What the device calls the slots of a parameter."""
    return {slot: f"{PREFIXES[type(spec)][slot]}params.{name}" for slot in spec.slots}


def _factor(spec: Optimizer, scale: float) -> float:
    return scale if isinstance(spec, SGD) else 1.0

"""Optimiser descriptions as ``poptorch.optim``, and the names of their arrays on the device."""

from __future__ import annotations

from typing import Any, Dict, Optional

from spikecore.api.optim import SGD, Adam, AdamW, Optimizer, RMSprop
from spikecore.api.tree import leaves

KNOWN = "SGD, Adam, AdamW, RMSprop"
#: How PopART names the arrays of a parameter. Nobody has seen them on a device: what is not found is an error.
_ADAM = {"exp_avg": "Accl1___", "exp_avg_sq": "Accl2___"}
PREFIXES: Dict[Any, Dict[str, str]] = {
    SGD: {"momentum_buffer": "Accl___"},
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
        given = {"momentum": spec.momentum, "dampening": spec.dampening, "nesterov": spec.nesterov}
        used = {name: value for name, value in given.items() if value}
        return poptorch.optim.SGD(params, lr=lr, weight_decay=spec.weight_decay, **used, **options)
    raise TypeError(f"optimizer={spec!r} is not one that an IPU runs: {KNOWN}")


def slots(spec: Optimizer, params: Any, held: Dict[str, Any]) -> Dict[str, Any]:
    """Arrays by "<parameter>.<slot>", from the device's by PopART's names; empty before the first step.

    Raises:
        KeyError: an array is not there: then no checkpoint can hold the optimiser.
    """
    found = {}
    for name, _ in leaves(params):
        for slot in spec.slots:
            key = f"{PREFIXES[type(spec)][slot]}params.{name}"
            if held and key not in held:
                raise KeyError(
                    f"the optimiser state on the device has no {key!r}, only {', '.join(sorted(held))}: it cannot "
                    "be kept in a checkpoint; save without continuing, or report these names"
                )
            if held:
                found[f"{name}.{slot}"] = held[key]
    return found


def device_state(spec: Optimizer, params: Any, held: Dict[str, Any], step: Any) -> Dict[str, Any]:
    """The inverse of ``slots``; ``step`` is the number of steps done, as a tensor."""
    found = {}
    for name, _ in leaves(params):
        for slot in spec.slots if held else ():
            found[f"{PREFIXES[type(spec)][slot]}params.{name}"] = held[f"{name}.{slot}"]
        if held and isinstance(spec, Adam):
            found[f"{STEP}params.{name}"] = step
    return found

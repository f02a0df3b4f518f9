"""Optimisers of ``poptorch.optim`` from the library's descriptions, and the names of their arrays on the device."""

from __future__ import annotations

from typing import Any, Dict, Optional

import torch

from spikecore.api.core.tree import leaves
from spikecore.api.training.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop

KNOWN = "SGD, Adam, AdamW, RMSprop"
#: Prefixes by which PopART names the arrays of a parameter; for SGD with separate accumulators, PopTorch's default.
#: Nobody has seen these names on a device yet, so a missing array is an error.
_ADAM = {"exp_avg": "Accl1___", "exp_avg_sq": "Accl2___"}
PREFIXES: Dict[Any, Dict[str, str]] = {
    SGD: {"momentum_buffer": "Accl1___"},
    Adam: _ADAM,
    AdamW: _ADAM,
    RMSprop: {"square_avg": "Accl1___", "momentum_buffer": "Accl3___"},
}
STEP = "Step___"


def build(poptorch: Any, spec: Optional[Optimizer], params: Any, lr: float, options: Dict[str, Any]) -> Any:
    """Build an optimiser of ``poptorch.optim``.

    Args:
        poptorch: the module, or the simulation of it.
        spec: the description of the optimiser.
        params: the parameters of the module.
        lr: the current learning rate.
        options: ``loss_scaling``, if it is set.

    Raises:
        NotImplementedError: the optimiser has groups, or keeps zeros.
        TypeError: PopTorch cannot run this optimiser.
        ValueError: a norm to clip by is given with RMSprop.
    """
    if spec is not None and spec.groups:
        raise NotImplementedError(
            f"groups={spec.groups!r}: engine 'ipu' trains all parameters with the same options; leave groups out, or "
            "train on numpy or torch"
        )
    if spec is not None and spec.keep_zeros:
        raise NotImplementedError(
            "keep_zeros=True: engine 'ipu' updates all weights; train on numpy or torch, or prune after the training"
        )
    if spec is not None and spec.clip_norm is not None:
        options = {**options, "max_grad_norm": spec.clip_norm}
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
            raise ValueError("clip_norm: PopTorch's RMSprop does not clip; use SGD, Adam or AdamW, or clip_norm=None")
        used = {"momentum": spec.momentum} if spec.momentum else {}
        return poptorch.optim.RMSprop(
            params, lr=lr, alpha=spec.alpha, eps=spec.eps, weight_decay=spec.weight_decay, **used, **options
        )
    if isinstance(spec, SGD):
        given = {"momentum": spec.momentum, "nesterov": spec.nesterov}
        used = {name: value for name, value in given.items() if value}
        if dampened(spec):
            used["dampening"] = 0.0  # until the first step; only options given here can be changed later
        return poptorch.optim.SGD(params, lr=lr, weight_decay=spec.weight_decay, **used, **options)
    raise TypeError(f"optimizer={spec!r} is not one that an IPU runs: {KNOWN}")


def dampened(spec: Optional[Optimizer]) -> bool:
    """Whether the first step needs no dampening: torch's velocity begins at the first gradient, the device's at zero.

    Without momentum there is no velocity, and dampening has no effect.
    """
    return isinstance(spec, SGD) and spec.momentum > 0 and spec.dampening > 0


def slots(spec: Optimizer, params: Any, held: Dict[str, Any], scale: float = 1.0) -> Dict[str, Any]:
    """Translate the device's arrays, named by PopART, to arrays named "<parameter>.<slot>".

    Args:
        spec: the description of the optimiser.
        params: the parameters.
        held: the device's arrays; empty before the first step.
        scale: the loss scaling; on the device SGD's velocity is multiplied by it.

    Raises:
        KeyError: an array is missing, so no checkpoint can contain the optimiser.
    """
    arrays = {}
    for name, _ in leaves(params) if held else ():
        for slot, key in _keys(spec, name).items():
            if key not in held:
                raise KeyError(
                    f"the optimiser state on the device has no {key!r}, only {', '.join(sorted(held))}: it cannot "
                    "be saved in a checkpoint; please report these names"
                )
            arrays[f"{name}.{slot}"] = held[key] / _factor(spec, scale)
    return arrays


def device_state(spec: Optimizer, params: Any, held: Dict[str, Any], step: int, scale: float = 1.0) -> Dict[str, Any]:
    """The inverse of ``slots``, after ``step`` steps; zeros if ``held`` is empty, as before the first step."""
    arrays = {}
    for name, value in leaves(params):
        for slot, key in _keys(spec, name).items():
            arrays[key] = held[f"{name}.{slot}"] * _factor(spec, scale) if held else torch.zeros_like(value)
        if isinstance(spec, Adam):
            arrays[f"{STEP}params.{name}"] = torch.tensor(float(step) if held else 0.0)
    return arrays


def _keys(spec: Optimizer, name: str) -> Dict[str, str]:
    """The device's names for the slots of a parameter."""
    return {slot: f"{PREFIXES[type(spec)][slot]}params.{name}" for slot in spec.slots}


def _factor(spec: Optimizer, scale: float) -> float:
    return scale if isinstance(spec, SGD) else 1.0

"""Arrays of a node as fields of a neuron, constant or learned, in their smallest shape."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np

from spikecore.api.core.layer import Shape
from spikecore.api.core.parameters import Learn, constant


def compact(full: Any) -> Any:
    """A number if all values are equal; else an array that has size 1 along each axis along which they are equal."""
    full = np.asarray(full, dtype=np.float64)
    for axis in range(full.ndim):
        first = np.take(full, [0], axis=axis)
        if bool((full == first).all()):
            full = first
    return float(full.reshape(-1)[0]) if full.size == 1 else full


def learned(full: Any, entry: Dict[str, Any], shape: Shape) -> Tuple[Learn, Any]:
    """The learned field of a note, and the value of its parameter, in the shape of the parameter that was exported.

    If one parameter was shared by several neurons and their values now differ, each neuron gets its own parameter.
    """
    full = np.asarray(full, dtype=np.float64)
    wanted, per, dt = tuple(entry["shape"]), entry["per"], entry["dt"]
    lead = (1,) * (full.ndim - len(wanted)) + wanted
    part = full[tuple(slice(0, n) for n in lead)]
    if not bool((np.broadcast_to(part, full.shape) == full).all()):
        part, wanted, per = full, shape, None
    part = part.reshape(wanted)
    value = part if dt is None else -dt / np.log(np.clip(part, 1e-300, 1 - 1e-16))  # with dt, tau is learned
    first = float(value.reshape(-1)[0]) if per is not None or value.ndim == 0 else value
    return Learn(constant(first), per, dt), value if dt is None else np.log(value)

"""Arrays of a node as fields of a neuron: as few numbers as they need, constant or learned."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np

from spikecore.api.core.layer import Shape
from spikecore.api.core.parameters import Learn, constant


def compact(full: Any) -> Any:
    """A number where all values are equal, else an array with axes of extent 1 where they are equal along the axis."""
    full = np.asarray(full, dtype=np.float64)
    for axis in range(full.ndim):
        first = np.take(full, [0], axis=axis)
        if bool((full == first).all()):
            full = first
    return float(full.reshape(-1)[0]) if full.size == 1 else full


def learned(full: Any, entry: Dict[str, Any], shape: Shape) -> Tuple[Learn, Any]:
    """The learned field that was noted, and its parameter: the values in the shape that the parameter had.

    Values that have come to differ where one parameter stood for several neurons get a parameter each.
    """
    full = np.asarray(full, dtype=np.float64)
    wanted, per, dt = tuple(entry["shape"]), entry["per"], entry["dt"]
    lead = (1,) * (full.ndim - len(wanted)) + wanted
    part = full[tuple(slice(0, n) for n in lead)]
    if not bool((np.broadcast_to(part, full.shape) == full).all()):
        part, wanted, per = full, shape, None
    part = part.reshape(wanted)
    meant = part if dt is None else -dt / np.log(np.clip(part, 1e-300, 1 - 1e-16))
    first = float(meant.reshape(-1)[0]) if per is not None or meant.ndim == 0 else meant
    return Learn(constant(first), per, dt), meant if dt is None else np.log(meant)

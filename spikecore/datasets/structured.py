"""Events as NumPy's structured arrays, which other libraries use."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikecore.datasets.errors import DataError, checked
from spikecore.datasets.events import Events, check_sensor


@checked
def from_structured(array: Any, sensor: Any, origin: str = "") -> Events:
    """Events from a structured array with the fields t (µs) and x, and y and p if the sensor has them.

    Args:
        array: (events,). Times may decrease. Polarities may be booleans, {0, 1} or {-1, 1}.
        sensor: (width, height) in pixels; or (units,), and then y is not used.
        origin: name of the data set or camera, for messages.

    Raises:
        DataError: the array lacks a field or has more than one axis, or values do not fit the sensor.
    """
    names = getattr(getattr(array, "dtype", None), "names", None) or ()
    if not {"t", "x"} <= set(names):
        kind = f"{type(array).__name__} {getattr(array, 'dtype', '')}".strip()
        raise DataError(f"array: need a structured array with the fields t, x, y, p, or t, x, not {kind}")
    if array.ndim != 1:
        raise DataError(f"array: need one axis of events, not shape {array.shape}")
    p = array["p"] if "p" in names else None
    if p is not None and p.dtype.kind == "i" and p.size and p.min() == -1:
        p = p > 0
    y = array["y"] if "y" in names and len(check_sensor(sensor)) == 2 else None
    return Events.from_unsorted(array["t"], array["x"], y, p, sensor=sensor, origin=origin)


@checked
def to_structured(events: Events) -> np.ndarray:
    """A structured array (events,) with the fields x, y, t, p, in this order; y or p are left out if they are None."""
    columns = sorted(events.columns().items(), key=lambda pair: "xytp".index(pair[0]))
    array = np.empty(len(events), [(name, column.dtype) for name, column in columns])
    for name, column in columns:
        array[name] = column
    return array

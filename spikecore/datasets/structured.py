"""Events as NumPy's structured arrays, the form in which other libraries have them."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikecore.datasets.errors import DataError, checked
from spikecore.datasets.events import Events, check_sensor


@checked
def from_structured(array: Any, sensor: Any, origin: str = "") -> Events:
    """Events from a structured array with the fields t (µs) and x, and y and p where the sensor has them.

    Args:
        array: (events,); times may decrease, polarities be booleans, {0, 1} or {-1, 1}.
        sensor: (width, height); or (units,), which leaves y out.
        origin: where the events come from.

    Raises:
        DataError: an array without these fields or of another shape, or values that do not fit the sensor.
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
    """A structured array (events,) with those of the fields x, y, t, p, in this order, that the sensor has."""
    columns = sorted(events.columns().items(), key=lambda pair: "xytp".index(pair[0]))
    array = np.empty(len(events), [(name, column.dtype) for name, column in columns])
    for name, column in columns:
        array[name] = column
    return array

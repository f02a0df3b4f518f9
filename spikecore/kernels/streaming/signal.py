"""The signal from layer to layer within a step: values, and the places where they differ from those without input.

``idle`` is what a layer gives when nothing arrives, e.g. its bias. Its neighbours look at the rest alone: a product
reads the list of what is not zero, a neuron the blocks of values that are ``touched``.
"""

from __future__ import annotations

import math
from copy import copy
from typing import Any, Optional, Tuple

import numpy as np

BLOCK = 64  # values: a few vector registers, and few enough for a spike to wake few neurons
FIELDS = "VALUE", "IDLE", "TOUCHED", "PLACES", "COUNT", "LENGTH", "BLOCKS", "LISTED", "SILENT", "ANY"

#: For kernels: ``clear`` makes a signal idle, ``touch`` marks values from lo to hi, ``gather`` lists what is not zero.
SOURCE = f"""
BLOCK = {BLOCK}
{", ".join(FIELDS)} = range({len(FIELDS)})
integers = pointer_to("int64")


@njit(error_model="numpy", forceinline=True)
def clear(address):
    signal = integers(address)
    signal[COUNT] = 0
    if signal[ANY] != 0:
        value, idle, touched = row(signal[VALUE]), row(signal[IDLE]), integers(signal[TOUCHED])
        for b in range(signal[BLOCKS]):
            if touched[b] != 0:
                touched[b] = 0
                for j in range(b * BLOCK, min(signal[LENGTH], (b + 1) * BLOCK)):
                    value[j] = idle[j]
        signal[ANY] = 0


@njit(error_model="numpy", forceinline=True)
def touch(address, lo, hi):
    signal = integers(address)
    touched = integers(signal[TOUCHED])
    for b in range(lo // BLOCK, (hi - 1) // BLOCK + 1):
        touched[b] = 1
    signal[ANY] = 1


@njit(error_model="numpy", forceinline=True)
def gather(address):
    signal = integers(address)
    if signal[LISTED] != 0 and (signal[ANY] != 0 or signal[SILENT] == 0):
        value, touched, places = row(signal[VALUE]), integers(signal[TOUCHED]), integers(signal[PLACES])
        count, some = 0, 32 // SIZE
        for b in range(signal[BLOCKS]):
            if touched[b] != 0 or signal[SILENT] == 0:
                for lo in range(b * BLOCK, (b + 1) * BLOCK, some):
                    words = integers(signal[VALUE] + lo * SIZE)
                    if words[0] | words[1] | words[2] | words[3] != 0:
                        for j in range(lo, lo + some):
                            places[count] = j
                            count += 1 if value[j] != F(0.0) else 0
        signal[COUNT] = count
"""


class Signal:
    """The values between two layers, in memory that kernels read and write.

    Args:
        shape: (batch, *features).
        dtype: "float32" or "float64".
        idle: the values while nothing arrives; None is zero.
    """

    def __init__(self, shape: Tuple[int, ...], dtype: str, idle: Optional[Any] = None) -> None:
        size = math.prod(shape)
        blocks = -(-size // BLOCK)
        self.idle = np.zeros(shape, dtype) if idle is None else np.ascontiguousarray(idle, dtype)
        self.whole = np.zeros(blocks * BLOCK, dtype)  # whole blocks: ``gather`` looks at several values at once
        self.value, self.touched = self.whole[:size].reshape(shape), np.zeros(blocks, np.int64)
        self.places = np.zeros(size + 1, np.int64)  # ``gather`` writes behind the last one
        places = [a.ctypes.data for a in (self.value, self.idle, self.touched, self.places)]
        self.silent = not self.idle.any()
        self.head = np.array([*places, 0, size, blocks, 0, int(self.silent), 0], np.int64)
        self.hold(None)

    @property
    def shape(self) -> Tuple[int, ...]:
        """Shape of one sample."""
        return tuple(self.value.shape[1:])

    def reshaped(self, shape: Tuple[int, ...]) -> Signal:
        """The same signal as samples of another shape."""
        other, whole = copy(self), (len(self.value), *shape)
        other.value, other.idle = self.value.reshape(whole), self.idle.reshape(whole)
        return other

    @property
    def address(self) -> int:
        """Address for kernels."""
        return int(self.head.ctypes.data)

    def listed(self) -> int:
        """The signal's address, for a kernel that reads the list of what is not zero: from now on it is made."""
        self.head[FIELDS.index("LISTED")] = 1
        return self.address

    def hold(self, values: Any) -> None:
        """Set the signal to these values; None: to those without input."""
        self.value[...] = self.idle if values is None else values
        self.touched[...] = self.head[FIELDS.index("ANY")] = int(values is not None)
        self.relist()

    def relist(self) -> None:
        """Make the list of the places whose values are not zero."""
        places = np.flatnonzero(self.value)
        self.places[: len(places)] = places
        self.head[FIELDS.index("COUNT")] = len(places)

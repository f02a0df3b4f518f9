"""Kernels of whole runs, as they are called: see ``launch.py`` for why they are C functions without threads."""

from __future__ import annotations

import ctypes
from array import array
from typing import Any, Sequence

import numpy as np

from spikecore.kernels.runtime.machine_code import CFunction
from spikecore.kernels.runtime.team import team

ENTRY = ctypes.CFUNCTYPE(None, ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_void_p)


class Kernel:
    """A compiled kernel.

    Args:
        function: a C function (worker, number of workers, table).
        dtype: of all arrays.
    """

    def __init__(self, function: CFunction, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.function, self.address = function, function.address  # the code lives as long as the function
        self.alone = ENTRY(self.address)

    def __call__(self, workers: int, numbers: Sequence[int], arrays: Sequence[Any]) -> None:
        """Run it on ``workers`` threads. Rows must be without gaps; a single one is read again and again."""
        table, dtype, size = array("q", numbers), self.dtype, self.dtype.itemsize
        add = table.append
        for a in arrays:
            assert a.dtype == dtype  # it would read on in memory of others
            add(a.__array_interface__["data"][0])
            add(a.strides[0] // size if a.ndim and len(a) > 1 else 0)
        self.start(workers, table.buffer_info()[0])

    def start(self, workers: int, table: int) -> None:
        """Run it on a table that begins at an address."""
        if workers > 1:
            team()(self.address, workers, table)
        else:
            self.alone(0, 1, table)

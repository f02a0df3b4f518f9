"""Starting kernels of whole runs: one that is compiled without threads, by one loop over threads for all of them.

With a loop over threads of its own, a kernel takes Numba almost three times as long to compile. So a kernel is a C
function of a worker's number, and the loop calls it by its address. What it works on comes as a table of integers:
numbers first, then for each array where it begins and how many elements lie between the beginnings of two rows. Rows
may therefore run backwards, and a single one repeats, without another compilation. Kernels read and write through
pointers, not arrays: they take Numba a quarter to a third less time.
"""

from __future__ import annotations

import ctypes
import inspect
import sys
from functools import lru_cache
from typing import Any, Callable, Sequence

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from spikecore.kernels.runtime.modules import load
from spikecore.kernels.runtime.openmp import turn

SOURCE = """\
from numba import prange
from spikecore.kernels.runtime.launch import call
from spikecore.kernels.runtime.numba_cache import function


@function(parallel=True, nogil=True)
def launch(function, workers, table):
    for worker in prange(workers):
        call(function, worker, workers, table)
"""


def pointer_to(dtype: str) -> Any:
    """A function that makes an address a pointer to elements of a type."""

    @intrinsic
    def pointer(context: Any, address: Any) -> Any:
        signature = types.CPointer(getattr(types, dtype))(address)

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(signature.return_type))

        return signature, generate

    return pointer


@intrinsic
def call(context: Any, function: Any, *given: Any) -> Any:
    """Call a C function by its address, with integers and with arrays, which become pointers."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds, own = signature.args[1], builder.extract_value
        values = [own(args[1], i) for i in range(len(kinds))]
        for i, kind in enumerate(kinds):
            if isinstance(kind, types.Array):
                values[i] = context.make_array(kind)(context, builder, values[i]).data
        kind = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), values)

    whole = (kind if isinstance(kind, types.Array) else types.intp for kind in given)
    return types.void(types.intp, types.Tuple(tuple(whole))), generate


class Kernel:
    """A compiled kernel.

    Args:
        function: what ``numba.cfunc`` made: (worker, number of workers, table).
        dtype: of all arrays.
    """

    def __init__(self, function: Any, dtype: str) -> None:
        self.dtype = np.dtype(dtype)
        self.function, self.address = function, function.address  # the code lives as long as the function
        self.alone = ctypes.CFUNCTYPE(None, ctypes.c_ssize_t, ctypes.c_ssize_t, ctypes.c_void_p)(self.address)

    def __call__(self, workers: int, numbers: Sequence[int], arrays: Sequence[Any]) -> None:
        """Run it on ``workers`` threads. Rows must be without gaps; a single one is read again and again."""
        entries = [*numbers]
        for a in arrays:
            assert a.dtype == self.dtype  # it would read on in memory of others
            entries.append(a.__array_interface__["data"][0])
            entries.append(a.strides[0] // a.itemsize if a.ndim and a.shape[0] > 1 else 0)
        table = np.array(entries, np.intp)
        if workers > 1:
            with turn():
                _launcher()(self.address, workers, table)
        else:
            self.alone(0, 1, table.ctypes.data)


class ByAddress:
    """A compiled function of the address of a table.

    Args:
        function: what ``numba.cfunc`` made.
        returns: whether it returns an integer.
    """

    def __init__(self, function: Any, returns: bool) -> None:
        self.function, self.address = function, function.address  # the code lives as long as the function
        self.at = ctypes.CFUNCTYPE(ctypes.c_ssize_t if returns else None, ctypes.c_ssize_t)(self.address)

    def __call__(self, table: Any) -> Any:
        """Run it on an array of integers."""
        return self.at(table.ctypes.data)


@lru_cache(maxsize=None)
def _launcher() -> Callable[..., Any]:
    return load(SOURCE, text()).launch  # type: ignore[no-any-return]


@lru_cache(maxsize=None)
def text() -> str:
    """This file, which compiled kernels depend on."""
    return inspect.getsource(sys.modules[__name__])

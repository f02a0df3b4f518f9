"""Starting kernels of whole runs: one that is compiled without threads, by one loop over threads for all of them.

With a loop over threads of its own, a kernel takes Numba almost three times as long to compile. So a kernel is a C
function of a worker's number, and the loop calls it by its address. What it works on comes as a table of integers:
numbers first, then for each array where it begins and how many elements lie between the beginnings of two rows. Rows
may therefore run backwards, and a single one repeats, without another compilation. Kernels read and write through
pointers, not arrays: they take Numba a quarter to a third less time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Callable

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from spikecore.kernels.runtime.machine_code import code_around
from spikecore.kernels.runtime.modules import load

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
def float_of_bits(context: Any, bits: Any) -> Any:
    """The float32 with the bits of an int32. For NumPy's ``view``, Numba also compiles an error."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), generate


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


@lru_cache(maxsize=None)
def launcher() -> Callable[..., Any]:
    """The loop over Numba's threads: a function of a kernel's address, the number of workers, and the table."""
    return load(SOURCE, code_around()).launch  # type: ignore[no-any-return]

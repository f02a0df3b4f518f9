"""The threads of a kernel: those of the OpenMP that torch has brought into the process, else Numba's.

Numba's own threads need Numba, which takes a quarter of a second to import. GNU's interface to OpenMP, which LLVM's and
Intel's have on Linux as well, starts a C function on all threads of a team: here a small one, which calls the kernel.
"""

from __future__ import annotations

import ctypes
from array import array
from functools import lru_cache
from typing import Any, Callable, Optional

from spikecore.kernels.runtime.openmp import loaded, ready, turn

Start = Callable[[int, int, int], None]  # of addresses of a kernel and of its table, between them how many workers


@lru_cache(maxsize=None)
def team() -> Start:
    """A function that starts a kernel on several threads."""
    return _of_openmp() or _of_numba()


def _of_openmp() -> Optional[Start]:
    library = loaded()
    if library is None:
        return None
    names = "GOMP_parallel", "omp_get_thread_num", "omp_get_num_threads"
    functions: Any = [getattr(library, name, None) for name in names]
    if None in functions:
        return None
    parallel, *others = functions
    places = [ctypes.cast(other, ctypes.c_void_p).value or 0 for other in others]
    from spikecore.kernels.runtime.llvm import of_llvm

    share = of_llvm(_share(), "share")
    parallel.restype, parallel.argtypes = None, (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint)

    def start(function: int, workers: int, table: int) -> None:
        arguments = array("q", (function, workers, table, *places))
        parallel(share.address, arguments.buffer_info()[0], workers, 0)

    return start


def _of_numba() -> Start:
    from spikecore.kernels.runtime.launch import launcher  # needs Numba

    def start(function: int, workers: int, table: int) -> None:
        with turn():
            ready()
            launcher()(function, workers, table)

    return start


def _share() -> Any:
    """share(given): a thread's part of a kernel's workers, given (kernel, workers, table, and two of OpenMP's)."""
    from llvmlite import ir

    word, short, none = ir.IntType(64), ir.IntType(32), ir.VoidType()
    module = ir.Module()
    function = ir.Function(module, ir.FunctionType(none, (word.as_pointer(),)), "share")
    before, loop, body, after = (function.append_basic_block(name) for name in ("before", "loop", "body", "after"))
    build = ir.IRBuilder(before)
    kernel, workers, table, *asked = (build.load(build.gep(function.args[0], [ir.Constant(word, i)])) for i in range(5))
    kind = ir.FunctionType(short, ()).as_pointer()
    first, threads = (build.sext(build.call(build.inttoptr(place, kind), ()), word) for place in asked)
    called = build.inttoptr(kernel, ir.FunctionType(none, (word, word, word)).as_pointer())
    build.branch(loop)
    build.position_at_end(loop)
    worker = build.phi(word)
    worker.add_incoming(first, before)
    build.cbranch(build.icmp_signed("<", worker, workers), body, after)
    build.position_at_end(body)
    build.call(called, (worker, workers, table))
    worker.add_incoming(build.add(worker, threads), body)
    build.branch(loop)
    build.position_at_end(after)
    build.ret_void()
    return module

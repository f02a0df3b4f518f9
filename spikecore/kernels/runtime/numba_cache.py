"""Decorators for generated code: compiled by Numba, and kept by us.

Numba's own cache runs what it finds in its folder, whoever has put it there, stops at a damaged file, and needs a
folder that it can write to. This one hands it what ``store.py`` has checked.
"""

from __future__ import annotations

import hashlib
import pickle
import sys
from typing import Any, Callable

import llvmlite
import numba
from numba.core.caching import NullCache
from numba.core.ccallback import CFunc
from numba.core.compiler import CompileResult
from numba.core.serialize import dumps
from numba.core.sigutils import normalize_signature

from spikecore.kernels.runtime import machine_code, store


class Kept(NullCache):
    """One function's machine code on disk.

    Args:
        function: a function of a generated module, which is named by a hash of all that the code depends on.
    """

    def __init__(self, function: Any) -> None:
        self.name = f"{function.__module__}.{function.__qualname__}"

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled function; None where it is to be compiled."""
        target_context.refresh()
        data = store.load(self._file(sig, target_context.codegen()))
        if data is None:
            return None
        try:
            return CompileResult._rebuild(target_context, *pickle.loads(data))
        except Exception:  # noqa: BLE001  # whole, but made by something else of this version: compile it here
            return None

    def save_overload(self, sig: Any, result: Any) -> None:
        """Keep a function that was compiled."""
        store.save(self._file(sig, result.library.codegen), dumps(result._reduce()))

    def _file(self, sig: Any, codegen: Any) -> str:
        versions = numba.__version__, llvmlite.__version__, sys.version
        depends = repr((self.name, str(sig), codegen.magic_tuple(), versions))
        return f"{self.name}-{hashlib.blake2b(depends.encode(), digest_size=12).hexdigest()}"


def c_function(signature: str, **options: Any) -> Callable[[Any], machine_code.CFunction]:
    """The code of ``numba.cfunc``, kept on disk as machine code; compiled at once if it is not there."""

    def compiled(function: Any) -> machine_code.CFunction:
        entry = machine_code.entry(function.__module__, function.__qualname__)
        found = machine_code.load(entry)
        if found is None:
            made: Any = CFunc(function, normalize_signature(signature), locals={}, options=options)
            made.compile()
            try:
                found = machine_code.keep(entry, made.native_name, made._library._get_compiled_object())
            except RuntimeError:  # it calls into Numba, or into Intel's vector mathematics
                store.say("a kernel needs more than the C library: each process compiles it again")
                found = machine_code.CFunction(made.address, made)
        return found

    return compiled


def function(**options: Any) -> Callable[[Any], Any]:
    """``numba.njit``, with our cache; compiled when it is first called."""

    def compiled(function: Any) -> Any:
        dispatcher = numba.njit(**options)(function)
        dispatcher._cache = Kept(function)
        return dispatcher

    return compiled

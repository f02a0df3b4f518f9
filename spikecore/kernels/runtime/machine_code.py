"""Machine code of compiled C functions: kept on disk, and linked into this process without Numba.

Importing Numba takes a quarter of a second, linking a kernel a millisecond. LLVM links, through llvmlite, with which
Numba compiles. A kernel's code needs nothing but the C library, so any process of this machine can take it.
"""

from __future__ import annotations

import hashlib
import os
import pkgutil
import sys
from functools import lru_cache
from typing import Any, NamedTuple, Optional, Tuple

from spikecore.kernels.runtime import store

CODE = "launch.py", "numba_cache.py", "compiler.py", "instructions.py", "functions.py"
NAME = "spikecore_kernel_"  # begins the names of generated modules
_count = 0


class CFunction(NamedTuple):
    """A C function in this process.

    Args:
        address: where it begins.
        code: what holds its code, as long as this reference to it.
        cache_hits: whether it comes from disk; 0 or 1.
    """

    address: int
    code: Any
    cache_hits: int = 0


def load(entry: str) -> Optional[CFunction]:
    """The function that was kept under this name; None where it is to be compiled."""
    data = store.load(entry)
    if data is None:
        return None
    symbol, _, code = data.partition(b"\n")
    try:
        return link(symbol.decode(), code)._replace(cache_hits=1)
    except (RuntimeError, UnicodeDecodeError):  # whole, but made by something else of this version: compile it here
        return None


def keep(entry: str, symbol: str, code: bytes) -> CFunction:
    """Link a function that was compiled, and keep it on disk.

    Raises:
        RuntimeError: see ``link``; nothing is kept.
    """
    made = link(symbol, code)
    store.save(entry, symbol.encode() + b"\n" + code)
    return made


def link(symbol: str, code: bytes) -> CFunction:
    """The function of this name in object code.

    Raises:
        RuntimeError: LLVM cannot read the code, or it needs what is not in this process.
    """
    global _count  # noqa: PLW0603  (LLVM wants another name for each)
    from llvmlite.binding import JITLibraryBuilder

    _count += 1
    library = JITLibraryBuilder().add_object_img(code).add_current_process().export_symbol(symbol)
    linked = library.link(linker(), f"kernel {_count}")
    return CFunction(int(linked[symbol]), linked)


def module_name(text: str, depends: str = "") -> str:
    """The name of a generated module: a hash of its text, and of what else its functions depend on."""
    return NAME + hashlib.blake2b((text + depends).encode(), digest_size=12).hexdigest()


def entry(module: str, function: str) -> str:
    """The name under which a function of a generated module is kept on disk."""
    depends = repr((module, function, *_machine()))
    return f"{module}.{function}-{hashlib.blake2b(depends.encode(), digest_size=12).hexdigest()}"


@lru_cache(maxsize=None)
def code_around() -> str:
    """The files whose functions are compiled into kernels, or say how they are compiled: kernels depend on them."""
    files = (pkgutil.get_data("spikecore.kernels.runtime", name) for name in CODE)
    return "".join(data.decode() for data in files if data is not None)


@lru_cache(maxsize=None)
def _machine() -> Any:
    """The properties that machine code depends on besides its source: versions, and Numba's processor."""
    from llvmlite import __version__, binding

    numba = sys.modules.get("numba")
    version = numba.__version__ if numba else _version_of_numba()
    options = {key: value for key, value in os.environ.items() if key in OPTIONS}
    return binding.get_process_triple(), *processor(), version, __version__, sys.version, sorted(options.items())


def processor() -> Tuple[str, str]:
    """The name and the features of the processor that Numba compiles for."""
    from llvmlite import binding

    name = os.environ.get("NUMBA_CPU_NAME") or binding.get_host_cpu_name()
    features = os.environ.get("NUMBA_CPU_FEATURES")
    if features is None:
        try:
            features = binding.get_host_cpu_features().flatten()
        except RuntimeError:  # LLVM does not know them on this system
            features = ""
    return name, features


OPTIONS = "NUMBA_OPT", "NUMBA_LOOP_VECTORIZE", "NUMBA_SLP_VECTORIZE", "NUMBA_BOUNDSCHECK", "NUMBA_DISABLE_INTEL_SVML"


def _version_of_numba() -> str:
    """Its version, from its metadata."""
    from importlib.metadata import version

    return version("numba")


@lru_cache(maxsize=None)
def linker() -> Any:
    """The linker of code; before there is one, LLVM does not know this processor."""
    from llvmlite import binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding.create_lljit_compiler(suppress_errors=True)

"""LLVM as a compiler of its own language; imported where something is not on disk."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from llvmlite import binding

from spikecore.kernels.runtime import machine_code


@lru_cache(maxsize=None)
def this_machine() -> Any:
    """The target that LLVM compiles for: this processor, as for Numba."""
    machine_code.linker()  # makes LLVM know this processor
    cpu, features = machine_code.processor()
    target = binding.Target.from_default_triple()
    return target.create_target_machine(cpu=cpu, features=features, opt=3, reloc="pic", codemodel="jitdefault")


def of_llvm(module: Any, symbol: str) -> machine_code.CFunction:
    """A function of a module in LLVM's own language, from disk or compiled."""
    text = str(module)
    place = machine_code.entry(machine_code.module_name(text), symbol)
    function = machine_code.load(place)
    if function is None:
        function = machine_code.keep(place, symbol, this_machine().emit_object(binding.parse_assembly(text)))
    return function

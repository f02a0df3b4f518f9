"""Modules whose names are imported on first use, so that a program imports what it uses and no more.

The names stand in the stub beside the module, ``from home import name as name``, where editors and type checkers look
for them, too: ``errors.pyi`` for ``errors.py``. ``spikecore`` itself does the same.
"""

from __future__ import annotations

import gc
import importlib
import os
import sys
from typing import Any, Callable, List, Tuple


def imported(module: str) -> Any:
    """A module, imported while Python's garbage collector rests.

    What an import makes stays. The collector would look for garbage in it some dozens of times and once through all
    that torch has loaded, which takes a fifth of the time to import ``spikecore.nn`` and run a first network.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        if was_on:
            gc.enable()


def names_on_use(package: str, kind: str = "name") -> Tuple[Callable[[str], Any], Callable[[], List[str]], List[str]]:
    """``__getattr__``, ``__dir__`` and ``__all__`` of a module.

    Args:
        package: its name, of which the module is being imported.
        kind: what messages call a name that it lacks, e.g. "loss".
    """
    module: Any = sys.modules[package]
    stub = module.__spec__.loader.get_data(f"{os.path.splitext(module.__file__)[0]}.pyi").decode()
    lines = [line.split() for line in stub.splitlines() if line.startswith("from spikecore.")]
    homes = {name: home for _, home, _, _, _, name in lines}  # from home import name as name

    def find(name: str) -> Any:
        if name not in homes:
            from spikecore.other_names import unknown

            raise AttributeError(f"module {package}: {unknown(kind, name, homes)}")
        value = getattr(imported(homes[name]), name)
        setattr(module, name, value)
        return value

    return find, lambda: sorted(homes), sorted(homes)

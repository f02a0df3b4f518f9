"""spikecore: spiking neural networks, described once, trained on any engine, with gradients that can be verified.

Importing this package imports no array library and no matplotlib. Its names stand in ``__init__.pyi``, where editors
and type checkers look for them, too; each is resolved on first use.
"""

from __future__ import annotations

import importlib
import os

__version__ = "0.1.0"


def _homes():
    stub = __spec__.loader.get_data(os.path.join(os.path.dirname(__file__), "__init__.pyi")).decode()
    lines = [line.split() for line in stub.splitlines() if line.startswith("from ")]  # from home import name as name
    return {name: home for _, home, _, _, _, name in lines}


_HOMES = {**_homes(), "engines": __name__, "export": __name__}  # packages that are as callable as the functions

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str):
    if name not in _HOMES:
        from spikecore.other_names import no_name

        raise AttributeError(f"module 'spikecore' has no attribute {name!r}{no_name(name, _HOMES)}")
    if _HOMES[name] == __name__:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)

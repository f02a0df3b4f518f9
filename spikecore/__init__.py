"""spikecore: spiking neural networks, described once, trained on any engine, with gradients that can be verified.

    net = sc.Sequential(sc.Linear(784, 100), sc.Leaky(beta=0.9), sc.Linear(100, 10), sc.Leaky(beta=0.9))
    model = sc.Model(net, engine="torch")
    model.fit(x, y, epochs=5, num_steps=25)

Here are ``Model``, containers (``Sequential``), layers (``Linear``), neurons (``Leaky``) with ``learn``, ``decay`` and
``learn_tau`` for their parameters, optimisers (``Adam``), ways of learning (``BPTT``, ``EProp``), ``Compute`` and
``EarlyStopping`` for ``fit``; ``load``, ``verify``, ``export`` and ``get_engine``. All else has a module:

    data         datasets, spikegen
    training     functional (losses, metrics), schedule, init, surrogate, plasticity, backprop, tracking
    networks     zoo, convert, nir, compression (quantise, prune)
    modules of PyTorch, as in snnTorch      nn, utils
    to look at   spikeplot, neurobench, hardware (chips)
    engines      engines() lists them; eventprop has exact gradients without time steps
    your code    base (classes to derive from, types of results), errors
"""

from __future__ import annotations

import importlib.util
import os
import sys

__version__ = "0.1.0"


# Importing this package imports no array library and no matplotlib. Its names stand in ``__init__.pyi``, where editors
# and type checkers look for them, too; each is resolved on first use.


def _homes():
    stub = __spec__.loader.get_data(os.path.join(os.path.dirname(__file__), "__init__.pyi")).decode()
    lines = [line.split() for line in stub.splitlines() if line.startswith("from ")]  # from home import name as name
    return {name: home for _, home, _, _, _, name in lines}


_HOMES = {**_homes(), "engines": __name__, "export": __name__}  # packages that are as callable as the functions

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str):
    if name.startswith("_"):  # what Python and its tools ask each module for; no one misspells it
        raise AttributeError(f"module 'spikecore' has no attribute {name!r}")
    if name not in _HOMES:
        from spikecore.other_names import no_name

        # ``from spikecore import name`` asks here first; of an AttributeError it would not show the message.
        by_from = sys._getframe(1).f_code.co_name == "_handle_fromlist"
        if by_from and importlib.util.find_spec(f"{__name__}.{name}") is None:
            raise ImportError(no_name(name, _HOMES), name=__name__)
        raise AttributeError(no_name(name, _HOMES))
    from spikecore.on_use import imported

    if _HOMES[name] == __name__:
        value = imported(f"{__name__}.{name}")
    else:
        value = getattr(imported(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)

"""Cases of another package: ``--cases module:NAME``, a list of (name, object) or (name, layer, shape of one sample).

They join the table of cases before pytest collects, and only tests of them run: a layer is tried as the library's own
layers are, a neuron as its neurons. A surrogate is tried in a neuron, and a loss as its losses.
"""

from __future__ import annotations

import importlib
from typing import Any, List, Tuple

import spikecore as sc
from spikecore.api.neurons.stepper import Stepper
from spikecore.base import Layer
from spikecore.conformance import cases
from spikecore.surrogate import Surrogate

TRIED: List[Any] = []  # the layers and losses of other packages


def add(text: str) -> None:
    """Add the cases in "module:NAME" to the table.

    Raises:
        ValueError: there is no such list, or the suite has no tests of an object in it.
    """
    module, _, name = text.partition(":")
    try:
        listed = list(getattr(importlib.import_module(module), name))
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f"--cases {text}: {error}; it must be module:NAME, a list of (name, object) or (name, layer, shape)"
        ) from None
    for row in listed:
        _add(text, row)


def _add(text: str, row: Any) -> None:
    if not isinstance(row, tuple) or len(row) not in (2, 3):
        raise ValueError(f"--cases {text}: {row!r} must be (name, object), or (name, layer, shape of one sample)")
    name, thing, *shape = row
    if isinstance(thing, Surrogate):
        thing = sc.Leaky(beta=sc.learn(0.8), surrogate=thing)
    if isinstance(thing, Layer):
        case = cases.Case(name, thing, *map(tuple, shape))
        tables: Tuple[List[Any], ...] = (cases.LAYERS,)
        if isinstance(thing, Stepper):
            tables = cases.FAMILY, cases.NEURONS
        for table in (*tables, cases.VARIANTS):
            table.append(case)
        TRIED.append(case)
    elif callable(thing) and not isinstance(thing, type):
        cases.LOSSES.append((name, thing))
        TRIED.append(thing)
    else:
        raise ValueError(
            f"--cases {text}: {name}: the suite has tests of layers, neurons, surrogates and losses, objects and not "
            f"classes, and {thing!r} is none; sc.verify(model, x, targets, learning=...) compares a rule of learning"
        )


def is_of_them(item: Any) -> bool:
    """Whether a test is about a case of another package."""
    values = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return any(value is one for value in values for one in TRIED)

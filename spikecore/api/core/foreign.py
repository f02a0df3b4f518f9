"""Models from other libraries, e.g. an ``nn.Module``: how to convert them, and what to say where they do not fit."""

from __future__ import annotations

import importlib
import sys
from typing import Any, Optional, Tuple

from spikecore.api.core.engines import CONVERTERS
from spikecore.arguments import shown as shown


def library_of(thing: Any) -> Optional[str]:
    """The library that ``thing`` is a module of, e.g. "torch"; None if its modules cannot be converted."""
    roots = (kind.__module__.partition(".")[0] for kind in type(thing).__mro__)
    return next((root for root in roots if root in CONVERTERS), None)


def refuse_module(owner: str, model: Any) -> None:
    """Refuse another library's module where a callback of ``fit`` gets its model.

    Raises:
        TypeError: ``model`` is such a module.
    """
    root = library_of(model)
    if root is not None:
        raise TypeError(
            f"{owner}: model={shown(model)} must be a Model, of which spikecore.nn.from_torch(net) makes one; for a "
            f"loop over modules take {root}'s own tools, as docs/torch_loop.md shows"
        )


def no_layer(thing: Any) -> str:
    """The end of an error message about a value that is not a layer: what to write instead."""
    if isinstance(thing, (list, tuple)):
        return "; give layers one by one: sc.Sequential(*layers)"
    if isinstance(thing, type):
        return f"; it is a class: write {thing.__name__}(...)"
    if library_of(thing) is not None:
        ours = type(thing).__name__
        own = f"; write sc.{ours}(...)" if ours in sys.modules["spikecore"].__all__ else ""
        return (
            f"{own}; modules go into torch.nn.Sequential together with neurons of spikecore.nn, and "
            "spikecore.nn.from_torch(net) makes a Model of them"
        )
    return ""


def model_of(model: Any, shape: Optional[Tuple[int, ...]] = None) -> Any:
    """``model`` itself if it is a ``Model``, else a ``Model`` with the layers and weights of another library's module.

    Args:
        model: a ``Model``, or a module that can be converted, e.g. an ``nn.Module`` for ``spikecore.nn.from_torch``.
        shape: shape of one sample; needed if the module's first layer does not determine it.

    Raises:
        TypeError: ``model`` is neither.
        ValueError: a layer of the module has no counterpart; the message names its place.
    """
    if hasattr(model, "network"):
        return model
    root = library_of(model)
    if root is None:
        wrap = ": wrap it, sc.Model(network)" if hasattr(model, "init") and hasattr(model, "run") else ""
        raise TypeError(
            f"model={shown(model)} must be a spikecore.Model or a module of {', '.join(sorted(CONVERTERS))}{wrap}"
        )
    where, _, name = CONVERTERS[root].partition(":")
    return getattr(importlib.import_module(where), name)(model, shape)

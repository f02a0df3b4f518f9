"""Modules of array libraries as models: whoever owns a module's class converts it."""

from __future__ import annotations

import importlib
import inspect
from typing import Any, Optional, Tuple

from spikecore.arguments import shown as shown

CONVERTERS = {"torch": "spikecore.engines.torch.nn.convert:adopted"}  # library -> function(module, input_shape)
LAYERS = {"Torch": "spikecore.engines.torch.layer:Torch"}  # layers around modules of a library, by name
LOSSES = ("torch.nn.", "torch._C.", "snntorch.")  # modules whose losses take arrays


def library_of(thing: Any) -> Optional[str]:
    """The library whose module ``thing`` is, if it is one of those that can be converted."""
    roots = (kind.__module__.partition(".")[0] for kind in type(thing).__mro__)
    return next((root for root in roots if root in CONVERTERS), None)


def no_layer(thing: Any) -> str:
    """For an error about what is not a layer: what to write instead."""
    if isinstance(thing, (list, tuple)):
        return "; give layers one by one: sc.Sequential(*layers)"
    if isinstance(thing, type):
        return f"; it is a class: write {thing.__name__}(...)"
    if library_of(thing) is not None:
        return (
            "; modules go into torch.nn.Sequential together with neurons of spikecore.nn, and "
            "spikecore.nn.from_torch(net) makes a Model of them"
        )
    return ""


def of_arrays(loss: Any) -> str:
    """For a loss of another library, which is called with arrays: what to write instead; "" for the others."""
    made = loss if inspect.isroutine(loss) else type(loss)
    if not str(made.__module__).startswith(LOSSES):  # one that inherits from theirs may well take (out, targets)
        return ""
    name = made.__name__
    own = importlib.import_module("spikecore.api.functional")
    if hasattr(own, name):
        return f"; write spikecore.functional.{name}()"
    criterion = f"{made.__module__}.{name}" if made is loss else shown(loss)
    return (
        f"; with criterion = {criterion} write lambda out, targets: criterion(out.spikes.mean(0), targets), or take "
        "spikecore.functional.ce_rate_loss()"
    )


def model_of(model: Any, shape: Optional[Tuple[int, ...]] = None) -> Any:
    """A ``Model`` as it is; a module of a known library as the model with the same layers and weights.

    Args:
        model: a ``Model``, or e.g. an ``nn.Module`` that ``spikecore.nn.from_torch`` knows.
        shape: of one sample, for modules whose first layer does not fix it.

    Raises:
        TypeError: neither. ValueError: a layer without counterpart, named by its place.
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

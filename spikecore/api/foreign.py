"""Modules of array libraries as models: whoever owns a module's class converts it."""

from __future__ import annotations

import importlib
from typing import Any, Optional, Tuple

CONVERTERS = {"torch": "spikecore.engines.torch.nn.convert:adopted"}  # library -> function(module, input_shape)


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
    for kind in type(model).__mro__:
        root = kind.__module__.partition(".")[0]
        if root in CONVERTERS:
            where, _, name = CONVERTERS[root].partition(":")
            return getattr(importlib.import_module(where), name)(model, shape)
    raise TypeError(f"model={model!r} must be a spikecore.Model or a module of {', '.join(sorted(CONVERTERS))}")

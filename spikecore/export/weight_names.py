"""The names of a model's weights among the constants of a graph."""

from __future__ import annotations

from typing import Any, Dict

import numpy as np

from spikecore import Model


def fingerprint(array: Any) -> Any:
    """Equal for arrays of the same type, shape and numbers."""
    array = np.asarray(array)
    return str(array.dtype), array.shape, array.tobytes()


def weight_names(model: Model, dtype: str) -> Dict[Any, str]:
    """The dotted names of a model's weights, e.g. "0.weight", by the ``fingerprint`` that they have in a graph.

    Args:
        model: a model with weights.
        dtype: the floating-point type of the graph.
    """
    return {fingerprint(np.asarray(array, dtype)): name for name, array in model.params().items()}

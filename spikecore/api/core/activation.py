"""Functions of one number, in words; those that neurons offer by name are in ``ACTIVATIONS``."""

from __future__ import annotations

from typing import Any, Callable, Dict, Literal

from spikecore.api.core.messages import unknown
from spikecore.api.core.words import Vocabulary

Activation = Literal["identity", "leaky_relu", "relu", "sigmoid", "tanh"]


def logistic(xp: Vocabulary, x: Any) -> Any:
    """The logistic sigmoid 1 / (1 + exp(-x)), in a form that cannot overflow."""
    return 0.5 * (1.0 + xp.tanh(0.5 * x))


def relu(xp: Vocabulary, x: Any) -> Any:
    """max(0, x); its derivative at 0 is 0, as torch's."""
    return xp.where(x > 0, x, xp.zeros_like(x))


ACTIVATIONS: Dict[str, Callable[[Vocabulary, Any], Any]] = {
    "identity": lambda xp, x: 1.0 * x,
    "leaky_relu": lambda xp, x: xp.where(x > 0, x, 0.01 * x),
    "relu": relu,
    "sigmoid": logistic,
    "tanh": lambda xp, x: xp.tanh(x),
}


def check_activation(owner: object, name: str) -> None:
    """Refuse a name that is not in ``ACTIVATIONS``.

    Raises:
        ValueError: the message lists the names.
    """
    if name not in ACTIVATIONS:
        raise ValueError(f"{type(owner).__name__}: {unknown('activation', name, ACTIVATIONS)}")

"""What all surrogates share."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple, Type

from spikecore.api.core.engine import Engine, engine_of
from spikecore.api.core.parameters import (
    Fixed,
    Learn,
    Param,
    check_broadcast,
    constant,
    param_fields,
    values_of,
)
from spikecore.api.core.rules import str_dtype
from spikecore.api.core.words import Array, Vocabulary
from spikecore.arguments import Checked


@dataclass(frozen=True)
class Surrogate(Checked):
    """Base of all surrogates. Two surrogates with equal parameters are equal; all of them can be pickled.

    A subclass is a frozen dataclass with ``derivative`` and, if it has one, ``antiderivative``. Fields annotated
    ``Param`` may be given as arrays that broadcast to the neurons; ``local`` brings them to where ``u`` is.
    """

    positive: ClassVar[Tuple[str, ...]] = ()  # names of fields that must be > 0
    non_negative: ClassVar[Tuple[str, ...]] = ()  # >= 0; all others must be finite
    stochastic: ClassVar[bool] = False  # whether ``fire`` needs noise

    def __post_init__(self) -> None:
        for name in param_fields(type(self)):
            object.__setattr__(self, name, _checked(type(self), name, getattr(self, name)))

    def check_shape(self, shape: Tuple[int, ...]) -> None:
        """Refuse array parameters that do not broadcast to neurons of ``shape``.

        Raises:
            ValueError: names the parameter and both shapes.
        """
        for name in param_fields(type(self)):
            check_broadcast(self, name, values_of(getattr(self, name)), shape)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        """dS/du as used in the backward pass; an array of the shape and dtype of ``u``."""
        raise NotImplementedError(f"{type(self).__name__} defines no derivative(xp, u)")

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        """A function whose derivative is ``derivative``; only finite-difference checks need it."""
        raise NotImplementedError(f"{type(self).__name__} defines no antiderivative(xp, u)")

    @property
    def has_antiderivative(self) -> bool:
        """Whether finite differences can check this surrogate."""
        return type(self).antiderivative is not Surrogate.antiderivative

    def __call__(self, u: Array, noise: Optional[Array] = None) -> Any:
        """Spikes of potentials above threshold, as snnTorch's surrogates are called: Theta(u) with this derivative.

        Args:
            u: an array of any engine, floating point.
            noise: for stochastic surrogates, see ``fire``.
        """
        return self.fire(engine_of(u), u, noise)

    def fire(self, engine: Engine, u: Array, noise: Optional[Array] = None) -> Any:
        """The spike Theta(u) with this surrogate's derivative. ``noise`` in [0, 1) is for stochastic surrogates."""
        return engine.spike(u, self)


def _checked(owner: Type[Surrogate], name: str, value: Any) -> Param:
    """A parameter as a float or ``Fixed``, if it is in range."""
    if isinstance(value, Learn):
        raise TypeError(
            f"{owner.__name__}: {name} cannot be learned, no spike depends on it; give a number or an array"
        )
    wrong = TypeError(f"{owner.__name__}: {name}={value!r} must be a number or an array of numbers")
    try:
        value = constant(value)
    except (TypeError, ValueError):
        raise wrong from None
    for x in [value] if isinstance(value, float) else value.data.reshape(-1).tolist():
        if not math.isfinite(x) or (name in owner.positive and x <= 0) or (name in owner.non_negative and x < 0):
            bound = " and > 0" if name in owner.positive else " and >= 0" if name in owner.non_negative else ""
            raise ValueError(f"{owner.__name__}: {name}={x!r} must be finite{bound}")
    return value


def local(xp: Vocabulary, u: Any, value: Param) -> Any:
    """A parameter as formulas use it: a number as it is, an array on the engine and in the dtype of ``u``."""
    if not isinstance(value, Fixed):
        return value
    return xp.astype(engine_of(u).asarray(value.data), str_dtype(u))

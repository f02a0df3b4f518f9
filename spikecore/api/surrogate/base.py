"""The base class of all surrogates."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple, Type

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.parameters import (
    FixedArray,
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
from spikecore.printing import Concise


@dataclass(frozen=True)
class Surrogate(Concise, Checked):
    """Base of all surrogates. Two surrogates with equal parameters are equal; all of them can be pickled.

    A subclass is a frozen dataclass with ``derivative`` and, if it has one, ``antiderivative``. Fields annotated
    ``Param`` may be arrays that broadcast to the neurons; ``local`` converts them to arrays of the engine of ``u``.
    """

    positive: ClassVar[Tuple[str, ...]] = ()  # names of fields that must be > 0
    non_negative: ClassVar[Tuple[str, ...]] = ()  # names of fields that must be >= 0; all fields must be finite
    stochastic: ClassVar[bool] = False  # whether ``fire`` needs noise

    def __post_init__(self) -> None:
        for name in param_fields(type(self)):
            object.__setattr__(self, name, _checked(type(self), name, getattr(self, name)))

    @property
    def _told(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        return param_fields(type(self))

    def check_shape(self, shape: Tuple[int, ...]) -> None:
        """Refuse array parameters that do not broadcast to neurons of ``shape``.

        Raises:
            ValueError: the message names the parameter and both shapes.
        """
        for name in param_fields(type(self)):
            check_broadcast(self, name, values_of(getattr(self, name)), shape)

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        """The derivative dS/du for the backward pass, an array of the shape and dtype of ``u``.

        Args:
            xp: the engine's words (``api/core/words.py``).
            u: potential above threshold, U - threshold.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no derivative(xp, u)")

    def backward(self, xp: Vocabulary, u: Array, grad: Array) -> Any:
        """The gradient by u, from the gradient by the spikes: ``grad`` times the derivative."""
        return grad * self.derivative(xp, u)

    def check_engine(self, engine: Engine) -> None:  # noqa: B027  (formulas run on all)
        """Refuse an engine that this surrogate cannot run on, with a TypeError."""

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        """A function of u whose derivative is ``derivative``; only finite-difference checks need it."""
        raise NotImplementedError(f"{type(self).__name__} defines no antiderivative(xp, u)")

    @property
    def has_antiderivative(self) -> bool:
        """Whether finite differences can check this surrogate."""
        return type(self).antiderivative is not Surrogate.antiderivative

    def __call__(self, u: Array, noise: Optional[Array] = None) -> Any:
        """The spike Theta(u) with this surrogate's derivative; the same call as for snnTorch's surrogates.

        Args:
            u: potential above threshold, a floating-point array of any engine.
            noise: numbers in [0, 1), for stochastic surrogates only.
        """
        return self.fire(engine_of(u), u, noise)

    def fire(self, engine: Engine, u: Array, noise: Optional[Array] = None) -> Any:
        """The spike Theta(u) with this surrogate's derivative, on a given engine; see ``__call__``."""
        return engine.spike(u, self)


def _checked(owner: Type[Surrogate], name: str, value: Any) -> Param:
    """A parameter as a float or ``FixedArray``; refuse one that is out of range."""
    if isinstance(value, Learn):
        raise TypeError(
            f"{owner.__name__}: {name} cannot be learned, since no spike depends on it; give a number or an array"
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
    """A parameter for use in a formula: a number unchanged, an array converted to the engine and dtype of ``u``."""
    if not isinstance(value, FixedArray):
        return value
    return xp.astype(engine_of(u).asarray(value.data), str_dtype(u))

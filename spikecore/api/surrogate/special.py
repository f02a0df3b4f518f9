"""Surrogates with more than a formula in u: a user's own function, and one with random numbers."""

from __future__ import annotations

import inspect
import itertools
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Protocol

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.parameters import Param
from spikecore.api.core.rules import str_dtype
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.surrogate.base import Surrogate, local


class Formula(Protocol):
    """A derivative or an antiderivative of the user's own."""

    def __call__(self, *args: Any) -> Any: ...


@dataclass(frozen=True)
class custom_surrogate(Surrogate):
    """A function of your own as surrogate.

    Args:
        function: ``function(xp, u)`` returns the derivative, written in vocabulary words; or, as in snnTorch,
            ``function(input_, grad_input, spikes)`` returns the gradient by the potential, mostly the derivative times
            ``grad_input``. It gets the gradient by the spikes and may change it, for example clip it. The IPU engine,
            learning forward in time, ``sparse_backward`` and forward mode need a derivative: they refuse a function
            that is not linear in ``grad_input``.
        integral: ``integral(xp, u)`` returns the antiderivative; only finite-difference checks need it. Default None.

    It can be pickled if the functions can. It cannot be saved in a model file; for that, write a dataclass.

    Raises:
        TypeError: ``function`` or ``integral`` is not a function, or takes another number of arguments; or, in use, a
            derivative is needed and there is none.

    Example:
        >>> surrogate.custom_surrogate(lambda xp, u: xp.exp(-abs(u)))
    """

    function: Formula
    integral: Optional[Formula] = None

    def __post_init__(self) -> None:
        if not callable(self.function) or _arguments(self.function) not in (2, 3):
            raise TypeError(
                f"custom_surrogate: function={self.function!r} must be a function of (xp, u) "
                "or of (input_, grad_input, spikes)"
            )
        if self.integral is not None and not callable(self.integral):
            raise TypeError(f"custom_surrogate: integral={self.integral!r} must be a function of (xp, u), or None")

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        if self.in_words:
            return self.function(xp, u)
        self.check_linear(engine_of(u), "this")
        return self.backward(xp, u, xp.ones_like(u))

    def backward(self, xp: Vocabulary, u: Array, grad: Array) -> Any:
        if self.in_words:
            return super().backward(xp, u, grad)
        return self.function(u, grad, xp.astype(u > 0, str_dtype(u)))

    def check_engine(self, engine: Engine) -> None:
        if "backward" in engine.lacks:
            self.check_linear(engine, f"engine {engine.name!r}")

    def check_linear(self, engine: Engine, owner: str) -> None:
        """Refuse a function that is not linear in the gradient, which has no derivative.

        It is tried on potentials around the threshold: a clipped, normalised, averaged or ignored gradient differs from
        the multiple of what the function makes of ones.

        Args:
            engine: makes the arrays that the function gets.
            owner: what needs a derivative, for the message.

        Raises:
            TypeError: names the function.
        """
        if self.in_words:
            return
        xp, u, grad = engine.xp, engine.asarray(TRIED[0]), engine.asarray(TRIED[1])
        product = grad * self.backward(xp, u, xp.ones_like(u))
        gap = xp.abs(self.backward(xp, u, grad) - product)
        if not bool(engine.to_numpy(xp.all(gap <= 1e-4 * xp.abs(product) + 1e-30))):
            raise TypeError(
                f"custom_surrogate: function={self.function!r} is not linear in grad_input, and {owner} needs a "
                "derivative by which the gradient is multiplied: train by BPTT on numpy or torch without "
                "sparse_backward, or take a function (xp, u)"
            )

    def antiderivative(self, xp: Vocabulary, u: Array) -> Any:
        return super().antiderivative(xp, u) if self.integral is None else self.integral(xp, u)

    @property
    def has_antiderivative(self) -> bool:
        return self.integral is not None

    @property
    def in_words(self) -> bool:
        """Whether the function is written in vocabulary words; one of three arguments uses a library of its own."""
        return _arguments(self.function) == 2


#: Potentials, and gradients by the spikes, each (32, 1), so that they broadcast with parameters of neurons.
TRIED = tuple(
    [
        [row[i]]
        for row in itertools.product((-2.0, -1.0, -0.2, -0.01, 0.01, 0.2, 1.0, 2.0), (1.0, -3.0, 2.0**20, -(0.5**20)))
    ]
    for i in range(2)
)


def _arguments(function: Formula) -> int:
    """The number of positional arguments without a default."""
    parameters = inspect.signature(function).parameters.values()
    return sum(p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)


@dataclass(frozen=True)
class SSO(Surrogate):
    """Stochastic spike operator: the derivative is 1 for a neuron that fired and random for one that did not.

        derivative      1 for u > 0,  else (noise - 1/2 + mean) variance,  noise uniform in [0, 1)
        as an operator  Theta(u) + h (u - stop_gradient(u)),  h the derivative

    The noise is an input of the spike, drawn in the step (see ``Drawing`` in ``neurons/stepper.py``). A number drawn
    during the backward pass would differ between engines, and no gradient could be verified. So SSO works only through
    ``fire``, and ``derivative`` raises.

    Args:
        mean: added to the noise; default 0.
        variance: factor of the noise, >= 0; default 0.2. The name is snnTorch's: the noise's standard deviation is
            variance / sqrt(12).
    """

    mean: Param = 0.0
    variance: Param = 0.2
    non_negative: ClassVar[Any] = ("variance",)
    stochastic: ClassVar[bool] = True

    def fire(self, engine: Engine, u: Array, noise: Optional[Array] = None) -> Any:
        """Theta(u), differentiated as above, for finite u.

        Args:
            engine: the engine that computes.
            u: potential above threshold.
            noise: numbers in [0, 1) that broadcast to u, e.g. ``engine.uniform(key, u.shape, sample_axis=0)``.

        Raises:
            ValueError: ``noise`` is missing.
        """
        if noise is None:
            raise ValueError(_NO_NOISE)
        xp = engine.xp
        fired = u > 0
        quiet = (noise - 0.5 + local(xp, u, self.mean)) * local(xp, u, self.variance)
        slope = xp.where(fired, xp.ones_like(u), xp.ones_like(u) * quiet)
        return xp.astype(fired, str_dtype(u)) + slope * (u - engine.stop_gradient(u))

    def derivative(self, xp: Vocabulary, u: Array) -> Any:
        raise ValueError(_NO_NOISE)


_NO_NOISE = (
    "SSO: its derivative is random and a backward pass draws nothing, so that every engine computes the same gradient. "
    "Draw the noise beforehand and pass it: SSO().fire(engine, u, noise=engine.uniform(key, shape)); "
    "surrogates without noise that pass gradient below the threshold are LSO(slope) and heaviside()"
)

"""Smooth mode: the network that the surrogate gradient really is the gradient of.

A spike's surrogate derivative is no derivative of the spike, so finite differences of a spiking network say nothing.
They do of the network in which every spike is replaced by the surrogate's antiderivative: there the same backward pass
computes a true gradient. What the rules treat as constant must then be constant: the values of comparisons and of
``stop_gradient`` are recorded at the base point and replayed at the points beside it. (Without that a detached reset
would move along, and the quotient would differ from the gradient for a reason that is no error.)
"""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from spikecore.api.core.tree import map_leaves
from spikecore.api.core.words import PIECEWISE_CONSTANT
from spikecore.api.neurons.stepper import one_step
from spikecore.engines.numpy.tape import Tape, lower

HELD = (*(word for word in PIECEWISE_CONSTANT if not word.endswith("_like")), "stop_gradient")


class Smooth:
    """What an engine of this package gains from smooth spikes: a class to inherit before the engine.

    ``value_and_grad`` gives the analytic gradient. For finite differences ``evaluate`` the function once inside
    ``with engine.record():`` and then as often as needed inside ``with engine.replay():``.
    """

    _next: Optional[Iterator[Any]] = None  # set while replaying
    _recording = False
    _held: List[Any]

    def raw_words(self) -> Dict[str, Callable[..., Any]]:
        raw = super().raw_words()  # type: ignore[misc]  # the engine's
        plain = SimpleNamespace(**raw)
        smooth = {word: self._holding(raw[word]) for word in HELD}
        return {**raw, **smooth, "spike": lambda u, surrogate: surrogate.antiderivative(plain, u)}

    def _holding(self, raw: Callable[..., Any]) -> Callable[..., Any]:
        def word(*arguments: Any, **options: Any) -> Any:
            if self._next is not None:
                return next(self._next)
            value = raw(*arguments, **options)
            if self._recording:
                self._held.append(value)
            return value

        return word

    def step(self, stepper: Any, params: Any, state: Any, x: Any) -> Tuple[Any, Any]:
        return self.evaluate(lambda *held: one_step(self, stepper, *held), params, state, x)

    def evaluate(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function(*arguments)``, forward only, such that operators too go through the words held here."""
        tape = Tape(self)
        return lower(function(*(map_leaves(tape.constant, argument) for argument in arguments)))

    @contextmanager
    def record(self) -> Iterator[None]:
        """Note the values that must be held constant, in the order in which they come."""
        self._held, self._recording = [], True
        try:
            yield
        finally:
            self._recording = False

    @contextmanager
    def replay(self) -> Iterator[None]:
        """Use the noted values instead of new ones.

        Raises:
            RuntimeError: the function did not ask for exactly the values noted, so it took another path.
        """
        self._next = iter(self._held)
        try:
            yield
            if next(self._next, self) is not self:
                raise RuntimeError("replayed function used fewer held values than were recorded")
        finally:
            self._next = None

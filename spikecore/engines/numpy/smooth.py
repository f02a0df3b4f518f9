"""Smooth mode: a network whose true gradient is the surrogate gradient, to be tested by finite differences.

A surrogate derivative is not the derivative of the spike, so finite differences of a spiking network cannot test it.
In smooth mode every spike is replaced by the surrogate's antiderivative: the same backward pass then computes a true
gradient. Everything that the rules treat as constant must then be constant. So the values of comparisons and of
``stop_gradient`` are recorded at the base point and replayed at the points beside it. Otherwise a detached reset would
change from point to point, and the difference quotient would differ from a correct gradient.
"""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

from spikecore.api.core.tree import map_leaves
from spikecore.api.core.words import PIECEWISE_CONSTANT
from spikecore.api.neurons.stepper import one_step
from spikecore.engines.numpy.tape import Tape, without_tape

HELD = (*(word for word in PIECEWISE_CONSTANT if not word.endswith("_like")), "stop_gradient")


class Smooth:
    """Smooth mode for an engine of this package: a class to inherit before the engine's class.

    ``value_and_grad`` gives the analytic gradient. For finite differences, ``evaluate`` the function once inside
    ``with engine.record():`` and then, at other points, inside ``with engine.replay():``.
    """

    _next: Optional[Iterator[Any]] = None  # the recorded values, during a replay
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
        return self.evaluate(lambda *operands: one_step(self, stepper, *operands), params, state, x)

    def evaluate(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """``function(*arguments)``, forward only, on ``Var``s, so that operators call the words of this class, too."""
        tape = Tape(self)
        return without_tape(function(*(map_leaves(tape.constant, argument) for argument in arguments)))

    @contextmanager
    def record(self) -> Iterator[None]:
        """Record the values that must be constant, in the order in which they are computed."""
        self._held, self._recording = [], True
        try:
            yield
        finally:
            self._recording = False

    @contextmanager
    def replay(self) -> Iterator[None]:
        """Use the recorded values instead of new ones.

        Raises:
            RuntimeError: the function did not use exactly the recorded values, so it took another path.
        """
        self._next = iter(self._held)
        try:
            yield
            if next(self._next, self) is not self:
                raise RuntimeError("replayed function used fewer held values than were recorded")
        finally:
            self._next = None

"""Parallel computation over time: neurons without reset are linear in time, so all steps can be computed at once.

The recurrence U[t] = a[t] U[t-1] + b[t] is associative: two neighbouring steps combine into one, (a2, b2) after
(a1, b1) is (a2 a1, a2 b1 + b2). Doubling the span of each step log2 T times gives every U[t] (Hillis & Steele, Data
parallel algorithms, 1986; Blelloch, Prefix sums and their applications, 1990). The method does not divide by a running
product, so it is as accurate as the loop for any T.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import Params, State
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import Neuron


def recurrence(engine: Engine, decay: Any, inputs: Any, before: Any) -> Any:
    """Compute all U[t] = decay U[t-1] + inputs[t], with U[-1] = ``before``.

    Args:
        engine: the engine.
        decay: a number, an array that broadcasts to one step, or one value per step (time, batch, ...).
        inputs: (time, batch, ...).
        before: the state before the first step, (batch, ...).

    Returns:
        the states of all steps, (time, batch, ...).
    """
    xp = engine.xp
    varying = hasattr(decay, "ndim") and decay.ndim == inputs.ndim
    first = decay[:1, ...] if varying else decay
    values = xp.concat([inputs[:1, ...] + first * xp.expand_dims(before, axis=0), inputs[1:, ...]], axis=0)
    span = 1
    while span < inputs.shape[0]:
        reach = decay[span:, ...] if varying else decay
        values = xp.concat([values[:span, ...], values[span:, ...] + reach * values[:-span, ...]], axis=0)
        if varying:
            decay = xp.concat([decay[:span, ...], decay[span:, ...] * decay[:-span, ...]], axis=0)
        else:
            decay = decay * decay
        span *= 2
    return values


def rotating_recurrence(engine: Engine, pole: Tuple[Any, Any], inputs: Tuple[Any, Any], before: Tuple[Any, Any]) -> Any:
    """Compute all z[t] = pole z[t-1] + inputs[t] of complex numbers, each a pair of its real and imaginary part.

    Args:
        engine: the engine.
        pole: two numbers, or arrays that broadcast to one step.
        inputs: two arrays (time, batch, ...).
        before: z before the first step, two arrays (batch, ...).

    Returns:
        the real and the imaginary parts of all steps, each (time, batch, ...).
    """
    xp = engine.xp
    first = turned(pole, (xp.expand_dims(before[0], axis=0), xp.expand_dims(before[1], axis=0)))
    real, imag = (xp.concat([x[:1, ...] + f, x[1:, ...]], axis=0) for x, f in zip(inputs, first))
    span = 1
    while span < inputs[0].shape[0]:
        more = turned(pole, (real[:-span, ...], imag[:-span, ...]))
        real = xp.concat([real[:span, ...], real[span:, ...] + more[0]], axis=0)
        imag = xp.concat([imag[:span, ...], imag[span:, ...] + more[1]], axis=0)
        pole = turned(pole, pole)
        span *= 2
    return real, imag


def turned(pole: Tuple[Any, Any], z: Tuple[Any, Any]) -> Tuple[Any, Any]:
    """The product of two complex numbers, each a pair of its real and imaginary part."""
    return pole[0] * z[0] - pole[1] * z[1], pole[1] * z[0] + pole[0] * z[1]


@dataclass(frozen=True)
class Parallel(Neuron):
    """Mixin for neurons whose states are linear recurrences: computes a whole sequence without a loop over time.

    Args:
        parallel: compute all steps at once; default False. Resets and ``state_quant``, which are not linear, and
            truncated BPTT exclude it.

    Raises:
        ValueError: ``parallel=True`` with a reset or ``state_quant``, or in a subclass that defines ``step`` without
            ``unrolled``.
    """

    parallel: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        nonlinear = getattr(self, "reset_mechanism", "none") != "none" or getattr(self, "state_quant", None) is not None
        if self.parallel and nonlinear:
            name = type(self).__name__
            raise ValueError(
                f"{name}: parallel=True needs reset_mechanism='none' and no state_quant: they are not linear"
            )
        if self.parallel:
            own = next(kind for kind in type(self).__mro__ if {"step", "unrolled"} & vars(kind).keys())
            if "unrolled" not in vars(own):
                raise ValueError(
                    f"{own.__name__}: defines step but not unrolled, so parallel=True would compute its base: define "
                    "unrolled, too, or take parallel=False"
                )

    def unrolled(self, engine: Engine, params: Params, state: State, inputs: Array) -> State:
        """The states at every step, for ``parallel=True``: by name, each (time, batch, ...)."""
        raise NotImplementedError(f"{type(self).__name__} does not define unrolled()")

    def outputs(self, engine: Engine, params: Params, before: State, states: State) -> Any:
        """The outputs of all steps, from the states of all steps and the state ``before`` the first."""
        time, batch = states.mem.shape[:2]
        mem = engine.xp.reshape(states.mem, (time * batch, *states.mem.shape[2:]))
        spikes, _ = (
            self.fire(engine, params, mem) if hasattr(self, "fire") else (self._spikes(engine, params, mem), None)
        )
        return engine.xp.reshape(spikes, states.mem.shape)

    def _spikes(self, engine: Any, params: Params, mem: Any) -> Any:
        return self.graded(params, self.fires(engine, params, mem))

    def at_once(
        self,
        engine: Engine,
        params: Params,
        state: State,
        inputs: Array,
        *,
        steps: Optional[int] = None,
        record: Tuple[str, ...] = (),
        window: Optional[int] = None,
    ) -> Any:
        """The result of ``Engine.scan``, computed without a loop over time."""
        if window is not None:
            raise ValueError(f"{type(self).__name__}: window={window!r} has no effect with parallel=True; leave it out")
        if steps is not None:
            inputs = engine.xp.broadcast_to(inputs, (steps, *inputs.shape[1:]))
        states = self.unrolled(engine, params, state, inputs)
        final = State({name: values[-1, ...] for name, values in states.items()})
        return self.outputs(engine, params, state, states), State({name: states[name] for name in record}), final

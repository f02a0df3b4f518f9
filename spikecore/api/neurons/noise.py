"""Noise for stochastic surrogates: it is drawn before the loop over time and enters the loop as part of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.core.layer import Params, Pass, State
from spikecore.api.neurons.base import Stepper


@dataclass(frozen=True)
class Noisy(Stepper):
    """A neuron whose input has a last axis of two entries: the current and the noise of each step.

    Args:
        neuron: the neuron; its ``step`` reads the noise from the parameters, as "noise".
    """

    neuron: Any

    passing: ClassVar[bool] = True

    @property
    def state(self) -> Tuple[str, ...]:  # type: ignore[override]
        return self.neuron.state

    def init(self, key: Any, shape: Any) -> Any:
        return self.neuron.init(key, shape)

    def step(self, engine: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
        return self.neuron.step(engine, params.replace(noise=x[..., 1]), state, x[..., 0])


def noisy(neuron: Any, run: Pass, current: Any, resting: State) -> Tuple[Noisy, Any, Optional[int]]:
    """Draw the noise of all steps; return what ``Engine.scan`` runs instead: stepper, input and ``steps`` (None).

    Raises:
        ValueError: there is no random key, or the neuron's states are not shaped like its input.
    """
    if run.key is None:
        raise ValueError(f"{type(neuron.surrogate).__name__}: training without a random key; pass key=Key((seed,))")
    if any(tuple(part.shape) != tuple(current.shape[1:]) for part in resting.values()):
        raise ValueError(
            f"{type(neuron).__name__}: a stochastic surrogate needs states shaped like the input; use another one"
        )
    engine, xp = run.engine, run.engine.xp
    shape = (current.shape[0] if run.steps is None else run.steps, *current.shape[1:])
    path = run.key.child(run.path, "surrogate").path
    noise = engine.uniform(path, shape, sample_axis=1, first=run.key.first)
    return Noisy(neuron), xp.stack([xp.broadcast_to(current, shape), noise], axis=-1), None

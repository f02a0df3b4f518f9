"""``NeuronWrapper``, the base of wrappers around a neuron, and what they refuse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

from spikecore.api.neurons.base import Neuron
from spikecore.api.neurons.stepper import Stepper


@dataclass(frozen=True)
class NeuronWrapper(Stepper):
    """Base of wrappers around a neuron, whose parameters are named "neuron.…".

    Args:
        neuron: the neuron.
    """

    neuron: Stepper

    @property
    def spiking(self) -> bool:  # type: ignore[override]  # a property in place of a constant
        return self.neuron.spiking

    @property
    def core(self) -> Tuple[Neuron, str]:
        neuron, prefix = self.neuron.core
        return neuron, f"neuron.{prefix}"

    @property
    def connections(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        return tuple(f"neuron.{name}" for name in self.neuron.connections)


def refuse_parallel(owner: Any, neuron: Any) -> None:
    """Refuse a neuron that cannot run step by step, as its ``owner`` runs it, or was asked not to.

    Raises:
        ValueError: names the owner.
    """
    if not neuron.by_steps:
        raise ValueError(
            f"{type(owner).__name__}: {type(neuron).__name__} needs whole sequences, and this runs its neuron step by "
            "step; take SlidingPSN"
        )
    if neuron.parallel and not type(neuron).parallel:  # the user's choice, not a property of the class
        raise ValueError(
            f"{type(owner).__name__}: parallel=True has no effect here, it runs step by step; leave it out"
        )


def refuse_weights(owner: Any, neuron: Any) -> None:
    """Refuse a neuron whose input goes through weights of its own, where its ``owner`` takes part in that input.

    Raises:
        ValueError: names the owner.
    """
    if neuron.projects:
        raise ValueError(
            f"{type(owner).__name__}: {type(neuron).__name__} has weights for its input, and this takes neurons "
            "without: put a Linear before it, and e.g. Leaky inside"
        )


def refuse_state(owner: Any, neuron: Any, name: str) -> None:
    """Refuse a neuron that has a state of the name that its ``owner`` gives to a state of its own.

    Raises:
        ValueError: names the owner and the state.
    """
    if name in neuron.state:
        kind = type(owner).__name__
        raise ValueError(f"{kind}: neuron={neuron!r} has a state {name!r} already, and {kind} adds one of that name")

"""A neuron whose parameters and states are on grids of integers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import Init, Key, Params, Shape, State
from spikecore.api.core.words import Array
from spikecore.api.functional.quantisers import FixedPoint, Grid
from spikecore.api.neurons.base import Neuron
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.neurons.wrapper import refuse_parallel


@dataclass(frozen=True)
class QuantizedNeuron(Stepper):
    """A neuron that computes with quantised parameters: decays, threshold and what follows from them.

    A step is the neuron's own. Before the first one, each number that it multiplies, adds or compares with is brought
    to its grid, constants and learned values alike. Learned values keep their full precision in training and get their
    gradients through the rounding (see ``ScaledInteger``). The parameters have the names of the neuron's.

    Args:
        neuron: the neuron, e.g. ``sc.Leaky(beta=0.9, state_quant=sc.compression.FixedPoint(16, 8))``. Put it inside of
            ``sc.Recurrent`` or ``sc.Refractory``, not around them.
        param_quant: the grid of parameters, each of which has its own scale; None: full precision.
        state_quant: the grid of all states after a step, for neurons without an argument ``state_quant`` of their own;
            None, the default: as the neuron computes them.

    Raises:
        TypeError: ``neuron`` is something else, or a parameter's scale would be learned.
        ValueError: the neuron has ``parallel=True`` or needs whole sequences; or both it and this have a
            ``state_quant``.
    """

    neuron: Stepper
    param_quant: Optional[Grid] = None
    state_quant: Optional[FixedPoint] = None

    def __post_init__(self) -> None:
        if not isinstance(self.neuron, Neuron) or hasattr(self.neuron, "recurrent"):
            raise TypeError(
                f"QuantizedNeuron: neuron={self.neuron!r} is no neuron such as sc.Leaky(beta=0.9); of Recurrent and "
                "Refractory quantise the neuron inside, of RLeaky and RSynaptic the Recurrent(neuron, connection)"
            )
        refuse_parallel(self, self.neuron)
        if self.param_quant is not None and self.param_quant.learns:
            raise TypeError(f"QuantizedNeuron: param_quant={self.param_quant!r} must have a scale that is not learned")
        if self.state_quant is not None and getattr(self.neuron, "state_quant", None) is not None:
            raise ValueError("QuantizedNeuron: the neuron has a state_quant already; give it once, to the neuron")

    @property
    def connections(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        return self.neuron.connections

    @property
    def state(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        return self.neuron.state

    @property
    def spiking(self) -> bool:  # type: ignore[override]  # a property in place of a constant
        return self.neuron.spiking

    @property
    def core(self) -> Tuple[Neuron, str]:
        return self.neuron.core

    @property
    def input_shape(self) -> Optional[Shape]:
        return self.neuron.input_shape

    def init(self, key: Key, shape: Shape) -> Init:
        return self.neuron.init(key, shape)

    def prepare(self, engine: Engine, params: Params) -> Params:
        ready = self.neuron.prepare(engine, params)
        grid = self.param_quant
        if grid is None:
            return ready
        return ready.replace(
            **{n: grid.number(v) if type(v) is float else grid.quantised(engine, v) for n, v in ready.items()}
        )

    @property
    def projects(self) -> bool:
        return self.neuron.projects

    def project(self, engine: Engine, params: Params, x: Array) -> Any:
        return self.neuron.project(engine, params, x)

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        return self._stored(engine, self.neuron.rest(engine, params, x))

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        out, after = self.neuron.step(engine, params, state, x)
        return out, self._stored(engine, after)

    def _stored(self, engine: Engine, states: Any) -> State:
        grid = self.state_quant
        return states if grid is None else State({name: grid.apply(engine, s) for name, s in states.items()})

"""Weights of cells whose gates are dense: from the input and from the last step to each gate, as in torch's cells."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import uniform_weight
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, ShapeError, State
from spikecore.api.core.sizes import at_least_one
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import Neuron


@dataclass(frozen=True)
class DenseGates(Neuron):
    """Base of ``SLSTM`` and ``SpikingGRU``: the weights of all gates, one below the other.

    Args:
        input_size: features of the input (time, batch, input_size), >= 1.
        hidden_size: number of neurons, >= 1.
        bias: whether the gates have biases; default True.
        Others: see ``Neuron``.
    """

    input_size: int = 0
    hidden_size: int = 0
    bias: bool = True

    gate_count: ClassVar[int]
    connections: ClassVar[Tuple[str, ...]] = ("weight_ih", "weight_hh")

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, input_size=self.input_size, hidden_size=self.hidden_size)

    @property
    def input_shape(self) -> Optional[Shape]:
        return (self.input_size,)

    def init(self, key: Key, shape: Shape) -> Init:
        if shape != (self.input_size,):
            raise ShapeError(f"{type(self).__name__}: samples of shape {shape}, expected ({self.input_size},)")
        inherited = super().init(key, (self.hidden_size,)).params
        rows, bound = self.gate_count * self.hidden_size, 1.0 / math.sqrt(self.hidden_size)
        sizes: Dict[str, Shape] = {"weight_ih": (rows, self.input_size), "weight_hh": (rows, self.hidden_size)}
        if self.bias:
            sizes.update(bias_ih=(rows,), bias_hh=(rows,))
        weights = {name: uniform_weight(key, name, size, bound) for name, size in sizes.items()}
        return Init(inherited.replace(**weights), EMPTY, (self.hidden_size,))

    def prepare(self, engine: Engine, params: Params) -> Params:
        weights = {name: params[name] for name in params if name.startswith(("weight", "bias"))}
        return super().prepare(engine, params).replace(**weights)

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        return super().rest(engine, params, x[..., : self.hidden_size])

    def gates_of(self, x: Any) -> Tuple[Any, ...]:
        """The parts of an array whose last axis holds all gates."""
        n = self.hidden_size
        return tuple(x[..., i * n : (i + 1) * n] for i in range(self.gate_count))

"""Shared parts of all neurons: parameters that are constant or learned, and the spike."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple, Union

from spikecore.api.core.activation import logistic
from spikecore.api.core.engine import Engine
from spikecore.api.core.host import float64, host, to_numpy
from spikecore.api.core.initialisers import Initialiser
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, State
from spikecore.api.core.parameters import (
    FixedArray,
    Learn,
    Param,
    check_broadcast,
    check_range,
    initial,
    normalise,
    param_fields,
    values_of,
)
from spikecore.api.core.words import Array
from spikecore.api.neurons.keywords import ByKeyword
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.surrogate.base import Surrogate
from spikecore.api.surrogate.smooth import atan

UNBOUNDED = (-math.inf, math.inf)
DECAY = (0.0, 1.0)


def cast(engine: Engine, mask: Array) -> Any:
    """A comparison as zeros and ones in the engine's floating-point type."""
    return engine.xp.astype(mask, engine.dtype)


def clamp01(engine: Engine, value: Union[float, Array]) -> Any:
    """A decay kept in [0, 1]. Constants were checked at construction; learned values are clamped.

    The derivative is one inside and on the border, zero outside, as in snnTorch: a value that training drives out of
    [0, 1] stays where it is. ``sc.learn_tau`` cannot get there.
    """
    return value if type(value) is float else engine.xp.clip(value, 0.0, 1.0)


@dataclass(frozen=True)
class Neuron(ByKeyword, Stepper):
    """Base of all neurons. Every field is a keyword.

    A subclass adds its fields, names its states in ``state`` and writes ``step``; that is all.

    Args:
        threshold: membrane potential above which (strictly) the neuron fires.
        surrogate: derivative used for the spike in the backward pass (``spikecore.surrogate``).
        graded_spikes_factor: gamma, the value of a spike.
    """

    threshold: Param = 1.0
    surrogate: Surrogate = atan()
    graded_spikes_factor: Param = 1.0

    _positional: ClassVar[bool] = False  # prints every field with its name, see ``Concise``
    state: ClassVar[Tuple[str, ...]] = ("mem",)  # type: ignore[misc]
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {}  # admissible range by field; others must be finite
    gates: ClassVar[Tuple[str, ...]] = ()  # fields in (0, 1) whose learned value is the sigmoid of the parameter

    def __post_init__(self) -> None:
        for name in self.parameter_names():
            value = normalise(getattr(self, name), f"{type(self).__name__}: {name}")
            check_range(self, name, value, *self.bounds.get(name, UNBOUNDED))
            if self._is_gate(name, value) and not isinstance(values_of(value), Initialiser):
                self._logit(name, values_of(value))  # raises if the value is not inside (0, 1)
            object.__setattr__(self, name, value)
        if not isinstance(self.surrogate, Surrogate):
            owner = type(self).__name__
            raise TypeError(f"{owner}: surrogate={self.surrogate!r} is no spikecore.surrogate, e.g. surrogate.atan()")

    @property
    def _told(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        """The fields that print even with their defaults, see ``Concise``: those with ``bounds``, mostly decays."""
        return tuple(self.bounds)

    @classmethod
    def parameter_names(cls) -> Tuple[str, ...]:
        """The fields that are numbers, arrays or learned values."""
        return param_fields(cls)

    def init(self, key: Key, shape: Shape) -> Init:
        """The initial values of learned fields, as parameters of the same name."""
        self.surrogate.check_shape(shape)
        params = {}
        for name in self.parameter_names():
            value = getattr(self, name)
            if isinstance(value, Learn):
                start = initial(key, self, name, value, shape)
                params[name] = start if key.blank or not self._is_gate(name, value) else self._logit(name, start)
            elif isinstance(value, FixedArray):
                check_broadcast(self, name, values_of(value), shape)
        return Init(Params(params), EMPTY, shape)

    def prepare(self, engine: Engine, params: Params) -> Params:
        """All fields by name, learned or constant, ready for ``step``; decays are clamped to [0, 1]."""
        ready = {name: self._value(engine, params, name) for name in self.parameter_names()}
        decays = {name: clamp01(engine, ready[name]) for name, bounds in self.bounds.items() if bounds == DECAY}
        return Params({**ready, **decays})

    def _value(self, engine: Any, params: Params, name: str) -> Any:
        value = getattr(self, name)
        if not isinstance(value, Learn):
            return engine.asarray(value.data) if isinstance(value, FixedArray) else value
        if value.dt is not None:  # log tau was learned
            return engine.xp.exp(-value.dt * engine.xp.exp(-params[name]))
        return logistic(engine.xp, params[name]) if self._is_gate(name, value) else params[name]

    def _is_gate(self, name: str, value: Param) -> bool:
        return name in self.gates and isinstance(value, Learn) and value.dt is None

    def _logit(self, name: str, value: Any) -> Any:
        """The parameter whose sigmoid is the initial ``value`` of a learned field.

        Raises:
            ValueError: the value is not inside (0, 1).
        """
        value = float64(value)
        wrong = [v for v in value.reshape(-1).tolist() if not 0.0 < v < 1.0]
        if wrong:
            raise ValueError(
                f"{type(self).__name__}: {name}=learn({wrong[0]!r}) must begin inside (0, 1): it is learned through a "
                f"sigmoid; for a constant give {name}={wrong[0]!r}"
            )
        return to_numpy(host().xp.log(value / (1.0 - value)))

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        """All states zero, shaped like the input of one step."""
        return State({name: engine.xp.zeros_like(x) for name in self.state})

    @property
    def core(self) -> Tuple[Neuron, str]:
        return self, ""

    def margin(self, fields: Params, states: State, place: Tuple[int, ...]) -> float:
        """The distance U - threshold of one neuron at one step, ``place`` = (step, sample, *neuron).

        ``verify`` uses it: where two engines spike differently and the distance is within rounding, neither is wrong.
        ``fields`` are the result of ``prepare``, as arrays that broadcast to one sample; ``states`` are recorded over
        time.
        """
        return float(states.mem[place]) - value_at(fields.threshold, states.mem, place)

    # ---- parts of a step, for subclasses ----

    def fires(self, engine: Engine, params: Params, mem: Array) -> Any:
        """Theta(mem - threshold), differentiated by the surrogate."""
        return self.spike(engine, params, mem - params.threshold)

    def spike(self, engine: Engine, params: Params, u: Array) -> Any:
        """Theta(u), differentiated by the surrogate, with its draw if it takes one, and the threshold's noise."""
        u = u + params["shift"] if "shift" in params else u
        return self.surrogate.fire(engine, u, params["noise"]) if "noise" in params else engine.spike(u, self.surrogate)

    def graded(self, params: Params, fired: Array) -> Any:
        """Spikes of size gamma."""
        factor = params.graded_spikes_factor
        return fired if type(factor) is float and factor == 1.0 else factor * fired


def value_at(value: Any, like: Any, place: Tuple[int, ...]) -> float:
    """The entry of a field that belongs to one neuron of ``like`` (time, batch, *neurons)."""
    if not getattr(value, "ndim", 0):
        return float(value)
    neuron = place[len(place) - value.ndim :]
    return float(value[tuple(i if n > 1 else 0 for i, n in zip(neuron, value.shape))])

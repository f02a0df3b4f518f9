"""What all neurons share: thresholds, surrogates, parameters that are constant or learned, and the run over time."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Dict, Optional, Tuple

from spikecore.api.layer import EMPTY, Init, Key, Layer, Params, Pass, Result, Shape, ShapeError, State, Tree
from spikecore.api.parameters import Fixed, Learn, Param, check_broadcast, check_range, initial, normalise, values_of
from spikecore.api.surrogate import Surrogate, atan

UNBOUNDED = (-math.inf, math.inf)


def cast(engine: Any, mask: Any) -> Any:
    """A comparison as zeros and ones in the engine's floating-point type."""
    return engine.xp.astype(mask, engine.dtype)


def clamp01(engine: Any, value: Any) -> Any:
    """A decay kept in [0, 1]. Constants were checked at construction; learned values are clamped.

    The derivative is one inside and on the border, zero outside, as in snnTorch: a value that training drives out of
    [0, 1] stays where it is.
    """
    return value if isinstance(value, float) else engine.xp.clip(value, 0.0, 1.0)


@dataclass(frozen=True)
class Neuron(Layer):
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

    state: ClassVar[Tuple[str, ...]] = ("mem",)  # type: ignore[assignment,misc]  # a constant in place of a property
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {}  # admissible range by field; others must be finite

    def __new__(cls, *args: Any, **fields: Any) -> Any:
        """Refuse positional arguments: base-class fields come first, so Leaky(0.5) would set the threshold."""
        if args:
            raise TypeError(f"{cls.__name__} takes keyword arguments only, e.g. {cls.__name__}(beta={args[0]!r})")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        for name in self.parameter_names():
            value = normalise(getattr(self, name))
            check_range(self, name, value, *self.bounds.get(name, UNBOUNDED))
            object.__setattr__(self, name, value)
        if not isinstance(self.surrogate, Surrogate):
            owner = type(self).__name__
            raise TypeError(f"{owner}: surrogate={self.surrogate!r} is no spikecore.surrogate, e.g. surrogate.atan()")

    @classmethod
    def parameter_names(cls) -> Tuple[str, ...]:
        """The fields that are numbers, arrays or learned values."""
        return tuple(f.name for f in fields(cls) if f.type in ("Param", Param))

    def init(self, key: Key, shape: Shape) -> Init:
        """Learned fields become parameters of the same name."""
        params = {}
        for name in self.parameter_names():
            value = getattr(self, name)
            if isinstance(value, Learn):
                params[name] = initial(self, name, value, shape)
            elif isinstance(value, Fixed):
                check_broadcast(self, name, values_of(value), shape)
        return Init(Params(params), EMPTY, shape)

    def prepare(self, engine: Any, params: Params) -> Params:
        """All fields by name, learned or constant, ready for ``step``. Subclasses clamp what must be clamped."""
        return Params({name: self._value(engine, params, name) for name in self.parameter_names()})

    def _value(self, engine: Any, params: Params, name: str) -> Any:
        value = getattr(self, name)
        if isinstance(value, Learn):
            return params[name]
        return engine.asarray(value.data) if isinstance(value, Fixed) else value

    def project(self, engine: Any, params: Params, x: Any) -> Any:
        """The part of the update that depends on the input alone, once over time and batch."""
        return x

    def rest(self, engine: Any, params: Params, x: Any) -> State:
        """All states zero, shaped like the input of one step."""
        return State({name: engine.xp.zeros_like(x) for name in self.state})

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        prepared = self.prepare(run.engine, params)
        current = self.project(run.engine, prepared, x)
        resting = self.rest(run.engine, prepared, current[0, ...])
        spikes, recorded, final = run.engine.scan(
            self,
            prepared,
            resting if state is None else self._checked(state, resting, run.path),
            current,
            steps=run.steps,
            record=self.state if run.records else (),
            window=run.window,
        )
        return Result(spikes, EMPTY, final, recorded.replace(spikes=spikes) if run.records else recorded)

    def _checked(self, state: Tree, resting: State, path: str) -> State:
        where = f"layer {path} ({type(self).__name__})" if path else type(self).__name__
        if tuple(state) != tuple(self.state):
            raise ShapeError(f"{where}: state has {tuple(state)}, expected {tuple(self.state)}")
        for name in self.state:
            found, expected = tuple(state[name].shape), tuple(resting[name].shape)
            if found != expected:
                raise ShapeError(f"{where}: state {name!r} has shape {found}, expected {expected}")
        return State(state)

    # ---- what most steps need ----

    def fires(self, engine: Any, params: Params, mem: Any) -> Any:
        """Theta(mem - threshold), differentiated by the surrogate."""
        return engine.spike(mem - params.threshold, self.surrogate)

    def graded(self, params: Params, fired: Any) -> Any:
        """Spikes of size gamma."""
        return (
            fired
            if isinstance(params.graded_spikes_factor, float) and params.graded_spikes_factor == 1.0
            else (params.graded_spikes_factor * fired)
        )

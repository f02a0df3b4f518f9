"""What all neurons share: the run over time, and parameters that are constant or learned."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Dict, NamedTuple, Optional, Tuple

from spikecore.api.layer import EMPTY, Init, Key, Layer, Params, Pass, Result, Shape, ShapeError, State, Tree
from spikecore.api.neurons.keywords import refuse
from spikecore.api.parameters import (
    Fixed,
    Learn,
    Param,
    check_broadcast,
    check_range,
    initial,
    is_param,
    normalise,
    values_of,
)
from spikecore.api.surrogate import Surrogate, atan

UNBOUNDED = (-math.inf, math.inf)
DECAY = (0.0, 1.0)


def cast(engine: Any, mask: Any) -> Any:
    """A comparison as zeros and ones in the engine's floating-point type."""
    return engine.xp.astype(mask, engine.dtype)


def clamp01(engine: Any, value: Any) -> Any:
    """A decay kept in [0, 1]. Constants were checked at construction; learned values are clamped.

    The derivative is one inside and on the border, zero outside, as in snnTorch: a value that training drives out of
    [0, 1] stays where it is. ``sc.learn_tau`` cannot get there.
    """
    return value if type(value) is float else engine.xp.clip(value, 0.0, 1.0)


class Begun(NamedTuple):
    """What a run over time starts from."""

    params: Params  # prepared
    state: State  # before the first step
    inputs: Any  # projected
    resting: State  # the state at rest
    plain: bool  # whether the run is one ``Engine.scan`` of the layer itself, without noise and no parallel form


class Stepper(Layer):
    """A layer that runs over time through ``Engine.scan``: a neuron, or a wrapper around one."""

    scans: ClassVar[bool] = (
        True  # whether ``run`` is ``begin`` and ``over_time``; a class with another one need not say
    )

    state: ClassVar[Tuple[str, ...]] = ()  # type: ignore[assignment,misc]  # a constant in place of a property
    parallel: bool = False  # whether all steps are computed at once
    spiking: bool = True  # whether its outputs are spikes, not numbers of any size

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "run" in vars(cls):
            cls.scans = False

    def project(self, engine: Any, params: Params, x: Any) -> Any:
        """The part of the update that depends on the input alone, once over time and batch."""
        return x

    def entering(self, engine: Any, params: Params, x: Any) -> Any:
        if type(self).project is Stepper.project:
            return x
        return self.project(engine, params, engine.xp.expand_dims(x, axis=0))[0, ...]

    @property
    def core(self) -> Tuple[Neuron, str]:
        """The neuron that fires, and the prefix of its parameters' names: wrappers look inside."""
        raise NotImplementedError(f"{type(self).__name__} does not say which neuron it runs")

    def at_once(
        self,
        engine: Any,
        params: Params,
        state: State,
        inputs: Any,
        *,
        steps: Optional[int] = None,
        record: Tuple[str, ...] = (),
        window: Optional[int] = None,
    ) -> Any:
        """``Engine.scan`` without a loop, for neurons that offer ``parallel``."""
        raise NotImplementedError(f"{type(self).__name__} has no time-parallel form")

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        return self.over_time(run, self.begin(run, params, state, x))

    def begin(self, run: Pass, params: Params, state: Optional[Tree], x: Any) -> Begun:
        """What a run over time starts from."""
        prepared = self.prepare(run.engine, params)
        current = self.project(run.engine, prepared, x)
        resting: Any = self.rest(run.engine, prepared, current[0, ...])
        start = run.start(resting) if state is None else self._checked(state, resting, run.path)
        noise = run.train and isinstance(self, Neuron) and self.surrogate.stochastic
        return Begun(prepared, start, current, resting, not (noise or self.parallel))

    def over_time(self, run: Pass, begun: Begun) -> Result:
        """All steps from there."""
        record, engine, current = tuple(self.state) if run.records else (), run.engine, begun.inputs
        option: Dict[str, Any] = {"steps": run.steps, "record": record, "window": run.window}
        if self.parallel:
            spikes, recorded, final = self.at_once(engine, begun.params, begun.state, current, **option)
        else:
            stepper: Any = self
            if not begun.plain:
                from spikecore.api.neurons.noise import noisy

                stepper, current, option["steps"] = noisy(self, run, current, begun.resting)
            option["repeating"] = run.repeating
            spikes, recorded, final = engine.scan(stepper, begun.params, begun.state, current, **option)
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


def one_step(engine: Any, stepper: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
    """``stepper.step``, whose states may come in any order: loops over time keep them in that of ``stepper.state``.

    Raises:
        TypeError: the step returns something else than its output and a State of these names.
    """
    found, names = stepper.step(engine, params, state, x), tuple(stepper.state)
    after = found[1] if isinstance(found, tuple) and len(found) == 2 else None
    if not isinstance(after, State) or set(after) != set(names):
        name, given = type(stepper).__name__, tuple(after) if isinstance(after, State) else type(found).__name__
        wanted = ", ".join(f"{one}=..." for one in names)
        raise TypeError(f"{name}.step returned {given}, expected (output, State({wanted})): {name}.state names them")
    return found[0], after if tuple(after) == names else State({name: after[name] for name in names})


@dataclass(frozen=True)
class Neuron(Stepper):
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

    state: ClassVar[Tuple[str, ...]] = ("mem",)  # type: ignore[misc]
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {}  # admissible range by field; others must be finite
    _names: ClassVar[Tuple[str, ...]]  # see parameter_names

    def __new__(cls, *args: Any, **fields: Any) -> Any:
        """Refuse positional arguments: base-class fields come first, so Leaky(0.5) would set the threshold."""
        refuse(cls, args, fields)
        return super().__new__(cls, *args, **fields)

    def __post_init__(self) -> None:
        for name in self.parameter_names():
            value = normalise(getattr(self, name), f"{type(self).__name__}: {name}")
            check_range(self, name, value, *self.bounds.get(name, UNBOUNDED))
            object.__setattr__(self, name, value)
        if not isinstance(self.surrogate, Surrogate):
            owner = type(self).__name__
            raise TypeError(f"{owner}: surrogate={self.surrogate!r} is no spikecore.surrogate, e.g. surrogate.atan()")

    @classmethod
    def parameter_names(cls) -> Tuple[str, ...]:
        """The fields that are numbers, arrays or learned values."""
        if "_names" not in cls.__dict__:  # looked up at every step, and torch.compile cannot trace dataclasses.fields
            cls._names = tuple(f.name for f in fields(cls) if is_param(f.type))
        return cls._names

    def init(self, key: Key, shape: Shape) -> Init:
        """Learned fields become parameters of the same name."""
        self.surrogate.check_shape(shape)
        params = {}
        for name in self.parameter_names():
            value = getattr(self, name)
            if isinstance(value, Learn):
                params[name] = initial(key, self, name, value, shape)
            elif isinstance(value, Fixed):
                check_broadcast(self, name, values_of(value), shape)
        return Init(Params(params), EMPTY, shape)

    def prepare(self, engine: Any, params: Params) -> Params:
        """All fields by name, learned or constant, ready for ``step``; decays are clamped to [0, 1]."""
        ready = {name: self._value(engine, params, name) for name in self.parameter_names()}
        decays = {name: clamp01(engine, ready[name]) for name, bounds in self.bounds.items() if bounds == DECAY}
        return Params({**ready, **decays})

    def _value(self, engine: Any, params: Params, name: str) -> Any:
        value = getattr(self, name)
        if not isinstance(value, Learn):
            return engine.asarray(value.data) if isinstance(value, Fixed) else value
        if value.dt is not None:  # log tau was learned
            return engine.xp.exp(-value.dt * engine.xp.exp(-params[name]))
        return params[name]

    def rest(self, engine: Any, params: Params, x: Any) -> State:
        """All states zero, shaped like the input of one step."""
        return State({name: engine.xp.zeros_like(x) for name in self.state})

    @property
    def core(self) -> Tuple[Neuron, str]:
        return self, ""

    def margin(self, fields: Params, states: State, place: Tuple[int, ...]) -> float:
        """U - threshold at one (step, sample, *neuron), from states recorded over time; decides what is rounding.

        ``fields`` are those of ``prepare``, as arrays that broadcast to one sample.
        """
        return float(states.mem[place]) - value_at(fields.threshold, states.mem, place)

    # ---- what most steps need ----

    def fires(self, engine: Any, params: Params, mem: Any) -> Any:
        """Theta(mem - threshold), differentiated by the surrogate."""
        return self.spike(engine, params, mem - params.threshold)

    def spike(self, engine: Any, params: Params, u: Any) -> Any:
        """Theta(u), differentiated by the surrogate, with its noise if it has any."""
        return self.surrogate.fire(engine, u, params["noise"]) if "noise" in params else engine.spike(u, self.surrogate)

    def graded(self, params: Params, fired: Any) -> Any:
        """Spikes of size gamma."""
        factor = params.graded_spikes_factor
        return fired if type(factor) is float and factor == 1.0 else factor * fired


def value_at(value: Any, like: Any, place: Tuple[int, ...]) -> float:
    """The entry of a field that belongs to one neuron of ``like`` (time, batch, *neurons)."""
    if not getattr(value, "ndim", 0):
        return float(value)
    neuron = place[len(place) - value.ndim :]
    return float(value[tuple(i if n > 1 else 0 for i, n in zip(neuron, value.shape))])


def refuse_parallel(owner: Any, neuron: Any) -> None:
    """Refuse ``parallel=True`` of a neuron whose ``owner`` runs it step by step, where somebody has asked for it.

    Raises:
        ValueError: names the owner.
    """
    if neuron.parallel and not type(neuron).parallel:
        raise ValueError(
            f"{type(owner).__name__}: parallel=True has no effect here, it runs step by step; leave it out"
        )

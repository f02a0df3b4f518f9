"""``Stepper``, the base of layers that run step by step: it checks their states and runs them by ``Engine.scan``."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Dict, NamedTuple, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import EMPTY, Key, Layer, Params, Pass, Result, State, Tree
from spikecore.api.core.words import Array
from spikecore.arguments import argument_kind

if TYPE_CHECKING:
    from spikecore.api.neurons.base import Neuron


class RunStart(NamedTuple):
    """The start of a run over time."""

    params: Params  # as ``prepare`` returns them
    state: State  # before the first step
    inputs: Any  # as ``project`` returns them
    resting: State  # the state at rest
    plain: bool  # whether ``Engine.scan`` gets the layer as it is: it is not ``parallel``, and no noise is drawn for it


class Stepper(Layer):
    """A layer that runs over time through ``Engine.scan``: a neuron, or a wrapper around one."""

    # whether ``run`` is ``begin``, then ``over_time``: False by itself in a class with its own ``run`` or ``over_time``
    scans: ClassVar[bool] = True
    recurs: ClassVar[bool] = False  # whether it is a wrapper whose ``connection`` leads from spikes back to input

    state: ClassVar[Tuple[str, ...]] = ()  # type: ignore[assignment,misc]  # a constant in place of a property
    parallel: bool = False  # whether all steps are computed at once
    spiking: bool = True  # whether its outputs are spikes, not numbers of any size
    by_steps: bool = True  # whether it can run step by step

    @property
    def stochastic(self) -> bool:
        """Whether the derivative of its spikes is drawn in training; the spikes themselves are not."""
        return type(self).core is not Stepper.core and self.core[0].surrogate.stochastic

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if {"run", "over_time"} & set(vars(cls)):
            cls.scans = False

    @property
    def projects(self) -> bool:
        """Whether it has weights for its input: ``project`` is not the identity."""
        return type(self).project is not Stepper.project

    def project(self, engine: Engine, params: Params, x: Array) -> Any:
        """The part of the update that depends on the input alone, computed for all steps at once."""
        return x

    def entering(self, engine: Engine, params: Params, x: Array) -> Any:
        if not self.projects:
            return x
        return self.project(engine, params, engine.xp.expand_dims(x, axis=0))[0, ...]

    @property
    def core(self) -> Tuple[Neuron, str]:
        """The neuron that fires, and the prefix of its parameters' names: ``self`` and "" for a neuron, "neuron." and
        the neuron inside for a wrapper such as ``Recurrent``.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say which neuron it runs")

    def check_engine(self, engine: Engine) -> None:
        self.core[0].surrogate.check_engine(engine)

    def at_once(
        self,
        engine: Any,
        params: Params,
        state: State,
        inputs: Array,
        *,
        steps: Optional[int] = None,
        record: Tuple[str, ...] = (),
        window: Optional[int] = None,
    ) -> Any:
        """The result of ``Engine.scan``, computed without a loop, for neurons that offer ``parallel``."""
        raise NotImplementedError(f"{type(self).__name__} has no time-parallel form")

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        return self.over_time(run, self.begin(run, params, state, x))

    def begin(self, run: Pass, params: Params, state: Optional[Tree], x: Array) -> RunStart:
        """Prepare parameters, project the input, and check or make the first state of a run over time."""
        prepared = self.prepare(run.engine, params)
        current = self.project(run.engine, prepared, x)  # what it integrates: x, or x times weights of its own
        resting: Any = self.rest(run.engine, prepared, current[0, ...])
        resting = with_draws(run.engine, self, resting, run.path, run.key)
        start = self.before_first(run, state, resting)
        noise = run.train and self.stochastic
        return RunStart(prepared, start, current, resting, not (noise or self.parallel))

    def over_time(self, run: Pass, begun: RunStart) -> Result:
        """Run all steps from the start that ``begin`` returned."""
        record, engine, current = tuple(self.state) if run.records else (), run.engine, begun.inputs
        option: Dict[str, Any] = {"steps": run.steps, "record": record, "window": run.window}
        if self.parallel:
            spikes, recorded, final = self.at_once(engine, begun.params, begun.state, current, **option)
        else:
            stepper, start = (self, begun.state) if begun.plain else drawing(self, run, begun)
            option["repeating"] = run.repeating
            spikes, recorded, final = engine.scan(stepper, begun.params, start, current, **option)
            if not begun.plain:
                final = State({name: final[name] for name in self.state})
        return Result(spikes, EMPTY, final, recorded.replace(spikes=spikes) if run.records else recorded)


def with_draws(engine: Engine, stepper: Any, resting: Any, path: str = "", key: Optional[Key] = None) -> Any:
    """States at rest as a sequence begins with them: generators of draws begin elsewhere for each layer and key.

    Whoever begins a sequence with the result of ``stepper.rest`` calls this once; others as for ``draws.restarted``.
    """
    seed = noise_seed(stepper) if "draw_1" in resting else None
    if seed is None:
        return resting
    from spikecore.api.core.draws import restarted

    return restarted(engine, resting, seed, path, key)


def noise_seed(stepper: Any) -> Optional[int]:
    """The seed of the ``Noisy`` that a neuron is, or that it wraps; None if there is none."""
    own = getattr(stepper, "noise_seed", None)
    if own is not None or not is_dataclass(stepper):
        return own
    parts = [getattr(stepper, field.name) for field in fields(stepper)]
    found = (noise_seed(part) for part in parts if isinstance(part, Stepper))
    return next((seed for seed in found if seed is not None), None)


argument_kind(Stepper, "a neuron such as sc.Leaky(beta=0.9)")


def one_step(engine: Any, stepper: Any, params: Params, state: State, x: Array) -> Tuple[Any, State]:
    """Call ``stepper.step`` and check its result; the new states are put in the order of ``stepper.state``.

    Raises:
        TypeError: the step returns something else than its output and a State of these names.
    """
    result, names = stepper.step(engine, params, state, x), tuple(stepper.state)
    after = result[1] if isinstance(result, tuple) and len(result) == 2 else None
    if not isinstance(after, State) or set(after) != set(names):
        name, returned = step_name(stepper), tuple(after) if isinstance(after, State) else type(result).__name__
        wanted = ", ".join(f"{one}=..." for one in names)
        raise TypeError(f"{name}.step returned {returned}, expected (output, State({wanted})): {name}.state names them")
    return result[0], after if tuple(after) == names else State({name: after[name] for name in names})


# ---- wrappers of a step ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class InputWrapper(Stepper):
    """Base of wrappers that change the input of a neuron's step; messages name the neuron inside.

    Args:
        neuron: the neuron.
    """

    neuron: Stepper

    @property
    def state(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        return self.neuron.state

    def init(self, key: Any, shape: Any) -> Any:
        return self.neuron.init(key, shape)


def step_name(stepper: Any) -> str:
    """The name of the class whose ``step`` runs, for messages; wrappers of the input are looked through."""
    return step_name(stepper.neuron) if isinstance(stepper, InputWrapper) else type(stepper).__name__


def writes_into(stepper: Any, what: str) -> str:
    """The error message for a step that changes one of its arguments in place."""
    return (
        f"{step_name(stepper)}.step writes into {what}, which others have as well: make a new array, e.g. "
        "mem = params.beta * state.mem + x in place of mem += x"
    )


@dataclass(frozen=True)
class Drawing(InputWrapper):
    """A neuron whose surrogate takes a draw at each step; the generator's states follow the neuron's.

    Args:
        neuron: the neuron; its ``spike`` finds the draw among the parameters.
    """

    @property
    def state(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        return (*self.neuron.state, *SLOPES)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        from spikecore.api.core.draws import draw

        noise, draws = draw(engine, tuple(state[name] for name in SLOPES), None)
        own = State({name: state[name] for name in self.neuron.state})
        drawn = placed(params, self.neuron.core[1], noise=noise)
        spikes, after = self.neuron.step(engine, drawn, own, x)
        return spikes, State({**after, **dict(zip(SLOPES, draws))})


SLOPES = ("slope_1", "slope_2", "slope_3")  # the states of a ``Drawing``'s generator


def placed(params: Params, prefix: str, **values: Any) -> Params:
    """Prepared parameters with further ones for the neuron whose names begin with ``prefix``, see ``Stepper.core``."""
    if not prefix:
        return params.replace(**values)
    name, _, rest = prefix.partition(".")
    return params.replace(**{name: placed(params[name], rest, **values)})


def drawing(neuron: Any, run: Pass, begun: RunStart) -> Tuple[Drawing, State]:
    """A neuron whose surrogate takes draws, as a ``Drawing``, and the state before its first step.

    Raises:
        ValueError: no random key, or a neuron whose membrane is not shaped like its input.
    """
    from spikecore.api.core.draws import first_draws

    if run.key is None:
        kind = type(neuron.core[0].surrogate).__name__
        raise ValueError(f"{kind}: training without a random key; pass key=Key((seed,))")
    shape = tuple(begun.inputs.shape[1:])
    if any(tuple(state.shape) != shape for state in begun.resting.values()):
        raise ValueError(f"{type(neuron).__name__}: no stochastic surrogate, its states are not shaped like its input")
    draws = first_draws(run.engine, run.key.child(run.path, "surrogate").path, shape, run.key.first)
    return Drawing(neuron), State({**begun.state, **dict(zip(SLOPES, draws))})

"""``Stepper``, the base of layers that run step by step: it checks their states and runs them by ``Engine.scan``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Dict, NamedTuple, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import EMPTY, Layer, Params, Pass, Result, State, Tree
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
        return False

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
            stepper: Any = self
            if not begun.plain:
                stepper, current, option["steps"] = noisy(self, run, current, begun.resting)
            option["repeating"] = run.repeating
            spikes, recorded, final = engine.scan(stepper, begun.params, begun.state, current, **option)
        return Result(spikes, EMPTY, final, recorded.replace(spikes=spikes) if run.records else recorded)


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


# ---- noise of stochastic surrogates: drawn before the loop over time, sent through it beside the input -------------


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
class Noisy(InputWrapper):
    """A neuron whose input carries, on a last axis, the current and the noise of each step.

    Args:
        neuron: the neuron; its ``spike`` finds the noise among the parameters.
    """

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        return self.neuron.step(engine, params.replace(noise=x[..., 1]), state, x[..., 0])


def noisy(neuron: Any, run: Pass, current: Any, resting: State) -> Tuple[Noisy, Any, Optional[int]]:
    """A neuron with drawn noise: the wrapped stepper, its input with the noise, and the ``steps`` of ``Engine.scan``,
    which are None, since an input with noise has a row for every step.

    Raises:
        ValueError: no random key, or a neuron whose membrane is not shaped like its input.
    """
    if run.key is None:
        kind = type(neuron.core[0].surrogate).__name__
        raise ValueError(f"{kind}: training without a random key; pass key=Key((seed,))")
    if any(tuple(state.shape) != tuple(current.shape[1:]) for state in resting.values()):
        raise ValueError(f"{type(neuron).__name__}: no stochastic surrogate, its states are not shaped like its input")
    engine, xp = run.engine, run.engine.xp
    shape = (current.shape[0] if run.steps is None else run.steps, *current.shape[1:])
    path = run.key.child(run.path, "surrogate").path
    noise = engine.uniform(path, shape, sample_axis=1, first=run.key.first)
    return Noisy(neuron), xp.stack([xp.broadcast_to(current, shape), noise], axis=-1), None

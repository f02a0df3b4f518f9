"""Parallel spiking neurons (PSN): learned weights over time instead of leak and reset."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, List, Optional, Sequence, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import first_weight, float64, full_weight, uniform_weight
from spikecore.api.core.layer import Init, Key, Params, Pass, Shape, ShapeError, State, Tree
from spikecore.api.core.sizes import at_least_one
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import cast
from spikecore.api.neurons.parallel import Parallel
from spikecore.api.neurons.stepper import RunStart
from spikecore.arguments import Size

WHOLE = "it needs whole sequences, and cannot run step by step or stream; SlidingPSN can"


@dataclass(frozen=True)
class PSN(Parallel):
    """Parallel spiking neuron: each step's membrane is a learned weighted sum of the inputs of all steps.

        U[t] = sum_j W[t, j] I[j] + b[t],   j = 0 ... num_steps - 1
        S[t] = gamma Theta(U[t] - theta)

    All neurons of the layer share W and b. The sum includes later steps, so the neuron is not causal: it takes whole
    sequences of ``num_steps`` steps, and remembers nothing from one to the next. It cannot run step by step, nor
    stream; in a module of torch (``snn.module``) it runs by ``snn.run``. ``MaskedPSN`` and ``SlidingPSN`` look at the
    last steps alone, and stream.

    Args:
        num_steps: number of time steps of a sequence, >= 1.
        parallel: True; there is no other way.
        threshold, surrogate, graded_spikes_factor: see ``Neuron``.

    Parameters: ``weight`` (num_steps, num_steps), uniform in +-1 / sqrt(num_steps) at first; ``bias`` (num_steps,),
    zero at first. The threshold that the paper learns for step t is theta - b[t].

    Raises:
        ValueError: ``num_steps`` is missing or below 1, or ``parallel`` is False.
        ShapeError: a sequence of another length, or a single step.

    Source: Fang et al., Parallel spiking neurons with high efficiency and ability to learn long-term dependencies,
    NeurIPS 2023.
    """

    num_steps: Size = 0
    parallel: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, num_steps=self.num_steps)
        if not self.parallel and not self.by_steps:
            raise ValueError(f"{type(self).__name__}: parallel=False is not possible: {WHOLE}")

    @property
    def by_steps(self) -> bool:  # type: ignore[override]  # a property in place of a constant
        return False

    def init(self, key: Key, shape: Shape) -> Init:
        initialised, steps = super().init(key, shape), self.num_steps
        weight = uniform_weight(key, "weight", (steps, steps), 1.0 / math.sqrt(steps))
        bias = full_weight(key, (steps,), 0.0)
        return initialised._replace(params=initialised.params.replace(weight=weight, bias=bias))

    def prepare(self, engine: Engine, params: Params) -> Params:
        return super().prepare(engine, params).replace(weight=self.weights(engine, params.weight), bias=params.bias)

    def weights(self, engine: Engine, weight: Array) -> Any:
        """The weights (num_steps, num_steps) that are in effect."""
        return weight

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        raise ShapeError(f"{type(self).__name__}: a single time step, expected num_steps={self.num_steps}: {WHOLE}")

    def unrolled(self, engine: Engine, params: Params, state: State, inputs: Array) -> State:
        xp, (time, *rest) = engine.xp, inputs.shape
        if time != self.num_steps:
            name = type(self).__name__
            raise ShapeError(f"{name}: a sequence of {time} time steps, expected num_steps={self.num_steps}: {WHOLE}")
        mem = xp.reshape(xp.matmul(params.weight, xp.reshape(inputs, (time, -1))), (time, *rest))
        return State(mem=mem + xp.reshape(params.bias, (time,) + (1,) * len(rest)))


@dataclass(frozen=True)
class MaskedPSN(PSN):
    """Parallel spiking neuron of an order k: a learned weighted sum of the inputs of the last k steps.

        U[t] = sum_j W[t, j] M[t, j] I[j] + b[t]
        M[t, j] = 1 if t - k < j <= t, else 1 - lambda
        S[t] = gamma Theta(U[t] - theta)

    With ``mask`` (lambda) 1, the default, the neuron is causal: it also runs step by step and streams. It counts the
    steps, in the state ``step``; after ``num_steps`` steps a stream begins a new sequence. The other states are ``mem``
    (U) and the last k - 1 inputs, ``past1`` the latest.

    Training may begin with a smaller ``mask``, which lets inputs of other steps through, and raise it in phases: a
    model with another ``mask`` takes the weights of the last one by ``model.load_state(last.state())``.

    Args:
        num_steps: number of time steps of a sequence, >= 1.
        order: k, the number of steps that count, from 1 to ``num_steps``.
        mask: lambda, how far other steps are masked, in [0, 1]; default 1.
        parallel: True, the default, computes all steps at once; False, with ``mask`` 1 only, step by step.
        threshold, surrogate, graded_spikes_factor: see ``Neuron``.

    Parameters: as of ``PSN``.

    Raises:
        ValueError: a size or ``mask`` is out of its range, or ``parallel=False`` with another mask than 1.
        ShapeError: a sequence of more than ``num_steps`` steps, or, with another mask than 1, of fewer.

    Source: as of ``PSN``.
    """

    order: Size = 0
    mask: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, order=self.order)
        if self.order > self.num_steps:
            raise ValueError(f"MaskedPSN: order={self.order!r} must be at most num_steps={self.num_steps!r}")
        if not 0.0 <= self.mask <= 1.0:
            raise ValueError(f"MaskedPSN: mask={self.mask!r} must be in [0, 1]")

    @property
    def by_steps(self) -> bool:  # type: ignore[override]
        return self.mask == 1.0

    @property
    def state(self) -> Tuple[str, ...]:  # type: ignore[override]
        return ("mem", "step", *past_names(self.order)) if self.by_steps else ("mem",)

    def weights(self, engine: Engine, weight: Array) -> Any:
        if self.by_steps:
            return weight
        steps, other = range(self.num_steps), 1.0 - self.mask
        return weight * engine.asarray([[1.0 if t - self.order < j <= t else other for j in steps] for t in steps])

    def begin(self, run: Pass, params: Params, state: Optional[Tree], x: Array) -> RunStart:
        steps = x.shape[0] if run.steps is None else run.steps
        if steps > self.num_steps:
            raise ShapeError(f"MaskedPSN: a sequence of {steps} time steps, expected num_steps={self.num_steps}")
        return super().begin(run, params, state, x)

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        zeros = super().rest(engine, params, x)
        return zeros.replace(step=engine.xp.zeros((x.shape[0], 1))) if self.by_steps else zeros

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        if not self.by_steps:
            return super().step(engine, params, state, x)
        inputs = [x, *(state[name] for name in past_names(self.order))]
        mem = self._weighted(engine, params, state.step, inputs)
        following = self._counted(engine, state.step + 1.0)
        return self.graded(params, self.fires(engine, params, mem)), state_of(mem, inputs, step=following)

    def unrolled(self, engine: Engine, params: Params, state: State, inputs: Array) -> State:
        if not self.by_steps:
            return super().unrolled(engine, params, state, inputs)
        later = [state.step + float(t) for t in range(inputs.shape[0] + 1)]
        steps = self._counted(engine, engine.xp.stack(later, axis=0))
        delayed = delays(engine, state, past_names(self.order), inputs)
        mem = self._weighted(engine, params, steps[:-1, ...], delayed)
        return state_of(mem, delayed, step=steps[1:, ...])

    def _counted(self, engine: Engine, step: Any) -> Any:
        """The number of a step within its sequence."""
        return step - float(self.num_steps) * engine.xp.floor(step / float(self.num_steps))

    def _weighted(self, engine: Engine, params: Params, step: Any, inputs: Sequence[Any]) -> Any:
        """U from the inputs of the last steps, the current first, and the numbers (..., 1) of the current steps."""
        xp, places = engine.xp, engine.asarray([float(j) for j in range(self.num_steps)])
        own = cast(engine, step == places)  # (..., num_steps), one 1 in each row
        row, axes = xp.matmul(own, params.weight), (1,) * (inputs[0].ndim - step.ndim)
        mem = xp.reshape(xp.sum(xp.multiply(own, params.bias), axis=-1), (*step.shape, *axes))
        for i, one in enumerate(inputs):  # steps before the first one have no place, so their weight is zero
            weight = xp.sum(xp.multiply(row, cast(engine, step - float(i) == places)), axis=-1)
            mem = mem + xp.reshape(weight, (*step.shape, *axes)) * one
        return mem


@dataclass(frozen=True)
class SlidingPSN(Parallel):
    """Parallel spiking neuron whose weights slide along: a causal filter over the last k inputs, and a threshold.

        U[t] = sum_i W[i] I[t - k + 1 + i],   i = 0 ... k - 1            inputs before the first step are zero
        S[t] = gamma Theta(U[t] - theta)

    All neurons of the layer share W; W[k - 1] belongs to the current step. The neuron takes sequences of any length,
    at once or step by step, and streams. Its states are ``mem`` (U) and the last k - 1 inputs, ``past1`` the latest.

    Args:
        order: k, the number of steps that count, >= 1; default 4.
        exp_init: True, the default: W begins as ..., 1/4, 1/2, 1; False: uniform in +-1 / sqrt(k).
        parallel: True, the default, computes all steps at once; False the same sums step by step. On a CPU these run in
            a kernel (extra ``kernels``), which is often faster.
        threshold, surrogate, graded_spikes_factor: see ``Neuron``. The paper learns the threshold:
            ``threshold=sc.learn(1.0)``.

    Parameters: ``weight`` (order,).

    Raises:
        ValueError: ``order`` is below 1.

    Source: as of ``PSN``.
    """

    order: Size = 4
    exp_init: bool = True
    parallel: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, order=self.order)

    @property
    def state(self) -> Tuple[str, ...]:  # type: ignore[override]
        return ("mem", *past_names(self.order))

    def init(self, key: Key, shape: Shape) -> Init:
        initialised, k = super().init(key, shape), self.order
        if self.exp_init:
            weight = first_weight(key, (k,), lambda: float64([2.0 ** (i + 1 - k) for i in range(k)]))
        else:
            weight = uniform_weight(key, "weight", (k,), 1.0 / math.sqrt(k))
        return initialised._replace(params=initialised.params.replace(weight=weight))

    def prepare(self, engine: Engine, params: Params) -> Params:
        """The fields, and ``tap0`` for the current input, ``tap1`` for the one before it, and so on."""
        taps = {f"tap{i}": params.weight[self.order - 1 - i, ...] for i in range(self.order)}
        return super().prepare(engine, params).replace(**taps)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        inputs = [x, *(state[name] for name in past_names(self.order))]
        mem = self._filtered(params, inputs)
        return self.graded(params, self.fires(engine, params, mem)), state_of(mem, inputs)

    def unrolled(self, engine: Engine, params: Params, state: State, inputs: Array) -> State:
        delayed = delays(engine, state, past_names(self.order), inputs)
        return state_of(self._filtered(params, delayed), delayed)

    def _filtered(self, params: Params, inputs: Sequence[Any]) -> Any:
        """U from the inputs of the last steps, the current first."""
        mem = params.tap0 * inputs[0]
        for i in range(1, self.order):
            mem = mem + params[f"tap{i}"] * inputs[i]
        return mem


# ---- the last inputs as states -------------------------------------------------------------------------------------


def past_names(order: int) -> Tuple[str, ...]:
    """The states that are earlier inputs, the latest first."""
    return tuple(f"past{i}" for i in range(1, order))


def delays(engine: Engine, before: State, names: Tuple[str, ...], inputs: Any) -> List[Any]:
    """The inputs of all steps, those one step earlier, and so on, as many as ``names`` has; each (time, batch, ...)."""
    time, reach = inputs.shape[0], len(names)
    earlier = [engine.xp.expand_dims(before[name], axis=0) for name in reversed(names)]
    whole = engine.xp.concat([*earlier, inputs], axis=0) if earlier else inputs
    return [whole[reach - i : reach - i + time, ...] for i in range(reach + 1)]


def state_of(mem: Any, inputs: Sequence[Any], **others: Any) -> State:
    """The states after a step, or after each of several, from its inputs, the current first."""
    return State({"mem": mem, **others, **dict(zip(past_names(len(inputs)), inputs))})

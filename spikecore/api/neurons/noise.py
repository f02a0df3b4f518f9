"""``Noisy``: noise within the step of any neuron, on its input and on its threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Tuple

from spikecore.api.core.draws import DRAWS, QUANTILES, Distribution, draw
from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, State
from spikecore.api.core.messages import unknown
from spikecore.api.core.parameters import (
    FixedArray,
    Learn,
    Param,
    check_broadcast,
    check_range,
    initial,
    normalise,
    values_of,
)
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import Neuron
from spikecore.api.neurons.membrane import Membrane
from spikecore.api.neurons.stepper import placed
from spikecore.api.neurons.wrapper import NeuronWrapper, refuse_parallel, refuse_state, refuse_weights

SIZES = ("input_noise", "threshold_noise")
SHIFT = "shift"


@dataclass(frozen=True)
class Noisy(NeuronWrapper):
    """A neuron with noise on its input, on its threshold, or both, drawn anew at every step.

        I'[t] = I[t] + input_noise xi[t]
        S[t] = gamma Theta(U[t] + threshold_noise zeta[t] - theta)

    xi and zeta are independent draws for each step, sample and neuron. For ``Leaky`` and other neurons that add their
    input to the membrane, noise on the input is noise on the membrane. A delayed reset follows the spike: R[t] is 1
    where S[t-1] is. With "logistic" noise a neuron fires with the probability 1 / (1 + exp(-(U - theta) /
    threshold_noise)), which is called escape noise.

    Noise is drawn in training and in evaluation. In training it follows the model's seed, and differs between epochs
    and samples. In evaluation, streams and exported programs it follows ``seed``, so a call repeated gives the same;
    the n-th sample of each call has the n-th noise. Gradients pass to the sizes of the noise, not into the draws.

    Args:
        neuron: the neuron; its parameters are named "neuron.…".
        input_noise: size of the noise on the input, >= 0, in its unit; default 0: none. A number, an array that
            broadcasts to the neurons, or ``sc.learn(...)``.
        threshold_noise: size of the noise on the threshold, >= 0, in the membrane's unit; as ``input_noise``.
        distribution: "normal" (the default) and "uniform" have mean 0, and their size is the standard deviation;
            "logistic" has mean 0 and a standard deviation of 1.81 times its size. A draw has 32362 values: the largest
            are 4.16 for "normal", 1.73 for "uniform", 11.1 for "logistic".
        seed: of the draws in evaluation, an int; default 0.

    State: the neuron's, the generator's ``draw_1``, ``draw_2`` and ``draw_3``, and, with noise on the threshold,
    ``shift``, the noise of the last step.

    Raises:
        TypeError, ValueError: both sizes are zero, one is negative, or another argument is something else; the neuron
            has weights for its input or ``parallel=True``; noise on the threshold of a neuron that fires by another
            rule, e.g. ``ILIF``.

    Source: Gerstner et al., Neuronal Dynamics, 2014, chapters 8 (noise on the input) and 9 (escape noise).

    Example:
        >>> net = sc.Sequential(sc.Linear(64, 10), sc.Noisy(sc.Leaky(beta=0.9), input_noise=0.1))
    """

    input_noise: Param = 0.0
    threshold_noise: Param = 0.0
    distribution: Distribution = "normal"
    seed: int = 0

    bounds: ClassVar[Any] = {name: (0.0, float("inf")) for name in SIZES}

    def __post_init__(self) -> None:
        refuse_parallel(self, self.neuron)
        for name in (*DRAWS, SHIFT):
            refuse_state(self, self.neuron, name)
        refuse_weights(self, self.neuron)
        if self.distribution not in QUANTILES:
            raise ValueError(f"Noisy: {unknown('distribution', self.distribution, tuple(QUANTILES))}")
        for name in SIZES:
            object.__setattr__(self, name, normalise(getattr(self, name), f"Noisy: {name}"))
            check_range(self, name, getattr(self, name), *self.bounds[name])
        if not any(map(self._has, SIZES)):
            raise ValueError("Noisy: input_noise and threshold_noise are both 0: give one, e.g. input_noise=0.1")
        core = self.core[0]
        usual = isinstance(core, Membrane) and (type(core).reset, type(core).fires) == (Membrane.reset, Neuron.fires)
        if self._has(SIZES[1]) and not (usual and core.spiking):
            raise ValueError(
                f"Noisy: threshold_noise={self.threshold_noise!r} needs a neuron that fires and resets where its "
                f"membrane exceeds the threshold, such as sc.Leaky, and {type(core).__name__} has a rule of its own: "
                "give input_noise"
            )

    def _has(self, name: str) -> bool:
        value = getattr(self, name)
        return type(value) is not float or value != 0.0

    @property
    def state(self) -> Tuple[str, ...]:  # type: ignore[override]
        return (*self.neuron.state, *DRAWS, *([SHIFT] if self._has(SIZES[1]) else []))

    @property
    def noise_seed(self) -> int:
        """``seed``, by a name that no other neuron has."""
        return self.seed

    def init(self, key: Key, shape: Shape) -> Init:
        params, _, out = self.neuron.init(key.child("neuron"), shape)
        own = {}
        for name in SIZES:
            value = getattr(self, name)
            if isinstance(value, Learn):
                own[name] = initial(key, self, name, value, shape)
            elif isinstance(value, FixedArray):
                check_broadcast(self, name, values_of(value), shape)
        return Init(Params(neuron=params, **own), EMPTY, out)

    def prepare(self, engine: Engine, params: Params) -> Params:
        sizes = {}
        for name in filter(self._has, SIZES):
            value = getattr(self, name)
            fixed = engine.asarray(value.data) if isinstance(value, FixedArray) else value
            sizes[name] = params[name] if isinstance(value, Learn) else fixed
        return Params(neuron=self.neuron.prepare(engine, params.neuron), **sizes)

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        inner = self.neuron.rest(engine, params.neuron, x)
        zero = engine.xp.zeros_like(x)  # ``with_draws`` says where generators begin
        return State({**inner, **dict.fromkeys(DRAWS, zero + 1.0), **({SHIFT: zero} if self._has(SIZES[1]) else {})})

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        draws, inner, last = tuple(state[name] for name in DRAWS), params.neuron, {}
        if SIZES[0] in params:
            drawn, draws = draw(engine, draws, self.distribution)
            x = x + params.input_noise * drawn
        if SIZES[1] in params:
            drawn, draws = draw(engine, draws, self.distribution)
            shift = params.threshold_noise * drawn
            inner = placed(inner, self.neuron.core[1], shift=shift, last_shift=state.shift)
            last = {SHIFT: engine.stop_gradient(shift)}
        own = State({name: state[name] for name in self.neuron.state})
        spikes, after = self.neuron.step(engine, inner, own, x)
        return spikes, State({**after, **dict(zip(DRAWS, draws)), **last})

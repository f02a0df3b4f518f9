"""The gated neuron GLIF: leaks, input and resets of several kinds, mixed by learned gates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import first_weight, host
from spikecore.api.core.layer import Init, Key, Shape
from spikecore.api.core.parameters import Learn, learn
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import DECAY, Neuron, Param, Params, State
from spikecore.arguments import Size

FIELDS = "threshold alpha beta gamma tau linear_decay v_subreset conduct".split()


@dataclass(frozen=True)
class GLIF(Neuron):
    """Gated leaky integrate-and-fire neuron: exponential or linear leak, hard or soft reset, two kinds of input.

        D = 1 - alpha (1 - tau)
        U[t] = D U[t-1] (1 - gamma S[t-1]) - (1 - alpha) l - (1 - gamma) r S[t-1] + (1 - beta (1 - g[t])) I[t]
        S[t] = Theta(U[t] - theta),  the output is ``graded_spikes_factor`` S[t]

    The gates alpha, beta and gamma mix leaks, inputs and resets; at 0.5 they are even. All of these lie in (0, 1), and
    what learns is p with 1 / (1 + exp(-p)) = value, under the name of the field. The reset is differentiated.

    Args:
        alpha: gate of the leak, 1 exponential, 0 linear.
        beta: gate of the input, 1 scaled by g, 0 as it is.
        gamma: gate of the reset, 1 to zero, 0 by subtraction of r.
        tau: decay per step of the exponential leak; default 0.25.
        linear_decay: l, subtracted at each step by the linear leak; default 0.0625.
        v_subreset: r, subtracted after a spike by the soft reset; default 0.5.
        conduct: g, conductance of the synapses; default 0.5.
        threshold: default 0.5. All of these are numbers or arrays in [0, 1], or learned; by default all are learned,
            one value per layer; ``sc.learn(0.5, per="channel")`` gives each channel its own.
        time_steps: number of conductances, at least 1, one for each step; steps beyond have the last one. Default 1:
            the same at every step. Needs a learned ``conduct``.
        surrogate, graded_spikes_factor: see ``Neuron``.

    Raises:
        ValueError: a value is outside [0, 1], or a learned one does not begin inside (0, 1); ``time_steps`` above 1
            with a constant ``conduct``.

    Source: Yao et al., GLIF: A unified gated leaky integrate-and-fire neuron for spiking neural networks, NeurIPS 2022.
    """

    threshold: Param = learn(0.5)
    alpha: Param = learn(0.5)
    beta: Param = learn(0.5)
    gamma: Param = learn(0.5)
    tau: Param = learn(0.25)
    linear_decay: Param = learn(0.0625)
    v_subreset: Param = learn(0.5)
    conduct: Param = learn(0.5)
    time_steps: Size = 1

    bounds: ClassVar[Dict[str, Tuple[float, float]]] = dict.fromkeys(FIELDS, DECAY)
    gates: ClassVar[Tuple[str, ...]] = tuple(FIELDS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.time_steps > 1 and not isinstance(self.conduct, Learn):
            raise ValueError(
                f"GLIF: time_steps={self.time_steps!r} with conduct={self.conduct!r}, which is the same at every step; "
                "give conduct=sc.learn(...)"
            )

    @property
    def state(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        return ("mem", "fired") if self.time_steps == 1 else ("mem", "fired", "clock")

    def init(self, key: Key, shape: Shape) -> Init:
        made = super().init(key, shape)
        if self.time_steps == 1:
            return made
        each = made.params.conduct
        shape = (self.time_steps, *each.shape)
        every = first_weight(key, shape, lambda: host().xp.stack([host().asarray(each)] * self.time_steps, axis=0))
        return Init(made.params.replace(conduct=every), made.buffers, made.shape)

    def prepare(self, engine: Engine, params: Params) -> Params:
        """All fields by name, as in ``Neuron.prepare``; with ``time_steps`` a conductance for each step."""
        ready = super().prepare(engine, params)
        if self.time_steps == 1:
            return ready
        return ready.replace(**{f"conduct_{i}": ready.conduct[i, ...] for i in range(self.time_steps)})

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        current = (1.0 - params.beta * (1.0 - self._conductance(engine, params, state))) * x
        kept = (1.0 - params.alpha * (1.0 - params.tau)) * state.mem
        mem = kept - (1.0 - params.alpha) * params.linear_decay + current
        mem = mem - params.gamma * (kept * state.fired) - (1.0 - params.gamma) * params.v_subreset * state.fired
        fired = self.fires(engine, params, mem)
        after = State(mem=mem, fired=fired)
        if self.time_steps > 1:
            after = State(**after, clock=engine.stop_gradient(state.clock + 1.0))
        return self.graded(params, fired), after

    def _conductance(self, engine: Engine, params: Params, state: State) -> Any:
        if self.time_steps == 1:
            return params.conduct
        zero, now = engine.xp.zeros_like(state.clock), params["conduct_0"]
        for i in range(1, self.time_steps):
            now = engine.xp.where(state.clock > i - 0.5, params[f"conduct_{i}"] + zero, now + zero)
        return now

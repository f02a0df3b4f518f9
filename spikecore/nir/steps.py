"""Neurons as NIR and its readers compute them: one step of a reader, and NIR's equations solved within a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Tuple

from spikecore.api.core.words import Array
from spikecore.base import Engine, Neuron, Param, Params, State, cast


@dataclass(frozen=True)
class ReaderNeuron(Neuron):
    """A neuron as a reader of NIR computes it, by numbers per step.

    With the number of spikes z as ``fires_at`` says::

        I[t] = alpha I[t-1] + received x[t] + current
        F[t] = beta V[t-1] + carry I[t-1] + gain I[t] + direct x[t] + bias
        z[t] of F[t];  V[t] = F[t] - z theta, or rho where it fired;  never below ``floor``
        S[t] = graded_spikes_factor z[t]

    Args:
        fires_at: ">" or ">=", of F[t] against theta; "count": how often theta fits into F[t].
        resets: "value": to ``rho``. "subtract": by z theta. "subtract_once": a spike that follows another subtracts
            theta one step late, not at once.
        late: whether the spikes of a step are those of V[t-1], as it was before the step. With "subtract" the decay of
            V[t-1] spares what is subtracted, with "subtract_decayed" it does not.
        binary: whether only matters of an input that it is not 0.
        alpha, received, current: decay, input factor and offset of the synaptic current; 0, 1 and 0 without one.
        beta, gain, carry, direct, bias: of the membrane.
        rho, floor: the membrane after a spike, and its lowest value.
        start, syn_start: membrane and current before the first step.
        grain: of what is left after the decay, that membrane is cut to a whole number of these; 0: it is not.
        threshold, graded_spikes_factor: theta, and the size of a spike.
    """

    beta: Param = 0.9
    gain: Param = 1.0
    carry: Param = 0.0
    direct: Param = 0.0
    bias: Param = 0.0
    alpha: Param = 0.0
    received: Param = 1.0
    current: Param = 0.0
    rho: Param = 0.0
    floor: Param = -1e30
    start: Param = 0.0
    syn_start: Param = 0.0
    grain: Param = 0.0
    fires_at: str = ">"
    resets: str = "value"
    late: bool = False
    binary: bool = False

    state: ClassVar[Tuple[str, ...]] = ("mem", "syn")  # type: ignore[misc]

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        zero = engine.xp.zeros_like(x)
        return State(mem=zero + params.start, syn=zero + params.syn_start)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        x = cast(engine, engine.xp.abs(x) > 0.0) if self.binary else x
        theta, before = params.threshold, state.mem
        fired: Any = self._count(engine, params, before) if self.late or self.resets == "subtract_once" else None
        if self.late and self.resets == "subtract_decayed":
            before = before - fired * theta
        syn = params.alpha * state.syn + params.received * x + params.current
        mem = (
            self._cut(engine, params, params.beta * before)
            + params.carry * state.syn
            + params.gain * syn
            + params.direct * x
            + params.bias
        )
        if self.late:
            mem = mem - fired * theta if self.resets == "subtract" else mem
        elif self.resets == "subtract_once":
            mem, earlier = mem - fired * theta, fired
            fired = self._count(engine, params, mem)
            mem = mem - (fired - earlier) * theta
        else:
            fired = self._count(engine, params, mem)
            to_rho = cast(engine, fired > 0.0) * (mem - params.rho)
            mem = mem - (to_rho if self.resets == "value" else fired * theta)
        return self.graded(params, fired), State(mem=engine.xp.maximum(mem, params.floor + 0.0 * mem), syn=syn)

    def _cut(self, engine: Engine, params: Params, left: Array) -> Any:
        """The membrane after the decay, cut towards 0 to a grid, as integers are."""
        if isinstance(self.grain, float) and self.grain == 0.0:
            return left
        return engine.xp.sign(left) * engine.xp.floor(engine.xp.abs(left) / params.grain) * params.grain

    def _count(self, engine: Engine, params: Params, mem: Array) -> Any:
        """How often the membrane fires."""
        if self.fires_at == "count":
            return cast(engine, mem > 0.0) * engine.xp.floor(mem / params.threshold)
        return cast(engine, mem >= params.threshold if self.fires_at == ">=" else mem > params.threshold)


@dataclass(frozen=True)
class SolvedNeuron(Neuron):
    """NIR's LIF and IF with their resets at the moment within a step at which they fire; the input is held for a step.

    The membrane approaches v_leak + r x (LIF), or moves by r dt x (IF). With v(0) = V[t-1] and decay exp(-dt / tau)::

        LIF  v(s) = goal + (v(0) - goal) exp(-s / tau)          fires where v(s) = theta, then v = rho
        IF   v(s) = v(0) + r x s
        S[t] = number of times it fires in the step;  V[t] = v(dt)

    Args:
        decay: exp(-dt / tau) of a LIF; 1 for an IF.
        gain: r of a LIF, r dt of an IF.
        leak: v_leak of a LIF.
        rho: v_reset, below the threshold.
        start: the membrane before the first step.
    """

    decay: Param = 0.9
    gain: Param = 1.0
    leak: Param = 0.0
    rho: Param = 0.0
    start: Param = 0.0

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        return State(mem=engine.xp.zeros_like(x) + params.start)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        leaks = not isinstance(self.decay, float) or self.decay < 1.0
        spikes, mem = (self._leaky if leaks else self._plain)(engine.xp, params, state.mem, params.gain * x)
        return spikes, State(mem=mem)

    def _plain(self, xp: Any, params: Params, mem: Array, moved: Array) -> Tuple[Any, Any]:
        theta, rho = params.threshold, params.rho
        over = xp.minimum(mem, theta + 0.0 * mem) + moved - theta
        later = xp.floor(over / (theta - rho))
        fires = over > 0.0
        return xp.where(fires, 1.0 + later, 0.0 * over), xp.where(
            fires, rho + over - later * (theta - rho), mem + moved
        )

    def _leaky(self, xp: Any, params: Params, mem: Array, driven: Array) -> Tuple[Any, Any]:
        """With exp(-s / tau) for time s, of which log decay is a step: times add, so these factors multiply."""
        theta, rho, goal = params.threshold, params.rho, params.leak + driven
        end, one = goal + (mem - goal) * params.decay, 1.0 + 0.0 * goal
        above, at_once = goal > theta, mem > theta
        crosses = xp.logical_and(above, xp.logical_not(at_once))
        fires = xp.logical_or(at_once, xp.logical_and(above, end > theta))
        first = xp.where(crosses, goal - theta, one) / xp.where(crosses, goal - mem, one)
        left = params.decay / first
        part = xp.where(above, theta - rho, 0.5 * one) / xp.where(above, goal - rho, one)
        period = xp.where(part < 1e-8, -part, xp.log(1.0 - xp.minimum(part, 0.5 + 0.5 * part)))  # log(1 - part)
        later = xp.where(above, xp.floor(xp.log(left) / period), 0.0 * one)
        after = xp.minimum(goal + (rho - goal) * left * xp.exp(-later * period), theta * one)  # rounding
        return xp.where(fires, 1.0 + later, 0.0 * one), xp.where(fires, after, end)

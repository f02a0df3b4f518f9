"""Short-term plasticity: synapses whose strength depends on their last spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import State
from spikecore.api.core.words import Array
from spikecore.api.neurons.base import DECAY, Neuron, Param, Params


@dataclass(frozen=True)
class TsodyksMarkram(Neuron):
    """Synapse with short-term facilitation and depression: put it between neurons and the weights behind them.

    Each spike raises the fraction ``util`` of the transmitter that a spike uses, and uses this fraction of what is left
    of it, ``res``. Between spikes, both return to rest exponentially::

        u = facilitation util[t-1],   r = 1 - depression (1 - res[t-1])
        util[t] = u + U (1 - u) I[t]
        out[t]  = util[t] r I[t]
        res[t]  = r - out[t]

    It starts with ``util`` 0 and ``res`` 1, so that the first spike has the size U. Its inputs are spikes, 0 or 1, or
    graded spikes in [0, 1]; its outputs are their sizes, in [0, 1], not spikes. Norse takes Euler steps of the same
    equations; its results differ from these by the order of the time step.

    Args:
        U: the fraction that a spike adds, of what is missing to 1, in [0, 1]; default 0.45.
        facilitation: decay of ``util`` per step in [0, 1], exp(-dt / tau_facilitation); default 0.98. With 0
            every spike uses U, without facilitation.
        depression: decay of what ``res`` lacks, per step in [0, 1], exp(-dt / tau_recovery); default 0.9987. With
            0 all is back at the next step, without depression. All of these may be arrays or learned, decays by
            ``sc.learn_tau`` as well. The defaults are time constants of 50 ms and 750 ms in steps of 1 ms.
        threshold, surrogate, graded_spikes_factor: without effect.

    Raises:
        ValueError: a constant or first value is outside [0, 1].

    Source: Tsodyks & Markram, The neural code between neocortical pyramidal neurons depends on neurotransmitter release
    probability, PNAS 94, 1997; with facilitation, Markram, Wang & Tsodyks, PNAS 95, 1998.
    """

    U: Param = 0.45
    facilitation: Param = 0.98
    depression: Param = 0.9987

    state: ClassVar[Tuple[str, ...]] = ("util", "res")  # type: ignore[misc]
    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"U": DECAY, "facilitation": DECAY, "depression": DECAY}
    spiking: ClassVar[bool] = False  # type: ignore[misc]  # not a field: equal for all instances

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        """The state at rest: no resource is used."""
        return State(util=engine.xp.zeros_like(x), res=engine.xp.ones_like(x))

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        used, left = params.facilitation * state.util, 1.0 - params.depression * (1.0 - state.res)
        util = used + params.U * (1.0 - used) * x
        out = util * left * x
        return out, State(util=util, res=left - out)

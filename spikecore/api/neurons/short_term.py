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

    Each spike uses a fraction ``util`` of the transmitter ``res`` that is left, and raises this fraction. Between
    spikes, both return to rest::

        util[t] = facilitation util[t-1] + U (1 - util[t-1]) I[t]
        out[t]  = util[t] res[t-1] I[t]
        res[t]  = 1 - depression (1 - res[t-1]) - out[t]

    It starts with ``util`` 0 and ``res`` 1, so that the first spike has the size U. Its inputs are spikes, 0 or 1, or
    graded spikes in [0, 1]; its outputs are their sizes, in [0, 1], not spikes.

    Args:
        U: the fraction that a spike adds, of what is missing to 1, in [0, 1]; default 0.45.
        facilitation: decay of ``util`` per step in [0, 1], exp(-dt / tau_facilitation); default 0.98. 0 turns
            facilitation off.
        depression: decay of what ``res`` lacks, per step in [0, 1], exp(-dt / tau_recovery); default 0.9987. 0 turns
            depression off. All of these may be arrays or learned, decays as ``sc.learn_tau`` as well. The defaults are
            time constants of 50 ms and 750 ms in steps of 1 ms.
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
        """Nothing used, everything there."""
        return State(util=engine.xp.zeros_like(x), res=engine.xp.ones_like(x))

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        util = params.facilitation * state.util + params.U * (1.0 - state.util) * x
        out = util * state.res * x
        return out, State(util=util, res=1.0 - params.depression * (1.0 - state.res) - out)

"""Spiking GRU: a gated recurrent unit whose gates and content are spikes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import Params, State, linear
from spikecore.api.core.parameters import Param
from spikecore.api.core.words import Array
from spikecore.api.neurons.cells import DenseGates


@dataclass(frozen=True)
class SpikingGRU(DenseGates):
    """Gated recurrent unit whose gates are spikes (SpikingJelly ``SpikingGRU``, one layer, one direction).

        r[t] = Theta(W_ir x[t] + b_ir + W_hr h[t-1] + b_hr - theta)          which of the last spikes the content sees
        z[t] = Theta(W_iz x[t] + b_iz + W_hz h[t-1] + b_hz - theta)          which of the last spikes stay
        mem[t] = W_in x[t] + b_in + r[t] (W_hn h[t-1] + b_hn)
        h[t] = (1 - z[t]) Theta(mem[t] - theta) + z[t] h[t-1]
        S[t] = gamma h[t]

    h holds zeros and ones, so that the state of a neuron is one bit, which the gate z keeps for as long as it fires.

    Args:
        input_size: features of the input (time, batch, input_size), >= 1.
        hidden_size: number of neurons, >= 1.
        bias: whether gates and content have biases; default True.
        threshold: theta, the input above which a gate or the content fires; default 0.
        surrogate, graded_spikes_factor: see ``Neuron``.

    Parameters: ``weight_ih`` (3 hidden, input), ``weight_hh`` (3 hidden, hidden), ``bias_ih``, ``bias_hh``
    (3 hidden,), in the order r, z, n, uniform in +-1/sqrt(hidden_size), as in torch.nn.GRUCell.

    State: ``spk``, which is h; ``mem``.

    Source: Cho et al., Learning phrase representations using RNN encoder-decoder, 2014; for gates that spike Lotfi
    Rezaabad & Vishwanath, Long short-term memory spiking networks and their applications, 2020.
    """

    threshold: Param = 0.0

    state: ClassVar[Tuple[str, ...]] = ("spk", "mem")  # type: ignore[misc]
    gate_count: ClassVar[int] = 3

    def project(self, engine: Engine, params: Params, x: Array) -> Any:
        return linear(engine.xp, x, params.weight_ih, params.bias_ih if self.bias else None)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        back = state.spk @ engine.xp.permute_dims(params.weight_hh, (1, 0))
        back = back + params.bias_hh if self.bias else back
        (see, stay, content), (see_back, stay_back, content_back) = self.gates_of(x), self.gates_of(back)
        sees = self.fires(engine, params, see + see_back)
        stays = self.fires(engine, params, stay + stay_back)
        mem = content + sees * content_back
        spk = (1.0 - stays) * self.fires(engine, params, mem) + stays * state.spk
        return self.graded(params, spk), State(spk=spk, mem=mem)

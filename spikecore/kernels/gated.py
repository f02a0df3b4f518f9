"""LSTMs on a GPU: at each step one product for all gates, and everything else of the step in one kernel.

    G[t] = x[t] + P[t],  P[t] = mem[t-1] W^T,  (S[t], syn[t], mem[t]) = behind(syn[t-1], mem[t-1], G[t])

``recurrence_gpu.py`` runs it. A neuron reads its gates in as many rows of x and P.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.core.layer import computes_as
from spikecore.api.core.tree import Params, State
from spikecore.api.core.words import Array
from spikecore.api.neurons.lstm import SLSTM
from spikecore.api.neurons.stepper import InputWrapper
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.recurrence_gpu import Feedback, RecurrenceOnDevice

GATES = ("gate_0", "gate_1", "gate_2", "gate_3")


@dataclass(frozen=True)
class BehindProduct(InputWrapper):
    """An LSTM's step from its gates, which take the place of states in front of its own.

    Args:
        neuron: the LSTM.
    """

    neuron: Any
    gates: ClassVar[int] = len(GATES)

    @property
    def state(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        return (*GATES, *self.neuron.state)

    def step(self, engine: Any, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        gates = {name: state[name] for name in GATES}
        inner = State({name: state[name] for name in self.neuron.state})
        reset = self.neuron.reset(engine, params, inner.mem)
        spikes, after = self.neuron.behind(engine, params, inner, tuple(gates.values()), reset)
        return spikes, State({**gates, **after})


def gated_parts(stepper: Any, kind: Any) -> Tuple[Optional[BehindProduct], Any]:
    """An LSTM's step without its product, and the kernels that run both: a class and its arguments, behind the step.

    ``kind`` is the class of kernels for neurons without a product. Both are None for other neurons, and where a reset
    changes what the product reads.
    """
    if not computes_as(stepper, (SLSTM,)) or stepper.reset_mechanism == "subtract_decayed":
        return None, None
    return _behind_product(stepper), (RecurrenceOnDevice, kind, Feedback("weight_hh", "mem", BehindProduct.gates))


@Remembered
def _behind_product(neuron: Any) -> BehindProduct:
    return BehindProduct(neuron)

"""Neurons with input weights that take a whole sequence (time, batch, features): LeakyParallel, AssociativeLeaky."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, ClassVar, Dict, FrozenSet

import torch
import torch.nn.functional as F
from torch import nn

from spikecore.api import neurons
from spikecore.api.core.layer import Params
from spikecore.api.core.parameters import learn
from spikecore.engines.torch.nn.engine import FunctionSurrogate, engine_for, in_dtype_of, surrogate_of, working
from spikecore.engines.torch.nn.face import GRADED, Face, Faced
from spikecore.engines.torch.nn.neuron import SpikingNeuron
from spikecore.engines.torch.nn.options import OWN_TENSORS, field_of, register
from spikecore.engines.torch.nn.parts import with_weights


class LeakyParallel(Faced, nn.Module):
    """A rectified recurrent layer whose units fire; equations: ``spikecore.LeakyParallel``.

        spk = lif(x)                     x (time, batch, input_size) or (time, input_size)

    Args:
        input_size, hidden_size, bias, device, dtype: those of the ``nn.RNN`` that holds the weights as ``rnn``.
        beta: first value of the decays, one number or one per neuron, in [0, 1]; None keeps the RNN's own draw.
        dropout: probability with which a spike is dropped in training.
        learn_beta: whether the decays (``rnn.weight_hh_l0``) are learned.
        weight_hh_enable: every neuron hears every other one; else only itself: a diagonal ``weight_hh_l0``.
        threshold, spike_grad, surrogate_disable, learn_threshold, graded_spikes_factor, learn_graded_spikes_factor: see
            ``SpikingNeuron``.
    """

    face = Face(
        neurons.LeakyParallel,
        "input_size hidden_size beta bias threshold dropout spike_grad surrogate_disable learn_beta learn_threshold "
        f"{GRADED} weight_hh_enable device dtype",
        beta=None,
    )
    beta: Any
    hidden_size: int
    dropout: float

    def _construct(self, given: Dict[str, Any]) -> None:
        super().__init__()
        for name in ("input_size", "hidden_size", "dropout", "surrogate_disable"):
            setattr(self, name, given[name])
        self.dense, beta = given["weight_hh_enable"], given["beta"]
        surrogate = surrogate_of("LeakyParallel", given["spike_grad"], given["surrogate_disable"])
        self.spike_grad = given["spike_grad"] if isinstance(surrogate, FunctionSurrogate) else surrogate
        sizes: Dict[str, Any] = {name: given[name] for name in ("input_size", "hidden_size", "bias")}
        options: Dict[str, Any] = {"dense": self.dense, **{name: learn(1.0) for name in OWN_TENSORS}}
        self._neuron = neurons.LeakyParallel(**sizes, **options, surrogate=surrogate)
        self.rnn = nn.RNN(**sizes, nonlinearity="relu", device=given["device"], dtype=given["dtype"])
        if beta is not None:
            like: Any = self.rnn.weight_hh_l0
            beta = torch.as_tensor(beta, dtype=like.dtype, device=like.device).detach().clone().reshape(-1)
            replace(self._neuron, beta=field_of(beta), dense=False)  # which checks it
            if len(beta) not in (1, self.hidden_size):
                raise ValueError(
                    f"LeakyParallel: beta of length {len(beta)} must be one number or ({self.hidden_size},)"
                )
        self.register_buffer("beta", beta)
        self._set_decays(given["learn_beta"])
        for name in OWN_TENSORS:
            register(self, name, given[name], given[f"learn_{name}"])

    def _set_decays(self, learned: bool) -> None:
        weight: Any = self.rnn.weight_hh_l0
        with torch.no_grad():
            if self.beta is not None:
                weight.copy_(self.beta.expand(self.hidden_size).reshape(-1, 1).expand_as(weight))
            if not self.dense:
                weight.mul_(torch.eye(self.hidden_size, dtype=weight.dtype, device=weight.device))
        weight.requires_grad_(learned)

    def _weights(self) -> Dict[str, torch.Tensor]:
        cell: Any = self.rnn
        weights = {"input_weight": cell.weight_ih_l0}
        if cell.bias:
            weights.update(input_bias=cell.bias_ih_l0, hidden_bias=cell.bias_hh_l0)
        decays = {"weight_hh": cell.weight_hh_l0} if self.dense else {"beta": torch.diagonal(cell.weight_hh_l0)}
        return {**weights, **decays}

    def described(self) -> Any:
        """The neuron of ``spikecore`` with this module's options and values, as for other modules."""
        if self.dropout:
            raise ValueError(f"dropout={self.dropout!r} has no counterpart; put a Dropout behind it")
        if isinstance(self._neuron.surrogate, FunctionSurrogate):
            raise ValueError(f"spike_grad={self.spike_grad!r} is a function of torch; use a spikecore.surrogate")
        values = {name: field_of(getattr(self, name)) for name in OWN_TENSORS}
        decays = None if self.dense else field_of(nn.Parameter(self._weights()["beta"].detach()))
        return replace(self._neuron, beta=decays, **values)

    def learned(self) -> Dict[str, torch.Tensor]:
        """The weights and what is learned, by the neuron's names, as for other modules."""
        return {**dict(self.named_parameters(recurse=False)), **self._weights()}

    def forward(self, input_: Any) -> Any:
        x = working(input_ if input_.dim() == 3 else input_.unsqueeze(1))
        engine, neuron = engine_for(x.device, x.dtype), self._neuron
        tensors = {**{name: getattr(self, name) for name in OWN_TENSORS}, **self._weights()}
        params = neuron.prepare(engine, Params({name: value.to(x.dtype) for name, value in tensors.items()}))
        current = neuron.project(engine, params, x)
        spk, _, _ = engine.scan(neuron, params, neuron.rest(engine, params, current[0]), current)
        spk = F.dropout(spk, self.dropout, self.training)
        spk = spk if input_.dim() == 3 else spk.squeeze(1)
        return in_dtype_of(input_, spk)


class AssociativeLeaky(SpikingNeuron):
    """Spiking associative memory; equations: ``spikecore.AssociativeLeaky``.

        out = lif(x)                     x (time, batch, in_dim)

    Args:
        in_dim: features of the input.
        d_value, d_key: extents of the memory.
        num_spiking_neurons: d_value * d_key, or None for that.
        use_q_projection: whether spikes are read out through a query.

    Raises:
        ValueError: ``num_spiking_neurons`` is something else.
    """

    face = Face(neurons.AssociativeLeaky, "in_dim d_value d_key num_spiking_neurons use_q_projection")
    honours: ClassVar[FrozenSet[str]] = frozenset()
    projections: ClassVar[Dict[str, str]] = {"value": "to_v", "key": "to_k", "decay": "to_alpha", "query": "to_q"}

    def _construct(self, given: Dict[str, Any]) -> None:
        count = given["d_value"] * given["d_key"]
        if given["num_spiking_neurons"] not in (None, count):
            raise ValueError(
                f"AssociativeLeaky: num_spiking_neurons={given['num_spiking_neurons']!r} must be d_value * d_key = "
                f"{count}"
            )
        super()._construct({**given, "output": True})
        self.num_spiking_neurons = count

    def _register_values(self, given: Dict[str, Any]) -> None:
        for name, rows in self._neuron.sizes:
            setattr(self, self.projections[name], nn.Linear(given["in_dim"], rows))
        if not given["use_q_projection"]:
            self.to_q = None

    @classmethod
    def from_num_spiking_neurons(cls, in_dim: int, num_spiking_neurons: int, use_q_projection: bool = True) -> Any:
        """A square memory of ``num_spiking_neurons`` entries, a perfect square."""
        side = math.isqrt(max(num_spiking_neurons, 0))
        if side < 1 or side * side != num_spiking_neurons:
            raise ValueError(f"AssociativeLeaky: num_spiking_neurons={num_spiking_neurons!r} must be a perfect square")
        return cls(in_dim, side, side, num_spiking_neurons, use_q_projection)

    def _weights(self) -> Dict[str, torch.Tensor]:
        layers = ((name, getattr(self, self.projections[name])) for name, _ in self._neuron.sizes)
        return {f"{name}_{part}": value for name, layer in layers for part, value in layer.named_parameters()}

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        return with_weights(super()._tensors(engine, host), self._weights(), engine)

    def forward(self, input_: Any) -> Any:
        x = working(input_)
        engine, params = self._ready(x)
        current = self._neuron.project(engine, params, x)
        rest = self._neuron.rest(engine, params, current[0])
        out, _, _ = self._neuron.at_once(engine, params, rest, current, record=())
        return in_dtype_of(input_, out)

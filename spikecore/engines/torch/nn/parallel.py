"""Neurons with input weights that take a whole sequence (time, batch, features): LeakyParallel, AssociativeLeaky."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Dict, FrozenSet, Optional

import torch
import torch.nn.functional as F
from torch import nn

from spikecore.api import neurons
from spikecore.api.core.layer import Params
from spikecore.api.core.parameters import check_range, learn, normalise
from spikecore.api.neurons.base import DECAY
from spikecore.arguments import Numbers, Size, checked
from spikecore.engines.torch.nn.engine import Callable_, engine_for, surrogate_of, working
from spikecore.engines.torch.nn.neuron import SpikingNeuron
from spikecore.engines.torch.nn.options import OWN_TENSORS, register


class LeakyParallel(nn.Module):
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

    @checked
    def __init__(
        self,
        input_size: Size,
        hidden_size: Size,
        beta: Optional[Numbers] = None,
        bias: bool = True,
        threshold: Any = 1.0,
        dropout: float = 0.0,
        spike_grad: Any = None,
        surrogate_disable: bool = False,
        learn_beta: bool = False,
        learn_threshold: bool = False,
        graded_spikes_factor: Any = 1.0,
        learn_graded_spikes_factor: bool = False,
        weight_hh_enable: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.rnn = nn.RNN(input_size, hidden_size, nonlinearity="relu", bias=bias, device=device, dtype=dtype)
        self.input_size, self.hidden_size, self.dropout = input_size, hidden_size, dropout
        surrogate = surrogate_of("LeakyParallel", spike_grad, surrogate_disable)
        self.dense, self.surrogate_disable = weight_hh_enable, surrogate_disable
        self.spike_grad = spike_grad if isinstance(surrogate, Callable_) else surrogate
        self._set_decays(beta, learn_beta)
        register(self, "threshold", threshold, learn_threshold)
        register(self, "graded_spikes_factor", graded_spikes_factor, learn_graded_spikes_factor)
        self._neuron = neurons.LeakyParallel(
            input_size=input_size, hidden_size=hidden_size, bias=bias, dense=weight_hh_enable,
            surrogate=surrogate, **{name: learn(1.0) for name in OWN_TENSORS},
        )  # fmt: skip

    def _set_decays(self, beta: Any, learned: bool) -> None:
        weight: Any = self.rnn.weight_hh_l0
        first = None
        if beta is not None:
            first = torch.as_tensor(beta, dtype=weight.dtype, device=weight.device).detach().clone().reshape(-1)
            check_range(self, "beta", normalise(first.tolist()), *DECAY)
            if len(first) not in (1, self.hidden_size):
                raise ValueError(
                    f"LeakyParallel: beta of length {len(first)} must be one number or ({self.hidden_size},)"
                )
        self.register_buffer("beta", first)
        with torch.no_grad():
            if first is not None:
                weight.copy_(first.expand(self.hidden_size).reshape(-1, 1).expand_as(weight))
            if not self.dense:
                weight.mul_(torch.eye(self.hidden_size, dtype=weight.dtype, device=weight.device))
        weight.requires_grad_(learned)

    def _tensors(self, dtype: Any) -> Params:
        held: Dict[str, Any] = {name: getattr(self, name) for name in OWN_TENSORS}
        cell: Any = self.rnn
        held["input_weight"] = cell.weight_ih_l0
        if cell.bias:
            held.update(input_bias=cell.bias_ih_l0, hidden_bias=cell.bias_hh_l0)
        held["weight_hh" if self.dense else "beta"] = (
            cell.weight_hh_l0 if self.dense else torch.diagonal(cell.weight_hh_l0)
        )
        return Params({name: value.to(dtype) for name, value in held.items()})

    def forward(self, input_: Any) -> Any:
        x = working(input_ if input_.dim() == 3 else input_.unsqueeze(1))
        engine, neuron = engine_for(x.device, x.dtype), self._neuron
        params = neuron.prepare(engine, self._tensors(x.dtype))
        current = neuron.project(engine, params, x)
        spk, _, _ = engine.scan(neuron, params, neuron.rest(engine, params, current[0]), current)
        spk = F.dropout(spk, self.dropout, self.training)
        spk = spk if input_.dim() == 3 else spk.squeeze(1)
        return spk.to(input_.dtype) if input_.is_floating_point() else spk


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

    kind: ClassVar[Any] = neurons.AssociativeLeaky
    honours: ClassVar[FrozenSet[str]] = frozenset()
    _projections: ClassVar[Dict[str, str]] = {"value": "to_v", "key": "to_k", "decay": "to_alpha", "query": "to_q"}

    @checked
    def __init__(
        self,
        in_dim: int,
        d_value: int,
        d_key: int,
        num_spiking_neurons: Optional[int] = None,
        use_q_projection: bool = True,
    ) -> None:
        super().__init__(output=True)
        count = d_value * d_key
        if num_spiking_neurons not in (None, count):
            raise ValueError(
                f"AssociativeLeaky: num_spiking_neurons={num_spiking_neurons!r} must be d_value * d_key = {count}"
            )
        self.in_dim, self.d_value, self.d_key = in_dim, d_value, d_key
        self.num_spiking_neurons, self.use_q_projection = count, use_q_projection
        self._rebuild()
        for name, rows in self._neuron.sizes:
            setattr(self, self._projections[name], nn.Linear(in_dim, rows))
        if not use_q_projection:
            self.to_q = None

    @classmethod
    def from_num_spiking_neurons(cls, in_dim: int, num_spiking_neurons: int, use_q_projection: bool = True) -> Any:
        """A square memory of ``num_spiking_neurons`` entries, a perfect square."""
        side = math.isqrt(max(num_spiking_neurons, 0))
        if side < 1 or side * side != num_spiking_neurons:
            raise ValueError(f"AssociativeLeaky: num_spiking_neurons={num_spiking_neurons!r} must be a perfect square")
        return cls(in_dim, side, side, num_spiking_neurons, use_q_projection)

    def _described_options(self) -> Dict[str, Any]:
        names = ("in_dim", "d_value", "d_key", "use_q_projection")
        return {**super()._described_options(), **{name: getattr(self, name) for name in names}}

    def _tensors(self, engine: Any, host: bool = False) -> Params:
        wanted, weights = getattr(torch, engine.dtype), {}
        for name, _ in self._neuron.sizes:
            layer = getattr(self, self._projections[name])
            weights[f"{name}_weight"], weights[f"{name}_bias"] = layer.weight.to(wanted), layer.bias.to(wanted)
        return super()._tensors(engine, host).replace(**weights)

    def forward(self, input_: Any) -> Any:
        x = working(input_)
        engine, params = self._ready(x)
        current = self._neuron.project(engine, params, x)
        rest = self._neuron.rest(engine, params, current[0])
        out, _, _ = self._neuron.at_once(engine, params, rest, current, record=())
        return out.to(input_.dtype) if input_.is_floating_point() else out

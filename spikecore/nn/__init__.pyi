"""Spiking neurons as PyTorch modules. Written by docs/make_stub.py: change the table in engines/torch/nn, not this."""

from typing import Any, Optional

from torch import Tensor, nn

from spikecore import __version__ as __version__
from spikecore import backprop as backprop
from spikecore import functional as functional
from spikecore import nir as export_nir
from spikecore import nir as import_nir
from spikecore import spikegen as spikegen
from spikecore import spikeplot as spikeplot
from spikecore import surrogate as surrogate
from spikecore import utils as utils
from spikecore.api.layers.taps import TapKernel
from spikecore.arguments import Count, Size
from spikecore.engines.torch.nn.face import Kernel, Reset, SpikeGrad, StateQuant, Value
from spikecore.engines.torch.nn.neuron import SpikingNeuron as _SpikingNeuron
from spikecore.engines.torch.nn.layers import BatchNormTT1d as BatchNormTT1d
from spikecore.engines.torch.nn.layers import BatchNormTT2d as BatchNormTT2d
from spikecore.engines.torch.nn.layers import GlobalAvgPool as GlobalAvgPool
from spikecore.engines.torch.nn.layers import GradedSpikes as GradedSpikes
from spikecore.engines.torch.nn.recurrent import RecurrentOneToOne as RecurrentOneToOne
from spikecore.engines.torch.nn.layers import Residual as Residual
from spikecore.engines.torch.nn.convert import from_torch as from_torch
from spikecore.engines.torch.nn.module import module as module
from spikecore.engines.torch.nn.run import run as run
from spikecore.engines.torch.nn.convert import to_torch as to_torch


class LeakyParallel(nn.Module):
    threshold: Tensor
    graded_spikes_factor: Tensor
    def __init__(self, input_size: Size, hidden_size: Size, beta: Optional[Value] = None, bias: bool = True, threshold: Value = 1.0, dropout: float = 0.0, spike_grad: SpikeGrad = None, surrogate_disable: bool = False, learn_beta: bool = False, learn_threshold: bool = False, graded_spikes_factor: Value = 1.0, learn_graded_spikes_factor: bool = False, weight_hh_enable: bool = False, device: Any = None, dtype: Any = None) -> None: ...
    def forward(self, input_: Any) -> Any: ...
    def __call__(self, input_: Any) -> Any: ...

class SpikingNeuron(_SpikingNeuron):
    def __init__(self, threshold: Value = 1.0, spike_grad: SpikeGrad = None, surrogate_disable: bool = False, init_hidden: bool = False, inhibition: bool = False, learn_threshold: bool = False, reset_mechanism: Reset = 'subtract', state_quant: StateQuant = False, output: bool = False, graded_spikes_factor: Value = 1.0, learn_graded_spikes_factor: bool = False) -> None: ...
    @classmethod
    def init(cls) -> Any: ...

class AssociativeLeaky(SpikingNeuron):
    threshold: Tensor
    graded_spikes_factor: Tensor
    def __init__(self, in_dim: int, d_value: int, d_key: int, num_spiking_neurons: Optional[int] = None, use_q_projection: bool = True) -> None: ...
    def forward(self, input_: Any) -> Any: ...
    def __call__(self, input_: Any) -> Any: ...
    @classmethod
    def from_num_spiking_neurons(cls, in_dim: int, num_spiking_neurons: int, use_q_projection: bool = True) -> Any: ...

class LIF(SpikingNeuron):
    def __init__(self, beta: Value, threshold: Value = 1.0, spike_grad: SpikeGrad = None, surrogate_disable: bool = False, init_hidden: bool = False, inhibition: bool = False, learn_beta: bool = False, learn_threshold: bool = False, reset_mechanism: Reset = 'subtract', state_quant: StateQuant = False, output: bool = False, graded_spikes_factor: Value = 1.0, learn_graded_spikes_factor: bool = False) -> None: ...

class Alpha(LIF):
    syn_exc: Tensor
    syn_inh: Tensor
    mem: Tensor
    threshold: Tensor
    graded_spikes_factor: Tensor
    alpha: Tensor
    beta: Tensor
    def __init__(self, alpha: Value, beta: Value, threshold: Value = 1.0, spike_grad: SpikeGrad = None, surrogate_disable: bool = False, init_hidden: bool = False, inhibition: bool = False, learn_alpha: bool = False, learn_beta: bool = False, learn_threshold: bool = False, reset_mechanism: Reset = 'zero', state_quant: StateQuant = False, output: bool = False) -> None: ...
    def forward(self, input_: Tensor, syn_exc: Optional[Tensor] = None, syn_inh: Optional[Tensor] = None, mem: Optional[Tensor] = None) -> Any: ...
    def __call__(self, input_: Tensor, syn_exc: Optional[Tensor] = None, syn_inh: Optional[Tensor] = None, mem: Optional[Tensor] = None) -> Any: ...

class Lapicque(LIF):
    mem: Tensor
    threshold: Tensor
    graded_spikes_factor: Tensor
    R: Tensor
    C: Tensor
    def __init__(self, beta: Value = False, R: Value = False, C: Value = False, time_step: Value = 1, threshold: Value = 1.0, spike_grad: SpikeGrad = None, surrogate_disable: bool = False, init_hidden: bool = False, inhibition: bool = False, learn_beta: bool = False, learn_threshold: bool = False, reset_mechanism: Reset = 'subtract', state_quant: StateQuant = False, output: bool = False) -> None: ...
    def forward(self, input_: Tensor, mem: Optional[Tensor] = None) -> Any: ...
    def __call__(self, input_: Tensor, mem: Optional[Tensor] = None) -> Any: ...

class Leaky(LIF):
    mem: Tensor
    threshold: Tensor
    graded_spikes_factor: Tensor
    beta: Tensor
    def __init__(self, beta: Value, threshold: Value = 1.0, spike_grad: SpikeGrad = None, surrogate_disable: bool = False, init_hidden: bool = False, inhibition: bool = False, learn_beta: bool = False, learn_threshold: bool = False, reset_mechanism: Reset = 'subtract', state_quant: StateQuant = False, output: bool = False, graded_spikes_factor: Value = 1.0, learn_graded_spikes_factor: bool = False, reset_delay: bool = True) -> None: ...
    def forward(self, input_: Tensor, mem: Optional[Tensor] = None) -> Any: ...
    def __call__(self, input_: Tensor, mem: Optional[Tensor] = None) -> Any: ...

class StateLeaky(LIF):
    threshold: Tensor
    graded_spikes_factor: Tensor
    beta: Tensor
    def __init__(self, beta: Value, channels: Size, threshold: Value = 1.0, spike_grad: SpikeGrad = None, surrogate_disable: bool = False, learn_beta: bool = False, learn_threshold: bool = False, state_quant: StateQuant = False, output: bool = True, graded_spikes_factor: Value = 1.0, learn_graded_spikes_factor: bool = False, kernel_truncation_steps: Optional[Size] = None) -> None: ...
    def forward(self, input_: Any) -> Any: ...
    def __call__(self, input_: Any) -> Any: ...

class SynapticDelay(SpikingNeuron):
    def __init__(self, max_delay: Size, delay: Value = 0.0, channels: Optional[Size] = None, learn_delay: bool = False, kernel: TapKernel = 'linear', sigma: float = 1.0, step_mode: bool = True) -> None: ...
    def forward(self, input_: Any, *states: Any) -> Any: ...
    def __call__(self, input_: Any, *states: Any) -> Any: ...

class DeltaLeaky(Leaky):
    mem: Tensor
    mem_prev: Tensor
    def __init__(self, delta_threshold: Value = 1.0, *args: Any, **kwargs: Any) -> None: ...
    def forward(self, input_: Any, mem: Any = None) -> Any: ...
    def __call__(self, input_: Any, mem: Any = None) -> Any: ...

class LinearLeaky(StateLeaky):
    def __init__(self, beta: Value, in_features: Size, out_features: Size, bias: bool = True, device: Any = None, dtype: Any = None, threshold: Value = 1.0, spike_grad: SpikeGrad = None, surrogate_disable: bool = False, learn_beta: bool = False, learn_threshold: bool = False, state_quant: StateQuant = False, output: bool = True, graded_spikes_factor: Value = 1.0, learn_graded_spikes_factor: bool = False, kernel_truncation_steps: Optional[Size] = None) -> None: ...
    def forward(self, input_: Any) -> Any: ...
    def __call__(self, input_: Any) -> Any: ...

class Synaptic(LIF):
    syn: Tensor
    mem: Tensor
    threshold: Tensor
    graded_spikes_factor: Tensor
    alpha: Tensor
    beta: Tensor
    def __init__(self, alpha: Value, beta: Value, threshold: Value = 1.0, spike_grad: SpikeGrad = None, surrogate_disable: bool = False, init_hidden: bool = False, inhibition: bool = False, learn_alpha: bool = False, learn_beta: bool = False, learn_threshold: bool = False, reset_mechanism: Reset = 'subtract', state_quant: StateQuant = False, output: bool = False, reset_delay: bool = True) -> None: ...
    def forward(self, input_: Tensor, syn: Optional[Tensor] = None, mem: Optional[Tensor] = None) -> Any: ...
    def __call__(self, input_: Tensor, syn: Optional[Tensor] = None, mem: Optional[Tensor] = None) -> Any: ...

class RLeaky(LIF):
    spk: Tensor
    mem: Tensor
    threshold: Tensor
    graded_spikes_factor: Tensor
    beta: Tensor
    def __init__(self, beta: Value, V: Value = 1.0, all_to_all: bool = True, linear_features: Optional[Size] = None, conv2d_channels: Optional[Size] = None, kernel_size: Optional[Kernel] = None, threshold: Value = 1.0, spike_grad: SpikeGrad = None, surrogate_disable: bool = False, init_hidden: bool = False, inhibition: bool = False, learn_beta: bool = False, learn_threshold: bool = False, learn_recurrent: bool = True, reset_mechanism: Reset = 'subtract', state_quant: StateQuant = False, output: bool = False, reset_delay: bool = True) -> None: ...
    def forward(self, input_: Tensor, spk: Optional[Tensor] = None, mem: Optional[Tensor] = None) -> Any: ...
    def __call__(self, input_: Tensor, spk: Optional[Tensor] = None, mem: Optional[Tensor] = None) -> Any: ...

class SConv2dLSTM(SpikingNeuron):
    syn: Tensor
    mem: Tensor
    threshold: Tensor
    graded_spikes_factor: Tensor
    def __init__(self, in_channels: Size, out_channels: Size, kernel_size: Kernel, bias: bool = True, max_pool: Count = 0, avg_pool: Count = 0, threshold: Value = 1.0, spike_grad: SpikeGrad = None, surrogate_disable: bool = False, init_hidden: bool = False, inhibition: bool = False, learn_threshold: bool = False, reset_mechanism: Reset = 'none', state_quant: StateQuant = False, output: bool = False) -> None: ...
    def forward(self, input_: Tensor, syn: Optional[Tensor] = None, mem: Optional[Tensor] = None) -> Any: ...
    def __call__(self, input_: Tensor, syn: Optional[Tensor] = None, mem: Optional[Tensor] = None) -> Any: ...

class SLSTM(SpikingNeuron):
    syn: Tensor
    mem: Tensor
    threshold: Tensor
    graded_spikes_factor: Tensor
    def __init__(self, input_size: Size, hidden_size: Size, bias: bool = True, threshold: Value = 1.0, spike_grad: SpikeGrad = None, surrogate_disable: bool = False, init_hidden: bool = False, inhibition: bool = False, learn_threshold: bool = False, reset_mechanism: Reset = 'none', state_quant: StateQuant = False, output: bool = False) -> None: ...
    def forward(self, input_: Tensor, syn: Optional[Tensor] = None, mem: Optional[Tensor] = None) -> Any: ...
    def __call__(self, input_: Tensor, syn: Optional[Tensor] = None, mem: Optional[Tensor] = None) -> Any: ...

class RSynaptic(LIF):
    spk: Tensor
    syn: Tensor
    mem: Tensor
    threshold: Tensor
    graded_spikes_factor: Tensor
    alpha: Tensor
    beta: Tensor
    def __init__(self, alpha: Value, beta: Value, V: Value = 1.0, all_to_all: bool = True, linear_features: Optional[Size] = None, conv2d_channels: Optional[Size] = None, kernel_size: Optional[Kernel] = None, threshold: Value = 1.0, spike_grad: SpikeGrad = None, surrogate_disable: bool = False, init_hidden: bool = False, inhibition: bool = False, learn_alpha: bool = False, learn_beta: bool = False, learn_threshold: bool = False, learn_recurrent: bool = True, reset_mechanism: Reset = 'subtract', state_quant: StateQuant = False, output: bool = False, reset_delay: bool = True) -> None: ...
    def forward(self, input_: Tensor, spk: Optional[Tensor] = None, syn: Optional[Tensor] = None, mem: Optional[Tensor] = None) -> Any: ...
    def __call__(self, input_: Tensor, spk: Optional[Tensor] = None, syn: Optional[Tensor] = None, mem: Optional[Tensor] = None) -> Any: ...

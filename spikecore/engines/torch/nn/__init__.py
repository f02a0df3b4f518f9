"""The torch face: spiking neurons as ``nn.Module``s with snnTorch's names; public as ``spikecore.nn``."""

from spikecore.engines.torch.nn.convert import from_torch as from_torch
from spikecore.engines.torch.nn.convert import to_torch as to_torch
from spikecore.engines.torch.nn.lapicque import Lapicque as Lapicque
from spikecore.engines.torch.nn.layers import BatchNormTT1d as BatchNormTT1d
from spikecore.engines.torch.nn.layers import BatchNormTT2d as BatchNormTT2d
from spikecore.engines.torch.nn.layers import GlobalAvgPool as GlobalAvgPool
from spikecore.engines.torch.nn.layers import GradedSpikes as GradedSpikes
from spikecore.engines.torch.nn.layers import Residual as Residual
from spikecore.engines.torch.nn.leaky import Alpha as Alpha
from spikecore.engines.torch.nn.leaky import DeltaLeaky as DeltaLeaky
from spikecore.engines.torch.nn.leaky import Leaky as Leaky
from spikecore.engines.torch.nn.leaky import Synaptic as Synaptic
from spikecore.engines.torch.nn.lstm import SLSTM as SLSTM
from spikecore.engines.torch.nn.lstm import SConv2dLSTM as SConv2dLSTM
from spikecore.engines.torch.nn.module import module as module
from spikecore.engines.torch.nn.neuron import LIF as LIF
from spikecore.engines.torch.nn.neuron import SpikingNeuron as SpikingNeuron
from spikecore.engines.torch.nn.parallel import AssociativeLeaky as AssociativeLeaky
from spikecore.engines.torch.nn.parallel import LeakyParallel as LeakyParallel
from spikecore.engines.torch.nn.recurrent import RecurrentOneToOne as RecurrentOneToOne
from spikecore.engines.torch.nn.recurrent import RLeaky as RLeaky
from spikecore.engines.torch.nn.recurrent import RSynaptic as RSynaptic
from spikecore.engines.torch.nn.run import run as run
from spikecore.engines.torch.nn.stateleaky import LinearLeaky as LinearLeaky
from spikecore.engines.torch.nn.stateleaky import StateLeaky as StateLeaky

"""Spiking neurons as PyTorch modules, at home in ``torch.nn``; see docs/nn.md.

    import spikecore.nn as snn

Needs the extra ``torch``.
"""

from spikecore import surrogate as surrogate  # snnTorch users write snn.surrogate.atan()
from spikecore.engines.torch.nn import LIF as LIF
from spikecore.engines.torch.nn import SLSTM as SLSTM
from spikecore.engines.torch.nn import Alpha as Alpha
from spikecore.engines.torch.nn import AssociativeLeaky as AssociativeLeaky
from spikecore.engines.torch.nn import BatchNormTT1d as BatchNormTT1d
from spikecore.engines.torch.nn import BatchNormTT2d as BatchNormTT2d
from spikecore.engines.torch.nn import DeltaLeaky as DeltaLeaky
from spikecore.engines.torch.nn import GradedSpikes as GradedSpikes
from spikecore.engines.torch.nn import Lapicque as Lapicque
from spikecore.engines.torch.nn import Leaky as Leaky
from spikecore.engines.torch.nn import LeakyParallel as LeakyParallel
from spikecore.engines.torch.nn import LinearLeaky as LinearLeaky
from spikecore.engines.torch.nn import RecurrentOneToOne as RecurrentOneToOne
from spikecore.engines.torch.nn import Residual as Residual
from spikecore.engines.torch.nn import RLeaky as RLeaky
from spikecore.engines.torch.nn import RSynaptic as RSynaptic
from spikecore.engines.torch.nn import SConv2dLSTM as SConv2dLSTM
from spikecore.engines.torch.nn import SpikingNeuron as SpikingNeuron
from spikecore.engines.torch.nn import StateLeaky as StateLeaky
from spikecore.engines.torch.nn import Synaptic as Synaptic
from spikecore.engines.torch.nn import from_torch as from_torch
from spikecore.engines.torch.nn import run as run
from spikecore.engines.torch.nn import to_torch as to_torch

"""Spiking neurons: one file per family, one ``step`` each."""

from spikecore.api.neurons.adaptive import ALIF as ALIF
from spikecore.api.neurons.alpha import Alpha as Alpha
from spikecore.api.neurons.base import Neuron as Neuron
from spikecore.api.neurons.delta import DeltaLeaky as DeltaLeaky
from spikecore.api.neurons.izhikevich import Izhikevich as Izhikevich
from spikecore.api.neurons.lapicque import Lapicque as Lapicque
from spikecore.api.neurons.leaky import IF as IF
from spikecore.api.neurons.leaky import LI as LI
from spikecore.api.neurons.leaky import Leaky as Leaky
from spikecore.api.neurons.linear import AssociativeLeaky as AssociativeLeaky
from spikecore.api.neurons.linear import LeakyParallel as LeakyParallel
from spikecore.api.neurons.linear import LinearLeaky as LinearLeaky
from spikecore.api.neurons.linear import StateLeaky as StateLeaky
from spikecore.api.neurons.lstm import SLSTM as SLSTM
from spikecore.api.neurons.lstm import SConv2dLSTM as SConv2dLSTM
from spikecore.api.neurons.membrane import Membrane as Membrane
from spikecore.api.neurons.recurrent import OneToOne as OneToOne
from spikecore.api.neurons.recurrent import Recurrent as Recurrent
from spikecore.api.neurons.recurrent import RLeaky as RLeaky
from spikecore.api.neurons.recurrent import RSynaptic as RSynaptic
from spikecore.api.neurons.refractory import Refractory as Refractory
from spikecore.api.neurons.stepper import Stepper as Stepper
from spikecore.api.neurons.synaptic import Synaptic as Synaptic

"""Spiking neurons: one file each, one ``step`` each."""

from spikecore.api.neurons.base import Neuron as Neuron
from spikecore.api.neurons.leaky import Leaky as Leaky

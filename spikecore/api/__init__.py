"""The core, written once: neurons, layers, encoders, losses. Imports no array library."""

from spikecore.arguments import argument_kind as _argument_kind

# annotations name them where they cannot be imported
_argument_kind("spikecore.api.layers.network:Output")
_argument_kind("spikecore.api.learning.plastic_network:Plasticity", "a plasticity.Plasticity")
_argument_kind("spikecore.api.training.model:Model")

"""The names of ``spikecore.base``: what ``base.py`` resolves on first use, and what editors and type checkers see."""

from spikecore.api.core.engine import Engine as Engine
from spikecore.api.core.engine import Executor as Executor
from spikecore.api.core.engines import engine_of as engine_of
from spikecore.api.core.layer import EMPTY as EMPTY
from spikecore.api.core.layer import Init as Init
from spikecore.api.core.layer import Layer as Layer
from spikecore.api.core.layer import Stateless as Stateless
from spikecore.api.core.random import Key as Key
from spikecore.api.core.stream import Stream as Stream
from spikecore.api.core.tree import Params as Params
from spikecore.api.core.tree import State as State
from spikecore.api.core.tree import Tree as Tree
from spikecore.api.layers.merges import Concatenation as Concatenation
from spikecore.api.layers.merges import Merge as Merge
from spikecore.api.layers.merges import Product as Product
from spikecore.api.layers.merges import Sum as Sum
from spikecore.api.layers.network import Output as Output
from spikecore.api.neurons.base import Neuron as Neuron
from spikecore.api.neurons.base import Param as Param
from spikecore.api.neurons.base import cast as cast
from spikecore.api.neurons.base import clamp01 as clamp01
from spikecore.api.neurons.membrane import Membrane as Membrane
from spikecore.api.training.callbacks import Callback as Callback
from spikecore.api.training.callbacks import Step as Step

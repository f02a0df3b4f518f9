"""The base of your own code: classes to derive from, arguments and results of their methods, and types of results.

from spikecore.base import Membrane, Param, Params, State    # a neuron, docs/write_a_neuron.md
from spikecore.base import Stateless                         # a layer, docs/adding.md
from spikecore.base import Product, Sum                      # merges, which a sc.Graph has between its layers
"""

from __future__ import annotations

from spikecore.on_use import names_on_use

__getattr__, __dir__, __all__ = names_on_use(__name__)

"""Initialisers of weights and parameters; see ``spikecore.api.core.initialisers`` and ``weight_initialisers``.

For the fields ``weight_init`` and ``bias_init`` of layers, ``recurrent_init`` of ``RLeaky`` and ``RSynaptic``, and for
``sc.learn`` and ``sc.learn_tau``. The numbers depend on the model's seed and the parameter's name, not on the engine.
"""

from spikecore.api.core.initialisers import Initialiser as Initialiser
from spikecore.api.core.initialisers import constant as constant
from spikecore.api.core.initialisers import gamma as gamma
from spikecore.api.core.initialisers import normal as normal
from spikecore.api.core.initialisers import uniform as uniform
from spikecore.api.core.weight_initialisers import fluctuation as fluctuation
from spikecore.api.core.weight_initialisers import identity as identity
from spikecore.api.core.weight_initialisers import kaiming_normal as kaiming_normal
from spikecore.api.core.weight_initialisers import kaiming_uniform as kaiming_uniform
from spikecore.api.core.weight_initialisers import lateral as lateral
from spikecore.api.core.weight_initialisers import orthogonal as orthogonal
from spikecore.api.core.weight_initialisers import xavier_normal as xavier_normal
from spikecore.api.core.weight_initialisers import xavier_uniform as xavier_uniform

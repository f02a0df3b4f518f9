"""Networks as graphs of the Neuromorphic Intermediate Representation (NIR), and back; see docs/nir.md.

    from spikecore.nir import export_to_nir, import_from_nir

Needs the extra ``nir``; torch only for torch modules.

Of the core it uses the classes and parameters of layers and neurons, containers and, for modules, the torch face.

Begin with ``export.py`` and ``write_neurons.py`` for one way, with ``imports.py`` and ``read_neurons.py`` for the
other. ``dialects.py`` has the rules of other readers, ``prediction.py`` runs them.
"""

from spikecore.installing import to_install as _to_install

try:
    from nir import LIF as _LIF
except ImportError as _error:
    raise ImportError(f"spikecore.nir needs the package nir: {_to_install('nir')} ({_error})") from _error
if "v_reset" not in _LIF.__dataclass_fields__:
    raise ImportError(f"spikecore.nir needs nir >= 1.0.6, whose neurons have a v_reset: {_to_install('nir')}")

from spikecore import Graph as Graph
from spikecore.nir.export import export_to_nir as export_to_nir
from spikecore.nir.imports import Network as Network
from spikecore.nir.imports import model_from_nir as model_from_nir
from spikecore.nir.imports import network_from_nir as network_from_nir
from spikecore.nir.layers import FlattenAxes as FlattenAxes
from spikecore.nir.layers import SumPool2d as SumPool2d
from spikecore.nir.notes import NirError as NirError
from spikecore.nir.notes import NirLoss as NirLoss
from spikecore.nir.offset import OffsetLeaky as OffsetLeaky
from spikecore.nir.offset import OffsetSynaptic as OffsetSynaptic
from spikecore.nir.prediction import predict as predict
from spikecore.nir.torch_import import import_from_nir as import_from_nir
from spikecore.nir.translation import translate as translate

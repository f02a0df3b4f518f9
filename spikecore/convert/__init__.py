"""Trained networks of torch as spiking networks; see docs/converting.md.

    from spikecore.convert import convert

    snn = convert(ann, train_loader)        # snn.model is an sc.Model
    print(snn.report(test_loader))          # accuracy and errors by the number of time steps

Needs the extra ``torch``; pictures need matplotlib.

Of the core it uses layers, ``IF`` neurons, ``Model`` and the table of torch's modules and our layers. It looks at
activations of the trained network, and at nothing that the core computes.

Begin with ``conversion.py``, which does one step after the other; ``reading.py`` makes a graph of modules,
``building.py`` a network of the graph.
"""

from __future__ import annotations

from spikecore.convert.conversion import Conversion, ConvertedLayer, convert
from spikecore.convert.errors import ConversionError
from spikecore.convert.qcfs import QCFS
from spikecore.convert.report import ConversionReport, LayerError
from spikecore.convert.thresholds import LeastError, Percentile

__all__ = [
    "QCFS",
    "Conversion",
    "ConversionError",
    "ConversionReport",
    "ConvertedLayer",
    "LayerError",
    "LeastError",
    "Percentile",
    "convert",
]

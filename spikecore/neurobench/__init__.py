"""NeuroBench: its metrics for a model on any engine, and models that its benchmarks take; see docs/hardware.md.

    from spikecore import neurobench

    print(neurobench.measure(model, x, num_steps=25))

``measure`` needs nothing beyond this library. ``to_neurobench`` needs NeuroBench and torch.

Of the core it uses a model's layers, weights and recorded states.

Begin with ``metrics.py``.
"""

from __future__ import annotations

from spikecore.neurobench.metrics import Metrics, SynapticOperations, measure
from spikecore.neurobench.wrapper import to_neurobench

__all__ = ["Metrics", "SynapticOperations", "measure", "to_neurobench"]

"""A NIR graph as a torch module."""

from __future__ import annotations

from typing import Any, Optional

from spikecore.arguments import checked
from spikecore.nir.files import Written
from spikecore.nir.imports import network_from_nir


@checked
def import_from_nir(graph: Written, dt: Optional[float] = None, **options: Any) -> Any:
    """The torch module of a NIR graph: one time step a call, for a loop or for ``snn.run``.

    Graphs that ``export_to_nir`` wrote come back as they were. Of others a neuron at the end returns its states beside
    its spikes, as in snnTorch. Neurons keep their state (``init_hidden=True``); ``utils.reset(net)`` starts a new
    sequence.

    Args:
        graph, dt: see ``network_from_nir``.
        **options: those of ``network_from_nir``.

    Returns:
        ``nn.Sequential``, its layers named as in the graph; where the graph is no chain a module of its own.
    """
    from spikecore.nir.build import module_of  # it imports torch

    return module_of(network_from_nir(graph, dt, **options))

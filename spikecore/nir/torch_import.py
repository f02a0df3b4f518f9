"""A NIR graph as a torch module."""

from __future__ import annotations

from typing import Any, Optional

from spikecore.arguments import checked
from spikecore.nir.files import Written
from spikecore.nir.imports import network_from_nir


@checked
def import_from_nir(graph: Written, dt: Optional[float] = None, **options: Any) -> Any:
    """Read a NIR graph as a torch module. A call computes one time step; use it in a loop or with ``snn.run``.

    A graph that ``export_to_nir`` wrote gives the same network again. In a graph of another library, a neuron at the
    end returns its states after its spikes, as in snnTorch. Neurons keep their states (``init_hidden=True``); call
    ``utils.reset(net)`` to start a new sequence.

    Args:
        graph, dt: see ``network_from_nir``.
        **options: further arguments of ``network_from_nir``.

    Returns:
        An ``nn.Sequential`` whose layers are named as in the graph, or a ``GraphModule`` if the graph is not a chain.

    Raises:
        NirError, ShapeError: as for ``network_from_nir``.
    """
    from spikecore.nir.build import module_of  # it imports torch

    return module_of(network_from_nir(graph, dt, **options))

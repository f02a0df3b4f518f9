"""``sc.export(model, "net.nir", to="nir")``: ``nir.export_to_nir`` and its file."""

from __future__ import annotations

from typing import Optional

from spikecore import Model
from spikecore.export.errors import ExportError
from spikecore.export.front import Draft
from spikecore.nir import NirError, export_to_nir
from spikecore.nir.files import written


def files(
    model: Model, stem: str, *, dt: Optional[float] = None, subgraphs: bool = False, v_reset: bool = True
) -> Draft:
    """A model as a file of NIR.

    Args:
        model: a model with weights.
        stem: name of the file without its ending, and of the graph.
        dt: duration of a step, > 0, usually in seconds; default 1e-4, or 1 if nothing in the network has a time.
        subgraphs: write a recurrent layer as a graph within the graph; default False: as two nodes.
        v_reset: whether neurons have the field ``v_reset``; default True. False: for readers with nir before 1.0.6,
            such as Rockpool, which do not know it; their neurons reset to 0.
    """
    if model.input_shape is None:
        raise ExportError("the model has no weights yet: call it on data, or pass input_shape=")
    try:
        graph = export_to_nir(model, model_name=stem, dt=dt, subgraphs=subgraphs)
        content = written(graph, v_reset)
    except NirError as error:
        raise ExportError(str(error)) from error
    losses = tuple(f"not in the file: {line}" for line in graph.metadata["losses"].splitlines())
    return Draft(
        {f"{stem}.nir": content}, (f"NIR, a step is {graph.metadata['dt']:g}; {len(graph.nodes)} nodes", *losses)
    )

"""``sc.export(model, "net.nir", to="nir")``: ``nir.export_to_nir`` and its file."""

from __future__ import annotations

import tempfile
from pathlib import Path

from spikecore.api.training.model import Model
from spikecore.export.errors import ExportError
from spikecore.export.front import Draft
from spikecore.nir import NirError, export_to_nir
from spikecore.nir.units import DT


def files(model: Model, stem: str, *, dt: float = DT, subgraphs: bool = False) -> Draft:
    """A model as a file of NIR.

    Args:
        model: a model with weights.
        stem: name of the file without its ending, and of the graph.
        dt: duration of a step, > 0, usually in seconds; default 1e-4.
        subgraphs: write a recurrent layer as a graph within the graph; default False: as two nodes.
    """
    import nir

    if model.input_shape is None:
        raise ExportError("the model has no weights yet: call it on data, or pass input_shape=")
    try:
        graph = export_to_nir(model, model_name=stem, dt=dt, subgraphs=subgraphs)
    except NirError as error:
        raise ExportError(str(error)) from error
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "net.nir")
        nir.write(file, graph)
        content = file.read_bytes()
    losses = tuple(f"not in the file: {line}" for line in graph.metadata["losses"].splitlines())
    return Draft({f"{stem}.nir": content}, (f"NIR, a step is {dt:g}; {len(graph.nodes)} nodes", *losses))

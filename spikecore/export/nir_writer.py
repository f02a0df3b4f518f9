"""``sc.export(model, "net.nir", to="nir")``: ``nir.export_to_nir`` and its file."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import List, Optional

from spikecore import Model
from spikecore.export.errors import ExportError
from spikecore.export.front import Draft
from spikecore.nir import NirError, export_to_nir


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
        if not v_reset:
            _leave_out_resets(file)
        content = file.read_bytes()
    losses = tuple(f"not in the file: {line}" for line in graph.metadata["losses"].splitlines())
    return Draft(
        {f"{stem}.nir": content}, (f"NIR, a step is {graph.metadata['dt']:g}; {len(graph.nodes)} nodes", *losses)
    )


def _leave_out_resets(path: Path) -> None:
    """Delete the field ``v_reset`` of all neurons in a file.

    Raises:
        ExportError: a neuron resets to another value than 0.
    """
    import h5py

    with h5py.File(path, "r+") as file:
        fields: List[str] = []
        file.visit(lambda name: fields.append(name) if name.endswith("/v_reset") else None)
        for name in fields:
            if file[name][()].any():
                node = name.rsplit("/", 2)[1]
                raise ExportError(f"v_reset=False, but node {node} resets to another value than 0: leave v_reset out")
            del file[name]

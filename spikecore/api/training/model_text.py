"""A model as text: its table of layers, its parameters and the sparsity of a pruned network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, List, Tuple

from spikecore.api.core.layer import shapes_of
from spikecore.api.core.tree import flatten
from spikecore.api.layers.containers import walk
from spikecore.api.layers.summary import rows_of
from spikecore.printing import PrintedText, call, columns, table

if TYPE_CHECKING:
    from spikecore.api.training.model import Model


def summary(model: Model) -> str:
    """A table of the layers."""
    rows, head = _rows(model)
    return PrintedText(columns([head, *rows], left=len(head)))


def line(model: Model) -> str:
    """The text of ``repr``."""
    return call("Model", [repr(model.network), f"{_size(model)} parameters", repr(model.engine)])


def html(model: Model) -> str:
    """The HTML for notebooks."""
    title = f"Model: {_size(model)} parameters, {model.engine!r}, {model.epochs_done} epochs trained"
    if not model.built:
        return table(title, [(name, repr(layer)) for name, layer in walk(model.network)], ("layer", "kind"))
    return table(title, *_rows(model))


def _rows(model: Model) -> Tuple[List[Tuple[str, ...]], Tuple[str, ...]]:
    zeros = {}
    if model.trainer.executor.divided is None:  # else all ranks would have to count together, and one may print alone
        from spikecore.api.training.sparsity import sparsity

        zeros = {row.name: row.possible - row.existing for row in sparsity(model).weights}
    return rows_of(model.network, model.input_shape or (), _counts(model), zeros)


def _counts(model: Model) -> Dict[str, int]:
    """The number of entries of each parameter."""
    shape: Any = model.input_shape  # not None, since there are weights
    return {name: math.prod(x.shape) for name, x in flatten(shapes_of(model.network, shape).params).items()}


def _size(model: Model) -> str:
    return f"{sum(_counts(model).values()):,}" if model.built else "unbuilt"

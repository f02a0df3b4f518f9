"""A trained model's weights in another network."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from spikecore.api.core.host import to_numpy
from spikecore.api.core.layer import Layer, Params, Tree
from spikecore.api.core.tree import flatten, map_leaves
from spikecore.api.training.history import History

if TYPE_CHECKING:
    from spikecore.api.training.model import Model


def with_network(model: Model, network: Layer, params: Params, buffers: Tree) -> Model:
    """A model with another network and these weights, on the same engine; its optimiser starts anew.

    Args:
        model: the model whose engine, seed, history and notes it has.
        network: the layers, for samples of the same shape.
        params, buffers: its weights, arrays of the host.

    Raises:
        KeyError, ValueError: the weights belong to another network.
    """
    own, rest = (flatten(map_leaves(to_numpy, tree)) for tree in (params, buffers))
    state = {"params": own, "buffers": rest, "optimizer": {}, "step": 0, "lr": 0.0}
    other = type(model).holding(network, model.engine, model.seed, model.input_shape or (), state)
    other.history, other.epochs_done = History(dict(row) for row in model.history), model.epochs_done
    other.loss, other.metric, other.notes = model.loss, model.metric, deepcopy(model.notes)
    return other

"""A trained model's weights in another network: as another model, or in the model itself."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any, Dict

from spikecore.api.core.host import to_numpy
from spikecore.api.core.layer import Layer, Params, Tree
from spikecore.api.core.tree import flatten, map_leaves
from spikecore.api.training.executor import executor_from
from spikecore.api.training.history import History

if TYPE_CHECKING:
    from spikecore.api.training.model import Model


def change_network(model: Model, network: Layer, state: Dict[str, Any]) -> None:
    """Give a model another network with the same parameters, and a state, in place.

    Args:
        model: the model, which has weights.
        network: the layers.
        state: as ``model.state()`` returns it.

    Raises:
        KeyError, ValueError: the state belongs to another network; the model stays as it was.
    """
    before, shape = model.network, model.input_shape
    assert shape is not None  # the model has weights
    model.network = network
    try:
        executor, _ = executor_from(network, model.engine, shape, state, None, model.trainer.optimizer)
    except Exception:
        model.network = before
        raise
    model.trainer.change(executor)
    model.trainer.compiled = None


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
    other = type(model).from_state(network, model.engine, model.seed, model.input_shape or (), state)
    other.history, other.epochs_done = History(dict(row) for row in model.history), model.epochs_done
    other.trainer.loss, other.trainer.metric = model.trainer.loss, model.trainer.metric
    other.notes = deepcopy(model.notes)
    return other

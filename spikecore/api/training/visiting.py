"""A network run layer by layer, for reports on what each layer gets and gives."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Tuple

from spikecore.api.core.layer import EMPTY, Key, Layer, Params, Pass, Result, Tree, layer_name, shapes_of
from spikecore.api.core.tree import map_leaves, unflatten
from spikecore.api.layers.containers import Branches, Container, Sequential
from spikecore.api.training.batching import Encoder, Feed

if TYPE_CHECKING:
    from spikecore.api.training.model import Model

WHOLE = "(the network)"


class Visitor(abc.ABC):
    """Runs a network layer by layer and notes what it sees.

    Args:
        engine: the engine that computes.
    """

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    @abc.abstractmethod
    def note(self, path: str, layer: Layer, params: Params, x: Any, result: Result) -> None:
        """See one layer that is no container: its input x and what its ``run`` returned."""

    def note_products(self, path: str, layer: Layer, products: Sequence[Tuple[Any, Any]]) -> None:  # noqa: B027
        """See the factors of the matrix products of a container that merges branches."""

    def visit(self, run: Pass, layer: Layer, params: Params, buffers: Tree, x: Any) -> Any:
        """Run a layer on x (time or 1, batch, ...); return its output.

        Raises:
            TypeError: the network has a container other than Sequential and those that merge branches.
        """
        if not isinstance(layer, Container):
            result = layer.run(run, params, buffers, None, x)
            self.note(run.path, layer, params, x, result)
            return result.outputs
        if not isinstance(layer, (Sequential, Branches)):
            raise TypeError(
                f"the inside of {layer_name(layer)} is unknown; use Sequential or what merges branches, such as "
                "Residual, Concat or attention"
            )
        parts = {}
        for name, child in layer.children():
            y = self.visit(run.child(name), child, params[name], buffers.get(name, EMPTY), x)
            parts[name] = y
            x = y if isinstance(layer, Sequential) else x
        if isinstance(layer, Sequential):
            return x
        self.note_products(run.path or WHOLE, layer, layer.products(self.engine.xp, parts, before=2))
        return layer.merge(self.engine.xp, x, parts, before=2)


def visit(
    visitor: Visitor,
    model: Model,
    x: Any,
    num_steps: Optional[int] = None,
    encoder: Optional[Encoder] = None,
    record: bool = False,
) -> None:
    """Run a model's network on a batch under the eyes of a visitor; arguments as for ``Model.__call__``."""
    engine = model.engine
    values, steps = Feed(num_steps, encoder)(engine, engine.asarray(x), model.input_shape, Key((model.seed, "call")))
    model.build(tuple(values.shape[2:]))
    params, buffers = weights_of(model, engine)
    visitor.visit(Pass(engine, steps, record=record), model.network, params, buffers, values)


def weights_of(model: Model, engine: Any) -> List[Any]:
    """A model's parameters and buffers as trees of arrays of an engine."""
    like, state = shapes_of(model.network, model.input_shape or ()), model.state()
    parts = ("params", like.params), ("buffers", like.buffers)
    return [map_leaves(engine.asarray, unflatten(state[name], tree)) for name, tree in parts]

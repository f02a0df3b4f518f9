"""``Visitor``: one pass of a batch through a model, layer by layer, that shows each layer's input and output."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Tuple

from spikecore.api.core.layer import EMPTY, Key, Layer, Params, Pass, Result, Tree, layer_name, shapes_of
from spikecore.api.core.tree import flatten, map_leaves, unflatten
from spikecore.api.layers.containers import Container, flow
from spikecore.api.layers.merges import Merge
from spikecore.api.layers.quantized import Quantized
from spikecore.api.neurons.quantized import QuantizedNeuron
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.batching import Encoder, Feed
from spikecore.arguments import ArrayLike

if TYPE_CHECKING:
    from spikecore.api.training.model import Model

WHOLE = "(the network)"


def multiplies(layer: Layer, params: Params) -> bool:
    """Whether a layer without state multiplies its input by weights: it names connections, or it has a matrix and does
    not only normalise.
    """
    matrices = any(len(value.shape) > 1 for value in flatten(params).values())
    return bool(layer.connections) or (matrices and not layer.normalises and not layer.state)


class Visitor(abc.ABC):
    """Runs a model on a batch layer by layer. A subclass says what it notes of each layer.

    Args:
        model: a ``Model``; it gets weights if it has none.
        x, num_steps, encoder: as for ``functional.activity``.
        record: whether neurons give their states over time.

    Attributes:
        engine: the model's engine.
        batch, steps: samples and time steps of the run.
        still: whether the batch was given without a time axis.
    """

    def __init__(
        self, model: Model, x: ArrayLike, num_steps: Optional[int], encoder: Optional[Encoder], record: bool = False
    ) -> None:
        self.model, self.engine, self.record = model, model.engine, record
        inputs = self.engine.asarray(x)
        feed = Feed(num_steps, encoder)
        self._values, steps = feed(self.engine, inputs, model.input_shape, Key((model.seed, "call")))
        self.still = self._values.ndim != inputs.ndim
        self._constant = steps  # number of steps of an input that is constant in time
        self.steps: int = steps or self._values.shape[0]
        self.batch: int = self._values.shape[1]

    def run(self) -> None:
        """Run the model.

        Raises:
            TypeError: the network has a container with a ``run`` of its own.
        """
        model, shape = self.model, tuple(self._values.shape[2:])
        model.build(shape)
        params, buffers = weights_of(model, self.engine)
        run = Pass(self.engine, self._constant, record=self.record)
        self._visit(run, model.network, params, buffers, self._values)

    def _visit(self, run: Pass, layer: Layer, params: Params, buffers: Tree, x: Any) -> Any:
        """Run a layer on x (time or 1, batch, ...); return its output."""
        if not isinstance(layer, Container):
            result = layer.run(run, params, buffers, None, x)
            self.note(run.path, layer, params, x, result)
            return result.outputs
        if not layer.lowers:
            raise TypeError(
                f"the inside of {layer_name(layer)} is unknown, since it has a run of its own; say its nodes instead"
            )

        def through(name: str, child: Layer, x: Any) -> Any:
            return self._visit(run.child(name), child, params[name], buffers.get(name, EMPTY), x)

        def merged(merge: Merge, signals: List[Any], _: Tuple[str, ...]) -> Any:
            self.note_products(run.path, layer, merge.products(self.engine.xp, signals, before=2))
            return merge.merge(self.engine.xp, signals, before=2)

        return flow(layer.flow_nodes, x, through, merged)

    @abc.abstractmethod
    def note(self, path: str, layer: Layer, params: Params, x: Any, result: Result) -> None:
        """Note one layer that is no container.

        Args:
            path: its dotted name; "" for a network that is one layer.
            layer, params: the layer and its parameters.
            x: its input, (time or 1, batch, ...).
            result: what its ``run`` returned.
        """

    def note_products(self, path: str, layer: Layer, products: Sequence[Tuple[Any, Any]]) -> None:  # noqa: B027  (optional)
        """Note matrix products whose factors both come from the input, as attention has them; here nothing is noted."""


class CostVisitor(Visitor):
    """A visitor that notes neurons and connections. A subclass says what it counts of them.

    Attributes:
        uncounted: layers with weights whose products are not counted.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.uncounted: List[str] = []

    def note(self, path: str, layer: Layer, params: Params, x: Any, result: Result) -> None:
        """Note a layer: as neurons and the connection through which they receive their spikes, or as a connection."""
        name = path or WHOLE
        if not isinstance(layer, Stepper):
            self._connection(name, layer, params, x)
            return
        self.note_neurons(name, layer, result)
        inner, xp, y = connection_of(layer), self.engine.xp, result.outputs
        if inner is not None:
            before = xp.concat([xp.zeros_like(y[:1, ...]), y[:-1, ...]], axis=0)
            self._connection(f"{name}.connection", inner, params.get("connection", Params()), before)
        elif any("weight" in key for key in flatten(params)):
            self.leave_out(name, layer)

    def _connection(self, name: str, layer: Layer, params: Params, x: Any) -> None:
        if isinstance(layer, Quantized) and layer.input_quant is not None:
            x = layer.input_quant.apply(self.engine, x)
        inner, params = unquantized(self.engine, layer, params)
        if not self.note_connection(name, layer_name(layer), inner, params, x) and multiplies(inner, params):
            self.leave_out(name, layer)

    def leave_out(self, name: str, layer: Layer) -> None:
        """Note a layer whose products are not counted."""
        self.uncounted.append(f"{name} ({layer_name(layer)})")

    @abc.abstractmethod
    def note_neurons(self, name: str, layer: Stepper, result: Result) -> None:
        """Note the outputs and states of neurons."""

    @abc.abstractmethod
    def note_connection(self, name: str, kind: str, layer: Layer, params: Params, x: Any) -> bool:
        """Note the products of a layer's weights with its input (time or 1, batch, ...); False if they are not counted.

        Args:
            name, kind: dotted name and class of the layer.
            layer, params: the layer, of a quantised one that inside of it with the rounded parameters.
            x: its input.
        """


def weights_of(model: Model, engine: Any) -> List[Any]:
    """A model's parameters and buffers as trees of arrays of an engine."""
    like, state = shapes_of(model.network, model.input_shape or ()), model.state()
    parts = ("params", like.params), ("buffers", like.buffers)
    return [map_leaves(engine.asarray, unflatten(state[name], tree)) for name, tree in parts]


def connection_of(layer: Layer) -> Any:
    """The connection through which a neuron's spikes return to it, or None."""
    return getattr(getattr(layer, "recurrent", layer), "connection", None)


def unquantized(engine: Any, layer: Layer, params: Params) -> Tuple[Layer, Params]:
    """The layer inside a quantised one with the rounded parameters that it computes with; another one as it is.

    A neuron keeps its parameters: they are rounded in its ``prepare``.
    """
    if isinstance(layer, Quantized):
        return layer.layer, layer.prepare(engine, params)
    return (layer.neuron if isinstance(layer, QuantizedNeuron) else layer), params

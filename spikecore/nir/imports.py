"""Import of NIR graphs as networks (``network_from_nir``) and as models on any engine (``model_from_nir``)."""

from __future__ import annotations

import math
from typing import Any, Dict, List, NamedTuple, Optional, Tuple, Union, get_args

import nir
import numpy as np

from spikecore import Graph, Model, Sequential, get_engine
from spikecore.api.core.engines import EngineName
from spikecore.api.core.layer import Shape, shapes_of
from spikecore.api.core.sizes import sample_shape, whole_number
from spikecore.api.core.tree import flatten
from spikecore.api.layers.nodes import INPUT
from spikecore.api.neurons.membrane import Reset
from spikecore.arguments import Sizes, shown, unknown
from spikecore.base import Engine, Layer, Params
from spikecore.errors import ShapeError
from spikecore.nir.files import MOST_BYTES, Written, opened
from spikecore.nir.flat import Flat, border
from spikecore.nir.members import LEAKY, SPIKING, Unit
from spikecore.nir.notes import NirError, checked, noted
from spikecore.nir.read_layers import READERS, Read
from spikecore.nir.read_neurons import Resets, read_neuron
from spikecore.nir.units import Units, units_of
from spikecore.nir.wiring import START, units_in_order
from spikecore.surrogate import Surrogate, atan

#: Errors that layers and NumPy raise for nodes with wrong values or notes.
FAULTS = (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, MemoryError, RecursionError)


class Network(NamedTuple):
    """A network that was read from a NIR graph. It belongs to no engine.

    Args:
        network: a ``Sequential``, or a ``Graph`` if the graph is not a chain.
        params: its parameters, a tree of NumPy arrays.
        input_shape: shape of one sample.
        names: the layers' names in the graph.
        output: whether the last layer of a torch module returns its states, too. spikecore notes it in the graph; for
            graphs of other libraries it is True if the last layer spikes.
    """

    network: Layer
    params: Params
    input_shape: Shape
    names: Tuple[str, ...]
    output: bool = False


@checked
def network_from_nir(
    graph: Written,
    dt: Optional[float] = None,
    *,
    writer: Optional[str] = None,
    reset_mechanism: str = "zero",
    reset_delay: bool = False,
    surrogate: Optional[Surrogate] = None,
    input_shape: Optional[Sizes] = None,
    max_bytes: int = MOST_BYTES,
) -> Network:
    """Read the network and the weights of a NIR graph, for any engine.

    Args:
        graph: a ``nir.NIRGraph``, one node, or the path of a file.
        dt: duration of a step in the graph's unit of time, > 0. None takes the value in the graph, else the writer's,
            else 1e-4.
        writer: the library that wrote the graph, which determines its units: "snntorch", "spikingjelly", "norse",
            "norse-1.1" (it writes dt tau instead of tau) or "sinabs". None uses NIR's equations with forward Euler.
        reset_mechanism, reset_delay, surrogate: options of neurons for which the graph has none, that is of all neurons
            that another library wrote. Default: NIR's own reset, "zero" without delay, and ``atan()``.
        input_shape: shape of one sample. Default: that of the graph's Input node, without its batch axis, if any.
        max_bytes: most bytes of memory that the arrays of a file, and the values of all neurons of a layer, may take.
            Default: 1 GiB.

    Returns:
        A ``Network``: the network, its parameters, the shape of a sample, the layers' names.

    Raises:
        NirError: the graph cannot be read; names the node.
        ShapeError: shapes do not fit each other.
    """
    if input_shape is not None:
        input_shape = sample_shape("input_shape", input_shape)
    if surrogate is not None and not isinstance(surrogate, Surrogate):
        raise NirError(f"surrogate={shown(surrogate)} is no spikecore.surrogate, e.g. surrogate.atan()")
    if reset_mechanism not in get_args(Reset):
        raise NirError(unknown("reset_mechanism", reset_mechanism, get_args(Reset)))
    graph = opened(graph, max_bytes)
    units = units_of(writer, dt, graph.metadata)
    resets = Resets(reset_mechanism, reset_delay, atan() if surrogate is None else surrogate)
    flat = Flat(graph)
    order, outputs = units_in_order(flat)
    first: Optional[Exception] = None
    for shape in input_shapes(flat, input_shape):
        try:
            return _network(order, outputs, shape, units, resets, max_bytes)
        except ShapeError as error:
            first = first or error
    raise first or NirError("the graph's Input node has no shape; pass input_shape=(...)")


@checked
def model_from_nir(
    graph: Written,
    dt: Optional[float] = None,
    *,
    engine: Union[None, EngineName, Engine] = None,
    seed: int = 0,
    **options: Any,
) -> Model:
    """Read a NIR graph as a model on any engine.

    Args:
        graph, dt: see ``network_from_nir``.
        engine: an Engine or its name, as in ``spikecore.Model``; ``get_engine("numpy", dtype="float64")`` for float64.
        seed: seed of the model, as in ``spikecore.Model``.
        **options: further arguments of ``network_from_nir``.

    Raises:
        NirError, ShapeError: as for ``network_from_nir``.
    """
    read = network_from_nir(graph, dt, **options)
    return loaded(read.network, read.params, read.input_shape, engine, seed)


def loaded(network: Layer, params: Params, shape: Shape, engine: Any, seed: int = 0) -> Model:
    """A model with the given parameters."""
    engine, like, given = get_engine(engine), shapes_of(network, shape), flatten(params)
    state = {
        "params": {
            name: np.asarray(given[name]).reshape(x.shape).astype(engine.dtype)
            for name, x in flatten(like.params).items()
        },
        "buffers": flatten(like.buffers),
        "optimizer": {},
        "step": 0,
        "lr": 0.0,
    }
    return Model.from_state(network, engine, whole_number("seed", seed), shape, state)


def input_shapes(flat: Flat, given: Optional[Shape]) -> List[Shape]:
    """Possible shapes of one sample, the most likely first: some libraries include the batch axis in the shape."""
    if given is not None:
        return [tuple(given)]
    stored = flat.nodes[border(flat.nodes, nir.Input)].input_type["input"]
    if stored is None:
        return []
    try:
        shape = sample_shape("the graph's Input node: shape", np.asarray(stored).reshape(-1).tolist())
    except ValueError as error:
        raise NirError(str(error)) from None
    return [shape, shape[1:]] if len(shape) > 1 else [shape]


def _network(
    order: List[Unit], outputs: Tuple[str, ...], shape: Shape, units: Units, resets: Resets, most: int
) -> Network:
    shapes: Dict[str, Shape] = {START: shape}
    sender: Dict[str, str] = {START: INPUT}
    rows: List[Tuple[str, Layer, Params, Tuple[str, ...]]] = []
    for unit in order:
        incoming = {shapes[source] for source in unit.sources}
        if len(incoming) > 1:
            raise ShapeError(f"{unit.place}: its sources differ in shape: {', '.join(map(str, sorted(incoming)))}")
        sources, now = tuple(sender[source] for source in unit.sources), incoming.pop()
        if 8 * math.prod(now) > most:
            raise NirError(f"{unit.place}: samples of shape {now} take more memory than max_bytes={most:,} allows")
        layers = _read(unit, now, units, resets)
        subgraph = unit.name.rpartition(".")[0] if unit.recurrent else ""  # a loop is usually a subgraph: "rnn.lif"
        for left, (layer, params) in enumerate(layers, start=1 - len(layers)):
            name = unique_name(f"{subgraph or unit.name}{'_before' if left else ''}", rows)
            now = checked_shape(unit, layer, params, now)
            rows.append((name, layer, params, sources))
            sources = (name,)
        sender[unit.name], shapes[unit.name] = sources[0], now
    last = False
    if order and outputs == (order[-1].name,):
        notes, spiking = noted(order[-1].node), bool(getattr(rows[-1][1], "spiking", False))
        last = notes.get("output", spiking and not notes)  # without notes, another library wrote it: as snnTorch
    return _assembled(rows, tuple(sender[name] for name in outputs), shape)._replace(output=last)


def checked_shape(unit: Unit, layer: Layer, params: Params, shape: Shape) -> Shape:
    """Shape of one sample of a layer's output. Raises if the layer does not take its input or has wrong weights."""
    try:
        like = shapes_of(layer, shape)
    except ShapeError as error:
        raise ShapeError(f"{unit.place}: {error}") from None
    except ValueError as error:
        raise NirError(f"{unit.place}: {error}") from error
    given, wanted = flatten(params), flatten(like.params)
    for name in {**given, **wanted}:
        actual, expected = (np.shape(part[name]) if name in part else None for part in (given, wanted))
        if actual is None or expected is None or math.prod(actual) != math.prod(expected):
            raise NirError(f"{unit.place}: {name} of shape {actual}, expected {expected}")
    return like.shape


def _read(unit: Unit, shape: Shape, units: Units, resets: Resets) -> List[Read]:
    try:
        return _layers_of(unit, shape, units, resets)
    except (NirError, ShapeError):
        raise
    except FAULTS as error:
        raise NirError(f"{unit.place}: cannot be read: {error}") from error


def _layers_of(unit: Unit, shape: Shape, units: Units, resets: Resets) -> List[Read]:
    if isinstance(unit.node, (*LEAKY, *SPIKING, nir.Threshold)):
        return read_neuron(unit, shape, units, resets)
    if type(unit.node) not in READERS:
        known = sorted(kind.__name__ for kind in (*READERS, *LEAKY, *SPIKING, nir.Threshold))
        raise NirError(f"{unit.place}: there is no such layer; known are {', '.join(known)}")
    return [READERS[type(unit.node)](unit.node, unit.place, shape, units)]


def unique_name(name: str, rows: List[Any]) -> str:
    """A unique name without dots, because a dot separates the names of nested layers."""
    plain, taken, count = name.replace(".", "_"), {INPUT, *(row[0] for row in rows)}, 1
    unique = plain
    while unique in taken:
        count += 1
        unique = f"{plain}_{count}"
    return unique


def _assembled(rows: List[Any], outputs: Tuple[str, ...], shape: Shape) -> Network:
    names = tuple(row[0] for row in rows)
    layers, sources = tuple(row[1] for row in rows), tuple(row[3] for row in rows)
    chain = tuple((before,) for before in (INPUT, *names))
    if (*sources, outputs) == chain:
        params = Params({str(i): row[2] for i, row in enumerate(rows)})
        return Network(Sequential(*layers), params, shape, names)
    return Network(Graph(names, layers, sources, outputs), Params({row[0]: row[2] for row in rows}), shape, names)

"""``export_to_nir``: a model, a network or a torch module as a NIR graph."""

from __future__ import annotations

import json
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Iterable, List, Mapping, Optional, Tuple, Union

import nir

from spikecore import Model
from spikecore.api.core.layer import Shape, shapes_of
from spikecore.api.core.messages import warn
from spikecore.api.core.tree import unflatten
from spikecore.arguments import ArrayLike, argument_kind
from spikecore.base import Layer
from spikecore.errors import ShapeError
from spikecore.nir.draft import GraphDraft, NodeSum
from spikecore.nir.notes import KEY, NirError, NirLoss, checked
from spikecore.nir.units import DT, Units

if TYPE_CHECKING:
    from torch.nn import Module

argument_kind("torch.nn.modules.module:Module", "an nn.Module")
FORMAT = 1
TIMES = ("tau", "tau_mem", "delay")


@checked
def export_to_nir(
    module: Union[Module, Model, Layer],
    sample_data: Optional[ArrayLike] = None,
    model_name: str = "spikecore",
    model_fwd_args: Iterable[Any] = (),
    ignore_dims: Iterable[int] = (),
    *,
    dt: Optional[float] = None,
    subgraphs: bool = False,
) -> nir.NIRGraph:
    """Export a network as a NIR graph, for other libraries, for hardware, and for files (``nir.write``).

    Decays become time constants by forward Euler, tau = dt / (1 - beta) with r = tau / dt. NIR cannot express the kind
    of reset, the surrogate, and which parameters are learned. They are written to the metadata of the nodes, from which
    ``import_from_nir`` restores them.

    Args:
        module: an ``nn.Module`` that computes one time step, a ``spikecore.Model``, or a layer (which gets the initial
            weights of seed 0).
        sample_data: an input of one step, (batch, *features); only its shape is used. None if the model has a shape.
        model_name: name that is written to the metadata.
        model_fwd_args: further arguments of ``forward`` after the input, e.g. states; they are not part of the graph.
        ignore_dims: axes of ``sample_data`` that are not features. Default: the first axis, the batch, unless the
            network takes samples of the whole shape.
        dt: duration of a step, > 0, usually in seconds. Default 1e-4, as in snnTorch; 1 if no neuron and no delay has a
            time constant: then the r of ``IF`` is 1, the only value that some libraries read.
        subgraphs: write a recurrent layer "rnn" as a subgraph "rnn", input -> lif -> output and lif -> w_rec -> lif.
            By default it becomes two nodes "rnn.lif" and "rnn.w_rec", as in snnTorch.

    Returns:
        The graph. Its metadata has ``dt``, ``name``, ``writer`` and ``losses``, one per line.

    Raises:
        NirError: NIR has no node for a layer (the message has the remedy), a torch module cannot be traced, or an
            argument is wrong.
        ShapeError: the network does not take the sample.

    Warns:
        NirLoss: other libraries will compute something else; names each layer and the reason.

    Source: Pedersen et al., Neuromorphic intermediate representation, Nature Communications 2024.
    """
    shapes, arguments = list(_shapes(sample_data, ignore_dims)), tuple(model_fwd_args)

    def drafted(dt: float) -> Tuple[GraphDraft, NodeSum]:
        return _first_that_fits(module, shapes, arguments, partial(GraphDraft, Units(dt=dt), subgraphs=subgraphs))

    draft, signal = drafted(DT if dt is None else dt)
    if dt is None:
        dt = DT if _has_times(draft.nodes) else 1.0
        draft, signal = drafted(dt)
    for loss in draft.losses:
        warn(loss, NirLoss)
    about = {"dt": float(dt), "name": model_name, "writer": "spikecore", "losses": "\n".join(draft.losses)}
    return draft.finished(signal, {**about, KEY: json.dumps({"format": FORMAT})})


def _has_times(nodes: Mapping[str, Any]) -> bool:
    """Whether a number in a graph is a time: a time constant or a delay."""
    inner = (node.nodes for node in nodes.values() if isinstance(node, nir.NIRGraph))
    return any(hasattr(node, name) for node in nodes.values() for name in TIMES) or any(map(_has_times, inner))


def _shapes(sample: Any, ignored: Iterable[int]) -> Iterable[Shape]:
    """Possible shapes of one sample, the most likely first."""
    if sample is None:
        return
    if not hasattr(sample, "shape"):
        raise NirError(f"sample_data={type(sample).__name__} must be an array or a tensor, an input of one step")
    shape, ignored = tuple(int(n) for n in sample.shape), tuple(ignored)
    if any(not -len(shape) <= axis < len(shape) for axis in ignored):
        raise NirError(f"ignore_dims={ignored} must be axes of sample_data, whose shape is {shape}")
    if ignored:
        dropped = {axis % len(shape) for axis in ignored}
        yield tuple(n for axis, n in enumerate(shape) if axis not in dropped)
        return
    if len(shape) > 1:
        yield shape[1:]
    yield shape


def _first_that_fits(
    module: Any, shapes: List[Shape], arguments: Tuple[Any, ...], begin: Callable[[Shape], GraphDraft]
) -> Tuple[GraphDraft, NodeSum]:
    if not isinstance(module, (Model, Layer)):
        from spikecore.nir.trace import put_module

        if not shapes:
            raise NirError("export_to_nir: a torch module needs sample_data, an input of one step")
        put: Any = lambda draft: put_module(draft, module, arguments)  # noqa: E731
    else:
        network, params, known = _weights(module, shapes)
        shapes = [known] if known is not None else shapes
        put = lambda draft: draft.put(network, "", params, draft.start)  # noqa: E731
    first: Optional[ShapeError] = None
    for shape in shapes:
        draft = begin(shape)
        try:
            return draft, put(draft)
        except ShapeError as error:
            first = first or error
    raise first or NirError("export_to_nir: no sample_data")


def _weights(module: Any, shapes: List[Shape]) -> Tuple[Layer, Any, Optional[Shape]]:
    """The network, its parameters as a tree, and the shape of its samples."""
    model = module if isinstance(module, Model) and module.input_shape is not None else None
    if model is None:
        model = _initialised(getattr(module, "network", module), shapes)
    assert model.input_shape is not None
    like = shapes_of(model.network, model.input_shape)
    return model.network, unflatten(model.params(), like.params), model.input_shape


def _initialised(network: Any, shapes: List[Shape]) -> Model:
    """A model with initial weights, for the first shape that fits."""
    first: Optional[ShapeError] = None
    for shape in [network.input_shape] if network.input_shape is not None and not shapes else shapes:
        try:
            return Model(network, "numpy", input_shape=shape)
        except ShapeError as error:
            first = first or error
    raise first or NirError("export_to_nir: the network does not fix the shape of a sample; pass sample_data")

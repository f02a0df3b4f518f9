"""``export_to_nir``: a model, a network or a torch module as a NIR graph."""

from __future__ import annotations

import json
import warnings
from functools import partial
from typing import TYPE_CHECKING, Any, Callable, Iterable, List, Optional, Tuple, Union

import nir

from spikecore.api.core.layer import Layer, Shape, ShapeError, shapes_of
from spikecore.api.core.tree import unflatten
from spikecore.api.training.model import Model
from spikecore.arguments import ArrayLike
from spikecore.nir.draft import Draft, Signal
from spikecore.nir.notes import KEY, NirError, NirLoss, checked
from spikecore.nir.units import DT, Units

if TYPE_CHECKING:
    from torch.nn import Module

FORMAT = 1


@checked
def export_to_nir(
    module: Union[Module, Model, Layer],
    sample_data: Optional[ArrayLike] = None,
    model_name: str = "spikecore",
    model_fwd_args: Iterable[Any] = (),
    ignore_dims: Iterable[int] = (),
    *,
    dt: float = DT,
    subgraphs: bool = False,
) -> nir.NIRGraph:
    """The NIR graph of a network, for other libraries, for hardware, and for files (``nir.write``).

    Decays become time constants by forward Euler, tau = dt / (1 - beta) with r = tau / dt. What NIR has no place for
    (kind of reset, surrogate, what is learned) is noted in the metadata, from which ``import_from_nir`` restores it.

    Args:
        module: an ``nn.Module`` that is written for one time step, a ``spikecore.Model``, or a layer (with the first
            weights of seed 0).
        sample_data: an input of one step, (batch, *features); only its shape matters. None where the model knows it.
        model_name: noted in the metadata.
        model_fwd_args: what ``forward`` takes after the input, e.g. states; they are not part of the graph.
        ignore_dims: axes of ``sample_data`` that are no features. Default: the first one, the batch, unless the network
            takes the sample as it is.
        dt: duration of a step; in seconds by custom. Default as in snnTorch.
        subgraphs: write a recurrent layer "rnn" as a graph "rnn" within the graph, input -> lif -> output and
            lif -> w_rec -> lif, instead of as two nodes "rnn.lif" and "rnn.w_rec", as snnTorch does.

    Returns:
        The graph; its metadata hold ``dt``, ``name``, ``writer`` and ``losses``, one a line.

    Raises:
        NirError: a layer that NIR cannot say, named with the remedy; a torch module that cannot be traced; a
            ``subgraphs`` that is no bool.
        ShapeError: the network does not take the sample.

    Warns:
        NirLoss: other libraries will compute something else; names each layer and why.

    Source: Pedersen et al., Neuromorphic intermediate representation, Nature Communications 2024.
    """
    units = Units(dt=dt)
    begin = partial(Draft, units, subgraphs=subgraphs)
    draft, signal = _first_that_fits(module, list(_shapes(sample_data, ignore_dims)), tuple(model_fwd_args), begin)
    for loss in draft.losses:
        warnings.warn(loss, NirLoss, stacklevel=2)
    about = {"dt": float(dt), "name": model_name, "writer": "spikecore", "losses": "\n".join(draft.losses)}
    return draft.finished(signal, {**about, KEY: json.dumps({"format": FORMAT})})


def _shapes(sample: Any, ignored: Iterable[int]) -> Iterable[Shape]:
    """What one sample's shape may be, the likeliest first."""
    if sample is None:
        return
    if not hasattr(sample, "shape"):
        raise NirError(f"sample_data={type(sample).__name__} must be an array or a tensor, an input of one step")
    shape, ignored = tuple(int(n) for n in sample.shape), tuple(ignored)
    if any(not -len(shape) <= axis < len(shape) for axis in ignored):
        raise NirError(f"ignore_dims={ignored} must be axes of sample_data, whose shape is {shape}")
    if ignored:
        left = {axis % len(shape) for axis in ignored}
        yield tuple(n for axis, n in enumerate(shape) if axis not in left)
        return
    if len(shape) > 1:
        yield shape[1:]
    yield shape


def _first_that_fits(
    module: Any, shapes: List[Shape], arguments: Tuple[Any, ...], begin: Callable[[Shape], Draft]
) -> Tuple[Draft, Signal]:
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
    """A network, its parameters as a tree, and its samples' shape."""
    model = module if isinstance(module, Model) and module.input_shape is not None else None
    if model is None:
        model = _drawn(getattr(module, "network", module), shapes)
    assert model.input_shape is not None
    like = shapes_of(model.network, model.input_shape)
    return model.network, unflatten(model.params(), like.params), model.input_shape


def _drawn(network: Any, shapes: List[Shape]) -> Model:
    """A model with first weights for the first shape that fits."""
    first: Optional[ShapeError] = None
    for shape in [network.input_shape] if network.input_shape is not None and not shapes else shapes:
        try:
            return Model(network, "numpy", input_shape=shape)
        except ShapeError as error:
            first = first or error
    raise first or NirError("export_to_nir: the network does not fix the shape of a sample; pass sample_data")

"""Batch norms put into the weights before them: what a network for inference does without."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Dict, Set, Tuple, cast

from spikecore.api.core.host import host
from spikecore.api.core.layer import Layer, Params, Tree
from spikecore.api.layers.containers import Container, with_children
from spikecore.api.layers.linear import Identity, Linear
from spikecore.api.layers.normalisation import RunningNorm, _BatchNorm
from spikecore.api.layers.temporal_normalisation import _ThresholdDependent
from spikecore.api.layers.transposed import KERNELS, _ConvTranspose
from spikecore.api.training.rebuilding import with_network
from spikecore.api.training.visitor import weights_of
from spikecore.arguments import checked

if TYPE_CHECKING:
    from spikecore.api.training.model import Model

CONNECTIONS = (Linear, *KERNELS)
NORMS = (_BatchNorm, _ThresholdDependent)


@checked
def fold_batch_norm(model: Model) -> Model:
    """A model in which each batch norm is a part of the connection directly before it.

        W' = scale W,   b' = scale b + shift,   scale = weight / sqrt(running_var + eps),
        shift = bias - scale running_mean

    It computes what the model computes outside of training, up to rounding, with fewer operations, and its weights can
    be quantised. Batch norms are replaced by ``Identity``, so that all other layers keep their names. Batch norms that
    do not follow a ``Linear``, a convolution or a transposed convolution in the same ``Sequential``, and those with
    statistics of each time step, stay.

    Args:
        model: a trained ``Model``. It does not change.

    Returns:
        another ``Model`` on the same engine. Its optimiser starts again.

    Raises:
        RuntimeError: the model has no weights yet.

    Source: Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    CVPR 2018.
    """
    model.trainer.executor  # noqa: B018  (raises without weights)
    params, buffers = weights_of(model, host())
    network, params, buffers = _folded(model.network, params, buffers)
    return with_network(model, network, params, buffers)


def _folded(layer: Layer, params: Params, buffers: Tree) -> Tuple[Layer, Params, Tree]:
    """The layer, its parameters and its buffers after folding."""
    if not isinstance(layer, Container):
        return layer, params, buffers
    layers: Dict[str, Layer] = {}
    folded: Set[str] = set()
    weights, statistics = dict(params.items()), dict(buffers.items())
    behind = {name: before for chain in layer.chains for (before, _), (name, _) in zip(chain, chain[1:])}
    for name, child in layer.children():
        before = behind.get(name, "")
        while before in folded:
            before = behind.get(before, "")
        follows = isinstance(layers.get(before), CONNECTIONS)
        if follows and isinstance(child, NORMS):
            connection: Any = layers[before]
            line = cast(RunningNorm, child).line(
                host().xp, params[name], statistics[name].running_mean, statistics[name].running_var
            )
            weights[before] = _scaled(connection, weights[before], *line)
            layers[before] = connection if connection.bias else replace(connection, bias=True)
            layers[name], weights[name] = Identity(), Params()
            folded.add(name)
            del statistics[name]
            continue  # a second batch norm may follow
        below = statistics.pop(name, Tree())
        layers[name], weights[name], below = _folded(child, params[name], below)
        if len(below):
            statistics[name] = below
    return with_children(layer, layers), Params(weights), Tree(statistics)


def _scaled(connection: Any, params: Params, scale: Any, shift: Any) -> Params:
    """A connection's parameters with the line behind it: one scale and one shift per output channel."""
    weight, groups = params.weight, getattr(connection, "groups", 1)
    if isinstance(connection, _ConvTranspose):  # (channels, filters / groups, *kernel); a group's filters are its rows'
        rows = host().xp.reshape(weight, (groups, weight.shape[0] // groups, *weight.shape[1:]))
        factor = host().xp.reshape(scale, (groups, 1, weight.shape[1], *(1,) * (weight.ndim - 2)))
        weight = host().xp.reshape(rows * factor, tuple(weight.shape))
    else:
        weight = weight * host().xp.reshape(scale, (-1, *(1,) * (weight.ndim - 1)))
    bias = scale * params.bias + shift if connection.bias else shift
    return params.replace(weight=weight, bias=bias)

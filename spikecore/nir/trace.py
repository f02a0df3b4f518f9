"""A torch module as a NIR graph: its calls are read, and ``from_torch`` converts each layer."""

from __future__ import annotations

import copy
from typing import Any, Tuple

import nir
import torch
from torch import nn

import spikecore as sc
from spikecore import OneToOne, learn
from spikecore.api.core.layer import shapes_of
from spikecore.api.core.tree import map_leaves, unflatten
from spikecore.api.layers.nodes import INPUT
from spikecore.base import Merge, Params, Sum
from spikecore.engines.torch.nn.convert import namesake
from spikecore.engines.torch.nn.labels import Factor, LayerCall, Unfitting, Unreadable
from spikecore.engines.torch.nn.module import NeuronModule
from spikecore.engines.torch.nn.reading import Reading, read
from spikecore.errors import ShapeError
from spikecore.nir.draft import GraphDraft, NodeSum
from spikecore.nir.layers import FlattenAxes, SumPool2d
from spikecore.nir.modules import Scale
from spikecore.nir.notes import NirError, note, noted
from spikecore.nir.write_layers import REMEDIES
from spikecore.nn import from_torch

SAMPLES = 2  # of the batch on which ``forward`` is read, where its other arguments do not say a number


def put_module(draft: GraphDraft, net: Any, arguments: Tuple[Any, ...]) -> NodeSum:
    """Add all layers of a module; returns its output.

    Raises:
        NirError: the module cannot be read, or NIR has no node for a call.
        ShapeError: a layer does not take its input.
    """
    if not isinstance(net, nn.Module):
        raise NirError(f"export_to_nir: {type(net).__name__} is no nn.Module, spikecore.Model or layer")
    kind = type(net).__name__
    twins = ((name, namesake(module)) for name, module in net.named_modules())
    why = next((f"layer {name}: {twin}" for name, twin in twins if twin), "")
    if why:
        raise NirError(f"export_to_nir: {kind} cannot be exported: {why}")
    like = next(net.parameters(), torch.zeros(0))
    batch = next((len(x) for x in arguments if isinstance(x, torch.Tensor) and x.dim()), SAMPLES)
    x = torch.rand((batch, *draft.start.shape), generator=torch.Generator().manual_seed(0)).to(like)
    try:
        reading = read(copy.deepcopy(net).eval(), x, arguments, leaves=(Scale,), gradients=False)
    except Unfitting as error:
        raise ShapeError(f"export_to_nir: {error}") from error
    except Unreadable as error:
        raise NirError(f"export_to_nir: {kind} cannot be exported: {error}; write forward for one time step") from None
    if reading.returns != "steps":
        raise NirError(f"export_to_nir: {kind}.forward returns the {reading.returns} of its steps; return all of them")
    return _Writer(draft, reading).run()


class _Writer:
    """Adds a node for each call of a network."""

    def __init__(self, draft: GraphDraft, reading: Reading) -> None:
        self.draft, self.reading = draft, reading

    def run(self) -> NodeSum:
        signals = {INPUT: self.draft.start}
        for call in self.reading.calls:
            signals[call.name] = self.put(call, *(signals[source] for source in call.sources))
        if self.reading.with_states:
            self._note_output(self.reading.output)
        return signals[self.reading.output]

    def put(self, call: LayerCall, signal: NodeSum, *others: NodeSum) -> NodeSum:
        if type(call.does) is Sum:
            return self.draft.add(call.name, signal, *others)
        if isinstance(call.does, (Factor, Scale)):
            return self._scaled(
                call.name, signal, call.does.value if isinstance(call.does, Factor) else call.does.scale
            )
        if isinstance(call.does, nn.Identity):
            return signal
        try:
            if isinstance(call.does, Merge):
                raise NirError(call.place)
            layer, params = counterpart(call.does, call.name, signal.shape)
        except NirError:
            if not call.called:
                raise
            raise NirError(
                f"export_to_nir: {call.place} has no NIR node; use layers (nn.Flatten, nn.AvgPool2d, ...) and +"
            ) from None
        return self.draft.put(layer, call.name, params, signal)

    def _note_output(self, name: str) -> None:
        """Write a note that a neuron returns its states, too."""
        nodes = self.draft.nodes
        node = nodes[name].nodes["lif"] if isinstance(nodes.get(name), nir.NIRGraph) else nodes.get(name)
        node = nodes.get(f"{name}.lif") if node is None else node
        if node is not None:
            node.metadata = note(**noted(node), output=True)

    def _scaled(self, name: str, signal: NodeSum, factor: Any) -> NodeSum:
        value = torch.as_tensor(factor).detach().cpu()
        learned = isinstance(factor, nn.Parameter)
        plain: Any = value.item() if value.ndim == 0 else value.numpy()
        layer = OneToOne(learn(plain) if learned else plain)
        return self.draft.put(layer, name, Params(V=value.numpy()) if learned else Params(), signal)


def counterpart(module: Any, name: str, shape: Tuple[int, ...]) -> Tuple[Any, Any]:
    """The layer of a module that takes samples of ``shape``, and its parameters."""
    if isinstance(module, NeuronModule):
        return module.described(), map_leaves(lambda p: p.detach().cpu().numpy(), module.params.tree(torch.float64))
    if type(module) is nn.Flatten and (module.start_dim, module.end_dim) != (1, -1):
        return _flatten(module, name, shape), Params()
    if type(module) is nn.AvgPool2d and module.divisor_override == 1 and not module.ceil_mode:
        return SumPool2d(module.kernel_size, module.stride, module.padding), Params()
    double = any(p.dtype == torch.float64 for p in module.parameters())
    try:
        model = from_torch(module, input_shape=shape, engine="numpy", dtype="float64" if double else "float32")
    except ShapeError as error:
        raise ShapeError(f"layer {name}: {error}") from None
    except (ValueError, TypeError) as error:
        remedy = REMEDIES.get(type(module).__name__)
        reason = str(error).rpartition("from_torch: ")[2]
        raise NirError(f"layer {name}: {reason}{f'; {remedy}' if remedy else ''}") from None
    like = shapes_of(model.network, shape)
    return model.network, unflatten(model.params(), like.params)


def _flatten(module: nn.Flatten, name: str, shape: Tuple[int, ...]) -> Any:
    axes = 1 + len(shape)
    first, last = module.start_dim % axes, module.end_dim % axes
    if first == 0:
        raise NirError(f"layer {name} (Flatten): start_dim={module.start_dim} takes in the batch axis; use start_dim=1")
    return sc.Flatten() if (first, last) == (1, axes - 1) else FlattenAxes(first - 1, last - 1)

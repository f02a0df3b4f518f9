"""A network of torch with a ``forward`` of its own as a graph of layers, which is compared with it before use."""

from __future__ import annotations

import copy
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

import torch
from torch import nn

from spikecore.api.core.engines import get_engine
from spikecore.api.core.layer import Layer, Pass, shapes_of
from spikecore.api.core.messages import warn
from spikecore.api.core.tree import flatten, unflatten
from spikecore.api.layers.containers import INPUT, Graph
from spikecore.api.layers.network import forward as run_network
from spikecore.engines.torch.nn.apart import Wide
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.labels import APART, LayerCall, Unreadable
from spikecore.engines.torch.nn.reading import Reading, read
from spikecore.engines.torch.nn.state import reset

BATCH, STEPS = 2, 3  # of the samples that show what ``forward`` does; different, so that it shows which axis is time
SCALES = 1.0, 4.0, 16.0  # of the samples that are compared: with larger ones, later layers fire
CLOSE = 1e-6  # relative, in double precision
SAYS = {
    "sum": "the sum over its steps: out = model(x).spikes.sum(0) is that",
    "mean": "the mean over its steps: out = model(x).spikes.mean(0) is that",
    "last": "its last step: out = model(x).spikes[-1] is that",
}


SEQUENTIAL = "write it as nn.Sequential of torch's layers and of spikecore.nn's neurons, which keep their weights"
Weights = Dict[str, Dict[str, Any]]  # "params" and "buffers" by dotted name


class Found(NamedTuple):
    """A network of layers, the shape of its samples or None, and its parameters and buffers by dotted name."""

    network: Layer
    shape: Any
    params: Dict[str, Any]
    buffers: Dict[str, Any]


def read_free(net: nn.Module, shape: Any, layer_of: Callable[[LayerCall, str, Weights], Any]) -> Found:
    """The graph of a network with its weights.

    Args:
        net: the network; it stays as it is.
        shape: of one sample; None: it is not known.
        layer_of: the layer of a call, of which it also gets the name in the graph, and what takes the layer's weights.

    Raises:
        Unreadable: a call of ``forward`` that no layer is; or the graph does something else than ``forward``.
    """
    kind = type(net).__name__
    if shape is None:
        raise ValueError(f"from_torch: {kind} has no layer that fixes the shape of a sample; pass input_shape=(...)")
    with Wide():
        try:
            reading, time_axis = _read(net, shape)
        except Unreadable as error:
            raise Unreadable(f"from_torch: {kind}: {error.place}", error.why) from None
        weights: Weights = {"params": {}, "buffers": {}}
        graph = graph_of(reading, lambda call, name: layer_of(call, name, weights))
        for number, scale in enumerate(SCALES):
            x = samples(shape, time_axis, net, scale, number + 1)
            differs = _difference(reading, time_axis, graph, shape, weights, x)
            if differs:
                raise Unreadable(f"from_torch: {kind}", f"{differs}, and nothing in forward says why: {SEQUENTIAL}")
    if reading.returns != "steps":
        warn(f"from_torch: {kind}.forward returns {SAYS[reading.returns]}. The model returns all steps")
    return Found(graph, shape, weights["params"], weights["buffers"])


def _read(net: nn.Module, shape: Any) -> Tuple[Reading, Optional[int]]:
    """The calls of ``forward``, equal in training and in evaluation, and the axis of time."""
    first: Optional[Unreadable] = None
    for axis in (None, 0, 1):
        x = samples(shape, axis, net)
        try:
            training, found = (read(_copied(net).train(mode), x, time_axis=axis) for mode in (True, False))
        except Unreadable as error:
            if first is None or APART in first.why:
                first = error
            continue
        calls = [[(call.name, call.sources) for call in reading.calls] for reading in (training, found)]
        if calls[0] != calls[1]:
            raise Unreadable("forward", "it does something else in training than in evaluation")
        return found, axis
    assert first is not None
    raise first


def _copied(net: nn.Module) -> nn.Module:
    """A copy in double precision; its neurons need no kernels for single steps."""
    copied = copy.deepcopy(net).double()
    for module in copied.modules():
        if isinstance(module, Hidden) and module.states:
            vars(module)["fused"] = False
    return copied


def samples(shape: Any, axis: Optional[int], net: nn.Module, scale: float = 1.0, seed: int = 0) -> torch.Tensor:
    """Random samples; with a time axis, sequences."""
    device = next(net.parameters(), torch.zeros(0)).device
    sizes = [BATCH, *shape]
    if axis is not None:
        sizes.insert(axis, STEPS)
    drawn = torch.rand(sizes, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (scale * drawn).to(device)


def graph_of(reading: Reading, layer_of: Callable[[LayerCall, str], Any]) -> Graph:
    """The graph of what was read; names have "_" for dots, which separate the names of nested layers."""
    names: Dict[str, str] = {INPUT: INPUT}
    for call in reading.calls:
        name = call.name.replace(".", "_")
        while name in names.values():
            name += "_"
        names[call.name] = name
    layers = tuple(layer_of(call, names[call.name]) for call in reading.calls)
    sources = tuple(tuple(names[source] for source in call.sources) for call in reading.calls)
    return Graph(tuple(names[call.name] for call in reading.calls), layers, sources, (names[reading.output],))


def _difference(reading: Reading, axis: Optional[int], graph: Graph, shape: Any, weights: Weights, x: Any) -> str:
    """The difference between a network and its graph on samples, in words; "" for none."""
    leaves = [p for p in reading.net.parameters() if p.requires_grad]
    theirs = _theirs(reading, axis, x)
    ours = _ours(reading, axis, graph, shape, weights, x)
    if theirs.shape != ours.shape:
        return f"its output is {tuple(theirs.shape)}, that of the model {tuple(ours.shape)}"
    if not _close(theirs, ours):
        return "the model gives other outputs than forward"
    if not theirs.requires_grad:
        return ""
    weight = torch.rand(theirs.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(x.device)
    found = [torch.autograd.grad((y * weight).sum(), leaves, allow_unused=True) for y in (theirs, ours)]
    for name, *pair in zip((n for n, p in reading.net.named_parameters() if p.requires_grad), *found):
        a, b = (x.new_zeros(()) if g is None else g for g in pair)
        if not _close(a, b):
            return f"the model's gradient by {name} is not that of forward"
    return ""


def _theirs(reading: Reading, axis: Optional[int], x: Any) -> Any:
    """The results of ``forward``, with time first if it gives steps."""
    reset(reading.net)
    if axis is None and reading.steps == 1:
        return torch.stack([_first(reading.net(x * (1.0 + step))) for step in range(STEPS)])
    out = reading.net(x)
    if reading.returns == "steps" and isinstance(out, list):
        return torch.stack(out)
    out = _first(out)
    return out.movedim(reading.axis, 0) if reading.returns == "steps" and reading.axis is not None else out


def _first(out: Any) -> Any:
    return out[0] if isinstance(out, (tuple, list)) else out


def _ours(reading: Reading, axis: Optional[int], graph: Graph, shape: Any, weights: Weights, x: Any) -> Any:
    """The graph's results for the same samples, as ``forward`` returns them."""
    engine, like = get_engine("torch", dtype="float64", fused=False, device=str(x.device)), shapes_of(graph, shape)
    trees = [
        unflatten({name: weights[kind][name].reshape(part.shape) for name, part in flatten(tree).items()}, tree)
        for kind, tree in (("params", like.params), ("buffers", like.buffers))
    ]
    if axis is None and reading.steps == 1:
        run, x = Pass(engine), torch.stack([x * (1.0 + step) for step in range(STEPS)])
    else:
        run, x = (Pass(engine, reading.steps), x[None]) if axis is None else (Pass(engine), x.movedim(axis, 0))
    y = run_network(graph, run, trees[0], trees[1], x)[0].spikes
    if reading.returns == "last":
        return y[-1]
    return y if reading.returns == "steps" else y.sum(0) if reading.returns == "sum" else y.mean(0)


def _close(a: Any, b: Any) -> bool:
    return bool(torch.allclose(a, b, rtol=CLOSE, atol=CLOSE * max(1e-30, float(b.detach().abs().max()))))

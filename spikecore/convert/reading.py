"""Reads a network of torch to convert it: which operation each of its calls is, and the shape of its output."""

from __future__ import annotations

from typing import Any, Callable, Dict

import torch
from torch import nn

from spikecore.api.layers.nodes import INPUT
from spikecore.base import Concatenation, Sum
from spikecore.convert.errors import ConversionError
from spikecore.convert.graph import Addition, ChannelConcat, Input, Operation, OperationGraph
from spikecore.convert.modules import operation_of
from spikecore.convert.qcfs import QCFS
from spikecore.engines.torch.nn.labels import Factor, LayerCall, Reshaped, Unfitting, UnknownCall, Unreadable
from spikecore.engines.torch.nn.reading import Reading, place_of, read, takes_one

WRAPPERS = {"DataParallel": "module", "DistributedDataParallel": "module", "OptimizedModule": "_orig_mod"}
KNOWN = (
    "conversion does not know it; known are layers of torch.nn, additions, torch.cat, relu, clamp, pooling, dropout, "
    "flatten and mean over space"
)


def check_module(ann: nn.Module) -> None:
    """Refuse modules whose ``forward`` is not all that they compute, or that wrap the network.

    Raises:
        ConversionError: says what to give instead.
    """
    if isinstance(ann, torch.jit.ScriptModule):
        raise ConversionError("convert: a torch.jit module cannot be read; give the nn.Module that it was made of")
    kind = type(ann).__name__
    if kind in WRAPPERS:
        raise ConversionError(f"convert: {kind} wraps the network; give ann.{WRAPPERS[kind]}")
    for path, module in ann.named_modules():
        if module._forward_hooks or module._forward_pre_hooks:
            raise ConversionError(
                f"{place_of(path, module)}: has forward hooks, which conversion would leave out; remove them "
                "with handle.remove(), and norms of weights with torch.nn.utils.remove_weight_norm or "
                "remove_spectral_norm"
            )


def observe(network: Reading, x: torch.Tensor, seen: Callable[[str, torch.Tensor], None]) -> Any:
    """The output for a batch, of which ``seen`` gets each tensor on the way.

    Raises:
        ConversionError: the network fails on this batch.
    """
    try:
        with torch.no_grad():
            return network.watched(x, seen)
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        raise _fails(x, next(iter(str(error).strip().splitlines()), "")) from error


def _fails(x: torch.Tensor, why: str) -> ConversionError:
    return ConversionError(
        f"convert: the network fails on {len(x)} samples of shape {tuple(x.shape[1:])}: {why}. Give batches "
        "(batch, *features); forward must take them with any number of samples"
    )


def read_network(ann: nn.Module, x: torch.Tensor) -> Reading:
    """The calls of a network on a batch whose shape counts; the network's statistics may change.

    Raises:
        ConversionError: ``forward`` depends on values, takes several inputs, or fails.
    """
    kind, others = type(ann).__name__, takes_one(ann)
    if others:
        raise ConversionError(f"convert: {kind}.forward takes {others}; it must take one input")
    try:
        return read(ann, x, leaves=(QCFS,), gradients=False)
    except Unfitting as error:
        raise _fails(x, str(error)) from error
    except UnknownCall as error:
        raise ConversionError(f"{error.place}: {KNOWN}") from error
    except Unreadable as error:
        what = "convert: " + kind if error.place == "forward" else error.place
        raise ConversionError(f"{what}: {error.why}") from error


def graph_of(network: Reading, x: torch.Tensor) -> OperationGraph:
    """A network as a graph of operations.

    Raises:
        ConversionError: an operation cannot be converted; names it and what to write instead.
    """
    nodes: Dict[str, Operation] = {INPUT: Operation(INPUT, "the input", Input(), (), tuple(x.shape[1:]))}
    same = {INPUT: INPUT}  # what changes nothing, by the node whose output it hands on
    for call in network.calls:
        if call.shape[0] != len(x) or len(call.shape) < 2:
            raise ConversionError(
                f"{call.place}: gives {call.shape} for {len(x)} samples; the first axis must be the batch"
            )
        sources = tuple(same[source] for source in call.sources)
        does = _operation(call, nodes[sources[0]].shape)
        same[call.name] = sources[0] if does is None else call.name
        if does is not None:
            nodes[call.name] = Operation(call.name, call.place, does, sources, call.shape[1:])
    return OperationGraph(nodes, same[network.output])


def _operation(call: LayerCall, shape: Any) -> Any:
    """The operation of a call on samples of ``shape``; None if it changes nothing."""
    if type(call.does) is Sum:
        return Addition()
    if isinstance(call.does, Concatenation):
        if call.does.axis != 0:
            axis = call.does.axis + 1
            raise ConversionError(f"{call.place}: dim={axis}; only channels, dim=1, can be put side by side")
        return ChannelConcat()
    if isinstance(call.does, Reshaped):
        raise ConversionError(f"{call.place}: gives {call.shape[1:]} of {shape}; only flattening can be converted")
    if isinstance(call.does, nn.Module) and not isinstance(call.does, Factor):
        return operation_of(call.does, call.place, shape)
    raise ConversionError(f"{call.place}: {KNOWN}")

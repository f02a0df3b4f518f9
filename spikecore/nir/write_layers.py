"""NIR nodes of stateless layers and delays."""

from __future__ import annotations

from typing import Any, Callable, Dict

import nir
import numpy as np

import spikecore as sc
from spikecore import Delay, OneToOne
from spikecore.api.core.layer import Shape, layer_name
from spikecore.api.core.parameters import FixedArray, Learn, values_of
from spikecore.base import Layer
from spikecore.nir.layers import FlattenAxes, SumPool2d
from spikecore.nir.notes import NirError, note
from spikecore.nir.units import Units

REMEDIES = {  # for common layers that NIR does not have
    "MaxPool1d": "use a strided Conv1d",
    "MaxPool2d": "use AvgPool2d or a strided Conv2d",
    "CountMaxPool1d": "use a strided Conv1d",
    "CountMaxPool2d": "use AvgPool2d or a strided Conv2d",
    "AvgPool1d": "use a Conv1d with groups=channels and constant weights",
    **dict.fromkeys(
        ("BatchNorm1d", "BatchNorm2d", "BatchNorm3d", *(f"ThresholdDependentBatchNorm{n}d" for n in (1, 2))),
        "fold it into the layer before it by sc.compression.fold_batch_norm(model)",
    ),
    **dict.fromkeys(
        (f"{kind}{n}d" for kind in ("BatchNormTT", "TemporalEffectiveBatchNorm") for n in (1, 2)),
        "train without it, or with BatchNorm, and sc.compression.fold_batch_norm(model)",
    ),
    "Standardize": "scale the inputs before the network, and leave it out",
    **dict.fromkeys(("LayerNorm", "GroupNorm", "InstanceNorm1d", "InstanceNorm2d"), "train without it"),
    "AdaptiveAvgPool2d": "use AvgPool2d with the size of the windows",
    "AdaptiveMaxPool2d": "use AvgPool2d with the size of the windows, or a strided Conv2d",
    "GlobalAvgPool": "use AvgPool2d with the size of the map and a Flatten",
    "QuantizedNeuron": "export the neuron inside, which compression.quantize(..., states=None, parameters=None) keeps",
    "Conv3d": "use Conv2d, with the depth among the channels",
    **dict.fromkeys(
        ("ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d", "Upsample"), "use a Linear, or train without it"
    ),
    "DelayedLinear": "its delays are those of inputs: use a Delay before a Linear",
    **dict.fromkeys(("DelayedConv1d", "DelayedConv2d"), "use a Delay before a convolution"),
    **dict.fromkeys(("ZeroPad1d", "ZeroPad2d"), "use the padding of the convolution behind it"),
    "Torch": "take a layer of spikecore's in its place",
    "Concat": "add the branches (Residual), which NIR can express",
    "Multiply": "add the branches (Add), which NIR can express",
    "Residual": "add the branches (join='add'), which NIR can express",
}


def _linear(layer: Any, params: Any, shape: Shape, units: Units) -> Any:
    weight = np.asarray(params.weight)
    return nir.Affine(weight=weight, bias=np.asarray(params.bias)) if layer.bias else nir.Linear(weight=weight)


def _bias(layer: Any, params: Any) -> Any:
    """The bias of a convolution, zeros if it has none: NIR's convolutions always have a bias."""
    weight = np.asarray(params.weight)
    return np.asarray(params.bias) if layer.bias else np.zeros(weight.shape[0], dtype=weight.dtype)


def _conv1d(layer: Any, params: Any, shape: Shape, units: Units) -> Any:
    return nir.Conv1d(
        input_shape=shape[1],
        weight=np.asarray(params.weight),
        stride=layer.stride[0],
        padding=layer.padding[0],
        dilation=layer.dilation[0],
        groups=layer.groups,
        bias=_bias(layer, params),
        metadata=note(bias=layer.bias),
    )


def _conv2d(layer: Any, params: Any, shape: Shape, units: Units) -> Any:
    return nir.Conv2d(
        input_shape=shape[1:],
        weight=np.asarray(params.weight),
        stride=layer.stride,
        padding=layer.padding,
        dilation=layer.dilation,
        groups=layer.groups,
        bias=_bias(layer, params),
        metadata=note(bias=layer.bias),
    )


def _pool(layer: Any, params: Any, shape: Shape, units: Units) -> Any:
    kind = nir.SumPool2d if isinstance(layer, SumPool2d) else nir.AvgPool2d
    return kind(*(np.array(sizes) for sizes in (layer.kernel_size, layer.stride, layer.padding)))


def _flatten(layer: Any, params: Any, shape: Shape, units: Units) -> Any:
    first, last = (layer.start_dim, layer.end_dim) if isinstance(layer, FlattenAxes) else (0, -1)
    last = last if last == -1 else last % len(shape)
    return nir.Flatten(input_type=np.array(shape), start_dim=first % len(shape), end_dim=last)


def _one_to_one(layer: OneToOne, params: Any, shape: Shape, units: Units) -> Any:
    learned = isinstance(layer.V, Learn)
    plain: Any = layer.V.data if isinstance(layer.V, FixedArray) else layer.V
    value = np.asarray(params.V if learned else plain)
    facts = {"learn": {"V": learn_note(layer.V, params.V)}} if isinstance(layer.V, Learn) else {}
    return nir.Scale(scale=np.broadcast_to(value, shape).copy(), metadata=note(kind="OneToOne", **facts))


def _graded(layer: Any, params: Any, shape: Shape, units: Units) -> Any:
    weights = np.asarray(params.weights).reshape(-1, *(1,) * (len(shape) - 1))
    return nir.Scale(scale=np.broadcast_to(weights, shape).copy(), metadata=note(kind="GradedSpikes"))


def _delay(layer: Delay, params: Any, shape: Shape, units: Units) -> Any:
    learned = layer.delay if isinstance(layer.delay, Learn) else None
    steps = np.asarray(values_of(layer.delay) if learned is None else params.delay)
    if layer.kernel != "linear" or bool((steps != steps.round()).any()):
        raise NirError("NIR's delays are whole steps: round these with sc.compression.round_delays(model)")
    facts = {} if learned is None else {"learn": {"delay": learn_note(learned, steps)}, "max_delay": layer.longest}
    return nir.Delay(delay=np.broadcast_to(steps * units.dt, shape).copy(), metadata=note(**facts))


WRITERS: Dict[Any, Callable[[Any, Any, Shape, Units], Any]] = {
    sc.Linear: _linear,
    sc.Conv1d: _conv1d,
    sc.Conv2d: _conv2d,
    sc.AvgPool2d: _pool,
    SumPool2d: _pool,
    sc.Flatten: _flatten,
    FlattenAxes: _flatten,
    OneToOne: _one_to_one,
    sc.GradedSpikes: _graded,
    Delay: _delay,
}


def learn_note(value: Learn, param: Any) -> Dict[str, Any]:
    """The note about a learned field: how it is learned, and the shape of its parameter."""
    return {"per": value.per, "dt": value.dt, "shape": list(np.shape(param))}


def typed(node: Any, shape: Shape, out: Shape) -> Any:
    """Set the shapes of a node's input and output, which nir infers wrongly for some convolutions."""
    node.input_type, node.output_type = {"input": np.array(shape)}, {"output": np.array(out)}
    return node


def no_such_node(name: str, layer: Layer) -> NirError:
    """The error for a layer for which NIR has no node."""
    kind = layer_name(layer)
    known = ("Leaky", "Synaptic", "Lapicque", "IF", "LI") if layer.state else tuple(one.__name__ for one in WRITERS)
    remedy = REMEDIES.get(kind, f"replace it by {', '.join(known[:-1])} or {known[-1]}, or export to 'onnx' or 'c'")
    return NirError(f"layer {name} ({kind}): NIR has no such node; {remedy}")

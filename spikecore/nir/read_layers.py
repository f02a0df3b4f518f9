"""Layers and weights of NIR nodes without state, and of delays."""

from __future__ import annotations

from typing import Any, Callable, Dict, Tuple

import nir
import numpy as np

import spikecore as sc
from spikecore import Delay, OneToOne
from spikecore.api.core.layer import Shape
from spikecore.base import Layer, Params
from spikecore.nir.layers import FlattenAxes, SumPool2d
from spikecore.nir.notes import NirError, noted
from spikecore.nir.units import Units
from spikecore.nir.values import compact, learned

Read = Tuple[Layer, Params]
MOST_STEPS = 100_000  # of a delay; each step is an input that is kept


def _linear(node: Any, place: str, shape: Shape, units: Units) -> Read:
    weight = _array(node.weight)
    if weight.ndim != 2:
        raise NirError(f"{place}: weight of shape {weight.shape}: must be a matrix (out, in)")
    out, size = weight.shape
    if isinstance(node, nir.Linear):
        return sc.Linear(size, out, bias=False), Params(weight=weight)
    return sc.Linear(size, out), Params(weight=weight, bias=_array(node.bias).reshape(out))


def _conv(node: Any, place: str, shape: Shape, units: Units) -> Read:
    weight, groups = _array(node.weight), int(node.groups)
    axes = weight.ndim - 2
    kernel = tuple(int(n) for n in weight.shape[2:])
    stride, dilation = sizes(node.stride, axes), sizes(node.dilation, axes)
    padding = _padding(node.padding, place, kernel, stride, dilation)
    bias = bool(noted(node).get("bias", True)) or bool(_array(node.bias).any())
    kind = sc.Conv1d if axes == 1 else sc.Conv2d
    layer = kind(weight.shape[1] * groups, weight.shape[0], kernel, stride, padding, dilation, groups, bias)
    params = {"weight": weight, **({"bias": _array(node.bias)} if bias else {})}
    return layer, Params(params)


def _padding(padding: Any, place: str, kernel: Any, stride: Any, dilation: Any) -> Tuple[int, ...]:
    padding = padding.decode() if isinstance(padding, bytes) else padding
    if not isinstance(padding, str):
        return sizes(padding, len(kernel))
    if padding == "valid":
        return (0,) * len(kernel)
    added = [d * (k - 1) for d, k in zip(dilation, kernel)]
    if any(n % 2 for n in added) or any(s != 1 for s in stride):
        raise NirError(
            f"{place}: padding='same' needs odd kernels and stride 1, not kernel {kernel} and stride {stride}"
        )
    return tuple(n // 2 for n in added)


def _pool(node: Any, place: str, shape: Shape, units: Units) -> Read:
    kind = SumPool2d if isinstance(node, nir.SumPool2d) else sc.AvgPool2d
    return kind(sizes(node.kernel_size, 2), sizes(node.stride, 2), sizes(node.padding, 2)), Params()


def _flatten(node: Any, place: str, shape: Shape, units: Units) -> Read:
    axes, first, last = len(shape), int(node.start_dim), int(node.end_dim)
    if not (-axes <= first < axes and -axes <= last < axes):
        raise NirError(f"{place}: start_dim={first}, end_dim={last} must be axes of samples of shape {shape}")
    whole = (first % axes, last % axes) == (0, axes - 1)
    return (sc.Flatten() if whole else FlattenAxes(first, last)), Params()


def _scale(node: Any, place: str, shape: Shape, units: Units) -> Read:
    about, scale = noted(node), fitting(node.scale, place, "scale", shape)
    if about.get("kind") == "GradedSpikes":
        weights = scale.reshape(shape[0], -1)
        if bool((weights == weights[:, :1]).all()):
            return sc.GradedSpikes(shape[0]), Params(weights=weights[:, 0])
    entry = about.get("learn", {}).get("V")
    if entry is None:
        return OneToOne(compact(scale)), Params()
    field, value = learned(scale, entry, shape)
    return OneToOne(field), Params(V=value)


def _delay(node: Any, place: str, shape: Shape, units: Units) -> Read:
    steps = fitting(node.delay, place, "delay", shape) / units.dt
    if bool((steps > MOST_STEPS).any()):
        raise NirError(f"{place}: delay of {steps.max():g} steps of dt={units.dt:g}; at most {MOST_STEPS} can be read")
    if bool((np.abs(steps - steps.round()) > 1e-6 * np.maximum(steps, 1.0)).any()) or bool((steps < 0).any()):
        raise NirError(f"{place}: delay must be a whole number >= 0 of steps of dt={units.dt:g}, not {steps.min():g}")
    entry = noted(node).get("learn", {}).get("delay")
    if entry is None:
        return Delay(compact(steps.round())), Params()
    field, value = learned(steps.round(), entry, shape)
    return Delay(field, max_delay=int(max(noted(node)["max_delay"], steps.max()))), Params(delay=value)


READERS: Dict[Any, Callable[[Any, str, Shape, Units], Read]] = {
    nir.Affine: _linear,
    nir.Linear: _linear,
    nir.Conv1d: _conv,
    nir.Conv2d: _conv,
    nir.AvgPool2d: _pool,
    nir.SumPool2d: _pool,
    nir.Flatten: _flatten,
    nir.Scale: _scale,
    nir.Delay: _delay,
}


def connection(node: Any, place: str, shape: Shape, gain: Any, units: Units) -> Read:
    """The connection of a recurrent neuron. Its weights are multiplied by ``gain``, the neuron's input factor."""
    if node is None:
        return OneToOne(compact(np.broadcast_to(gain, shape))), Params()
    marked = noted(node).get("kind") == "OneToOne"
    if isinstance(node, nir.Scale) or (isinstance(node, nir.Linear) and (marked or _diagonal(node.weight))):
        scale = _array(node.scale) if isinstance(node, nir.Scale) else np.diag(_array(node.weight))
        return _scale(nir.Scale(scale=scale * gain, metadata=node.metadata), place, shape, units)
    layer, params = READERS[type(node)](node, place, shape, units)
    if bool((gain == 1.0).all()):
        return layer, params
    per_output = np.broadcast_to(gain, shape).reshape(shape[0], -1)
    if bool((per_output != per_output[:, :1]).any()):
        raise NirError(
            f"{place}: the neuron's gain differs within a channel, and its feedback is a convolution: the gain must be "
            "the same for all neurons of a channel"
        )
    factor = per_output[:, 0]
    return layer, Params({n: w * factor.reshape(-1, *(1,) * (w.ndim - 1)) for n, w in params.items()})


def _diagonal(weight: Any) -> bool:
    weight = _array(weight)
    square = weight.ndim == 2 and weight.shape[0] == weight.shape[1] > 1
    return square and np.array_equal(weight, np.diag(np.diag(weight)))


def _array(value: Any) -> Any:
    """An array of finite real numbers.

    Raises:
        ValueError: the array has other entries, or NaN or infinity.
    """
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"an array of {array.dtype}, expected real numbers")
    if not bool(np.isfinite(array).all()):
        raise ValueError("an array holds NaN or infinity: its training has diverged")
    return array


def sizes(value: Any, axes: int) -> Tuple[int, ...]:
    """One int per axis, from a number or an array."""
    return tuple(int(n) for n in np.broadcast_to(np.asarray(value), (axes,)))


def fitting(value: Any, place: str, name: str, shape: Shape) -> Any:
    """An array of a node, broadcast to the shape of one sample.

    Raises:
        NirError: it cannot be broadcast, or has NaN.
    """
    array = np.asarray(value, dtype=np.float64)
    if bool(np.isnan(array).any()):
        raise NirError(f"{place}: {name} holds NaN")
    if array.size == 1:
        array = array.reshape(())
    try:
        return np.broadcast_to(array, shape)
    except ValueError:
        raise NirError(f"{place}: {name} of shape {array.shape} does not fit samples of shape {shape}") from None

"""Stateless layers: connections, pooling, shape, dropout.

All of them see a sequence (time, batch, *features) at once and work on time x batch as one big batch. Weights start as
torch's do, uniform in +-1/sqrt(fan_in), drawn by the counter-based generator: equal on every engine.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional, Tuple, Union

from spikecore.api.engine import get_engine
from spikecore.api.layer import EMPTY, Init, Key, Params, Shape, ShapeError, Stateless, Tree, layer_name, over_time
from spikecore.api.windows import window_counts

Sizes = Union[int, Tuple[int, ...]]


def uniform_weight(key: Key, name: str, shape: Shape, bound: float) -> Any:
    """First weights: uniform in [-bound, bound), a NumPy array drawn on the host."""
    host = get_engine("numpy", dtype="float64")
    return host.to_numpy((2.0 * host.uniform(key.child(name).path, shape) - 1.0) * bound)


def spread(owner: str, name: str, value: Sizes, axes: int, least: int) -> Tuple[int, ...]:
    """One int per space axis from an int or a tuple.

    Raises:
        ValueError: wrong length, not ints, or below ``least``.
    """
    sizes = (value,) * axes if isinstance(value, int) else tuple(value)
    if len(sizes) != axes or any(not isinstance(n, int) or n < least for n in sizes):
        raise ValueError(f"{owner}: {name}={value!r} must be an int or {axes} ints, each >= {least}")
    return sizes


def _at_least_one(layer: object, **sizes: int) -> None:
    for name, n in sizes.items():
        if not isinstance(n, int) or isinstance(n, bool) or n < 1:
            raise ValueError(f"{type(layer).__name__}: {name}={n!r} must be an int >= 1")


@dataclass(frozen=True)
class Linear(Stateless):
    """y = x W^T + b.

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the output.
        bias: whether to add b.

    Shapes: x (time, batch, in_features), W ``weight`` (out_features, in_features), b ``bias`` (out_features,).
    """

    in_features: int
    out_features: int
    bias: bool = True

    def __post_init__(self) -> None:
        _at_least_one(self, in_features=self.in_features, out_features=self.out_features)

    @property
    def input_shape(self) -> Optional[Shape]:
        return (self.in_features,)

    def init(self, key: Key, shape: Shape) -> Init:
        if shape != (self.in_features,):
            hint = "; put a Flatten() before it" if len(shape) > 1 and math.prod(shape) == self.in_features else ""
            raise ShapeError(f"Linear: samples of shape {shape}, expected ({self.in_features},){hint}")
        bound = 1.0 / math.sqrt(self.in_features)
        params = {"weight": uniform_weight(key, "weight", (self.out_features, self.in_features), bound)}
        if self.bias:
            params["bias"] = uniform_weight(key, "bias", (self.out_features,), bound)
        return Init(Params(params), EMPTY, (self.out_features,))

    def apply(self, engine: Any, params: Params, buffers: Tree, x: Any, *, train: bool, key: Optional[Key]) -> Any:
        xp = engine.xp
        y = over_time(xp, lambda flat: flat @ xp.permute_dims(params.weight, (1, 0)), x)
        return (y + params.bias if self.bias else y), buffers


@dataclass(frozen=True)
class Conv2d(Stateless):
    """Two-dimensional convolution (cross-correlation, as everywhere in the field).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size, stride, padding, dilation: an int, or one int per space axis; zeros are padded.
        groups: splits channels into independent groups; must divide both channel counts.
        bias: whether to add one number per output channel.

    Shapes: x (time, batch, in_channels, height, width), ``weight`` (out_channels, in_channels / groups, *kernel_size),
    ``bias`` (out_channels,). Output extent: (n + 2 padding - dilation (kernel - 1) - 1) // stride + 1.
    """

    in_channels: int
    out_channels: int
    kernel_size: Sizes
    stride: Sizes = 1
    padding: Sizes = 0
    dilation: Sizes = 1
    groups: int = 1
    bias: bool = True

    def __post_init__(self) -> None:
        _at_least_one(self, in_channels=self.in_channels, out_channels=self.out_channels, groups=self.groups)
        for name, least in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
            object.__setattr__(self, name, spread("Conv2d", name, getattr(self, name), 2, least))
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise ValueError(
                f"Conv2d: groups={self.groups} must divide in_channels={self.in_channels} "
                f"and out_channels={self.out_channels}"
            )

    def init(self, key: Key, shape: Shape) -> Init:
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise ShapeError(f"Conv2d: samples of shape {shape}, expected ({self.in_channels}, height, width)")
        kernel: Any = self.kernel_size
        space = _window_shape("Conv2d", shape[1:], kernel, self.stride, self.padding, self.dilation)
        size = (self.out_channels, self.in_channels // self.groups, *kernel)
        bound = 1.0 / math.sqrt(math.prod(size[1:]))
        params = {"weight": uniform_weight(key, "weight", size, bound)}
        if self.bias:
            params["bias"] = uniform_weight(key, "bias", (self.out_channels,), bound)
        return Init(Params(params), EMPTY, (self.out_channels, *space))

    def apply(self, engine: Any, params: Params, buffers: Tree, x: Any, *, train: bool, key: Optional[Key]) -> Any:
        xp = engine.xp
        option = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
        y = over_time(xp, lambda flat: xp.conv(flat, params.weight, **option), x)
        return (y + xp.reshape(params.bias, (-1, 1, 1)) if self.bias else y), buffers


def _window_shape(owner: str, space: Shape, kernel: Any, stride: Any, padding: Any, dilation: Any) -> Shape:
    out = window_counts(space, kernel, stride, padding, dilation)
    if min(out) < 1:
        raise ShapeError(f"{owner}: kernel {kernel} with padding {padding} does not fit into a map of {space}")
    return out


@dataclass(frozen=True)
class _Pool2d(Stateless):
    """What both poolings share."""

    kernel_size: Sizes
    stride: Optional[Sizes] = None
    padding: Sizes = 0

    def __post_init__(self) -> None:
        name = layer_name(self)
        kernel = spread(name, "kernel_size", self.kernel_size, 2, 1)
        padding = spread(name, "padding", self.padding, 2, 0)
        if any(2 * p > k for p, k in zip(padding, kernel)):
            raise ValueError(
                f"{name}: padding={self.padding!r} must be at most half of kernel_size={self.kernel_size!r}"
            )
        stride = kernel if self.stride is None else spread(name, "stride", self.stride, 2, 1)
        for field, value in (("kernel_size", kernel), ("stride", stride), ("padding", padding)):
            object.__setattr__(self, field, value)

    def init(self, key: Key, shape: Shape) -> Init:
        if len(shape) != 3:
            raise ShapeError(f"{layer_name(self)}: samples of shape {shape}, expected (channels, height, width)")
        space = _window_shape(layer_name(self), shape[1:], self.kernel_size, self.stride, self.padding, (1, 1))
        return Init(Params(), EMPTY, (shape[0], *space))


@dataclass(frozen=True)
class MaxPool2d(_Pool2d):
    """Maximum over windows of a (channels, height, width) map; the gradient goes to the first one in reading order.

    Args:
        kernel_size: extent of the window, an int or two.
        stride: step between windows; None means ``kernel_size``.
        padding: border added on each side, at most half of the kernel. It never wins.
    """

    def apply(self, engine: Any, params: Params, buffers: Tree, x: Any, *, train: bool, key: Optional[Key]) -> Any:
        pool = engine.xp.max_pool
        return over_time(engine.xp, lambda flat: pool(flat, self.kernel_size, self.stride, self.padding), x), buffers


@dataclass(frozen=True)
class AvgPool2d(_Pool2d):
    """Mean over windows of a (channels, height, width) map; padded zeros count, as is torch's default.

    Args:
        kernel_size, stride, padding: as in ``MaxPool2d``.
    """

    def apply(self, engine: Any, params: Params, buffers: Tree, x: Any, *, train: bool, key: Optional[Key]) -> Any:
        pool = engine.xp.avg_pool
        return over_time(engine.xp, lambda flat: pool(flat, self.kernel_size, self.stride, self.padding), x), buffers


@dataclass(frozen=True)
class Flatten(Stateless):
    """Each sample as one vector: (time, batch, *features) -> (time, batch, product of features)."""

    def init(self, key: Key, shape: Shape) -> Init:
        return Init(Params(), EMPTY, (math.prod(shape),))

    def apply(self, engine: Any, params: Params, buffers: Tree, x: Any, *, train: bool, key: Optional[Key]) -> Any:
        return engine.xp.reshape(x, (*x.shape[:2], math.prod(x.shape[2:]))), buffers


@dataclass(frozen=True)
class Dropout(Stateless):
    """Zeroes features with probability ``p`` in training and scales the others by 1 / (1 - p).

    One mask per sample, held over time: a mask redrawn every step would average out over the sequence. The draw
    depends on seed, layer, epoch and the running number of the sample, not on how batches are cut.

    Args:
        p: probability in [0, 1).
    """

    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0.0 <= self.p < 1.0:
            raise ValueError(f"Dropout: p={self.p!r} must be in [0, 1)")

    def init(self, key: Key, shape: Shape) -> Init:
        return Init(Params(), EMPTY, shape)

    def apply(self, engine: Any, params: Params, buffers: Tree, x: Any, *, train: bool, key: Optional[Key]) -> Any:
        if not train or self.p == 0.0:
            return x, buffers
        if key is None:
            raise ValueError("Dropout: training without a random key; pass key=Key((seed,)) to the pass")
        draws = engine.uniform(key.child("dropout").path, tuple(x.shape[1:]), sample_axis=0, first=key.first)
        kept = engine.xp.astype(draws >= self.p, engine.dtype)
        return x * (kept * (1.0 / (1.0 - self.p))), buffers

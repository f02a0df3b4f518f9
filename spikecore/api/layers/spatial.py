"""Layers over maps: convolution and pooling, in one to three dimensions."""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple, cast

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import uniform_weight
from spikecore.api.core.initialisers import Initialiser, drawn
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, ShapeError, Stateless, Tree, as_batch, layer_name
from spikecore.api.core.sizes import Sizes, map_names, spread, window_shape
from spikecore.api.core.words import Array
from spikecore.arguments import Size


def drawn_weight(key: Key, name: str, shape: Shape, bound: float, how: Optional[Initialiser]) -> Any:
    """The initial values of a weight or bias: as ``how`` says, else uniform in [-bound, bound)."""
    return uniform_weight(key, name, shape, bound) if how is None else drawn(how, key, name, shape)


def check_bias_init(layer: Any) -> None:
    """Refuse a ``bias_init`` for a bias that a layer does not have.

    Raises:
        ValueError: names the layer.
    """
    if layer.bias_init is not None and not layer.bias:
        raise ValueError(f"{layer_name(layer)}: bias_init={layer.bias_init!r} needs bias=True")


def check_groups(layer: Any) -> None:
    """Refuse groups that do not divide both channel counts.

    Raises:
        ValueError: names the layer and the three numbers.
    """
    if layer.in_channels % layer.groups or layer.out_channels % layer.groups:
        raise ValueError(
            f"{layer_name(layer)}: groups={layer.groups} must divide in_channels={layer.in_channels} "
            f"and out_channels={layer.out_channels}"
        )


def check_maps(layer: Any, shape: Shape) -> None:
    """Refuse samples that are no maps of a convolution's channels.

    Raises:
        ShapeError: says what the layer expects, and what to do about a missing or misplaced axis of channels.
    """
    if len(shape) == 1 + layer.space and shape[0] == layer.in_channels:
        return
    remedy, n = "", layer.space
    if len(shape) == n and layer.in_channels == 1:
        remedy = f"; add the axis of channels, x.reshape(*x.shape[:{-n}], 1, *x.shape[{-n}:])"
    elif len(shape) == 1 + n and shape[-1] == layer.in_channels:
        remedy = f"; channels come first: np.moveaxis(x, -1, {-1 - n})"
    expected = map_names(layer.in_channels, n)
    raise ShapeError(f"{layer_name(layer)}: samples of shape {shape}, expected {expected}{remedy}")


def check_convolution(layer: Any) -> None:
    """Write a convolution's sizes as tuples, and refuse those that are out of range.

    Raises:
        ValueError: names the layer, the argument and the value.
    """
    for field, least in (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1)):
        sizes = spread(layer_name(layer), field, getattr(layer, field), layer.space, least)
        object.__setattr__(layer, field, sizes)
    check_groups(layer)
    check_bias_init(layer)


def convolved(layer: Any, shape: Shape) -> Shape:
    """The shape of one sample behind a convolution.

    Raises:
        ShapeError: samples of ``shape`` are no maps of its channels, or too small for the kernel.
    """
    check_maps(layer, shape)
    sizes = (layer.kernel_size, layer.stride, layer.padding, layer.dilation)
    return (layer.out_channels, *window_shape(layer_name(layer), shape[1:], *sizes))


class Spatial(Stateless):
    """A layer over maps; it computes every time step of every sample independently."""

    def _written(self, name: str) -> Any:
        value = getattr(self, name)  # a tuple, whatever the user gave
        return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value

    @abc.abstractmethod
    def out_shape(self, shape: Shape) -> Shape:
        """Shape of one sample of the output.

        Raises:
            ShapeError: samples of this shape do not fit.
        """


@dataclass(frozen=True)
class _Conv(Spatial):
    """Base of ``Conv1d``, ``Conv2d`` and ``Conv3d``."""

    in_channels: Size
    out_channels: Size
    kernel_size: Sizes
    stride: Sizes = 1
    padding: Sizes = 0
    dilation: Sizes = 1
    groups: Size = 1
    bias: bool = True
    weight_init: Optional[Initialiser] = None
    bias_init: Optional[Initialiser] = None

    space: ClassVar[int] = 0
    connections: ClassVar[Tuple[str, ...]] = ("weight",)

    def __post_init__(self) -> None:
        check_convolution(self)

    def out_shape(self, shape: Shape) -> Shape:
        return convolved(self, shape)

    def init(self, key: Key, shape: Shape) -> Init:
        out, kernel = self.out_shape(shape), cast(Tuple[int, ...], self.kernel_size)
        size = (self.out_channels, self.in_channels // self.groups, *kernel)
        bound = 1.0 / math.sqrt(math.prod(size[1:]))
        params = {"weight": drawn_weight(key, "weight", size, bound, self.weight_init)}
        if self.bias:
            params["bias"] = drawn_weight(key, "bias", size[:1], bound, self.bias_init)
        return Init(Params(params), EMPTY, out)

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        xp = engine.xp
        option = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": self.groups}
        bias = params.bias if self.bias else None
        return as_batch(xp, lambda flat: xp.conv(flat, params.weight, bias, **option), x), buffers


@dataclass(frozen=True)
class Conv1d(_Conv):
    """One-dimensional convolution (cross-correlation, as in torch).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size, stride, padding, dilation: an int; defaults of the last three: 1, 0, 1. The padding is zeros.
        groups: splits channels into independent groups; must divide both channel counts; default 1.
        bias: whether to add one number per output channel; default True.
        weight_init, bias_init: how to draw ``weight`` and ``bias``, of ``sc.init``; None, the default: uniform in
            +-1/sqrt(n), where n is the number of inputs of an output.

    Shapes: x (time, batch, in_channels, length), ``weight`` (out_channels, in_channels / groups, kernel_size),
    ``bias`` (out_channels,). Output length: (n + 2 padding - dilation (kernel - 1) - 1) // stride + 1.
    """

    space: ClassVar[int] = 1


@dataclass(frozen=True)
class Conv2d(_Conv):
    """Two-dimensional convolution (cross-correlation, as in torch).

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size, stride, padding, dilation: an int, or one int per space axis; defaults of the last three: 1, 0, 1.
            The padding is zeros.
        groups: splits channels into independent groups; must divide both channel counts; default 1.
        bias: whether to add one number per output channel; default True.
        weight_init, bias_init: how to draw ``weight`` and ``bias``, of ``sc.init``; None, the default: uniform in
            +-1/sqrt(n), where n is the number of inputs of an output.

    Shapes: x (time, batch, in_channels, height, width), ``weight`` (out_channels, in_channels / groups, *kernel_size),
    ``bias`` (out_channels,). Output height and width: (n + 2 padding - dilation (kernel - 1) - 1) // stride + 1.
    """

    space: ClassVar[int] = 2


@dataclass(frozen=True)
class Conv3d(_Conv):
    """Three-dimensional convolution of maps (time, batch, in_channels, depth, height, width).

    The three axes of space are those of one step; the time of a sequence is none of them.

    Args:
        in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias, weight_init, bias_init: as in
            ``Conv2d``, with an int or three for sizes.
    """

    space: ClassVar[int] = 3


CONVOLUTIONS = (Conv1d, Conv2d, Conv3d)


@dataclass(frozen=True)
class _Pool(Spatial):
    """Base of the pooling layers."""

    kernel_size: Sizes
    stride: Optional[Sizes] = None
    padding: Sizes = 0

    space: ClassVar[int] = 0
    word: ClassVar[str] = ""  # the word (``api/core/words.py``) that computes it

    def _written(self, name: str) -> Any:
        own = name == "stride" and self.stride == self.kernel_size
        return None if own else super()._written(name)

    def __post_init__(self) -> None:
        name = layer_name(self)
        kernel = spread(name, "kernel_size", self.kernel_size, self.space, 1)
        padding = spread(name, "padding", self.padding, self.space, 0)
        if any(2 * p > k for p, k in zip(padding, kernel)):
            raise ValueError(
                f"{name}: padding={self.padding!r} must be at most half of kernel_size={self.kernel_size!r}"
            )
        stride = kernel if self.stride is None else spread(name, "stride", self.stride, self.space, 1)
        for field, value in (("kernel_size", kernel), ("stride", stride), ("padding", padding)):
            object.__setattr__(self, field, value)

    def out_shape(self, shape: Shape) -> Shape:
        name, ones = layer_name(self), (1,) * self.space
        if len(shape) != 1 + self.space:
            raise ShapeError(f"{name}: samples of shape {shape}, expected {map_names('channels', self.space)}")
        return (shape[0], *window_shape(name, shape[1:], self.kernel_size, self.stride, self.padding, ones))

    def init(self, key: Key, shape: Shape) -> Init:
        return Init(Params(), EMPTY, self.out_shape(shape))

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        pool = getattr(engine.xp, self.word)
        return as_batch(engine.xp, lambda flat: pool(flat, self.kernel_size, self.stride, self.padding), x), buffers


@dataclass(frozen=True)
class MaxPool1d(_Pool):
    """Maximum over windows of a (channels, length) map; the gradient goes to the first maximum.

    Args:
        kernel_size: size of the window, an int.
        stride: step between windows, an int; None, the default, means ``kernel_size``.
        padding: border added on each side, at most half of the kernel; default 0. It is never the maximum.
    """

    space: ClassVar[int] = 1
    word: ClassVar[str] = "max_pool"


@dataclass(frozen=True)
class MaxPool2d(_Pool):
    """Maximum over windows of a (channels, height, width) map; the gradient goes to the first maximum, row by row.

    Args:
        kernel_size: size of the window, an int or two.
        stride: step between windows, an int or two; None, the default, means ``kernel_size``.
        padding: border added on each side, an int or two, at most half of the kernel; default 0. It is never the
            maximum.
    """

    space: ClassVar[int] = 2
    word: ClassVar[str] = "max_pool"


@dataclass(frozen=True)
class MaxPool3d(_Pool):
    """Maximum over windows of a (channels, depth, height, width) map; the gradient goes to the first maximum.

    Args:
        kernel_size, stride, padding: as in ``MaxPool2d``, an int or three.
    """

    space: ClassVar[int] = 3
    word: ClassVar[str] = "max_pool"


MAX_POOLS = (MaxPool1d, MaxPool2d, MaxPool3d)


@dataclass(frozen=True)
class AvgPool1d(_Pool):
    """Mean over windows of a (channels, length) map; padded zeros count, as by default in torch.

    Args:
        kernel_size, stride, padding: as in ``MaxPool1d``.
    """

    space: ClassVar[int] = 1
    word: ClassVar[str] = "avg_pool"


@dataclass(frozen=True)
class AvgPool2d(_Pool):
    """Mean over windows of a (channels, height, width) map; padded zeros count, as by default in torch.

    Args:
        kernel_size, stride, padding: as in ``MaxPool2d``.
    """

    space: ClassVar[int] = 2
    word: ClassVar[str] = "avg_pool"


@dataclass(frozen=True)
class AvgPool3d(_Pool):
    """Mean over windows of a (channels, depth, height, width) map; padded zeros count, as by default in torch.

    Args:
        kernel_size, stride, padding: as in ``MaxPool3d``.
    """

    space: ClassVar[int] = 3
    word: ClassVar[str] = "avg_pool"

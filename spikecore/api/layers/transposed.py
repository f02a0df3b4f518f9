"""Transposed convolution: from small maps to larger ones."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple, cast

from spikecore.api.core.engine import Engine
from spikecore.api.core.initialisers import Initialiser
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, ShapeError, Tree, as_batch, layer_name
from spikecore.api.core.sizes import Sizes, spread
from spikecore.api.core.windows import placed_size
from spikecore.api.core.words import Array
from spikecore.api.layers.spatial import (
    CONVOLUTIONS,
    Spatial,
    check_bias_init,
    check_groups,
    check_maps,
    drawn_weight,
)
from spikecore.arguments import Size

Whole = Tuple[int, ...]


@dataclass(frozen=True)
class _ConvTranspose(Spatial):
    """Base of ``ConvTranspose1d``, ``ConvTranspose2d`` and ``ConvTranspose3d``."""

    in_channels: Size
    out_channels: Size
    kernel_size: Sizes
    stride: Sizes = 1
    padding: Sizes = 0
    output_padding: Sizes = 0
    groups: Size = 1
    bias: bool = True
    dilation: Sizes = 1
    weight_init: Optional[Initialiser] = None
    bias_init: Optional[Initialiser] = None

    space: ClassVar[int] = 0
    connections: ClassVar[Tuple[str, ...]] = ("weight",)

    def __post_init__(self) -> None:
        name, sizes = layer_name(self), (("kernel_size", 1), ("stride", 1), ("padding", 0), ("dilation", 1))
        for field, least in (*sizes, ("output_padding", 0)):
            object.__setattr__(self, field, spread(name, field, getattr(self, field), self.space, least))
        given = self._sizes("output_padding", "stride", "dilation")
        if any(extra >= max(stride, dilation) for extra, stride, dilation in zip(*given)):
            raise ValueError(
                f"{name}: output_padding={self.output_padding} must be below stride={self.stride} or "
                f"dilation={self.dilation} along each axis"
            )
        check_groups(self)
        check_bias_init(self)

    def _sizes(self, *names: str) -> Tuple[Whole, ...]:
        return tuple(cast(Whole, getattr(self, name)) for name in names)

    def out_shape(self, shape: Shape) -> Shape:
        check_maps(self, shape)
        sizes = self._sizes("kernel_size", "stride", "padding", "output_padding", "dilation")
        space = placed_size(shape[1:], *sizes)
        if min(space) < 1:
            raise ShapeError(f"{layer_name(self)}: padding={self.padding} leaves nothing of a map of {shape[1:]}")
        return (self.out_channels, *space)

    def init(self, key: Key, shape: Shape) -> Init:
        out, (kernel,) = self.out_shape(shape), self._sizes("kernel_size")
        size = (self.in_channels, self.out_channels // self.groups, *kernel)
        bound = 1.0 / math.sqrt(math.prod(size[1:]))
        params = {"weight": drawn_weight(key, "weight", size, bound, self.weight_init)}
        if self.bias:
            params["bias"] = drawn_weight(key, "bias", (self.out_channels,), bound, self.bias_init)
        return Init(Params(params), EMPTY, out)

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        xp, (given, stride) = engine.xp, self._sizes("output_padding", "stride")
        extra = tuple(n % s for n, s in zip(given, stride))
        more = tuple((0, n // s) for n, s in zip(given, stride))  # whole strides are further positions of x, all zero
        option = {"stride": stride, "padding": self.padding, "output_padding": extra, "dilation": self.dilation}
        bias = params.bias if self.bias else None

        def convolved(flat: Any) -> Any:
            wide = xp.pad(flat, ((0, 0), (0, 0), *more)) if any(n for _, n in more) else flat
            return xp.conv_transpose(wide, params.weight, bias, groups=self.groups, **option)

        return as_batch(xp, convolved, x), buffers


@dataclass(frozen=True)
class ConvTranspose1d(_ConvTranspose):
    """One-dimensional transposed convolution, as in torch: each input value adds a scaled kernel to the output.

    It is the adjoint of ``Conv1d`` with the same sizes: from a map of the size that ``Conv1d`` gives to one of the size
    that it takes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: an int.
        stride: step between the kernels in the output, an int; default 1.
        padding: how much is cut off each side of the output, an int; default 0.
        output_padding: how much the output is longer at its end, an int below ``stride`` or ``dilation``; default 0.
        groups: splits channels into independent groups; must divide both channel counts; default 1.
        bias: whether to add one number per output channel; default True.
        dilation: step between the entries of a kernel in the output, an int; default 1.
        weight_init, bias_init: how to draw ``weight`` and ``bias``, of ``sc.init``; None, the default: uniform in
            +-1/sqrt(n) with n = out_channels / groups * kernel_size, as in torch.

    Shapes: x (time, batch, in_channels, length), ``weight`` (in_channels, out_channels / groups, kernel_size), ``bias``
    (out_channels,). Output length: (n - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.

    Raises:
        ValueError: ``groups`` does not divide the channels, ``output_padding`` is too large, a size is out of range.
        ShapeError: ``padding`` leaves nothing of a map.

    Source: Zeiler et al., Deconvolutional networks, 2010.
    """

    space: ClassVar[int] = 1


@dataclass(frozen=True)
class ConvTranspose2d(_ConvTranspose):
    """Two-dimensional transposed convolution, as in torch: each input value adds a scaled kernel to the output.

    It is the adjoint of ``Conv2d`` with the same sizes. ``ConvTranspose2d(channels, channels, 2, stride=2)`` doubles
    height and width.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: an int, or one int per space axis.
        stride: step between the kernels in the output, an int or two; default 1.
        padding: how much is cut off each side of the output, an int or two; default 0.
        output_padding: how much the output is longer at its end, an int or two, each below ``stride`` or ``dilation``;
            default 0.
        groups: splits channels into independent groups; must divide both channel counts; default 1.
        bias: whether to add one number per output channel; default True.
        dilation: step between the entries of a kernel in the output, an int or two; default 1.
        weight_init, bias_init: how to draw ``weight`` and ``bias``, of ``sc.init``; None, the default: uniform in
            +-1/sqrt(n) with n = out_channels / groups * height * width of the kernel, as in torch.

    Shapes: x (time, batch, in_channels, height, width), ``weight`` (in_channels, out_channels / groups, *kernel_size),
    ``bias`` (out_channels,). Output height and width:
    (n - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.

    Raises:
        ValueError: ``groups`` does not divide the channels, ``output_padding`` is too large, a size is out of range.
        ShapeError: ``padding`` leaves nothing of a map.

    Source: Zeiler et al., Deconvolutional networks, 2010.
    """

    space: ClassVar[int] = 2


@dataclass(frozen=True)
class ConvTranspose3d(_ConvTranspose):
    """Three-dimensional transposed convolution, as in torch: each input value adds a scaled kernel to the output.

    It is the adjoint of ``Conv3d`` with the same sizes.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: an int, or one int per space axis.
        stride: step between the kernels in the output, an int or three; default 1.
        padding: how much is cut off each side of the output, an int or three; default 0.
        output_padding: how much the output is longer at its end, an int or three, each below ``stride`` or
            ``dilation``; default 0.
        groups: splits channels into independent groups; must divide both channel counts; default 1.
        bias: whether to add one number per output channel; default True.
        dilation: step between the entries of a kernel in the output, an int or three; default 1.
        weight_init, bias_init: how to draw ``weight`` and ``bias``, of ``sc.init``; None, the default: uniform in
            +-1/sqrt(n) with n = out_channels / groups * depth * height * width of the kernel, as in torch.

    Shapes: x (time, batch, in_channels, depth, height, width), ``weight`` (in_channels, out_channels / groups,
    *kernel_size), ``bias`` (out_channels,). Output depth, height and width: as in ``ConvTranspose2d``.

    Raises:
        ValueError: ``groups`` does not divide the channels, ``output_padding`` is too large, a size is out of range.
        ShapeError: ``padding`` leaves nothing of a map.

    Source: Zeiler et al., Deconvolutional networks, 2010.
    """

    space: ClassVar[int] = 3


KERNELS = (*CONVOLUTIONS, ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)  # all layers with a kernel per channel

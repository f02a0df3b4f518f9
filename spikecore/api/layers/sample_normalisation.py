"""Normalisation of each sample at each time step by its own mean and variance: nothing passes between samples."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple, Union

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, ShapeError, Stateless, Tree, layer_name
from spikecore.api.core.sizes import is_size, map_names
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.layers.normalisation import check_eps, plain_affine
from spikecore.arguments import Size


def standardised(xp: Vocabulary, x: Array, axes: Tuple[int, ...], eps: float) -> Any:
    """(x - mean) / sqrt(var + eps), with mean and (biased) variance over ``axes``."""
    return xp.batch_norm(x, None, None, None, axes, eps)


class SampleNorm(Stateless):
    """A normalisation of each sample at each time step."""

    normalises: ClassVar[bool] = True


@dataclass(frozen=True)
class LayerNorm(SampleNorm):
    """Normalisation of each sample at each time step over its last axes.

        y = weight (x - mean) / sqrt(var + eps) + bias        mean and (biased) var over normalized_shape

    Args:
        normalized_shape: sizes of the last axes of a sample; an int for one axis.
        eps: added to the variance, > 0; default 1e-5.
        affine: whether ``weight`` and ``bias``, both of ``normalized_shape``, are learned; default True.

    Shapes: x (time, batch, ..., *normalized_shape).

    Source: Ba et al., Layer normalization, 2016.
    """

    normalized_shape: Union[int, Tuple[int, ...]]
    eps: float = 1e-5
    affine: bool = True

    def _written(self, name: str) -> Any:
        value = getattr(self, name)  # a tuple, whatever the user gave
        return value[0] if isinstance(value, tuple) and len(value) == 1 else value

    def __post_init__(self) -> None:
        given = self.normalized_shape
        shape = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        if not shape or not all(is_size(n, 1) for n in shape):
            raise ValueError(f"LayerNorm: normalized_shape={given!r} must be an int or a tuple of ints, each >= 1")
        object.__setattr__(self, "normalized_shape", shape)
        check_eps(self)

    def _size(self) -> Shape:
        return self.normalized_shape  # type: ignore[return-value]  # a tuple since __post_init__

    def init(self, key: Key, shape: Shape) -> Init:
        extents = self._size()
        if tuple(shape[-len(extents) :]) != extents:
            raise ShapeError(f"LayerNorm: samples of shape {shape}, expected {extents} as the last extents")
        return Init(plain_affine(key, extents, self.affine), EMPTY, shape)

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        y = standardised(engine.xp, x, tuple(range(x.ndim - len(self._size()), x.ndim)), self.eps)
        return (y * params.weight + params.bias if self.affine else y), buffers


class _Groups(SampleNorm):
    """Normalisation over groups of channels and all positions."""

    eps: float
    affine: bool

    def _channels(self) -> int:
        raise NotImplementedError

    def _groups(self) -> int:
        raise NotImplementedError

    def _single(self, shape: Shape) -> bool:
        """Whether a group of a sample has one value, which normalisation would make zero."""
        return math.prod(shape) == self._groups()

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        xp, groups = engine.xp, self._groups()
        members = (*x.shape[:2], groups, self._channels() // groups, *x.shape[3:])
        y = standardised(xp, xp.reshape(x, members), tuple(range(3, x.ndim + 1)), self.eps)
        y = xp.reshape(y, tuple(x.shape))
        if self.affine:
            ones = (1,) * (x.ndim - 3)
            weight, bias = (xp.reshape(params[name], (-1, *ones)) for name in ("weight", "bias"))
            y = y * weight + bias
        return y, buffers


@dataclass(frozen=True)
class GroupNorm(_Groups):
    """Normalisation of each sample at each time step, over groups of channels and all positions.

        y = weight (x - mean) / sqrt(var + eps) + bias        mean and (biased) var of a group of channels

    With one group all channels are normalised together; with ``num_groups=num_channels`` it is ``InstanceNorm`` with
    ``affine=True``.

    Args:
        num_groups: number of groups; must divide ``num_channels``. Group 0 has the first channels.
        num_channels: size of the channel (or feature) axis.
        eps: added to the variance, > 0; default 1e-5.
        affine: whether ``weight`` and ``bias`` (num_channels,) are learned; default True.

    Shapes: x (time, batch, num_channels, *space), with any number of axes of space, also none.

    Raises:
        ValueError: ``num_groups`` does not divide ``num_channels``, or ``eps`` is out of range.
        ShapeError: a group of a sample has one value only, so that every output would be zero.

    Source: Wu & He, Group normalization, 2018.
    """

    num_groups: Size
    num_channels: Size
    eps: float = 1e-5
    affine: bool = True

    def __post_init__(self) -> None:
        if self.num_channels % self.num_groups:
            raise ValueError(f"GroupNorm: num_groups={self.num_groups} must divide num_channels={self.num_channels}")
        check_eps(self)

    def _channels(self) -> int:
        return self.num_channels

    def _groups(self) -> int:
        return self.num_groups

    def init(self, key: Key, shape: Shape) -> Init:
        if not shape or shape[0] != self.num_channels:
            raise ShapeError(f"GroupNorm: samples of shape {shape}, expected {self.num_channels} as the first extent")
        if self._single(shape):
            raise ShapeError(
                f"GroupNorm: samples of shape {shape} have one value in each of {self.num_groups} groups, which would "
                "become zero; take fewer groups"
            )
        return Init(plain_affine(key, (self._channels(),), self.affine), EMPTY, shape)


@dataclass(frozen=True)
class _InstanceNorm(_Groups):
    """Base of the ``InstanceNorm`` layers."""

    num_features: Size
    eps: float = 1e-5
    affine: bool = False

    space: ClassVar[int] = 0

    def __post_init__(self) -> None:
        check_eps(self)

    def _channels(self) -> int:
        return self.num_features

    _groups = _channels

    def init(self, key: Key, shape: Shape) -> Init:
        name = layer_name(self)
        if len(shape) != 1 + self.space or shape[0] != self.num_features:
            expected = map_names(self.num_features, self.space)
            raise ShapeError(f"{name}: samples of shape {shape}, expected {expected}")
        if self._single(shape):
            raise ShapeError(f"{name}: samples of shape {shape} have one position, whose value would become zero")
        return Init(plain_affine(key, (self._channels(),), self.affine), EMPTY, shape)


@dataclass(frozen=True)
class InstanceNorm1d(_InstanceNorm):
    """Normalisation of each channel of each sample at each time step, over its positions.

        y = weight (x - mean) / sqrt(var + eps) + bias        mean and (biased) var of one channel of one sample

    There are no running statistics: training and evaluation compute the same.

    Args:
        num_features: number of channels.
        eps: added to the variance, > 0; default 1e-5.
        affine: whether ``weight`` and ``bias`` (num_features,) are learned; default False, as in torch.

    Shapes: x (time, batch, num_features, length), with a length of at least 2.

    Raises:
        ValueError: ``eps`` is out of range.
        ShapeError: maps have one position only, so that every output would be zero.

    Source: Ulyanov et al., Instance normalization: the missing ingredient for fast stylization, 2016.
    """

    space: ClassVar[int] = 1


@dataclass(frozen=True)
class InstanceNorm2d(_InstanceNorm):
    """Normalisation of each channel of maps (time, batch, num_features, height, width), sample by sample.

    Args:
        num_features, eps, affine: as in ``InstanceNorm1d``.
    """

    space: ClassVar[int] = 2

"""Normalisation layers: batch normalisation with running statistics (buffers), and normalisation of each sample."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple, Union

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import full_weight
from spikecore.api.core.layer import (
    EMPTY,
    Init,
    Key,
    Params,
    Pass,
    Result,
    Shape,
    ShapeError,
    Stateless,
    Tree,
    layer_name,
)
from spikecore.api.core.rules import along
from spikecore.api.core.sizes import is_size, map_names
from spikecore.api.core.words import Array
from spikecore.arguments import Size


def _check_eps(layer: Any) -> None:
    if not (isinstance(layer.eps, (int, float)) and math.isfinite(layer.eps) and layer.eps > 0):
        raise ValueError(f"{layer_name(layer)}: eps={layer.eps!r} must be a finite number > 0")


class _Running(Stateless):
    """Normalisation by the statistics of the batch in training, by running statistics otherwise."""

    num_features: Size
    eps: float
    momentum: float
    affine: bool

    mixes_samples: ClassVar[bool] = True
    space: ClassVar[int] = 0  # number of space axes of a sample; 0 also allows one
    axes: ClassVar[Tuple[int, ...]] = (0, 1)  # axes, besides space, over which the statistics are taken

    def __post_init__(self) -> None:
        _check_eps(self)
        if not 0.0 <= self.momentum <= 1.0:
            raise ValueError(f"{layer_name(self)}: momentum={self.momentum!r} must be in [0, 1]")

    def _size(self) -> Shape:
        """Shape of the statistics and of the learned parameters."""
        return (self.num_features,)

    def init(self, key: Key, shape: Shape) -> Init:
        spaces = (self.space,) if self.space else (0, 1)
        if len(shape) - 1 not in spaces or shape[0] != self.num_features:
            expected = " or ".join(map_names(self.num_features, n) for n in spaces)
            raise ShapeError(f"{layer_name(self)}: samples of shape {shape}, expected {expected}")
        zeros, ones = (full_weight(key, self._size(), value) for value in (0.0, 1.0))
        params = {"weight": ones, "bias": zeros} if self.affine else {}
        return Init(Params(params), Tree(running_mean=zeros, running_var=ones), shape)

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        if "running_mean" not in buffers:
            raise ValueError(f"{layer_name(self)} has running statistics: it runs on whole sequences, not step by step")
        xp, axes = engine.xp, (*self.axes, *range(3, x.ndim))
        if train:
            moments, affine = xp.moments(x, axes), (params.get("weight"), params.get("bias"))
            samples = engine.whole_batch(x.shape[1])
            count = samples * math.prod(x.shape[axis] for axis in axes if axis != 1)
            moved = self._moved(buffers, engine.stop_gradient(moments), x, count)
            return xp.batch_norm(x, moments, *affine, axes, self.eps), moved
        scale = 1.0 / xp.sqrt(buffers.running_var + self.eps)
        scale = scale * params.weight if "weight" in params else scale
        shift = params.bias - buffers.running_mean * scale if "bias" in params else -buffers.running_mean * scale
        return x * along(xp, scale, axes) + along(xp, shift, axes), buffers

    def _moved(self, buffers: Tree, moments: Any, x: Array, count: int) -> Tree:
        """The running statistics after a batch with these moments of ``count`` values."""
        if count < 2:
            raise ValueError(
                f"{layer_name(self)}: training needs more than one value per feature, got x of {tuple(x.shape)}"
            )
        old, new = 1.0 - self.momentum, self.momentum
        return Tree(
            running_mean=old * buffers.running_mean + new * moments[0, ...],
            running_var=old * buffers.running_var + (new * count / (count - 1)) * moments[1, ...],
        )


@dataclass(frozen=True)
class _BatchNorm(_Running):
    """Base of ``BatchNorm1d`` and ``BatchNorm2d``."""

    num_features: Size
    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True


@dataclass(frozen=True)
class BatchNorm1d(_BatchNorm):
    """Batch normalisation of x (time, batch, num_features) or (time, batch, num_features, length), per feature.

        y = weight (x - mean) / sqrt(var + eps) + bias

    In training, mean and (biased) variance are those of the current batch, over time, batch and length, and the running
    statistics are updated: ``running <- (1 - momentum) running + momentum batch``, with the unbiased variance, as in
    torch. Otherwise the running statistics are used. A sequence that is constant in time counts as a single step.

    Args:
        num_features: size of the feature (or channel) axis.
        eps: added to the variance, > 0; default 1e-5.
        momentum: weight of the current batch in the running statistics, in [0, 1]; default 0.1.
        affine: whether ``weight`` and ``bias`` (num_features,) are learned; default True. False: there are none.

    Raises:
        ValueError: ``eps`` or ``momentum`` is out of range; or, in training, there is only one value per feature, which
            has no variance.

    Source: Ioffe & Szegedy, 2015; over time, Zheng et al., Going deeper with directly-trained larger SNNs, 2021.
    """


@dataclass(frozen=True)
class BatchNorm2d(_BatchNorm):
    """Batch normalisation of x (time, batch, num_features, height, width) over time, batch and space, per channel.

    Args:
        num_features, eps, momentum, affine: as in ``BatchNorm1d``.
    """

    space: ClassVar[int] = 2


@dataclass(frozen=True)
class _BatchNormTT(_Running):
    """Base of ``BatchNormTT1d`` and ``BatchNormTT2d``."""

    num_features: Size
    time_steps: Size
    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    axes: ClassVar[Tuple[int, ...]] = (1,)

    def _size(self) -> Shape:
        return (self.time_steps, self.num_features)

    def init(self, key: Key, shape: Shape) -> Init:
        with_bias = super().init(key, shape)
        return with_bias._replace(params=Params({name: x for name, x in with_bias.params.items() if name != "bias"}))

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        steps = x.shape[0] if run.steps is None else run.steps
        if steps != self.time_steps:
            where = f"layer {run.path} ({layer_name(self)})" if run.path else layer_name(self)
            raise ShapeError(f"{where}: a sequence of {steps} time steps, expected time_steps={self.time_steps}")
        return super().run(run, params, buffers, state, x)


@dataclass(frozen=True)
class BatchNormTT1d(_BatchNormTT):
    """Batch normalisation through time: every time step has its own statistics and its own weight; there is no bias.

        y[t] = weight[t] (x[t] - mean[t]) / sqrt(var[t] + eps)

    Mean and variance of step t are taken over the batch (and length) at that step and update that step's running
    statistics, as in ``BatchNorm1d``. For an input that is constant in time, the output has ``time_steps`` steps, each
    scaled by its own weight.

    Args:
        num_features: size of the feature (or channel) axis.
        time_steps: number of steps of every sequence.
        eps: added to the variance, > 0; default 1e-5.
        momentum: weight of the current batch in the running statistics, in [0, 1]; default 0.1.
        affine: whether ``weight`` (time_steps, num_features) is learned; default True. False: there is none.

    Shapes: x (time_steps, batch, num_features) or (time_steps, batch, num_features, length), ``running_mean`` and
    ``running_var`` (time_steps, num_features).

    Raises:
        ShapeError: a sequence has another number of steps.
        ValueError: ``eps`` or ``momentum`` is out of range; or, in training, there is only one value per feature and
            step, which has no variance.

    Source: Kim & Panda, Revisiting batch normalization for training low-latency deep spiking neural networks from
    scratch, 2021.
    """


@dataclass(frozen=True)
class BatchNormTT2d(_BatchNormTT):
    """Batch normalisation through time of maps (time_steps, batch, num_features, height, width), per step and channel.

    Args:
        num_features, time_steps, eps, momentum, affine: as in ``BatchNormTT1d``.
    """

    space: ClassVar[int] = 2


@dataclass(frozen=True)
class LayerNorm(Stateless):
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

    def written(self, name: str) -> Any:
        value = getattr(self, name)  # a tuple, whatever the user gave
        return value[0] if isinstance(value, tuple) and len(value) == 1 else value

    def __post_init__(self) -> None:
        given = self.normalized_shape
        shape = tuple(given) if isinstance(given, (tuple, list)) else (given,)
        if not shape or not all(is_size(n, 1) for n in shape):
            raise ValueError(f"LayerNorm: normalized_shape={given!r} must be an int or a tuple of ints, each >= 1")
        object.__setattr__(self, "normalized_shape", shape)
        _check_eps(self)

    def init(self, key: Key, shape: Shape) -> Init:
        extents: Any = self.normalized_shape
        if tuple(shape[-len(extents) :]) != extents:
            raise ShapeError(f"LayerNorm: samples of shape {shape}, expected {extents} as the last extents")
        first = (("weight", 1.0), ("bias", 0.0)) if self.affine else ()
        params = {name: full_weight(key, extents, value) for name, value in first}
        return Init(Params(params), EMPTY, shape)

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        xp = engine.xp
        axes = tuple(range(x.ndim - len(self.normalized_shape), x.ndim))  # type: ignore[arg-type]
        centred = x - xp.mean(x, axis=axes, keepdims=True)
        y = centred * (1.0 / xp.sqrt(xp.mean(centred * centred, axis=axes, keepdims=True) + self.eps))
        return (y * params.weight + params.bias if self.affine else y), buffers

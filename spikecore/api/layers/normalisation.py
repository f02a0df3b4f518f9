"""Batch normalisation, with running statistics (buffers), and ``Standardize``, whose statistics are the data's.

``temporal_normalisation.py`` has the variants for spiking networks, ``sample_normalisation.py`` the normalisation of
each sample by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.extras import Processes, extra
from spikecore.api.core.host import full_weight
from spikecore.api.core.layer import Init, Key, Params, Shape, ShapeError, Stateless, Tree, layer_name
from spikecore.api.core.rules import along
from spikecore.api.core.sizes import at_least_one, map_names
from spikecore.api.core.words import Array, Vocabulary
from spikecore.arguments import Size

CONSTANT = 1e-6  # a deviation below this share of the mean is rounding


def check_eps(layer: Any) -> None:
    """Refuse an ``eps`` that is no finite number > 0.

    Raises:
        ValueError: names the layer and the value.
    """
    if not (isinstance(layer.eps, (int, float)) and math.isfinite(layer.eps) and layer.eps > 0):
        raise ValueError(f"{layer_name(layer)}: eps={layer.eps!r} must be a finite number > 0")


def plain_affine(key: Key, size: Shape, affine: bool = True) -> Params:
    """Weight one and bias zero, with which the output is the normalised input; nothing unless ``affine``."""
    values = (("weight", 1.0), ("bias", 0.0)) if affine else ()
    return Params({name: full_weight(key, size, value) for name, value in values})


class RunningNorm(Stateless):
    """Normalisation by the statistics of the batch in training, by running statistics otherwise."""

    num_features: Size
    eps: float
    momentum: float

    mixes_samples: ClassVar[bool] = True
    normalises: ClassVar[bool] = True
    space: ClassVar[int] = 0  # number of space axes of a sample; 0 also allows one
    axes: ClassVar[Tuple[int, ...]] = (0, 1)  # axes, besides space, over which the statistics are taken

    def __post_init__(self) -> None:
        check_eps(self)
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
        return Init(self._first(key), Tree(running_mean=zeros, running_var=ones), shape)

    def _first(self, key: Key) -> Params:
        """The parameters before training."""
        raise NotImplementedError

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        if "running_mean" not in buffers:
            raise ValueError(f"{layer_name(self)} has running statistics: it runs on whole sequences, not step by step")
        xp, axes = engine.xp, (*self.axes, *range(3, x.ndim))
        if train:
            moments, affine = xp.moments(x, axes), (params.get("weight"), params.get("bias"))
            moved = self.moved(engine, buffers, moments, x)  # which refuses a single value before an array library does
            return xp.batch_norm(x, moments, *affine, axes, self.eps), moved
        scale, shift = self.line(xp, params, buffers.running_mean, buffers.running_var)
        return x * along(xp, scale, axes) + along(xp, shift, axes), buffers

    def line(self, xp: Vocabulary, params: Params, mean: Array, var: Array) -> Tuple[Any, Any]:
        """The normalisation by given statistics as scale x + shift: scale and shift, shaped like the statistics."""
        scale = 1.0 / xp.sqrt(var + self.eps)
        scale = scale * params.weight if "weight" in params else scale
        return scale, params.bias - mean * scale if "bias" in params else -mean * scale

    def moved(self, engine: Engine, buffers: Tree, moments: Array, x: Array) -> Tree:
        """The running statistics after a batch x with these moments.

        Raises:
            ValueError: there is one value per feature.
        """
        axes = (*self.axes, *range(3, x.ndim))
        count = extra(engine, Processes).whole_batch(x.shape[1]) * math.prod(
            [x.shape[axis] for axis in axes if axis != 1]
        )
        if count < 2:
            raise ValueError(
                f"{layer_name(self)}: training needs more than one value per feature, got x of {tuple(x.shape)}"
            )
        old, new, batch = 1.0 - self.momentum, self.momentum, engine.stop_gradient(moments)
        return Tree(
            running_mean=old * buffers.running_mean + new * batch[0, ...],
            running_var=old * buffers.running_var + (new * count / (count - 1)) * batch[1, ...],
        )


@dataclass(frozen=True)
class _BatchNorm(RunningNorm):
    """Base of ``BatchNorm1d``, ``BatchNorm2d`` and ``BatchNorm3d``."""

    num_features: Size
    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    def _first(self, key: Key) -> Params:
        return plain_affine(key, self._size(), self.affine)


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
class BatchNorm3d(_BatchNorm):
    """Batch normalisation of maps (time, batch, num_features, depth, height, width), per channel.

    Args:
        num_features, eps, momentum, affine: as in ``BatchNorm1d``.
    """

    space: ClassVar[int] = 3


@dataclass(frozen=True)
class Standardize(Stateless):
    """Puts each feature, or channel, on the scale of the training data: mean 0 and deviation 1.

        y = (x - mean) / deviation

    Mean and deviation are those of all values that the layer has met in training, over time, batch and space; they are
    gathered batch by batch, are used in training and afterwards alike, and are saved with the model. After the first
    epoch they are those of the training data. A feature that was constant is only shifted.

    Args:
        num_features: size of the first axis of a sample, >= 1: its features or channels.

    Shapes: x (time, batch, num_features, *space). Buffers: ``mean`` and ``var`` (num_features,), ``count``, how many
    values of each feature they are of.

    Raises:
        ShapeError: samples have another number of features.

    Source: Chan, Golub and LeVeque, Updating formulae and a pairwise algorithm for computing sample variances, 1979.

    Example:
        >>> net = sc.Sequential(sc.Standardize(4), sc.Linear(4, 64), sc.Leaky(), sc.Linear(64, 3), sc.LI())
    """

    num_features: Size

    mixes_samples: ClassVar[bool] = True
    normalises: ClassVar[bool] = True

    def __post_init__(self) -> None:
        at_least_one(self, num_features=self.num_features)

    def init(self, key: Key, shape: Shape) -> Init:
        if shape[:1] != (self.num_features,):
            raise ShapeError(f"Standardize: samples of shape {shape}, expected {self.num_features} features")
        mean, var = (full_weight(key, (self.num_features,), value) for value in (0.0, 1.0))
        return Init(Params(), Tree(mean=mean, var=var, count=full_weight(key, (), 0.0)), shape)

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        xp, axes = engine.xp, (0, 1, *range(3, x.ndim))
        if train:
            buffers = self.gathered(engine, buffers, x)
        y = (x - along(xp, buffers.mean, axes)) * along(xp, self.scale(xp, buffers), axes)
        return y, buffers

    def scale(self, xp: Any, buffers: Tree) -> Any:
        """Factor of the differences from the mean, (num_features,): 1 / deviation."""
        least = CONSTANT * abs(buffers.mean)
        return 1.0 / xp.sqrt(xp.where(buffers.var > least * least, buffers.var, xp.ones_like(buffers.var)))

    def gathered(self, engine: Engine, buffers: Tree, x: Array) -> Tree:
        """The statistics of all values so far and of a batch.

        n = n1 + n2,   mean = mean1 + d n2 / n,   var = (n1 var1 + n2 var2) / n + d^2 n1 n2 / n^2,   d = mean2 - mean1
        """
        axes = (0, 1, *range(3, x.ndim))
        moments = engine.stop_gradient(engine.xp.moments(x, axes))
        new = float(
            extra(engine, Processes).whole_batch(x.shape[1]) * math.prod([x.shape[axis] for axis in axes if axis != 1])
        )
        count = buffers.count + new
        share = new / count
        away = moments[0, ...] - buffers.mean
        var = (1.0 - share) * buffers.var + share * moments[1, ...] + share * (1.0 - share) * away * away
        return Tree(mean=buffers.mean + share * away, var=var, count=count)

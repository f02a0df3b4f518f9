"""Normalisation layers: those with statistics that pass from batch to batch (buffers)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.engine import get_engine
from spikecore.api.layer import Init, Key, Params, Shape, ShapeError, Stateless, Tree, layer_name


@dataclass(frozen=True)
class _BatchNorm(Stateless):
    """What both batch normalisations share."""

    num_features: int
    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    space: ClassVar[int] = 0

    def __post_init__(self) -> None:
        if not isinstance(self.num_features, int) or self.num_features < 1:
            raise ValueError(f"{layer_name(self)}: num_features={self.num_features!r} must be an int >= 1")
        if not 0.0 <= self.momentum <= 1.0 or not self.eps > 0:
            raise ValueError(f"{layer_name(self)}: momentum={self.momentum!r} must be in [0, 1], eps={self.eps!r} > 0")

    @property
    def input_shape(self) -> Optional[Shape]:
        return (self.num_features,) if self.space == 0 else None

    def init(self, key: Key, shape: Shape) -> Init:
        if len(shape) != 1 + self.space or shape[0] != self.num_features:
            expected = ", ".join((str(self.num_features), "height", "width")[: 1 + self.space])
            raise ShapeError(f"{layer_name(self)}: samples of shape {shape}, expected ({expected},)")
        host = get_engine("numpy", dtype="float64")
        zeros, ones = (host.to_numpy(make((self.num_features,))) for make in (host.xp.zeros, host.xp.ones))
        params = {"weight": ones, "bias": zeros} if self.affine else {}
        return Init(Params(params), Tree(running_mean=zeros, running_var=ones), shape)

    def apply(self, engine: Any, params: Params, buffers: Tree, x: Any, *, train: bool, key: Optional[Key]) -> Any:
        if "running_mean" not in buffers:
            raise ValueError(f"{layer_name(self)} has running statistics: it runs on whole sequences, not step by step")
        mean, var = buffers.running_mean, buffers.running_var
        if train:
            mean, var, buffers = self._batch_statistics(engine, buffers, x)
        scale = 1.0 / engine.xp.sqrt(var + self.eps)
        y = (x - self._along(engine, mean)) * self._along(engine, scale)
        if self.affine:
            y = y * self._along(engine, params.weight) + self._along(engine, params.bias)
        return y, buffers

    def _along(self, engine: Any, values: Any) -> Any:
        return engine.xp.reshape(values, (self.num_features,) + (1,) * self.space)

    def _batch_statistics(self, engine: Any, buffers: Tree, x: Any) -> Tuple[Any, Any, Tree]:
        xp = engine.xp
        axes = (0, 1, *range(3, x.ndim))
        count = 1
        for axis in axes:
            count *= x.shape[axis]
        if count < 2:
            raise ValueError(
                f"{layer_name(self)}: training needs more than one value per feature, got x of {tuple(x.shape)}"
            )
        mean = xp.mean(x, axis=axes)
        centred = x - self._along(engine, mean)
        var = xp.mean(centred * centred, axis=axes)
        kept, new = 1.0 - self.momentum, self.momentum
        moved = Tree(
            running_mean=kept * buffers.running_mean + new * engine.stop_gradient(mean),
            running_var=kept * buffers.running_var + (new * count / (count - 1)) * engine.stop_gradient(var),
        )
        return mean, var, moved


@dataclass(frozen=True)
class BatchNorm1d(_BatchNorm):
    """Batch normalisation of x (time, batch, num_features) over time x batch, per feature.

        y = weight (x - mean) / sqrt(var + eps) + bias

    In training mean and (biased) variance are those of the batch at hand, and the running statistics move:
    ``running <- (1 - momentum) running + momentum batch``, with the unbiased variance, as torch does. Otherwise the
    running statistics are used. A sequence that is constant in time counts once, not once per step.

    Args:
        num_features: extent of the feature (or channel) axis.
        eps: added to the variance.
        momentum: weight of the newest batch in the running statistics.
        affine: whether ``weight`` and ``bias`` (num_features,) are learned.

    Raises:
        ValueError: in training with a single value per feature, whose variance is nothing.

    Source: Ioffe & Szegedy, 2015; over time, Zheng et al., Going deeper with directly-trained larger SNNs, 2021.
    """


@dataclass(frozen=True)
class BatchNorm2d(_BatchNorm):
    """Batch normalisation of x (time, batch, num_features, height, width) over time, batch and space, per channel.

    Args:
        num_features, eps, momentum, affine: as in ``BatchNorm1d``.
    """

    space: ClassVar[int] = 2

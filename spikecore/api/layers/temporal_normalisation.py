"""Batch normalisation made for spiking networks: it knows the neurons' threshold, or the time step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import full_weight
from spikecore.api.core.layer import Key, Params, Pass, Result, Shape, ShapeError, Tree, layer_name
from spikecore.api.core.sizes import is_finite
from spikecore.api.core.words import Array
from spikecore.api.layers.normalisation import RunningNorm, plain_affine
from spikecore.arguments import Size


@dataclass(frozen=True)
class _EachStep(RunningNorm):
    """A normalisation with parameters for each time step, so for sequences of one length."""

    num_features: Size
    time_steps: Size
    eps: float = 1e-5
    momentum: float = 0.1
    affine: bool = True

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        steps = x.shape[0] if run.steps is None else run.steps
        if steps != self.time_steps:
            where = f"layer {run.path} ({layer_name(self)})" if run.path else layer_name(self)
            raise ShapeError(f"{where}: a sequence of {steps} time steps, expected time_steps={self.time_steps}")
        return super().run(run, params, buffers, state, x)


@dataclass(frozen=True)
class _BatchNormTT(_EachStep):
    """Base of ``BatchNormTT1d`` and ``BatchNormTT2d``."""

    axes: ClassVar[Tuple[int, ...]] = (1,)

    def _size(self) -> Shape:
        return (self.time_steps, self.num_features)

    def _first(self, key: Key) -> Params:
        return Params(weight=full_weight(key, self._size(), 1.0)) if self.affine else Params()


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
class _TemporalEffective(_EachStep):
    """Base of ``TemporalEffectiveBatchNorm1d`` and ``TemporalEffectiveBatchNorm2d``."""

    def _first(self, key: Key) -> Params:
        scale = full_weight(key, (self.time_steps,), 1.0)
        return plain_affine(key, self._size(), self.affine).replace(scale=scale)

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        y, buffers = super().apply(engine, params, buffers, x, train=train, key=key)
        return y * engine.xp.reshape(params.scale, (-1,) + (1,) * (x.ndim - 1)), buffers


@dataclass(frozen=True)
class TemporalEffectiveBatchNorm1d(_TemporalEffective):
    """Temporal effective batch normalisation (TEBN): batch normalisation, and a learned scale for each time step.

        y[t] = scale[t] (weight (x[t] - mean) / sqrt(var + eps) + bias)

    Mean and variance are those of all steps together, and update the running statistics, as in ``BatchNorm1d``. For an
    input that is constant in time, the output has ``time_steps`` steps, each with its own scale.

    Args:
        num_features: size of the feature (or channel) axis.
        time_steps: number of steps of every sequence.
        eps: added to the variance, > 0; default 1e-5.
        momentum: weight of the current batch in the running statistics, in [0, 1]; default 0.1.
        affine: whether ``weight`` and ``bias`` (num_features,) are learned; default True. False: there is ``scale``
            alone.

    Shapes: x (time_steps, batch, num_features) or (time_steps, batch, num_features, length), ``scale`` (time_steps,),
    which begins at 1.

    Raises:
        ShapeError: a sequence has another number of steps.
        ValueError: ``eps`` or ``momentum`` is out of range; or, in training, there is only one value per feature, which
            has no variance.

    Source: Duan et al., Temporal effective batch normalization in spiking neural networks, 2022.
    """


@dataclass(frozen=True)
class TemporalEffectiveBatchNorm2d(_TemporalEffective):
    """Temporal effective batch normalisation (TEBN) of maps (time_steps, batch, num_features, height, width).

    Args:
        num_features, time_steps, eps, momentum, affine: as in ``TemporalEffectiveBatchNorm1d``.
    """

    space: ClassVar[int] = 2


@dataclass(frozen=True)
class _ThresholdDependent(RunningNorm):
    """Base of ``ThresholdDependentBatchNorm1d`` and ``ThresholdDependentBatchNorm2d``."""

    num_features: Size
    threshold: float = 1.0
    alpha: float = 1.0
    eps: float = 1e-5
    momentum: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("threshold", "alpha"):
            value = getattr(self, name)
            if not (is_finite(value) and value > 0):
                raise ValueError(f"{layer_name(self)}: {name}={value!r} must be a finite number > 0")

    def _first(self, key: Key) -> Params:
        first = full_weight(key, self._size(), float(self.alpha * self.threshold))
        return plain_affine(key, self._size()).replace(weight=first)


@dataclass(frozen=True)
class ThresholdDependentBatchNorm1d(_ThresholdDependent):
    """Threshold-dependent batch normalisation (tdBN): currents that begin at the size of a threshold.

        y = weight (x - mean) / sqrt(var + eps) + bias        weight begins at alpha threshold

    It is ``BatchNorm1d`` with another first weight: with mean 0 and a deviation of about the threshold, neurons neither
    fall silent nor fire at every step, in deep networks, too. The paper has the factor alpha threshold outside of a
    weight that begins at 1; both are the same function, and as in SpikingJelly the weight holds the product, so that
    weights carry over.

    Args:
        num_features: size of the feature (or channel) axis.
        threshold: that of the neurons after it, > 0; default 1.
        alpha: a factor, > 0; default 1. The paper takes 1 / sqrt(2) where two branches of a residual block are added.
        eps: added to the variance, > 0; default 1e-5.
        momentum: weight of the current batch in the running statistics, in [0, 1]; default 0.1.

    Shapes: x (time, batch, num_features) or (time, batch, num_features, length), ``weight`` and ``bias``
    (num_features,).

    Raises:
        ValueError: ``threshold``, ``alpha``, ``eps`` or ``momentum`` is out of range; or, in training, there is only
            one value per feature, which has no variance.

    Source: Zheng et al., Going deeper with directly-trained larger spiking neural networks, 2021.
    """


@dataclass(frozen=True)
class ThresholdDependentBatchNorm2d(_ThresholdDependent):
    """Threshold-dependent batch normalisation (tdBN) of maps (time, batch, num_features, height, width), per channel.

    Args:
        num_features, threshold, alpha, eps, momentum: as in ``ThresholdDependentBatchNorm1d``.
    """

    space: ClassVar[int] = 2

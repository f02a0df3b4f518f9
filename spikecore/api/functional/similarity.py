"""Similarity of spike trains: samples of one class are to look alike, those of different classes are not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Literal, Optional, cast, get_args

from spikecore.api.core.activation import logistic
from spikecore.api.core.engine import Engine
from spikecore.api.core.parameters import FixedArray
from spikecore.api.core.words import Array
from spikecore.api.functional.base import Loss
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import check_labels, one_hot
from spikecore.api.functional.tasks import TargetKind
from spikecore.arguments import ArrayLike

PairKernel = Literal["linear", "sigmoid", "gaussian"]
KERNELS = get_args(PairKernel)
PairDistance = Literal["mse", "l1", "bce"]
DISTANCES = get_args(PairDistance)
ROUNDING = 1e-6  # similarities of "bce" stay this far from 0 and 1, whose logarithms are infinite


@dataclass(frozen=True)
class spike_similarity_loss(Loss):
    """Distance of the similarities of all pairs of samples from their targets: 1 for equal labels, 0 for others.

        P_ij = <x_i, x_j> / (|x_i| |x_j|)         kernel="linear"
        P_ij = 1 / (1 + exp(-scale <x_i, x_j>))   kernel="sigmoid"
        P_ij = exp(-|x_i - x_j|^2 / (2 scale^2))  kernel="gaussian"
        mean_ij d(P_ij, [y_i = y_j]),   d = (P - Q)^2, |P - Q|, or the binary cross-entropy

    x_i are all outputs of sample i, over steps and neurons. The loss needs no neuron per class: it trains embeddings,
    in which the nearest samples are of the same class. A silent sample is similar to none (linear). Pairs are those of
    a batch, so a batch in parts (``accumulate``, several processes) has fewer.

    Args:
        kernel: "linear" (the default), "sigmoid" or "gaussian".
        distance: "mse" (the default), "l1" or "bce".
        scale: see the equations, > 0; default 1. Not used by kernel="linear".
        reduction: "mean" over the samples i (the default), "sum", or "none". A sample's loss is the mean over j.
        weight: one weight per class, that of sample i; see ``Loss``.
        normalise: see ``Loss``.
        population_code, num_classes: refused: outputs need not be classes.

    Raises:
        ValueError: ``kernel`` or ``distance`` is something else, ``scale`` is not positive, or a population
            code is given.

    Source: SpikingJelly's ``spike_similar_loss``, whose "linear" kernel adds 1e-8 to |x_i| |x_j|.
    """

    kernel: PairKernel = "linear"
    distance: PairDistance = "mse"
    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in (("kernel", KERNELS), ("distance", DISTANCES)):
            if getattr(self, name) not in known:
                value = getattr(self, name)
                raise ValueError(f"spike_similarity_loss: {name}={value!r} must be one of {', '.join(known)}")
        if not self.scale > 0.0:
            raise ValueError(f"spike_similarity_loss: scale={self.scale!r} must be > 0")
        if self.population_code or self.num_classes:
            raise ValueError("spike_similarity_loss: population_code and num_classes have no meaning here")

    @property
    def task(self) -> Optional[TargetKind]:
        """None: targets are labels, but no output stands for a class, so nothing can be decoded."""
        return None

    def check_targets(
        self,
        engine: Engine,
        targets: Array,
        batch: int,
        classes: Optional[int],
        time: Optional[int] = None,
        lengths: Optional[List[int]] = None,
    ) -> None:
        check_labels(engine, targets, (batch,), None, time)
        weight = cast(Optional[FixedArray], self.weight)
        highest = int(engine.to_numpy(targets).max())
        if weight is not None and highest >= weight.shape[0]:
            raise ValueError(f"spike_similarity_loss: weight has {weight.shape[0]} classes, but a label is {highest}")

    def compute(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
        xp, weight = engine.xp, cast(Optional[FixedArray], self.weight)
        kept = xp.permute_dims(Steps(engine, values, lengths).kept(values), (1, 0, 2))
        found = self._similar(engine, xp.reshape(kept, (kept.shape[0], -1)))
        same = xp.astype(xp.expand_dims(targets, axis=1) == xp.expand_dims(targets, axis=0), engine.dtype)
        code = None if weight is None else one_hot(engine, targets, weight.shape[0])
        return self._reduced(engine, xp.mean(self._distances(engine, found, same), axis=1), code)

    def _similar(self, engine: Engine, x: Any) -> Any:
        """The similarities of all pairs of rows of x (batch, features)."""
        xp = engine.xp
        products, squares = xp.matmul(x, xp.permute_dims(x, (1, 0))), xp.sum(x * x, axis=1)
        if self.kernel == "sigmoid":
            return logistic(xp, self.scale * products)
        if self.kernel == "gaussian":
            apart = xp.expand_dims(squares, axis=1) + xp.expand_dims(squares, axis=0) - 2.0 * products
            return xp.exp(apart * (-0.5 / self.scale**2))
        sizes = xp.sqrt(xp.where(squares > 0.0, squares, xp.ones_like(squares)))  # a silent sample stays at 0
        return products / (xp.expand_dims(sizes, axis=1) * xp.expand_dims(sizes, axis=0))

    def _distances(self, engine: Engine, found: Any, same: Any) -> Any:
        if self.distance == "bce":
            p = engine.xp.clip(found, ROUNDING, 1.0 - ROUNDING)
            return -(same * engine.xp.log(p) + (1.0 - same) * engine.xp.log(1.0 - p))
        apart = found - same
        return engine.xp.abs(apart) if self.distance == "l1" else apart * apart

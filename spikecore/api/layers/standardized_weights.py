"""Weight standardisation: connections whose weights have mean zero and one size for each output."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import full_weight
from spikecore.api.core.layer import Init, Key, Params, Shape, Stateless, Tree, computes_as
from spikecore.api.core.words import Array
from spikecore.api.layers.linear import Linear
from spikecore.api.layers.normalisation import check_eps
from spikecore.api.layers.spatial import CONVOLUTIONS


@dataclass(frozen=True)
class WeightStandardized(Stateless):
    """A connection whose weights are standardised for each output: a norm without statistics of data.

        w = gain (weight - mean) / sqrt(n var + eps)        mean and (unbiased) var over the n inputs of an output

    Outputs of inputs with variance 1 begin with variance 1, so deep networks train without batch norm, sample by sample
    and step by step. The parameters of the layer inside keep their names, and ``gain`` (outputs,) begins at 1. With a
    zero in ``weight`` the standardised weight is not zero, so these connections cannot be pruned.

    Args:
        layer: ``Linear``, ``Conv1d``, ``Conv2d`` or ``Conv3d``.
        gain: whether ``gain`` is learned; default True. False: it is 1.
        eps: added to the variance, > 0; default 1e-4.

    Raises:
        TypeError: the layer is another.
        ValueError: ``eps`` is out of range; or, with the first data, an output has one input only, which has no
            variance.

    Source: Qiao et al., Micro-batch training with batch-channel normalization and weight standardization, 2019; Brock
    et al., Characterizing signal propagation to close the performance gap in unnormalized ResNets, 2021.

    Example:
        >>> net = sc.Sequential(sc.WeightStandardized(sc.Conv2d(2, 8, 3)), sc.Leaky(), sc.Flatten(), sc.Linear(72, 10))
    """

    layer: Stateless
    gain: bool = True
    eps: float = 1e-4

    def __post_init__(self) -> None:
        if not computes_as(self.layer, (Linear, *CONVOLUTIONS)):
            raise TypeError(
                f"WeightStandardized: layer={self.layer!r} must be a Linear, Conv1d, Conv2d or Conv3d, e.g. "
                "sc.Linear(64, 10)"
            )
        check_eps(self)

    @property
    def input_shape(self) -> Optional[Shape]:
        return self.layer.input_shape

    @property
    def once_prepared(self) -> Stateless:
        return self.layer

    def init(self, key: Key, shape: Shape) -> Init:
        first = self.layer.init(key, shape)
        size = first.params.weight.shape
        if math.prod(size[1:]) < 2:
            raise ValueError(
                f"WeightStandardized: layer={self.layer!r} has one input for each output, whose weight has no "
                "variance; leave WeightStandardized out"
            )
        return first._replace(params=first.params.replace(gain=full_weight(key, size[:1], 1.0))) if self.gain else first

    def prepare(self, engine: Engine, params: Params) -> Params:
        """The layer's own parameters, with the standardised weight."""
        xp, weight = engine.xp, params.weight
        axes, n = tuple(range(1, weight.ndim)), math.prod(weight.shape[1:])
        centred = weight - xp.mean(weight, axis=axes, keepdims=True)
        variance = xp.sum(centred * centred, axis=axes, keepdims=True) / (n - 1.0)
        standard = centred / xp.sqrt(variance * float(n) + self.eps)
        if self.gain:
            standard = standard * xp.reshape(params.gain, (-1, *(1,) * len(axes)))
        own = Params({name: value for name, value in params.items() if name != "gain"})
        return self.layer.prepare(engine, own.replace(weight=standard))

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        return self.layer.apply(engine, self.prepare(engine, params), buffers, x, train=train, key=key)

    def step(self, engine: Engine, params: Params, state: Any, x: Array) -> Tuple[Any, Any]:
        return self.layer.step(engine, params, state, x)

"""DropConnect: a dense connection that loses weights at random in training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import Init, Key, Params, Shape, Stateless, Tree, computes_as
from spikecore.api.core.words import Array
from spikecore.api.layers.linear import Linear


@dataclass(frozen=True)
class DropConnect(Stateless):
    """A dense connection that in training sets each weight and bias to zero with probability ``p``.

        training    y = (M W) x + m b           M, m: ones with probability 1 - p, else zeros
        else        y = (1 - p) (W x + b)       the mean over all masks

    Each sample has its own mask, for all time steps, drawn as that of ``Dropout``. A batch of N samples takes the
    memory of N weights.

    Args:
        layer: a ``Linear``; its parameters keep their names.
        p: probability in [0, 1); default 0.5.

    Raises:
        TypeError: the layer is not a ``Linear``.
        ValueError: ``p`` is out of range, or there is no random key in training.

    Source: Wan et al., Regularization of neural networks using DropConnect, ICML 2013.

    Example:
        >>> net = sc.Sequential(sc.DropConnect(sc.Linear(64, 10), p=0.2), sc.Leaky(beta=0.9))
    """

    layer: Stateless
    p: float = 0.5

    drops: ClassVar[bool] = True
    _told: ClassVar[Tuple[str, ...]] = ("p",)  # printed even with its default

    def __post_init__(self) -> None:
        if not computes_as(self.layer, (Linear,)):
            raise TypeError(f"DropConnect: layer={self.layer!r} must be a Linear, e.g. sc.Linear(64, 10)")
        if not 0.0 <= self.p < 1.0:
            raise ValueError(f"DropConnect: p={self.p!r} must be in [0, 1)")

    @property
    def connections(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        return self.layer.connections

    @property
    def input_shape(self) -> Optional[Shape]:
        return self.layer.input_shape

    def init(self, key: Key, shape: Shape) -> Init:
        return self.layer.init(key, shape)

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        if not train or self.p == 0.0:
            y, _ = self.layer.apply(engine, params, buffers, x, train=train, key=key)
            return (y if self.p == 0.0 else y * (1.0 - self.p)), buffers
        if key is None:
            raise ValueError("DropConnect: training without a random key; pass key=Key((seed,)) to Pass")
        xp = engine.xp

        def dropped(name: str) -> Any:
            path, shape = key.child("drop_connect", name).path, (x.shape[1], *params[name].shape)
            kept = engine.uniform(path, shape, sample_axis=0, first=key.first) >= self.p
            return params[name] * xp.astype(kept, engine.dtype)

        weight = xp.permute_dims(dropped("weight"), (0, 2, 1))
        y = xp.permute_dims(xp.matmul(xp.permute_dims(x, (1, 0, 2)), weight), (1, 0, 2))
        return (y + dropped("bias") if "bias" in params else y), buffers

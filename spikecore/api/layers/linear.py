"""Stateless layers: Linear, Flatten, Identity, Dropout, GradedSpikes. Those over maps are in ``spatial.py``.

They compute a sequence (time, batch, *features) at once, with time x batch as one big batch. Initial weights are
uniform in +-1/sqrt(fan_in), as in torch, and equal on every engine, since a counter-based generator draws them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.extras import ComparedDraws, extra
from spikecore.api.core.host import full_weight, uniform_weight
from spikecore.api.core.initialisers import Initialiser
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, ShapeError, Stateless, Tree, linear
from spikecore.api.core.words import Array
from spikecore.api.layers.spatial import check_bias_init, drawn_weight
from spikecore.arguments import Size


@dataclass(frozen=True)
class Linear(Stateless):
    """Dense connection: y = x W^T + b.

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the output.
        bias: whether to add b; default True.
        weight_init, bias_init: how to draw W and b, of ``sc.init``; None, the default: uniform in
            +-1/sqrt(in_features).

    Shapes: x (time, batch, in_features), W ``weight`` (out_features, in_features), b ``bias`` (out_features,).
    """

    in_features: Size
    out_features: Size
    bias: bool = True
    weight_init: Optional[Initialiser] = None
    bias_init: Optional[Initialiser] = None

    connections: ClassVar[Tuple[str, ...]] = ("weight",)

    def __post_init__(self) -> None:
        check_bias_init(self)

    @property
    def input_shape(self) -> Optional[Shape]:
        return (self.in_features,)

    def init(self, key: Key, shape: Shape) -> Init:
        if shape != (self.in_features,):
            raise ShapeError(f"Linear: samples of shape {shape}, expected ({self.in_features},); {self._remedy(shape)}")
        bound = 1.0 / math.sqrt(self.in_features)
        size = (self.out_features, self.in_features)
        params = {"weight": drawn_weight(key, "weight", size, bound, self.weight_init)}
        if self.bias:
            params["bias"] = drawn_weight(key, "bias", size[:1], bound, self.bias_init)
        return Init(Params(params), EMPTY, (self.out_features,))

    def _remedy(self, shape: Shape) -> str:
        """The remedy for samples that do not fit."""
        fitting = f"Linear({math.prod(shape)}, {self.out_features})"
        if len(shape) < 2:
            return f"write {fitting}"
        fits = math.prod(shape) == self.in_features
        return "put a Flatten() before it" if fits else f"put a Flatten() before it and write {fitting}"

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        return linear(engine.xp, x, *self.weight_and_bias(params)), buffers

    def weight_and_bias(self, params: Params) -> Tuple[Any, Any]:
        """The weight, and the bias or None."""
        return params.weight, params.bias if self.bias else None


@dataclass(frozen=True)
class Flatten(Stateless):
    """Flattens each sample to a vector: (time, batch, *features) -> (time, batch, product of features)."""

    def init(self, key: Key, shape: Shape) -> Init:
        return Init(Params(), EMPTY, (math.prod(shape),))

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        return engine.xp.reshape(x, (*x.shape[:2], math.prod(x.shape[2:]))), buffers


@dataclass(frozen=True)
class Identity(Stateless):
    """Returns its input: for the place of a layer that a network does not need."""

    def init(self, key: Key, shape: Shape) -> Init:
        return Init(Params(), EMPTY, shape)

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        return x, buffers


@dataclass(frozen=True)
class Dropout(Stateless):
    """Sets features to zero with probability ``p`` in training and scales the others by 1 / (1 - p).

    Each sample has one mask for all time steps, since a new mask at every step would average out over the sequence. The
    mask depends on seed, layer, epoch and the number of the sample, not on how the data are split into batches.

    Args:
        p: probability in [0, 1); default 0.5.

    Raises:
        ValueError: ``p`` is out of range, or there is no random key in training.
    """

    p: float = 0.5

    drops: ClassVar[bool] = True
    _told: ClassVar[Tuple[str, ...]] = ("p",)  # printed even with its default

    def __post_init__(self) -> None:
        if not 0.0 <= self.p < 1.0:
            raise ValueError(f"Dropout: p={self.p!r} must be in [0, 1)")

    def init(self, key: Key, shape: Shape) -> Init:
        return Init(Params(), EMPTY, shape)

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        if not train or self.p == 0.0:
            return x, buffers
        if key is None:
            raise ValueError("Dropout: training without a random key; pass key=Key((seed,)) to Pass")
        path, shape = key.child("dropout").path, tuple(x.shape[1:])
        return x * extra(engine, ComparedDraws).mask(engine, path, shape, self.p, key.first), buffers


@dataclass(frozen=True)
class GradedSpikes(Stateless):
    """Spikes of a learned size: y = w x, with one weight per feature.

    There is one weight per entry of the first feature axis: per neuron of a dense layer, per channel of a map.
    (snnTorch's weights are (size, 1), which fits neither a batch of spikes nor a map.)

    Args:
        size: size of the first feature axis.
        constant_factor: initial value of all weights; None, the default, draws them uniformly from [0.5, 1.5).

    Shapes: x (time, batch, size, ...), ``weights`` (size,).
    """

    size: Size
    constant_factor: Optional[float] = None

    def init(self, key: Key, shape: Shape) -> Init:
        if not shape or shape[0] != self.size:
            raise ShapeError(f"GradedSpikes: samples of shape {shape}, expected {self.size} as the first extent")
        if self.constant_factor is None:
            weights = uniform_weight(key, "weights", (self.size,), 0.5, centre=1.0)
        else:
            weights = full_weight(key, (self.size,), float(self.constant_factor))
        return Init(Params(weights=weights), EMPTY, shape)

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        return x * engine.xp.reshape(params.weights, (self.size,) + (1,) * (x.ndim - 3)), buffers

"""Attention: branches for queries, keys and values, and how their outputs are combined.

Samples are (channels, *positions): the tokens of a sequence are (channels, tokens), the patches of an image (channels,
height, width). Convolutions and batch norms take them as they are. A head is a group of neighbouring channels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Iterator, List, Optional, Sequence, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.foreign import no_layer, shown
from spikecore.api.core.layer import EMPTY, Init, Key, Layer, Params, Shape, ShapeError, Stateless, Tree, layer_name
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.layers.joins import Branches
from spikecore.api.layers.merges import Merge
from spikecore.arguments import Size


class _Named(Branches):
    """Branches that are fields of the container and named after them."""

    names: ClassVar[Tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name, layer in self.children():
            if not isinstance(layer, Layer):
                raise TypeError(f"{layer_name(self)}: {name}={shown(layer)} is not a spikecore layer{no_layer(layer)}")

    def children(self) -> Iterator[Tuple[str, Layer]]:
        return ((name, getattr(self, name)) for name in self.names)


@dataclass(frozen=True)
class _Scores(Merge):
    """Base of ``SpikingScores`` and ``SoftmaxScores``: attention of queries, keys and values.

    Args:
        num_heads: number of heads; divides the channels of all three.
    """

    num_heads: Size

    def shape(self, shapes: Sequence[Shape], names: Sequence[str]) -> Shape:
        query, key, value = shapes
        for name, given in zip(names, shapes):
            check_heads(name, given, self.num_heads)
        if query[0] != key[0]:
            raise ShapeError(f"queries of shape {query} and keys of shape {key} must have equally many channels")
        if key[1:] != value[1:]:
            raise ShapeError(f"keys of shape {key} and values of shape {value} must have the same positions")
        return (value[0], *query[1:])

    def _split(self, xp: Vocabulary, signals: Sequence[Any], before: int) -> Tuple[Any, Any, Any]:
        """Queries, keys and values as matrices: (..., heads, channels of a head, positions)."""
        query, key, value = (by_head(xp, x, before, self.num_heads) for x in signals)
        return query, key, value

    def _joined(self, xp: Vocabulary, y: Any, signals: Sequence[Any], before: int) -> Any:
        """The matrices of all heads as samples (channels, *positions)."""
        query, _, value = signals
        return xp.reshape(y, (*y.shape[:before], value.shape[before], *query.shape[before + 1 :]))


@dataclass(frozen=True)
class SpikingScores(_Scores):
    """scale Q K^T V; see ``SpikingSelfAttention``."""

    scale: float = 0.125

    def merge(self, xp: Vocabulary, signals: Sequence[Any], before: int) -> Any:
        (_, _), (first, second) = self.products(xp, signals, before)
        return self._joined(xp, xp.matmul(first, second) * self.scale, signals, before)

    def products(self, xp: Vocabulary, signals: Sequence[Any], before: int) -> List[Tuple[Any, Any]]:
        query, key, value = self._split(xp, signals, before)
        (inner, queries), (outer, keys) = query.shape[-2:], value.shape[-2:]
        if outer * inner * (keys + queries) <= keys * queries * (inner + outer):
            factors = value, swapped(xp, key)
            return [factors, (xp.matmul(*factors), query)]
        factors = swapped(xp, key), query
        return [factors, (value, xp.matmul(*factors))]


@dataclass(frozen=True)
class SoftmaxScores(_Scores):
    """softmax(scale Q K^T) V; see ``SoftmaxAttention``."""

    scale: Optional[float] = None

    def merge(self, xp: Vocabulary, signals: Sequence[Any], before: int) -> Any:
        _, factors = self.products(xp, signals, before)
        return self._joined(xp, xp.matmul(*factors), signals, before)

    def products(self, xp: Vocabulary, signals: Sequence[Any], before: int) -> List[Tuple[Any, Any]]:
        query, key, value = self._split(xp, signals, before)
        scale = 1.0 / math.sqrt(query.shape[-2]) if self.scale is None else self.scale
        factors = swapped(xp, query), key
        weights = xp.exp(xp.log_softmax(xp.matmul(*factors) * scale, axis=-1))
        return [factors, (value, swapped(xp, weights))]


@dataclass(frozen=True)
class Gating(Merge):
    """gate[c // (channels / heads)] body[c] of a gate and a body; see ``HeadGate``."""

    def shape(self, shapes: Sequence[Shape], names: Sequence[str]) -> Shape:
        gate, body = shapes
        shared = len(gate) == len(body) > 0 and all(n in (1, m) for n, m in zip(gate[1:], body[1:]))
        if not shared or body[0] % gate[0]:
            raise ShapeError(
                f"a gate of shape {gate} for a body of shape {body}; it needs a number of channels that "
                f"divides {body[0] if body else 1}, and along each further axis the size of the body or 1"
            )
        return body

    def merge(self, xp: Vocabulary, signals: Sequence[Any], before: int) -> Any:
        gate, body = signals
        heads, *positions = gate.shape[before:]
        channels, *space = body.shape[before:]
        grouped = xp.reshape(body, (*body.shape[:before], heads, channels // heads, *space))
        y = xp.reshape(gate, (*gate.shape[:before], heads, 1, *positions)) * grouped
        return xp.reshape(y, (*y.shape[:before], channels, *space))


@dataclass(frozen=True)
class SpikingSelfAttention(_Named):
    """Spiking self-attention (SSA): products of spikes, without a softmax.

        Y = scale Q K^T V        in each head; rows of Q, K and V are positions

    All three branches receive the input and give spikes; entries of Q K^T count coincidences, so they are not negative
    and need no softmax. Y is not spikes: a neuron follows, in the paper with a threshold of 0.5. The product
    is (Q K^T) V or Q (K^T V), whichever takes fewer operations; for spikes both are the same numbers.

    Args:
        query, key, value: layers, often ``Sequential(Conv1d(dim, dim, 1), BatchNorm1d(dim), Leaky())``; their
            parameters are named "query.…", "key.…" and "value.…".
        num_heads: number of heads; divides the channels of all branches.
        scale: factor of the result; default 0.125.

    Shapes: queries (channels, *positions), keys (channels, *others), values (outputs, *others), result (outputs,
    *positions).

    Raises:
        TypeError: a branch is not a layer.
        ShapeError: outputs of the branches do not fit to each other or to the number of heads.

    Source: Zhou et al., Spikformer: when spiking neural network meets transformer, 2023.
    """

    query: Layer
    key: Layer
    value: Layer
    num_heads: Size
    scale: float = 0.125

    names: ClassVar[Tuple[str, ...]] = ("query", "key", "value")

    def merge(self) -> Merge:
        return SpikingScores(self.num_heads, self.scale)


@dataclass(frozen=True)
class SoftmaxAttention(_Named):
    """Scaled dot-product attention, as in transformers without spikes.

        Y = softmax(scale Q K^T) V        in each head; rows of Q, K and V are positions

    Each step of a sequence is a computation of its own: positions attend to those of the same step.

    Args:
        query, key, value: layers that all receive the input; their parameters are named "query.…", "key.…", "value.…".
        num_heads: number of heads; divides the channels of all branches.
        scale: factor of the products; None, the default, means 1 / sqrt(channels of a head).

    Shapes: as in ``SpikingSelfAttention``.

    Raises:
        TypeError: a branch is not a layer.
        ShapeError: outputs of the branches do not fit to each other or to the number of heads.

    Source: Vaswani et al., Attention is all you need, 2017.
    """

    query: Layer
    key: Layer
    value: Layer
    num_heads: Size
    scale: Optional[float] = None

    names: ClassVar[Tuple[str, ...]] = ("query", "key", "value")

    def merge(self) -> Merge:
        return SoftmaxScores(self.num_heads, self.scale)


@dataclass(frozen=True)
class HeadGate(_Named):
    """Multiplies a branch by a gate that the channels of a head share.

        y[c, p] = gate[g, p] body[c, p]        g = c // (channels of body / channels of gate)

    The gate has a channel for each head, or one for each channel of the body; along positions it has equally many, or
    one for all. A gate that ends in neurons lets spikes pass or holds them back: Q-K attention and spike-driven
    self-attention are this layer with ``HeadSum`` or ``PositionSum`` in the gate.

    Args:
        gate, body: layers that both receive the input; their parameters are named "gate.…" and "body.…".

    Shapes: gate (heads, *positions) or (heads, 1, ..., 1), body and result (channels, *positions); heads divides
    channels.

    Raises:
        TypeError: gate or body is not a layer.
        ShapeError: the gate does not fit to the body.

    Source: Zhou et al., QKFormer: hierarchical spiking transformer using Q-K attention, 2024; Yao et al., Spike-driven
    transformer, 2023.
    """

    gate: Layer
    body: Layer

    names: ClassVar[Tuple[str, ...]] = ("gate", "body")

    def merge(self) -> Merge:
        return Gating()


@dataclass(frozen=True)
class HeadSum(Stateless):
    """Sum over the channels of each head: how many of them fire at each position.

        y[h, p] = sum of x[c, p] over the channels c of head h

    Args:
        num_heads: number of heads; divides the channels.

    Shapes: x (time, batch, channels, *positions), y (time, batch, num_heads, *positions).

    Source: the token attention of Zhou et al., QKFormer, 2024.
    """

    num_heads: Size

    def init(self, key: Key, shape: Shape) -> Init:
        try:
            check_heads("x", shape, self.num_heads)
        except ShapeError as error:
            raise ShapeError(f"HeadSum: {error}") from None
        return Init(Params(), EMPTY, (self.num_heads, *shape[1:]))

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        grouped = (*x.shape[:2], self.num_heads, x.shape[2] // self.num_heads, *x.shape[3:])
        return engine.xp.sum(engine.xp.reshape(x, grouped), axis=3), buffers


@dataclass(frozen=True)
class PositionSum(Stateless):
    """Sum over all positions: the number of spikes of each channel. The axes of the positions are kept, with size 1.

    Shapes: x (time, batch, channels, *positions), y (time, batch, channels, 1, ..., 1).

    Source: the channel attention of Zhou et al., QKFormer, 2024; Yao et al., Spike-driven transformer, 2023.
    """

    def init(self, key: Key, shape: Shape) -> Init:
        if len(shape) < 2:
            raise ShapeError(f"PositionSum: samples of shape {shape}, expected (channels, *positions)")
        return Init(Params(), EMPTY, (shape[0], *(1,) * (len(shape) - 1)))

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        return engine.xp.sum(x, axis=tuple(range(3, x.ndim)), keepdims=True), buffers


def check_heads(name: str, shape: Shape, heads: int) -> None:
    """Refuse samples without positions, and channels that cannot be split into heads.

    Raises:
        ShapeError: the message names the layer, the branch and its shape.
    """
    if len(shape) < 2:
        raise ShapeError(f"{name} of shape {shape}, expected (channels, *positions)")
    if shape[0] % heads:
        raise ShapeError(f"num_heads={heads} must divide the {shape[0]} channels of {name}")


def by_head(xp: Vocabulary, x: Any, before: int, heads: int) -> Any:
    """(..., channels, *positions) as matrices (..., heads, channels / heads, positions)."""
    channels, *positions = x.shape[before:]
    return xp.reshape(x, (*x.shape[:before], heads, channels // heads, math.prod(positions)))


def swapped(xp: Vocabulary, x: Any) -> Any:
    """``x`` with its last two axes exchanged."""
    return xp.permute_dims(x, (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))

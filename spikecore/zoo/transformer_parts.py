"""Parts of spiking transformers: projections, attention with its neurons, feed-forward parts, heads.

Samples are maps (channels, height, width) throughout: their positions are the tokens, and a convolution of size 1 is
the dense layer that all tokens share.
"""

from __future__ import annotations

from typing import Dict, Iterator, List, Literal, Tuple

from spikecore import (
    BatchNorm2d,
    Conv2d,
    HeadGate,
    HeadSum,
    Leaky,
    Linear,
    MaxPool2d,
    Multiply,
    PositionSum,
    Residual,
    Sequential,
    SpikingSelfAttention,
)
from spikecore.api.neurons.stepper import Stepper
from spikecore.base import Layer
from spikecore.init import constant, normal
from spikecore.surrogate import sigmoid
from spikecore.zoo.card import Names

Over = Literal["token", "channel"]
PATCHES = (1, 2, 4, 8, 16)  # sizes of a patch

# SpikingJelly's LIFNode(tau=2.0, detach_reset=True): V[t] = V[t-1] / 2 + I[t] / 2 fires at 1, with the surrogate
# Sigmoid(4). Here U = 2 V, so that the input is not divided: threshold 2, slope 2, the same spikes and gradients.
TAU_2 = Leaky(beta=0.5, threshold=2.0, reset_mechanism="zero", surrogate=sigmoid(slope=2.0))
# Behind attention the threshold is 0.5, here 1. Inputs are sums of spikes, which meet it exactly and often: LIFNode
# fires there, Leaky only above, so it has the largest float32 below 1.
ATTENTION_TAU_2 = Leaky(beta=0.5, threshold=1.0 - 2.0**-24, reset_mechanism="zero", surrogate=sigmoid(slope=2.0))

POOL = MaxPool2d(3, 2, 1)  # halves maps


def conv(ins: int, outs: int, kernel: int, stride: int = 1, bias: bool = False) -> Tuple[Conv2d, BatchNorm2d]:
    """A convolution that keeps the size of maps except for its stride, and its batch norm."""
    first = {"weight_init": normal(std=0.02), "bias_init": constant(0.0) if bias else None}
    return Conv2d(ins, outs, kernel, stride, kernel // 2, bias=bias, **first), BatchNorm2d(outs)  # type: ignore[arg-type]


def dense(ins: int, outs: int) -> Linear:
    """The last layer."""
    return Linear(ins, outs, weight_init=normal(std=0.02), bias_init=constant(0.0))


def patch_stages(name: str, in_channels: int, dim: int, patch_size: int) -> Iterator[Tuple[int, int, List[Layer]]]:
    """The channels that each of the four stages of a patch embedding takes and gives, and its pooling, if any.

    Args:
        name: of the network, for messages.
        in_channels: channels of a sample.
        dim: channels of a token.
        patch_size: as many stages pool, the last ones, as it has factors of two.

    Raises:
        ValueError: dim is not divisible by 8; there is no such patch_size.
    """
    if dim % 8:
        raise ValueError(f"{name}: dim={dim} must be divisible by 8, for the stages of the patch embedding")
    if patch_size not in PATCHES:
        raise ValueError(f"{name}: patch_size={patch_size!r} must be one of {', '.join(map(str, PATCHES))}")
    unpooled = 4 - PATCHES.index(patch_size)
    outs = (dim // 8, dim // 4, dim // 2, dim)
    pools: List[List[Layer]] = [[POOL] if i >= unpooled else [] for i in range(4)]
    return zip((in_channels, *outs), outs, pools)


def self_attention(dim: int, num_heads: int, neuron: Stepper, attention_neuron: Stepper) -> Residual:
    """Spiking self-attention with projections, around it a shortcut."""
    query, key, value = (Sequential(*conv(dim, dim, 1), neuron) for _ in range(3))
    attention = SpikingSelfAttention(query, key, value, num_heads)
    return Residual(Sequential(attention, attention_neuron, *conv(dim, dim, 1), neuron))


def qk_attention(dim: int, num_heads: int, over: Over, neuron: Stepper, attention_neuron: Stepper) -> Residual:
    """Q-K attention with projections, around it a shortcut: sums of queries decide which keys pass."""
    summed: Layer = HeadSum(num_heads) if over == "token" else PositionSum()
    gate = Sequential(*conv(dim, dim, 1), neuron, summed, attention_neuron)
    return Residual(Sequential(HeadGate(gate, Sequential(*conv(dim, dim, 1), neuron)), *conv(dim, dim, 1), neuron))


def spike_driven_attention(dim: int, neuron: Stepper, attention_neuron: Stepper) -> Residual:
    """Spike-driven self-attention with projections, around it a shortcut of membranes: it begins with the neuron."""
    query, key, value = (Sequential(*conv(dim, dim, 1), neuron) for _ in range(3))
    gate = Sequential(Multiply(key, value), PositionSum(), attention_neuron)
    return Residual(Sequential(neuron, HeadGate(gate, query), *conv(dim, dim, 1, bias=True)))


def hidden_channels(name: str, dim: int, mlp_ratio: float) -> int:
    """The hidden channels of the feed-forward part of a network with this name.

    Raises:
        ValueError: there is none.
    """
    hidden = int(dim * mlp_ratio)
    if hidden < 1:
        raise ValueError(f"{name}: mlp_ratio={mlp_ratio!r} must be at least 1 / {dim}, for a hidden channel")
    return hidden


def feed_forward(dim: int, hidden: int, neuron: Stepper, bias: bool = False) -> Residual:
    """Two dense layers for each token, around them a shortcut of spikes."""
    return Residual(Sequential(*conv(dim, hidden, 1, bias=bias), neuron, *conv(hidden, dim, 1, bias=bias), neuron))


def ssa_names(theirs: str, ours: str) -> Dict[str, Names]:
    """SpikingJelly's names in ``self_attention``; it projects to queries, keys and values at once."""
    return {
        **projections(f"{theirs}.attn.qkv_conv_bn", [f"{ours}.0.body.0.{name}" for name in ("query", "key", "value")]),
        f"{theirs}.attn.proj_conv_bn.0": f"{ours}.0.body.2",
        f"{theirs}.attn.proj_conv_bn.1": f"{ours}.0.body.3",
    }


def qk_names(theirs: str, ours: str) -> Dict[str, Names]:
    """SpikingJelly's names in ``qk_attention``; it projects to queries and keys at once."""
    return {
        **projections(f"{theirs}.attn.qk_conv_bn", [f"{ours}.0.body.0.{name}" for name in ("gate", "body")]),
        f"{theirs}.attn.proj_conv_bn.0": f"{ours}.0.body.1",
        f"{theirs}.attn.proj_conv_bn.1": f"{ours}.0.body.2",
    }


def projections(theirs: str, ours: List[str]) -> Dict[str, Names]:
    """Names of a convolution and its batch norm, whose channels are those of several here, one after the other."""
    return {f"{theirs}.{i}": tuple(f"{name}.{i}" for name in ours) for i in (0, 1)}

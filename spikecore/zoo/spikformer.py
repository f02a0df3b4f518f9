"""Spikformer: patches by convolutions, then blocks of spiking self-attention."""

from __future__ import annotations

from typing import List

from spikecore import GlobalAvgPool, Residual, Sequential
from spikecore.api.neurons.stepper import Stepper
from spikecore.arguments import Size, checked
from spikecore.base import Layer
from spikecore.zoo.card import Card
from spikecore.zoo.transformer_parts import (
    ATTENTION_TAU_2,
    TAU_2,
    conv,
    dense,
    feed_forward,
    hidden_channels,
    patch_stages,
    self_attention,
    ssa_names,
)


@checked
def spikformer(
    depth: Size = 8,
    dim: Size = 512,
    num_heads: Size = 8,
    num_classes: Size = 1000,
    in_channels: Size = 3,
    patch_size: Size = 16,
    mlp_ratio: float = 4.0,
    neuron: Stepper = TAU_2,
    attention_neuron: Stepper = ATTENTION_TAU_2,
) -> Sequential:
    """Spikformer: a transformer whose queries, keys and values are spikes, without a softmax.

    "Spikformer-8-512" has depth 8 and dim 512. The paper's networks for CIFAR are ``spikformer(4, 384, 12, 10,
    patch_size=4)``. Shortcuts add spikes, so that blocks also see 2, 3, and so on.

    Args:
        depth: number of blocks; default 8.
        dim: channels of a token, divisible by 8 and by ``num_heads``; default 512.
        num_heads: heads of the attention; default 8.
        num_classes: outputs of the dense layer; default 1000.
        in_channels: channels of a sample; default 3.
        patch_size: positions of the image along each side that become a token: 1, 2, 4, 8 or 16 (the default). 16 pools
            in all four stages of the patch embedding, 4 in the last two.
        mlp_ratio: hidden channels of the feed-forward part, as a multiple of ``dim``; default 4.
        neuron: the neuron of all layers but those behind attention; default that of SpikingJelly's module, with a time
            constant of 2 steps.
        attention_neuron: the neuron behind attention; default the same with half the threshold.

    Returns:
        A ``Sequential`` for samples of shape (in_channels, height, width); its outputs are the numbers (num_classes,)
        of a dense layer at each step.

    Raises:
        ValueError: dim is not divisible by 8; patch_size is something else; mlp_ratio leaves no hidden channel.

    Source: Zhou et al., Spikformer: when spiking neural network meets transformer, ICLR 2023.
    """
    stages = patch_stages("spikformer", in_channels, dim, patch_size)
    stem: List[Layer] = [Sequential(*conv(ins, outs, 3), *pool, neuron) for ins, outs, pool in stages]
    stem.append(Residual(Sequential(*conv(dim, dim, 3), neuron)))  # relative positions
    hidden = hidden_channels("spikformer", dim, mlp_ratio)
    blocks = (
        Sequential(self_attention(dim, num_heads, neuron, attention_neuron), feed_forward(dim, hidden, neuron))
        for _ in range(depth)
    )
    return Sequential(Sequential(*stem), Sequential(*blocks), Sequential(GlobalAvgPool(), dense(dim, num_classes)))


SPIKFORMER = Card(
    spikformer,
    "Zhou et al., Spikformer: when spiking neural network meets transformer, ICLR",
    2023,
    "https://arxiv.org/abs/2209.15425",
    sample=(3, 224, 224),
    num_steps=4,
    spikingjelly={
        "patch_embed.stages.{i}.conv_bn.block.0": "0.{i}.0",
        "patch_embed.stages.{i}.conv_bn.block.1": "0.{i}.1",
        "patch_embed.positional_encoding.conv_bn.block.0": "0.4.body.0",
        "patch_embed.positional_encoding.conv_bn.block.1": "0.4.body.1",
        **ssa_names("blocks.{i}", "1.{i}"),
        "blocks.{i}.mlp.fc1.0": "1.{i}.1.body.0",
        "blocks.{i}.mlp.fc1.1": "1.{i}.1.body.1",
        "blocks.{i}.mlp.fc2.0": "1.{i}.1.body.3",
        "blocks.{i}.mlp.fc2.1": "1.{i}.1.body.4",
        "head": "2.1",
    },
)

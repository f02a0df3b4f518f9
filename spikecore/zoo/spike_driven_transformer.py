"""Spike-driven transformer: shortcuts of membranes, attention of masks and sums."""

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
    patch_stages,
    spike_driven_attention,
)


@checked
def spike_driven_transformer(
    depth: Size = 8,
    dim: Size = 512,
    num_classes: Size = 1000,
    in_channels: Size = 3,
    patch_size: Size = 16,
    mlp_ratio: float = 4.0,
    neuron: Stepper = TAU_2,
    attention_neuron: Stepper = ATTENTION_TAU_2,
) -> Sequential:
    """Spike-driven transformer (version 1): every product has a spike as a factor, so that no multiplication is left.

    "Spike-driven Transformer-8-512" has depth 8 and dim 512. Shortcuts add membranes, before the neurons. Attention
    multiplies no matrices and does not depend on a number of heads.

    Args:
        depth: number of blocks; default 8.
        dim: channels of a token, divisible by 8; default 512.
        num_classes: outputs of the dense layer; default 1000.
        in_channels: channels of a sample; default 3.
        patch_size: positions of the image along each side that become a token: 1, 2, 4, 8 or 16 (the default). 16 pools
            in all four stages of the patch embedding (SpikingJelly's ``pooling_stat="1111"``), 4 in the last two
            ("0011").
        mlp_ratio: hidden channels of the feed-forward part, as a multiple of ``dim``, greater than 1; default 4.
        neuron: the neuron of all layers but those of attention; default that of SpikingJelly's module, with a time
            constant of 2 steps. Its reset has no gradient, as in the paper's code; SpikingJelly's module has one unless
            told ``detach_reset=True``.
        attention_neuron: the neuron of attention; default the same with half the threshold.

    Returns:
        A ``Sequential`` for samples of shape (in_channels, height, width); its outputs are the numbers (num_classes,)
        of a dense layer at each step. SpikingJelly's module returns their mean over time.

    Raises:
        ValueError: dim is not divisible by 8; patch_size is something else; mlp_ratio is not greater than 1 (the
            paper's code has another shortcut in its place then).

    Source: Yao et al., Spike-driven transformer, NeurIPS 2023.
    """
    if int(dim * mlp_ratio) <= dim:
        raise ValueError(f"spike_driven_transformer: mlp_ratio={mlp_ratio!r} must be > 1")
    stem: List[Layer] = []
    for ins, outs, pool in patch_stages("spike_driven_transformer", in_channels, dim, patch_size):
        fires = [] if outs == dim else [neuron]  # the last stage gives membranes
        stem.append(Sequential(*conv(ins, outs, 3, bias=True), *fires, *pool))
    stem.append(Residual(Sequential(neuron, *conv(dim, dim, 3))))  # relative positions
    hidden = int(dim * mlp_ratio)
    body = (neuron, *conv(dim, hidden, 1, bias=True), neuron, *conv(hidden, dim, 1, bias=True))
    blocks = (
        Sequential(spike_driven_attention(dim, neuron, attention_neuron), Residual(Sequential(*body)))
        for _ in range(depth)
    )
    head = Sequential(GlobalAvgPool(), neuron, dense(dim, num_classes))
    return Sequential(Sequential(*stem), Sequential(*blocks), head)


_ATTENTION = {"q": "1.body", "k": "1.gate.0.0", "v": "1.gate.0.1"}
SPIKE_DRIVEN = Card(
    spike_driven_transformer,
    "Yao et al., Spike-driven transformer, NeurIPS",
    2023,
    "https://arxiv.org/abs/2307.01694",
    sample=(3, 224, 224),
    num_steps=4,
    spikingjelly={
        "patch_embed.stages.{i}.0": "0.{i}.0",
        "patch_embed.stages.{i}.1": "0.{i}.1",
        "patch_embed.final_stage.0": "0.3.0",
        "patch_embed.final_stage.1": "0.3.1",
        "patch_embed.rpe_conv": "0.4.body.1",
        "patch_embed.rpe_bn": "0.4.body.2",
        **{f"blocks.{{i}}.attn.{theirs}_conv": f"1.{{i}}.0.body.{ours}.0" for theirs, ours in _ATTENTION.items()},
        **{f"blocks.{{i}}.attn.{theirs}_bn": f"1.{{i}}.0.body.{ours}.1" for theirs, ours in _ATTENTION.items()},
        "blocks.{i}.attn.proj_conv": "1.{i}.0.body.2",
        "blocks.{i}.attn.proj_bn": "1.{i}.0.body.3",
        "blocks.{i}.mlp.fc1": "1.{i}.1.body.1",
        "blocks.{i}.mlp.bn1": "1.{i}.1.body.2",
        "blocks.{i}.mlp.fc2": "1.{i}.1.body.4",
        "blocks.{i}.mlp.bn2": "1.{i}.1.body.5",
        "head": "2.2",
    },
)

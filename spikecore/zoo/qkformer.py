"""QKFormer: three stages of patches, the first two with Q-K attention, the last with spiking self-attention."""

from __future__ import annotations

from typing import Dict, Sequence, Tuple, get_args

from spikecore import GlobalAvgPool, Residual, Sequential
from spikecore.api.neurons.stepper import Stepper
from spikecore.arguments import Size, checked, unknown
from spikecore.base import Layer
from spikecore.zoo.card import Card, Names
from spikecore.zoo.transformer_parts import (
    ATTENTION_TAU_2,
    POOL,
    TAU_2,
    Over,
    conv,
    dense,
    feed_forward,
    hidden_channels,
    qk_attention,
    qk_names,
    self_attention,
    ssa_names,
)


@checked
def qkformer(
    depths: Tuple[int, ...] = (1, 2, 7),
    dim: Size = 384,
    num_heads: Tuple[int, ...] = (6, 6, 6),
    num_classes: Size = 1000,
    in_channels: Size = 3,
    mlp_ratio: float = 4.0,
    over: Over = "token",
    neuron: Stepper = TAU_2,
    attention_neuron: Stepper = ATTENTION_TAU_2,
) -> Sequential:
    """QKFormer: a hierarchical spiking transformer; Q-K attention costs as much as there are tokens.

    "HST-10-384" has depths (1, 2, 7) and dim 384, the default. Tokens are patches of 4 x 4 in the first stage, 8 x 8 in
    the second and 16 x 16 in the third.

    Args:
        depths: number of blocks in each of the three stages; default (1, 2, 7).
        dim: channels of a token in the third stage, divisible by 8; the others have a quarter and a half. Default 384.
        num_heads: heads of the attention in each stage; default (6, 6, 6). (SpikingJelly's ``QKFormer`` has (3, 6, 6)
            unless told otherwise, its ``qkformer_10_384`` these.)
        num_classes: outputs of the dense layer; default 1000.
        in_channels: channels of a sample; default 3.
        mlp_ratio: hidden channels of the feed-forward part, as a multiple of its tokens' channels; default 4.
        over: "token" (the default): queries decide for each head which tokens pass; "channel": which channels.
        neuron: the neuron of all layers but those of attention; default that of SpikingJelly's module, with a time
            constant of 2 steps. Its reset has no gradient, as in the paper's code; SpikingJelly's module has one unless
            told ``detach_reset=True``.
        attention_neuron: the neuron of attention; default the same with half the threshold.

    Returns:
        A ``Sequential`` for samples of shape (in_channels, height, width); its outputs are the numbers (num_classes,)
        of a dense layer at each step. SpikingJelly's module returns their mean over time.

    Raises:
        ValueError: depths or num_heads has not three entries; dim is not divisible by 8; over is something else;
            mlp_ratio leaves no hidden channel.

    Source: Zhou et al., QKFormer: hierarchical spiking transformer using Q-K attention, NeurIPS 2024.
    """
    for name, given in (("depths", depths), ("num_heads", num_heads)):
        if len(given) != 3 or min(given) < 1:
            raise ValueError(f"qkformer: {name}={given!r} must be three ints >= 1, one for each stage")
    if dim % 8:
        raise ValueError(f"qkformer: dim={dim} must be divisible by 8, for the stages")
    if over not in get_args(Over):
        raise ValueError(f"qkformer: {unknown('over', over, get_args(Over))}")
    dims = (dim // 4, dim // 2, dim)

    def shortcut(ins: int, outs: int) -> Sequential:
        return Sequential(*conv(ins, outs, 1, 2, bias=True), neuron)

    def embed(ins: int, outs: int) -> Residual:
        body = (*conv(ins, outs, 3, bias=True), POOL, neuron, *conv(outs, outs, 3, bias=True), neuron)
        return Residual(Sequential(*body), shortcut(ins, outs))

    def block(stage: int) -> Sequential:
        width, heads = dims[stage], num_heads[stage]
        attention = (
            self_attention(width, heads, neuron, attention_neuron)
            if stage == 2
            else qk_attention(width, heads, over, neuron, attention_neuron)
        )
        hidden = hidden_channels("qkformer", width, mlp_ratio)
        return Sequential(attention, feed_forward(width, hidden, neuron, bias=True))

    half = dims[0] // 2
    first = Sequential(*conv(in_channels, half, 3, bias=True), POOL, neuron, embed(half, dims[0]))
    embeds: Sequence[Layer] = (first, embed(dims[0], dims[1]), embed(dims[1], dims[2]))
    stages = (
        layer
        for stage in range(3)
        for layer in (embeds[stage], Sequential(*(block(stage) for _ in range(depths[stage]))))
    )
    return Sequential(*stages, Sequential(GlobalAvgPool(), dense(dim, num_classes)))


def _embed_names(theirs: str, ours: str, numbers: Tuple[int, int]) -> Dict[str, Names]:
    return {
        **{f"{theirs}.{kind}{n}": f"{ours}.body.{place + i}"
           for n, place in zip(numbers, (0, 4)) for i, kind in enumerate(("conv", "bn"))},
        **{f"{theirs}.shortcut.{i}": f"{ours}.shortcut.{i}" for i in (0, 1)},
    }  # fmt: skip


def _block_names(stage: int) -> Dict[str, Names]:
    theirs, ours = f"stage{stage + 1}.{{i}}", f"{2 * stage + 1}.{{i}}"
    dense_layers = {"fc1": 0, "bn1": 1, "fc2": 3, "bn2": 4}
    return {
        **(ssa_names if stage == 2 else qk_names)(theirs, ours),
        **{f"{theirs}.mlp.{name}": f"{ours}.1.body.{place}" for name, place in dense_layers.items()},
    }


QKFORMER = Card(
    qkformer,
    "Zhou et al., QKFormer: hierarchical spiking transformer using Q-K attention, NeurIPS",
    2024,
    "https://arxiv.org/abs/2403.16552",
    sample=(3, 224, 224),
    num_steps=4,
    spikingjelly={
        "patch_embed1.conv1": "0.0",
        "patch_embed1.bn1": "0.1",
        **_embed_names("patch_embed1", "0.4", (2, 3)),
        **_embed_names("patch_embed2", "2", (1, 2)),
        **_embed_names("patch_embed3", "4", (1, 2)),
        **_block_names(0),
        **_block_names(1),
        **_block_names(2),
        "head": "6.1",
    },
)

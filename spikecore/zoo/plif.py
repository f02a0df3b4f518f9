"""The networks of Fang et al. (2021): convolutions with neurons that learn their time constant."""

from __future__ import annotations

from typing import List, Tuple

from spikecore import PLIF, AvgPool1d, BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, Reshape, Sequential
from spikecore.api.core.sizes import is_size
from spikecore.api.neurons.stepper import Stepper
from spikecore.arguments import Size, checked
from spikecore.base import Layer
from spikecore.zoo.card import Card

LEARNING = PLIF(reset_delay=True)  # the reset is not differentiated


@checked
def plif_net(
    num_classes: Size = 10,
    in_channels: Size = 1,
    width: Size = 128,
    size: Size = 28,
    convolutions: Tuple[int, ...] = (1, 1),
    hidden: Size = 2048,
    votes: Size = 10,
    dropout: float = 0.5,
    neuron: Stepper = LEARNING,
) -> Sequential:
    """The networks of the paper on PLIF: convolutions that keep their width, two dense layers, and a vote.

    The defaults are those for MNIST and Fashion-MNIST. The paper's other networks:

        N-MNIST          in_channels=2, size=34
        CIFAR-10         in_channels=3, size=32, width=256, convolutions=(3, 3)
        CIFAR10-DVS      in_channels=2, size=128, convolutions=(1, 1, 1, 1), hidden=512
        DVS128 Gesture   num_classes=11, in_channels=2, size=128, convolutions=(1, 1, 1, 1, 1), hidden=512

    Args:
        num_classes: number of classes; default 10.
        in_channels: channels of a sample; default 1.
        width: channels of all convolutions; default 128.
        size: height and width of a sample; each pooling halves it, and at least 1 is left. Default 28.
        convolutions: number of convolutions before each pooling, at least 1 each; default (1, 1).
        hidden: neurons of the first dense layer; default 2048.
        votes: neurons per class of the second dense layer, whose mean is the output; default 10.
        dropout: probability in [0, 1) with which training drops inputs of the dense layers; default 0.5.
        neuron: the neuron of all layers; default ``PLIF(reset_delay=True)``.

    Returns:
        A ``Sequential`` for samples (in_channels, size, size). Its outputs are num_classes numbers in [0, 1] per step:
        the share of a class's neurons that fire.

    Raises:
        ValueError: ``convolutions`` has something else than numbers >= 1, ``size`` is too small for the poolings, or
            ``dropout`` is out of range.

    Source: Fang et al., Incorporating learnable membrane time constants to enhance learning of spiking neural networks,
    ICCV 2021.
    """
    if not convolutions or not all(is_size(depth, 1) for depth in convolutions):
        raise ValueError(f"plif_net: convolutions={convolutions!r} must be ints >= 1, one for each pooling")
    left = size >> len(convolutions)
    if not left:
        least = 1 << len(convolutions)
        raise ValueError(f"plif_net: size={size} must be at least {least}: each of the poolings halves it")
    features: List[Layer] = []
    channels = in_channels
    for depth in convolutions:
        for _ in range(depth):
            features += [Conv2d(channels, width, 3, padding=1, bias=False), BatchNorm2d(width), neuron]
            channels = width
        features.append(MaxPool2d(2))
    return Sequential(
        *features,
        Flatten(),
        Dropout(dropout),
        Linear(width * left * left, hidden),
        neuron,
        Dropout(dropout),
        Linear(hidden, votes * num_classes),
        neuron,
        Reshape((1, votes * num_classes)),
        AvgPool1d(votes),
        Flatten(),
    )


PLIF_NET = Card(
    plif_net,
    "Fang et al., Incorporating learnable membrane time constants to enhance learning of spiking neural networks, ICCV",
    2021,
    "https://arxiv.org/abs/2007.05785",
    sample=(1, 28, 28),
    num_steps=8,
    spikingjelly={"conv_fc.{i}": "{i}"},
)

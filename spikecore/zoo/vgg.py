"""Spiking VGG: convolutions and pooling in a row, and three dense layers."""

from __future__ import annotations

from typing import Dict, List, Tuple

from spikecore import BatchNorm2d, Conv2d, Dropout, Flatten, Linear, MaxPool2d, Sequential
from spikecore.api.neurons.stepper import Stepper
from spikecore.arguments import Size, checked
from spikecore.base import Layer
from spikecore.init import constant, normal
from spikecore.zoo.card import Card
from spikecore.zoo.convolutional_parts import HARD_IF, he_normal

STAGES = (1, 2, 4, 8, 8)  # channels of the convolutions between two poolings, as multiples of the first
ELEVEN, SIXTEEN = (1, 1, 2, 2, 2), (2, 2, 3, 3, 3)  # convolutions of each stage


def _vgg(
    depths: Tuple[int, ...], num_classes: int, in_channels: int, width: int, size: int, hidden: int, batch_norm: bool,
    dropout: float, neuron: Layer,
) -> Sequential:  # fmt: skip
    """A VGG of these stages; see ``spiking_vgg11``.

    Raises:
        ValueError: ``size`` is no multiple of 32.
    """
    if size % 32:
        raise ValueError(f"size={size} must be a multiple of 32, since maps are halved five times")
    features: List[Layer] = []
    channels = in_channels
    for depth, factor in zip(depths, STAGES):
        for _ in range(depth):
            outs = width * factor
            conv = Conv2d(channels, outs, 3, padding=1, weight_init=he_normal(outs, 3), bias_init=constant(0.0))
            features += [conv, BatchNorm2d(outs), neuron] if batch_norm else [conv, neuron]
            channels = outs
        features.append(MaxPool2d(2))
    classifier = Sequential(
        _dense(channels * (size // 32) ** 2, hidden),
        neuron,
        Dropout(dropout),
        _dense(hidden, hidden),
        neuron,
        Dropout(dropout),
        _dense(hidden, num_classes),
    )
    return Sequential(Sequential(*features), Flatten(), classifier)


def _dense(ins: int, outs: int) -> Linear:
    return Linear(ins, outs, weight_init=normal(std=0.01), bias_init=constant(0.0))


@checked
def spiking_vgg11(
    num_classes: Size = 1000,
    in_channels: Size = 3,
    width: Size = 64,
    size: Size = 224,
    hidden: Size = 4096,
    batch_norm: bool = True,
    dropout: float = 0.5,
    neuron: Stepper = HARD_IF,
) -> Sequential:
    """Spiking VGG-11: 8 convolutions with pooling, and 3 dense layers.

    Args:
        num_classes: outputs of the last layer; default 1000.
        in_channels: channels of a sample; default 3.
        width: channels of the first convolution; later ones have 2, 4 and 8 times as many. Default 64.
        size: height and width of a sample, a multiple of 32; default 224.
        hidden: neurons of the first two dense layers; default 4096.
        batch_norm: whether a batch norm follows each convolution; default True.
        dropout: probability in [0, 1) with which training drops spikes of the first two dense layers; default 0.5.
        neuron: the neuron of all layers; default ``IF(reset_mechanism="zero")``.

    Returns:
        A ``Sequential`` for samples (in_channels, size, size). Its outputs are num_classes numbers per step, of the
        last dense layer.

    Raises:
        ValueError: ``size`` is no multiple of 32, or ``dropout`` is out of range.

    Source: Simonyan & Zisserman, Very deep convolutional networks for large-scale image recognition, ICLR 2015; with
    spikes, Sengupta et al., Going deeper in spiking neural networks: VGG and residual architectures, 2019.
    """
    return _vgg(ELEVEN, num_classes, in_channels, width, size, hidden, batch_norm, dropout, neuron)


@checked
def spiking_vgg16(
    num_classes: Size = 1000,
    in_channels: Size = 3,
    width: Size = 64,
    size: Size = 224,
    hidden: Size = 4096,
    batch_norm: bool = True,
    dropout: float = 0.5,
    neuron: Stepper = HARD_IF,
) -> Sequential:
    """Spiking VGG-16: 13 convolutions with pooling, and 3 dense layers.

    Args:
        num_classes, in_channels, width, size, hidden, batch_norm, dropout, neuron: as in ``spiking_vgg11``.

    Returns:
        A ``Sequential``, as ``spiking_vgg11``.

    Raises:
        ValueError: ``size`` is no multiple of 32, or ``dropout`` is out of range.

    Source: Simonyan & Zisserman, Very deep convolutional networks for large-scale image recognition, ICLR 2015; with
    spikes, Sengupta et al., Going deeper in spiking neural networks: VGG and residual architectures, 2019.
    """
    return _vgg(SIXTEEN, num_classes, in_channels, width, size, hidden, batch_norm, dropout, neuron)


_NAMES: Dict[str, str] = {"features.{i}": "0.{i}", "classifier.{i}": "2.{i}"}
VGG = tuple(
    Card(
        build,
        "Sengupta et al., Going deeper in spiking neural networks: VGG and residual architectures, Front. Neurosci.",
        2019,
        "https://doi.org/10.3389/fnins.2019.00095",
        sample=(3, 224, 224),
        num_steps=4,
        spikingjelly=_NAMES,
    )
    for build in (spiking_vgg11, spiking_vgg16)
)

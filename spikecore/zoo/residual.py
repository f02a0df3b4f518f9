"""Residual networks: SEW-ResNet, Spiking ResNet and MS-ResNet. They differ in where a block's neurons are.

    SEW-ResNet       y = join(shortcut(x), neuron(body(x)))      outputs of neurons are joined
    Spiking ResNet   y = neuron(shortcut(x) + body(x))           currents are added, then a neuron fires
    MS-ResNet        y = shortcut(x) + body(neuron(x))           currents are added; the way across blocks has no neuron

A network is ``Sequential(stem, stage, stage, stage, stage, head)``, a stage a ``Sequential`` of blocks.
"""

from __future__ import annotations

from functools import partial
from typing import Callable, Dict, List, Literal, Optional, Sequence, Tuple, get_args

from spikecore import (
    BatchNorm2d,
    Conv2d,
    GlobalAvgPool,
    Leaky,
    Linear,
    MaxPool2d,
    Residual,
    Sequential,
    ThresholdDependentBatchNorm2d,
)
from spikecore.api.layers.joins import Join
from spikecore.api.neurons.stepper import Stepper
from spikecore.arguments import Size, checked, unknown
from spikecore.base import Layer
from spikecore.surrogate import rectangular
from spikecore.zoo.card import Card
from spikecore.zoo.convolutional_parts import HARD_IF, he_normal

Stem = Literal["imagenet", "cifar"]
Normed = Tuple[Layer, Layer]  # a convolution and its batch norm
Body = Callable[[int, int, int], List[Normed]]  # channels, width, stride -> the convolutions of a block
Block = Callable[[List[Normed], Optional[Normed]], Layer]  # these, and the convolution of its shortcut -> the block
EIGHTEEN, THIRTY_FOUR = (2, 2, 2, 2), (3, 4, 6, 3)  # blocks of each stage; ResNet-50 has those of ResNet-34
MS_LEAKY = Leaky(beta=0.25, threshold=0.5, reset_mechanism="zero", surrogate=rectangular(2.0))


def conv(ins: int, outs: int, kernel: int, stride: int = 1) -> Normed:
    """A convolution without bias that keeps the size of maps except for its stride, and its batch norm."""
    weights = he_normal(outs, kernel)
    return Conv2d(ins, outs, kernel, stride, kernel // 2, bias=False, weight_init=weights), BatchNorm2d(outs)


def threshold_conv(ins: int, outs: int, kernel: int, stride: int = 1) -> Normed:
    """A convolution without bias and its batch norm, whose weight begins at the threshold of ``MS_LEAKY``."""
    plain = Conv2d(ins, outs, kernel, stride, kernel // 2, bias=False)
    return plain, ThresholdDependentBatchNorm2d(outs, threshold=0.5)


def basic(ins: int, width: int, stride: int, conv: Callable[..., Normed] = conv) -> List[Normed]:
    """The body of a block of two convolutions."""
    return [conv(ins, width, 3, stride), conv(width, width, 3)]


def bottleneck(ins: int, width: int, stride: int) -> List[Normed]:
    """The body of a block of three convolutions, the last of which has four times as many channels."""
    return [conv(ins, width, 1), conv(width, width, 3, stride), conv(width, 4 * width, 1)]


def first_kernel(stem: str) -> Tuple[int, int]:
    """Size and stride of the first convolution.

    Raises:
        ValueError: ``stem`` is no stem.
    """
    if stem not in get_args(Stem):
        raise ValueError(unknown("stem", stem, get_args(Stem)))
    return (3, 1) if stem == "cifar" else (7, 2)


def stages(
    block: Block, body: Body, depths: Sequence[int], width: int, shortcut: Callable[..., Normed] = conv, stride: int = 1
) -> Tuple[List[Layer], int]:
    """The stages, and the number of channels that the last one gives.

    Args:
        block: makes a block of its convolutions.
        body: makes the convolutions.
        depths: how many blocks each stage has.
        width: of the first stage; each further one has twice that, and a stride of 2.
        shortcut: makes the convolution of a shortcut, where a block changes the shape.
        stride: of the first stage.
    """
    channels = width
    made: List[Layer] = []
    for i, depth in enumerate(depths):
        blocks = []
        for step in (2 if i else stride, *[1] * (depth - 1)):
            convolutions = body(channels, width * 2**i, step)
            outs = convolutions[-1][0].out_channels  # type: ignore[attr-defined]
            changes = step != 1 or outs != channels
            blocks.append(block(convolutions, shortcut(channels, outs, 1, step) if changes else None))
            channels = outs
        made.append(Sequential(*blocks))
    return made, channels


def fired(convolutions: Sequence[Normed], neuron: Layer) -> List[Layer]:
    """Convolutions with a neuron behind each."""
    return [layer for normed in convolutions for layer in (*normed, neuron)]


def _resnet(
    block: Block, body: Body, depths: Sequence[int], num_classes: int, in_channels: int, width: int, stem: Stem,
    neuron: Layer,
) -> Sequential:  # fmt: skip
    """A network with neurons in its stem and at the end of its blocks; see ``sew_resnet18``."""
    first = [*conv(in_channels, width, *first_kernel(stem)), neuron]
    if stem == "imagenet":
        first.append(MaxPool2d(3, 2, 1))
    made, channels = stages(block, body, depths, width)
    return Sequential(Sequential(*first), *made, Sequential(GlobalAvgPool(), Linear(channels, num_classes)))


def _sew_block(join: Join, neuron: Layer) -> Block:
    """Makes the blocks of a SEW-ResNet; see ``sew_resnet18``."""

    def block(convolutions: List[Normed], shortcut: Optional[Normed]) -> Layer:
        aside = None if shortcut is None else Sequential(*shortcut, neuron)
        return Residual(Sequential(*fired(convolutions, neuron)), aside, join)

    return block


@checked
def sew_resnet18(
    num_classes: Size = 1000,
    in_channels: Size = 3,
    width: Size = 64,
    stem: Stem = "imagenet",
    join: Join = "add",
    neuron: Stepper = HARD_IF,
) -> Sequential:
    """SEW-ResNet-18: residual blocks whose shortcuts join spikes, 17 convolutions deep.

    Args:
        num_classes: outputs of the last layer; default 1000.
        in_channels: channels of a sample; default 3.
        width: channels of the first stage; the others have 2, 4 and 8 times as many. Default 64.
        stem: "imagenet", the default: a 7 x 7 convolution and pooling, after which maps are four times smaller.
            "cifar": a 3 x 3 convolution that keeps their size, for samples of about 32 x 32.
        join: how a block's spikes and those of its shortcut are joined, see ``Residual``: "add", the default, "and" or
            "iand".
        neuron: the neuron of all layers; default ``IF(reset_mechanism="zero")``.

    Returns:
        A ``Sequential`` for samples (in_channels, height, width) of any size. Its outputs are num_classes numbers per
        step, of a dense layer behind the mean over the last maps.

    Raises:
        ValueError: ``stem`` or ``join`` is something else.

    Source: Fang et al., Deep residual learning in spiking neural networks, NeurIPS 2021.
    """
    return _resnet(_sew_block(join, neuron), basic, EIGHTEEN, num_classes, in_channels, width, stem, neuron)


@checked
def sew_resnet34(
    num_classes: Size = 1000,
    in_channels: Size = 3,
    width: Size = 64,
    stem: Stem = "imagenet",
    join: Join = "add",
    neuron: Stepper = HARD_IF,
) -> Sequential:
    """SEW-ResNet-34: as SEW-ResNet-18, 33 convolutions deep.

    Args:
        num_classes, in_channels, width, stem, join, neuron: as in ``sew_resnet18``.

    Returns:
        A ``Sequential``, as ``sew_resnet18``.

    Raises:
        ValueError: ``stem`` or ``join`` is something else.

    Source: Fang et al., Deep residual learning in spiking neural networks, NeurIPS 2021.
    """
    return _resnet(_sew_block(join, neuron), basic, THIRTY_FOUR, num_classes, in_channels, width, stem, neuron)


@checked
def sew_resnet50(
    num_classes: Size = 1000,
    in_channels: Size = 3,
    width: Size = 64,
    stem: Stem = "imagenet",
    join: Join = "add",
    neuron: Stepper = HARD_IF,
) -> Sequential:
    """SEW-ResNet-50: blocks of three convolutions, the last of which has four times as many channels.

    Args:
        num_classes, in_channels, width, stem, join, neuron: as in ``sew_resnet18``. With "iand" the body is inverted,
            as in the paper; the blocks of SpikingJelly's ``sew_resnet50`` invert the shortcut.

    Returns:
        A ``Sequential``, as ``sew_resnet18``.

    Raises:
        ValueError: ``stem`` or ``join`` is something else.

    Source: Fang et al., Deep residual learning in spiking neural networks, NeurIPS 2021.
    """
    return _resnet(_sew_block(join, neuron), bottleneck, THIRTY_FOUR, num_classes, in_channels, width, stem, neuron)


@checked
def spiking_resnet18(
    num_classes: Size = 1000,
    in_channels: Size = 3,
    width: Size = 64,
    stem: Stem = "imagenet",
    neuron: Stepper = HARD_IF,
) -> Sequential:
    """Spiking ResNet-18: ResNet-18 with neurons instead of ReLUs, so that blocks add currents.

    Args:
        num_classes, in_channels, width, stem, neuron: as in ``sew_resnet18``.

    Returns:
        A ``Sequential``, as ``sew_resnet18``.

    Raises:
        ValueError: ``stem`` is something else.

    Source: He et al., Deep residual learning for image recognition, CVPR 2016; with spikes, the network that Fang et
    al., Deep residual learning in spiking neural networks, NeurIPS 2021, compare theirs with.
    """

    def block(convolutions: List[Normed], shortcut: Optional[Normed]) -> Layer:
        aside = None if shortcut is None else Sequential(*shortcut)
        return Sequential(Residual(Sequential(*fired(convolutions, neuron)[:-1]), aside), neuron)

    return _resnet(block, basic, EIGHTEEN, num_classes, in_channels, width, stem, neuron)


@checked
def ms_resnet18(
    num_classes: Size = 1000,
    in_channels: Size = 3,
    width: Size = 64,
    stem: Stem = "imagenet",
    neuron: Stepper = MS_LEAKY,
) -> Sequential:
    """MS-ResNet-18: membrane shortcuts, so that currents pass from block to block without a neuron between.

    The first stage has a stride of 2, too. Batch norms are threshold-dependent.

    Args:
        num_classes, in_channels, width: as in ``sew_resnet18``.
        stem: "imagenet", the default: a 7 x 7 convolution with a stride of 2. "cifar": a 3 x 3 convolution that keeps
            the size of maps.
        neuron: the neuron of all layers; default ``Leaky(beta=0.25, threshold=0.5, reset_mechanism="zero")`` with the
            surrogate ``rectangular(2)``.

    Returns:
        A ``Sequential``, as ``sew_resnet18``.

    Raises:
        ValueError: ``stem`` is something else.

    Source: Hu et al., Advancing spiking neural networks toward deep residual learning, IEEE TNNLS 2024.
    """

    def block(convolutions: List[Normed], shortcut: Optional[Normed]) -> Layer:
        body = Sequential(*(layer for normed in convolutions for layer in (neuron, *normed)))
        return Residual(body, None if shortcut is None else Sequential(*shortcut))

    first = Sequential(*threshold_conv(in_channels, width, *first_kernel(stem)))
    made, channels = stages(block, partial(basic, conv=threshold_conv), EIGHTEEN, width, threshold_conv, stride=2)
    return Sequential(first, *made, Sequential(neuron, GlobalAvgPool(), Linear(channels, num_classes)))


# ---- cards ---------------------------------------------------------------------------------------------------------


def _names(blocks: Dict[str, str], others: Dict[str, str]) -> Dict[str, str]:
    """SpikingJelly's names: those in each block, and the others."""
    there, here = "layer{stage}.{block}.", "{stage}.{block}."
    return {**others, **{there + theirs: here + ours for theirs, ours in blocks.items()}}


_OTHERS = {"conv1": "0.0", "bn1": "0.1", "sn1": "0.2", "fc": "5.1"}
_TWO = {"conv1": "body.0", "bn1": "body.1", "sn1": "body.2", "conv2": "body.3", "bn2": "body.4", "sn2": "body.5"}
_THREE = {**_TWO, "conv3": "body.6", "bn3": "body.7", "sn3": "body.8"}
_SHORTCUT = {"downsample.0": "shortcut.0", "downsample.1": "shortcut.1"}
_SPIKING_SHORTCUT = {**_SHORTCUT, "downsample_sn": "shortcut.2"}
_CURRENTS = {**{theirs: f"0.{ours}" for theirs, ours in {**_TWO, **_SHORTCUT}.items()}, "sn2": "1"}
_MS = {"spike1": "body.0", "conv1": "body.1", "bn1": "body.2", "spike2": "body.3", "conv2": "body.4", "bn2": "body.5"}
_FANG = "Fang et al., Deep residual learning in spiking neural networks, NeurIPS"
_LINK = "https://arxiv.org/abs/2102.04159"
_SAMPLE = (3, 224, 224)

RESIDUAL = (
    *(
        Card(build, _FANG, 2021, _LINK, _SAMPLE, 4, _names({**blocks, **_SPIKING_SHORTCUT}, _OTHERS))
        for build, blocks in ((sew_resnet18, _TWO), (sew_resnet34, _TWO), (sew_resnet50, _THREE))
    ),
    Card(spiking_resnet18, _FANG, 2021, _LINK, _SAMPLE, 4, _names(_CURRENTS, _OTHERS)),
    Card(
        ms_resnet18,
        "Hu et al., Advancing spiking neural networks toward deep residual learning, IEEE TNNLS",
        2024,
        "https://arxiv.org/abs/2112.08954",
        _SAMPLE,
        6,
        _names({**_MS, **_SHORTCUT}, {"stem.0": "0.0", "stem.1": "0.1", "head_lif": "5.0", "head": "5.2"}),
    ),
)

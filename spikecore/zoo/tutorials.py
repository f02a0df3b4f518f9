"""The networks of snnTorch's tutorials: dense and convolutional, for MNIST."""

from __future__ import annotations

from spikecore import Conv2d, Flatten, Leaky, Linear, MaxPool2d, Sequential
from spikecore.api.neurons.stepper import Stepper
from spikecore.arguments import Size, checked
from spikecore.surrogate import fast_sigmoid
from spikecore.zoo.card import Card

DENSE = Leaky(beta=0.95)
CONVOLUTIONAL = Leaky(beta=0.5, surrogate=fast_sigmoid(slope=25.0))
PAPER = "Eshraghian et al., Training spiking neural networks using lessons from deep learning, Proc. IEEE"
LINK = "https://doi.org/10.1109/JPROC.2023.3308088"


@checked
def dense_snn(
    in_features: Size = 784, hidden: Size = 1000, num_classes: Size = 10, neuron: Stepper = DENSE
) -> Sequential:
    """Two dense layers, each followed by neurons: the network of snnTorch's tutorial 5.

    Args:
        in_features: size of a sample, which is a vector; default 784.
        hidden: neurons of the first layer; default 1000.
        num_classes: neurons of the second layer, one per class; default 10.
        neuron: the neuron of both layers; default ``Leaky(beta=0.95)``.

    Returns:
        A ``Sequential`` for samples of shape (in_features,); its outputs are spikes (num_classes,).

    Source: Eshraghian et al., Training spiking neural networks using lessons from deep learning, 2023.
    """
    return Sequential(Linear(in_features, hidden), neuron, Linear(hidden, num_classes), neuron)


@checked
def conv_snn(
    num_classes: Size = 10, in_channels: Size = 1, width: Size = 12, size: Size = 28, neuron: Stepper = CONVOLUTIONAL
) -> Sequential:
    """Two convolutions with pooling and a dense layer: the network of snnTorch's tutorial 6.

    Args:
        num_classes: neurons of the last layer, one per class; default 10.
        in_channels: channels of a sample; default 1.
        width: channels of the first convolution; the second has 16 / 3 times as many; default 12.
        size: height and width of a sample, at least 16; default 28.
        neuron: the neuron of all layers; default ``Leaky(beta=0.5)`` with ``surrogate.fast_sigmoid(25)``.

    Returns:
        A ``Sequential`` for samples of shape (in_channels, size, size); its outputs are spikes (num_classes,).

    Raises:
        ValueError: ``size`` is too small.

    Source: Eshraghian et al., Training spiking neural networks using lessons from deep learning, 2023.
    """
    if size < 16:
        raise ValueError(f"conv_snn: size={size} must be at least 16: two convolutions and two poolings leave nothing")
    second, left = 16 * width // 3, ((size - 4) // 2 - 4) // 2
    return Sequential(
        Conv2d(in_channels, width, 5),
        MaxPool2d(2),
        neuron,
        Conv2d(width, second, 5),
        MaxPool2d(2),
        neuron,
        Flatten(),
        Linear(second * left * left, num_classes),
        neuron,
    )


TUTORIALS = (
    Card(dense_snn, PAPER, 2023, LINK, sample=(784,), num_steps=25),
    Card(conv_snn, PAPER, 2023, LINK, sample=(1, 28, 28), num_steps=50),
)

"""The networks of Hammouamri et al. (2024): dense layers whose synapses learn their delays."""

from __future__ import annotations

from typing import Any, Dict, List, Optional, Tuple

from spikecore import LI, BatchNorm1d, DelayedLinear, Dropout, Leaky, Sequential
from spikecore.api.core.sizes import is_size
from spikecore.api.neurons.stepper import Stepper
from spikecore.arguments import Size, checked
from spikecore.base import Layer
from spikecore.init import kaiming_uniform
from spikecore.surrogate import atan
from spikecore.zoo.card import Card

BETA = 0.005  # 1 - 10 / 10.05: a time constant of 10.05 ms in steps of 10 ms, so that delays are all the memory
SHORT = Leaky(beta=BETA, reset_mechanism="zero", surrogate=atan(5.0))
READOUT = LI(beta=BETA)


@checked
def delay_snn(
    in_features: Size = 140,
    hidden: Tuple[int, ...] = (256, 256),
    num_classes: Size = 20,
    max_delay: Size = 24,
    dropout: float = 0.4,
    anneal: Optional[Size] = None,
    neuron: Stepper = SHORT,
    readout: Stepper = READOUT,
) -> Sequential:
    """Dense layers whose synapses have delays that are learned, for speech and other sequences.

    The defaults are those for the Spiking Heidelberg Digits: 700 channels in 140 bins, steps of 10 ms, delays of up to
    240 ms. For Speech Commands the paper has three hidden layers of 512, ``hidden=(512, 512, 512)``.

    Delays need a learning rate of their own, ``groups=(sc.Group("*.delay", lr=0.1),)``, and after training
    ``sc.compression.round_delays`` makes them whole steps.

    Args:
        in_features: size of a sample at one step, which is a vector; default 140.
        hidden: neurons of each hidden layer; default (256, 256).
        num_classes: neurons of the last layer, one per class; default 20.
        max_delay: the longest possible delay in time steps; default 24.
        dropout: probability in [0, 1) with which training drops spikes of hidden layers; default 0.4.
        anneal: number of training batches in which Gaussian taps narrow from a width of ``max_delay / 2`` to 0.5 steps,
            in the paper a quarter of all batches; a delay then finds inputs that are far from it. None, the default:
            linear taps, which are those of rounded delays.
        neuron: the neuron of hidden layers; default the paper's, whose membrane forgets within a step:
            ``Leaky(beta=0.005, reset_mechanism="zero")`` with ``surrogate.atan(5)``.
        readout: the neuron of the last layer; default ``LI(beta=0.005)``, whose outputs are membranes.

    Returns:
        A ``Sequential`` for samples of shape (in_features,); its outputs are num_classes membranes per step.

    Raises:
        ValueError: ``hidden`` has something else than numbers >= 1, or ``dropout`` is out of range.

    Source: Hammouamri, Khalfaoui-Hassani & Masquelier, Learning delays in spiking neural networks using dilated
    convolutions with learnable spacings, ICLR 2024.

    Example:
        >>> net = zoo.delay_snn(20, (64, 64), 10, max_delay=10, anneal=1500)
        >>> optimizer = sc.AdamW(groups=(sc.Group("*.delay", lr=0.1, weight_decay=0.0),))
        >>> loss = functional.ce_membrane_loss()
        >>> sc.Model(net).fit(batches, loss=loss, optimizer=optimizer, epochs=25)
    """
    if not hidden or not all(is_size(size, 1) for size in hidden):
        raise ValueError(f"delay_snn: hidden={hidden!r} must be ints >= 1, one for each hidden layer")
    if not 0.0 <= dropout < 1.0:
        raise ValueError(f"delay_snn: dropout={dropout!r} must be in [0, 1)")
    taps: Dict[str, Any] = {"bias": False, "weight_init": kaiming_uniform()}
    if anneal is not None:
        taps.update(kernel="gaussian", sigma_start=max_delay / 2, anneal=anneal)
    layers: List[Layer] = []
    ins = in_features
    for outs in hidden:
        layers += [DelayedLinear(ins, outs, max_delay, **taps), BatchNorm1d(outs), neuron, Dropout(dropout)]
        ins = outs
    return Sequential(*layers, DelayedLinear(ins, num_classes, max_delay, **taps), readout)


DELAYS = Card(
    delay_snn,
    "Hammouamri et al., Learning delays in spiking neural networks using dilated convolutions with learnable spacings, "
    "ICLR",
    2024,
    "https://arxiv.org/abs/2306.17670",
    sample=(140,),
    num_steps=100,
)

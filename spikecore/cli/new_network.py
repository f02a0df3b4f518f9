"""The table ``[network]`` of a new run file, with the sizes that fit the data.

For images of 28 x 28 pixels in ten classes it writes, with a comment above that names other kinds of neurons::

    [network]
    layers = [
        "Flatten", # what has several axes becomes a vector
        { kind = "Linear", in_features = 784, out_features = 128 }, # weights, with bias
        { kind = "Leaky", beta = 0.9, threshold = 1.0 }, # membrane decay per step, in [0, 1]; firing threshold
        { kind = "Linear", in_features = 128, out_features = 10 },
        { kind = "Leaky", beta = 0.9, threshold = 1.0 }, # one neuron per class; the class with most spikes wins
    ]
"""

from __future__ import annotations

import inspect
import textwrap
from typing import Any, Dict, List

from spikecore.api.core.layer import shapes_of
from spikecore.cli.messages import ConfigError
from spikecore.cli.network_table import option_lines
from spikecore.cli.starts import Start
from spikecore.zoo import Card

WIDTH = 100
SMALL = 64  # height and width of images for which networks keep the size of maps longer


def comment(text: str) -> List[str]:
    """A text as lines of comments."""
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH)]


def layer_table(start: Start) -> List[str]:
    """Two dense layers of leaky neurons."""
    layers = [
        (f'{{ kind = "Linear", in_features = {start.features}, out_features = {start.hidden} }}', "weights, with bias"),
        ('{ kind = "Leaky", beta = 0.9, threshold = 1.0 }', "membrane decay per step, in [0, 1]; firing threshold"),
        (f'{{ kind = "Linear", in_features = {start.hidden}, out_features = {start.classes} }}', ""),
        ('{ kind = "Leaky", beta = 0.9, threshold = 1.0 }', "one neuron per class; the class with most spikes wins"),
    ]
    return [
        "[network]",
        *comment(
            'layers from input to output. Neurons: "Leaky", "Synaptic", "Alpha", "ALIF", "RLeaky", ... A learned value '
            'is { learn = 0.9 }, or { learn = 0.9, per = "neuron" }. Another surrogate gradient: surrogate = '
            '{ kind = "fast_sigmoid", slope = 25.0 }; the default is { kind = "atan", alpha = 2.0 }'
        ),
        "layers = [",
        *(['    "Flatten", # what has several axes becomes a vector'] if start.flatten else []),
        *(f"    {layer},{f' # {about}' if about else ''}" for layer, about in layers),
        "]",
    ]


def takes_vectors(card: Card) -> bool:
    """Whether an architecture takes samples (features,), not images."""
    return len(card.sample) == 1


def architecture_table(start: Start, card: Card) -> List[str]:
    """An architecture, with the options that the data decide.

    Raises:
        ConfigError: it does not take such samples.
    """
    flat = takes_vectors(card)
    sample = (start.features,) if flat and not start.flatten else start.image
    if not sample or len(sample) != len(card.sample):
        takes = "vectors" if flat else "images (channels, height, width)"
        raise ConfigError([f"--zoo {card.name}: takes {takes}, and the samples are none: {start.what}"])
    height, small = sample[-1], max(sample) <= SMALL
    fits = {
        "num_classes": start.classes,
        "in_features": start.features,
        "in_channels": sample[0],
        "size": height,
        **({"stem": "cifar", "patch_size": 4} if small else {}),
    }
    chosen: Dict[str, Any] = {
        name: value for name, value in fits.items() if name in inspect.signature(card.build).parameters
    }
    try:
        shapes_of(card.build(**chosen), sample)
    except ValueError as error:
        raise ConfigError([f"--zoo {card.name}: with samples of shape {sample}: {error}"]) from None
    return [
        *comment(
            f"an architecture of spikecore.zoo: {card.summary} `spikecore zoo` lists all, docs/zoo.md describes them. "
            'neuron may be any neuron, e.g. { kind = "Leaky", beta = 0.5 }'
        ),
        "[network.zoo]",
        *option_lines(card, chosen),
    ]

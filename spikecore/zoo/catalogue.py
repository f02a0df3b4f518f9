"""The architectures of the zoo: one tuple of cards, and how to look into it."""

from __future__ import annotations

from spikecore.arguments import checked, unknown
from spikecore.zoo.card import Card, Cards
from spikecore.zoo.delays import DELAYS
from spikecore.zoo.plif import PLIF_NET
from spikecore.zoo.qkformer import QKFORMER
from spikecore.zoo.residual import RESIDUAL
from spikecore.zoo.spike_driven_transformer import SPIKE_DRIVEN
from spikecore.zoo.spikformer import SPIKFORMER
from spikecore.zoo.tutorials import TUTORIALS
from spikecore.zoo.vgg import VGG

TRANSFORMERS = (SPIKFORMER, SPIKE_DRIVEN, QKFORMER)
CARDS = Cards((*TUTORIALS, PLIF_NET, *VGG, *RESIDUAL, *TRANSFORMERS, DELAYS))


def list() -> Cards:  # noqa: A001  (the name that users of other zoos look for)
    """All architectures; prints as a table.

    Returns:
        ``Cards``, a tuple of ``Card``.
    """
    return CARDS


@checked
def card(name: str) -> Card:
    """Facts about one architecture: paper, sizes, time steps, whose weights it takes.

    Args:
        name: name of the function, e.g. "sew_resnet18".

    Returns:
        ``Card``; prints as a table.

    Raises:
        ValueError: there is no such architecture.
    """
    by_name = {each.name: each for each in CARDS}
    if name not in by_name:
        raise ValueError(unknown("architecture", name, by_name))
    return by_name[name]

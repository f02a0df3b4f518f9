"""The command about architectures: ``zoo``."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import typer

from spikecore import zoo as architectures
from spikecore.arguments import unknown
from spikecore.cli.messages import ConfigError
from spikecore.cli.network_table import option_lines
from spikecore.cli.options import JSON, examples, show_json
from spikecore.zoo import Card


def architecture_names(incomplete: str) -> List[str]:
    """The names of architectures that begin with ``incomplete``, for the completion of a shell."""
    return [card.name for card in architectures.list() if card.name.startswith(incomplete)]


NAMES = typer.Argument(
    None,
    metavar="NAME",
    autocompletion=architecture_names,
    help="Architectures to describe at length. Default: all, in a line each.",
    show_default=False,
)


@examples(
    "spikecore zoo",
    "spikecore zoo sew_resnet18",
    "spikecore init fashion_mnist --zoo sew_resnet18",
    pages="“Architectures” (docs/zoo.md)",
)
def zoo(names: Optional[List[str]] = NAMES, as_json: bool = JSON) -> None:
    """List the architectures from papers.

    A run file names one: [network] zoo = "sew_resnet18". `spikecore zoo NAME` shows its options with their defaults, as
    a run file has them. `spikecore init DATASET --zoo NAME` writes a run file with it.
    """
    cards = [known(name) for name in names or ()] or list(architectures.list())
    if as_json:
        show_json([_told(card) for card in cards])
    elif names:
        print("\n\n".join(f"{card}\n\n[network.zoo]\n" + "\n".join(option_lines(card, {})) for card in cards))
    else:
        print(architectures.list())
        print("\n`spikecore zoo NAME` describes one, with its options.")


def known(name: str) -> Card:
    """The card of an architecture.

    Raises:
        ConfigError: there is none of this name.
    """
    by_name = {card.name: card for card in architectures.list()}
    if name not in by_name:
        raise ConfigError([unknown("architecture", name, by_name)])
    return by_name[name]


def _told(card: Card) -> Dict[str, Any]:
    """Facts about an architecture, for scripts."""
    own = ("name", "summary", "paper", "year", "link", "sample", "num_steps", "parameters", "operations")
    return {name: getattr(card, name) for name in own}

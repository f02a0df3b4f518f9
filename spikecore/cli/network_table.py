"""The table ``[network]`` of a run file: layers, or an architecture of ``spikecore.zoo`` with its options; its bits."""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Optional

from pydantic import ConfigDict, Field, model_validator

from spikecore import Sequential, zoo
from spikecore.api.neurons.stepper import Stepper
from spikecore.base import Layer
from spikecore.cli.quantize_table import Quantize
from spikecore.cli.schema import LAYER_MODELS, TYPES, AnyLayer, Kind, Section, fields_of, one_of, tagged
from spikecore.cli.toml_text import toml_text

NEURON_MODELS = tuple(model for model in LAYER_MODELS if issubclass(model.target, Stepper))  # type: ignore[arg-type]
TYPES[Stepper] = one_of(NEURON_MODELS, "kind", own=(Stepper,))


class Architecture(Kind):
    """A table that describes an architecture. Its model is built with that of ``NetworkTable``, which is faster."""

    model_config = ConfigDict(defer_build=True)


AnyArchitecture = tagged({card.name: card.build for card in zoo.list()}, base=Architecture)


def option_lines(card: zoo.Card, chosen: Dict[str, Any]) -> Iterator[str]:
    """An architecture with all its options, as the table ``[network.zoo]`` has them: those that are chosen first, the
    defaults of the others behind a #. TOML has no value for None, so a comment says it.
    """
    yield f"kind = {toml_text(card.name)}"
    for name, value in chosen.items():
        yield f"{name} = {toml_text(value)}"
    for name, (_, default) in fields_of(card.build).items():
        if name not in chosen:
            yield f"# {name}: not set by default" if default is None else f"#{name} = {toml_text(default)}"


class NetworkTable(Section):
    """The network, from input to output."""

    layers: Optional[List[AnyLayer]] = Field(
        None, min_length=1, description="a table {kind = 'Linear', ...} for each layer"
    )
    zoo: Optional[AnyArchitecture] = Field(  # type: ignore[valid-type]
        None, description="instead of layers: an architecture {kind = 'sew_resnet18', ...} with its options"
    )
    quantize: Optional[Quantize] = Field(None, description="which values have few bits; none: full precision")

    @model_validator(mode="after")
    def _one(self) -> NetworkTable:
        if (self.layers is None) == (self.zoo is None):
            has = "has neither layers nor zoo" if self.layers is None else "has layers and zoo: remove one of the two"
            raise ValueError(
                f"{has}; layers is a list of layers, zoo an architecture such as 'sew_resnet18', and `spikecore zoo` "
                "lists them"
            )
        if self.quantize is not None:
            self.make()  # names of layers to skip are known here only
        return self

    def make(self) -> Layer:
        """Build the network."""
        layers = (layer.make() for layer in self.layers or ())
        network: Any = Sequential(*layers) if self.zoo is None else self.zoo.make()
        return network if self.quantize is None else self.quantize.make(network)

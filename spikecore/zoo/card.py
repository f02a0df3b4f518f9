"""``Card``: what is known of an architecture, and ``Cards``, several of them as a table."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Callable, Dict, Mapping, Tuple, Union

from spikecore import Sequential
from spikecore.api.core.layer import Shape, shapes_of
from spikecore.api.core.sizes import sample_shape
from spikecore.api.core.tree import leaves
from spikecore.api.training.operations import operations
from spikecore.arguments import Checked, Size
from spikecore.printing import columns, table

Names = Union[str, Tuple[str, ...]]  # of one layer, or of several that divide its outputs


@dataclass(frozen=True, repr=False)
class Card(Checked):
    """Facts about one architecture of ``spikecore.zoo``.

    Args:
        build: the function that returns the network.
        paper: authors, title and place of the paper that describes it.
        year: of the paper.
        link: where the paper is.
        sample: shape of one sample, without time and batch, for which ``build()`` is made.
        num_steps: time steps of the paper's experiments.
        spikingjelly: for each layer with weights, its name in the state dict of SpikingJelly's module and its name
            here. ``{…}`` stands for a number, and the same one on both sides. Several names here: layers that divide
            the outputs of theirs among them, equally and in this order. Empty: SpikingJelly has no such module.

    Attributes:
        name: name of the function.
        summary: the first line of its documentation.
        parameters: number of entries of all parameters, for the default options.
        operations: products of a weight and an input per time step, for the default options and an input that is
            nowhere zero. Of spikes only those that are not zero cost an operation: ``functional.activity`` counts them.
    """

    build: Callable[..., Sequential]
    paper: str
    year: Size
    link: str
    sample: Shape
    num_steps: Size
    spikingjelly: Mapping[str, Names] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sample", sample_shape("Card: sample", self.sample))

    @property
    def name(self) -> str:
        return self.build.__name__

    @property
    def summary(self) -> str:
        return (self.build.__doc__ or "").partition("\n")[0]

    @cached_property
    def parameters(self) -> int:
        return sum(math.prod(x.shape) for _, x in leaves(shapes_of(self.build(), self.sample).params))

    @cached_property
    def operations(self) -> int:
        return operations(self.build(), self.sample)

    def _rows(self) -> Dict[str, str]:
        sizes = {
            "parameters": f"{self.parameters:,}",
            "operations per step": f"{self.operations:,}, if no input is zero",
        }
        weights = "spikecore.zoo.load_spikingjelly" if self.spikingjelly else "none known to spikecore"
        return {
            "architecture": self.summary,
            "paper": self.paper,
            "link": self.link,
            "sample": str(self.sample),
            "time steps": str(self.num_steps),
            **sizes,
            "SpikingJelly's weights": weights,
        }

    def __repr__(self) -> str:
        return columns([(f"zoo.{self.name}", ""), *self._rows().items()], left=2)

    def _repr_html_(self) -> str:
        return table(f"zoo.{self.name}", list(self._rows().items()))


class Cards(Tuple[Card, ...]):
    """Cards of architectures; they print as a table."""

    __slots__ = ()

    def _cells(self) -> Any:
        head = ("name", "year", "sample", "steps", "parameters", "paper")
        rows = [
            (card.name, str(card.year), str(card.sample), str(card.num_steps), f"{card.parameters:,}", card.paper)
            for card in self
        ]
        return head, rows

    def __repr__(self) -> str:
        head, rows = self._cells()
        return columns([head, *rows], left=len(head))

    def _repr_html_(self) -> str:
        head, rows = self._cells()
        return table("spikecore.zoo", rows, head)

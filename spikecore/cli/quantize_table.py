"""The table ``[network.quantize]`` of a run file: training in few bits."""

from __future__ import annotations

from typing import Any, List, Optional

from pydantic import Field
from typing_extensions import Literal

from spikecore.base import Layer
from spikecore.cli.schema import TYPES, Section
from spikecore.compression import FixedPoint, quantize

AnyFixedPoint: Any = TYPES[FixedPoint]


class Quantize(Section):
    """The values that have few bits, and how many."""

    weights: int = Field(8, ge=2, le=24, description="bits of the weights of connections")
    biases: int = Field(16, ge=2, le=24, description="bits of their biases")
    states: Optional[AnyFixedPoint] = Field(None, description="fixed point for states, {bits = 16, fraction = 8}")
    parameters: Optional[int] = Field(None, ge=2, le=24, description="bits of decays, thresholds, ...")
    inputs: Optional[AnyFixedPoint] = Field(None, description="fixed point for the inputs of connections")
    per: Literal["tensor", "channel"] = Field("tensor", description="what has a scale of its own")
    scale: Literal["max", "learned"] = Field("max", description="whether scales follow the largest weight or learn")
    power_of_two: bool = Field(True, description="whether scales are powers of two")
    skip: List[str] = Field([], description="names of layers that stay as they are, e.g. ['0']")

    def make(self, network: Layer) -> Layer:
        """The network in few bits."""
        options = {name: getattr(self, name) for name in type(self).model_fields}
        grids = {name: options[name].make() for name in ("states", "inputs") if options[name] is not None}
        return quantize(network, **{**options, **grids})

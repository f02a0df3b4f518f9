"""Grids that suit data and weights: ranges of inputs and states, scales of least error."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Dict, NamedTuple, Optional, Tuple, Union

from spikecore.api.core.host import float64, host
from spikecore.api.core.layer import Layer, Params, Result
from spikecore.api.functional.quantisers import LARGEST, SMALLEST, FixedPoint, ScaledInteger
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.batching import Encoder
from spikecore.api.training.visitor import Visitor
from spikecore.arguments import ArrayLike

if TYPE_CHECKING:
    from spikecore.api.training.model import Model

CANDIDATES = 6  # powers of two below the scale that clips nothing, or ...
PER_OCTAVE = 16  # ... so many scales per factor of two


class Range(NamedTuple):
    """The range of the values of an array, and whether they are integers."""

    low: float
    high: float
    whole: bool  # whether all of them are integers

    @property
    def most(self) -> float:
        """The largest magnitude."""
        return max(-self.low, self.high)


class Ranges(Visitor):
    """Notes the values that enter each connection and the states of each neuron.

    Attributes:
        inputs: by the name of the layer; of a recurrent connection by ``NAME.connection``.
        states: by the name of the layer, over all of its states.
    """

    def __init__(
        self, model: Model, x: ArrayLike, num_steps: Optional[int] = None, encoder: Optional[Encoder] = None
    ) -> None:
        super().__init__(model, x, num_steps, encoder, record=True)
        self.inputs: Dict[str, Range] = {}
        self.states: Dict[str, Range] = {}

    def note(self, path: str, layer: Layer, params: Params, x: Any, result: Result) -> None:
        """Collect the range of one layer."""
        if not isinstance(layer, Stepper):
            self.inputs[path] = self._range(x)
            return
        names = layer.core[0].state
        seen = [self._range(result.recorded[name]) for name in names if name in result.recorded]
        low, high = (select(getattr(one, side) for one in seen) for select, side in ((min, "low"), (max, "high")))
        self.states[path] = Range(low, high, False)
        self.inputs[f"{path}.connection"] = self._range(result.outputs)

    def _range(self, x: Any) -> Range:
        values = self.engine.to_numpy(x)
        return Range(float(values.min()), float(values.max()), bool((values % 1.0 == 0.0).all()))


def fixed_point(bits: int, seen: Range, headroom: int = 0, signed: Optional[bool] = None) -> FixedPoint:
    """The finest fixed-point numbers of so many bits that hold the values seen.

    Args:
        bits: number of bits.
        seen: the values.
        headroom: bits that stay free above the largest value.
        signed: whether there are negative values; None: as seen.
    """
    signed = seen.low < 0.0 if signed is None else signed
    highest = FixedPoint(bits, 0, signed).limits[1]
    most = seen.most * 2.0**headroom
    fraction = math.floor(math.log2(highest / most)) if most > 0.0 else bits - 1
    return FixedPoint(bits, max(-32, min(32, fraction)), signed)


def least_error(grid: ScaledInteger, weight: Any, axis: int) -> Union[float, Tuple[float, ...]]:
    """The scale, or the scale of each channel, with the least squared error of a weight.

    Args:
        grid: its ``bits``, ``per``, ``power_of_two`` and ``narrow`` count.
        weight: the weight.
        axis: its axis of output channels.
    """
    values = float64(weight)
    if grid.per == "tensor" or not values.ndim:
        return _least(grid, values)
    return tuple(_least(grid, values.take(i, axis=axis)) for i in range(values.shape[axis]))


def _least(grid: ScaledInteger, values: Any) -> float:
    engine = host()
    fitting = ScaledInteger(grid.bits, power_of_two=grid.power_of_two, narrow=grid.narrow)
    first = float(float64(fitting.scale_of(engine, engine.asarray(values))).reshape(-1)[0])
    steps = 1 if grid.power_of_two else PER_OCTAVE
    scales = [first * 2.0 ** (-i / steps) for i in range(CANDIDATES * steps)]

    def error(scale: float) -> float:
        each = ScaledInteger(grid.bits, scale=scale, power_of_two=grid.power_of_two, narrow=grid.narrow)
        return float(((float64(each.quantised(engine, engine.asarray(values))) - values) ** 2).sum())

    return min((scale for scale in scales if SMALLEST <= scale <= LARGEST), key=error)

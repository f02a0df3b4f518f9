"""Report on a quantised model, with ranges and errors; and the integers for programs without floating point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

from spikecore.api.core.host import float64, host
from spikecore.api.core.layer import Layer, Params, Result, layer_name
from spikecore.api.core.tree import flatten
from spikecore.api.core.variants import exact
from spikecore.api.functional.quantisers import NUMBERS, FixedPoint, Grid
from spikecore.api.layers.containers import Container, walk
from spikecore.api.layers.quantized import SCALE, Quantized
from spikecore.api.neurons.noise import Noisy
from spikecore.api.neurons.quantized import QuantizedNeuron
from spikecore.api.neurons.recurrent import Recurrent
from spikecore.api.neurons.refractory import Refractory
from spikecore.api.training.batching import Encoder, check_feeds
from spikecore.api.training.diagnosis import broken
from spikecore.api.training.visitor import Visitor, weights_of
from spikecore.arguments import ArrayLike, Size, checked
from spikecore.printing import columns

if TYPE_CHECKING:
    from spikecore.api.training.model import Model


class IntegerArray(NamedTuple):
    """A quantised array: ``integers * scale`` are the values that the network computes with; the zero point is zero."""

    integers: Any  # NumPy array of int64
    scale: Any  # NumPy array of float64, () or broadcasting to the integers
    bits: int


class Integers(NamedTuple):
    """Everything that a quantised model computes with, as ``integers`` returns it."""

    arrays: Dict[str, IntegerArray]  # weights, biases and parameters by dotted name
    states: Dict[str, FixedPoint]  # grids of the states by dotted name
    inputs: Dict[str, FixedPoint]  # grids of inputs of layers, by the layer's name
    outputs: Dict[str, FixedPoint]  # grids of outputs of layers


class QuantizedRow(NamedTuple):
    """One quantised array of the report."""

    name: str
    grid: str
    low: float  # range of the values before rounding; of states, after it
    high: float
    step: float  # the scale; of several, the largest
    error: float  # root mean square of the rounding, relative to that of the values; NaN for states
    saturated: float  # share of the values at or beyond the bounds of the grid


@dataclass(frozen=True)
class QuantizationReport:
    """The result of ``quantization_report``: print it, or read the rows.

    Attributes:
        rows: one per weight, bias, parameter, input and state that is quantised.
        full_precision: names of the layers whose parameters, or some of them, are not.
    """

    rows: Tuple[QuantizedRow, ...]
    full_precision: Tuple[str, ...]

    def __str__(self) -> str:
        lines: List[Tuple[str, ...]] = [("values", "grid", "range", "step", "error", "at the bounds")]
        for row in self.rows:
            error = "" if row.error != row.error else f"{row.error:.2%}"
            span = f"{row.low:.4g} to {row.high:.4g}"
            lines.append((row.name, row.grid, span, f"{row.step:.4g}", error, f"{row.saturated:.2%}"))
        notes = [f"full precision: {name}" for name in self.full_precision]
        return "\n".join([columns(lines, left=len(lines[0])), *notes])


@checked
def quantization_report(
    model: Model,
    x: Optional[ArrayLike] = None,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
) -> QuantizationReport:
    """Report on the quantised arrays of a model, each with its grid, range, rounding error and share at the bounds.

    Args:
        model: a ``Model``, mostly from ``sc.compression.quantize``.
        x: a batch on which inputs and states are measured; None, the default: weights and parameters only.
        num_steps, encoder: for ``x``, as in ``Model.fit``.

    Returns:
        ``QuantizationReport``.

    Raises:
        RuntimeError: the model has no weights yet.
        ValueError: ``num_steps`` or ``encoder`` without ``x``.
    """
    check_feeds("quantization_report", x, num_steps, encoder)
    rows = [_row(*array) for array in _arrays(model)]
    rounded = {row.name for row in rows}
    if x is not None:
        seen = _States(model, x, num_steps, encoder, record=True)
        seen.run()
        rows += seen.rows
    params, _ = weights_of(model, host())
    for path, layer, own in _parts(model.network, "", params):
        if isinstance(layer, QuantizedNeuron) and layer.param_quant is not None:  # or what ``prepare`` makes of them
            rounded |= {f"{path}.{name}" if path else name for name in flatten(own)}
    rounded |= {name + SCALE for name in rounded}
    floating = []
    for path, layer in walk(model.network):
        names = [f"{path}.{name}" if path else name for name in flatten(_of(params, path))]
        left = [name for name in names if name not in rounded]
        if left:
            floating.append(f"{path} ({layer_name(layer)}): {', '.join(left)}")
    return QuantizationReport(tuple(rows), tuple(floating))


@checked
def integers(model: Model) -> Integers:
    """The integers and scales of a quantised model: what a program without floating point needs.

    Args:
        model: a ``Model`` with layers that are ``Quantized`` or ``QuantizedNeuron``, as ``quantize`` returns it.

    Returns:
        ``Integers``: ``arrays["0.weight"].integers`` and ``.scale``, whose product is the weight that the network uses;
        ``states["1.mem"]``, the fixed-point numbers of a state, and those of ``inputs`` and ``outputs`` by layer.

    Raises:
        ValueError: nothing in the model is quantised, or a weight is not finite.
        RuntimeError: the model has no weights yet.
    """
    arrays = {}
    for name, grid, value, whole, scale in _arrays(model):
        if broken({name: value}):
            raise ValueError(f"integers: {name} holds NaN or infinity, for which no integer stands")
        arrays[name] = IntegerArray(whole.astype("int64"), scale, grid.bits)
    states: Dict[str, FixedPoint] = {}
    inputs: Dict[str, FixedPoint] = {}
    outputs: Dict[str, FixedPoint] = {}
    for path, layer, _ in _parts(model.network, "", None):
        if isinstance(layer, Quantized):
            for found, given in ((inputs, layer.input_quant), (outputs, layer.output_quant)):
                if given is not None:
                    found[path] = given
        of_states = _state_grid(layer)
        if of_states is not None:
            states.update({f"{path}.{name}": of_states for name in layer.state})
    if not (arrays or states):
        raise ValueError("integers: nothing in the model is quantised; call sc.compression.quantize(model) first")
    return Integers(arrays, states, inputs, outputs)


# ---- the arrays of a network -------------------------------------------------------------------------------------


def _of(params: Any, path: str) -> Any:
    """The parameters of a layer by its dotted name."""
    for name in path.split(".") if path else ():
        params = params[name]
    return params


def _parts(layer: Layer, path: str, params: Any) -> Iterator[Tuple[str, Layer, Any]]:
    """The layers that hold parameters or states, inside of containers and wrappers, with their own parameters."""
    inside: Dict[str, Layer] = {}
    spelled = getattr(layer, "recurrent", layer)
    if isinstance(layer, Container):
        inside = dict(layer.children())
    elif isinstance(spelled, Recurrent):
        inside = {"neuron": spelled.neuron, "connection": spelled.connection}
    elif isinstance(spelled, (Refractory, Noisy)):
        inside = {"neuron": spelled.neuron}
    if not inside:
        yield path, layer, params
    for name, child in inside.items():
        below = None if params is None else params[name]
        yield from _parts(child, f"{path}.{name}" if path else name, below)


def _arrays(model: Model) -> Iterator[Tuple[str, Grid, Any, Any, Any]]:
    """Name, grid, values before rounding, integers and scale of all weights, biases and parameters; NumPy arrays of
    float64.
    """
    model.trainer.executor  # noqa: B018  (raises without weights)
    engine = exact(model.engine)
    params, _ = weights_of(model, engine)
    for path, layer, own in _parts(model.network, "", params):
        for name, grid, *numbers in _own_arrays(layer, engine, own):
            value, whole, scale = map(float64, numbers)
            step = scale if scale.size > 1 else scale.reshape(())
            yield f"{path}.{name}" if path else name, grid, value, whole, step


def _own_arrays(layer: Layer, engine: Any, params: Params) -> Iterator[Tuple[str, Grid, Any, Any, Any]]:
    """The arrays of one layer, by the arithmetic that it computes with."""
    if isinstance(layer, Quantized):
        own, scales = layer.split(params)
        for name, value in layer.layer.prepare(engine, own).items():
            grid = layer.grid(name)
            if grid is not None:
                scale = grid.scale_of(engine, value, layer.channel_axis, scales.get(name))
                yield name, grid, value, grid.integers(engine, value, scale), scale
    if isinstance(layer, QuantizedNeuron) and layer.param_quant is not None:
        for name, value in layer.neuron.prepare(engine, params).items():
            words: Any = NUMBERS if type(value) is float else engine
            scale = layer.param_quant.scale_of(words, value)
            yield name, layer.param_quant, value, layer.param_quant.integers(words, value, scale), scale


def _state_grid(layer: Any) -> Optional[FixedPoint]:
    """The fixed-point numbers of a layer's states; None: it has none."""
    given = getattr(layer, "state_quant", None) or getattr(getattr(layer, "neuron", None), "state_quant", None)
    return given if isinstance(given, FixedPoint) else None


def _row(name: str, grid: Grid, value: Any, whole: Any, scale: Any) -> QuantizedRow:
    squares, (lowest, highest) = float((value**2).mean()), grid.limits
    error = (float(((whole * scale - value) ** 2).mean()) / squares) ** 0.5 if squares else 0.0
    beyond = (value > (highest + 0.5) * scale) | (value < (lowest - 0.5) * scale)
    return QuantizedRow(
        name, _named(grid), float(value.min()), float(value.max()), float(scale.max()), error, float(beyond.mean())
    )


def _named(grid: Grid) -> str:
    if isinstance(grid, FixedPoint):
        return f"{'' if grid.signed else 'u'}int{grid.bits} / 2^{grid.fraction}"
    return f"int{grid.bits}, per {getattr(grid, 'per', 'tensor')}"


class _States(Visitor):
    """Collects rows of inputs and states."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.rows: List[QuantizedRow] = []

    def note(self, path: str, layer: Layer, params: Params, x: Any, result: Result) -> None:
        """Collect one layer's rows."""
        for below, part, _ in _parts(layer, path, None):
            if isinstance(part, Quantized) and part.input_quant is not None:
                values = float64(x if below == path else result.outputs)
                grid, scale = part.input_quant, 2.0**-part.input_quant.fraction
                whole = grid.integers(host(), values, scale)
                self.rows.append(_row(f"{below} input".strip(), grid, values, whole, float64(scale)))
            states = _state_grid(part)
            if states is None:
                continue
            for name in part.state:
                values, (low, high) = float64(result.recorded[name]), states.span
                bound = float(((values <= low) | (values >= high)).mean())
                where = f"{below}.{name}" if below else name
                span, step = (float(values.min()), float(values.max())), 2.0**-states.fraction
                self.rows.append(QuantizedRow(where, _named(states), *span, step, math.nan, bound))

"""``spikecore.compression.quantize``: a network with weights, states and parameters of a few bits."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Dict, Literal, Optional, Sequence, Tuple, TypeVar, Union, cast, get_args

from spikecore.api.core.host import float64, host, to_numpy
from spikecore.api.core.initialisers import Initialiser
from spikecore.api.core.layer import EMPTY, Layer, Params, layer_name
from spikecore.api.core.messages import unknown
from spikecore.api.core.parameters import Learn, values_of
from spikecore.api.functional.quantisers import FixedPoint, Grid, Per, ScaledInteger
from spikecore.api.layers.containers import Container, walk, with_children
from spikecore.api.layers.delays import DelayedConnection
from spikecore.api.layers.linear import GradedSpikes, Linear
from spikecore.api.layers.quantized import SCALE, Quantized
from spikecore.api.layers.transposed import KERNELS
from spikecore.api.neurons.base import Neuron
from spikecore.api.neurons.leaky import Leaky
from spikecore.api.neurons.membrane import Membrane
from spikecore.api.neurons.noise import Noisy
from spikecore.api.neurons.quantized import QuantizedNeuron
from spikecore.api.neurons.recurrent import OneToOne, Recurrent
from spikecore.api.neurons.refractory import Refractory
from spikecore.api.neurons.stepper import Stepper
from spikecore.api.training.batching import Encoder, check_feeds
from spikecore.api.training.calibration import Range, Ranges, fixed_point, least_error
from spikecore.api.training.rebuilding import with_network
from spikecore.api.training.visitor import WHOLE, weights_of
from spikecore.arguments import ArrayLike, Count, Size, checked, shown

if TYPE_CHECKING:
    from spikecore.api.training.model import Model

Subject = TypeVar("Subject", "Model", Layer)
LEVELS = 16  # steps of a state up to the threshold, at least
How = Literal["max", "mse", "learned"]
CONNECTIONS = (Linear, *KERNELS, GradedSpikes, OneToOne)


@checked
def quantize(
    model: Subject,
    weights: Optional[Size] = 8,
    biases: Optional[Size] = 16,
    states: Union[None, int, FixedPoint] = None,
    parameters: Optional[Size] = None,
    inputs: Union[None, int, FixedPoint] = None,
    *,
    per: Per = "tensor",
    scale: How = "max",
    power_of_two: bool = True,
    skip: Sequence[str] = (),
    x: Optional[ArrayLike] = None,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    headroom: Count = 1,
) -> Subject:
    """The same network with weights, biases, states and parameters of a few bits.

    Connections become ``sc.Quantized``, neurons get ``state_quant`` and ``sc.QuantizedNeuron``. The result computes
    with the rounded values, and its gradients go through the rounding. So it is ready to use (post-training
    quantisation), and ``fit`` trains it further (quantisation-aware training). ``quantization_report`` lists what is
    rounded, and by how much.

    Batch norms are not quantised: call ``fold_batch_norm`` before. Layers and parameters keep their names, so the state
    of a model that was trained without quantisation loads into the quantised network, unless scales are learned. A
    ``Quantized`` of your own keeps its bits, whatever ``weights`` says: to try other bits, quantise the model that it
    was made of.

    Args:
        model: a ``Model``, which does not change; or a network without weights.
        weights: bits of the weights of connections, from 2 (ternary); default 8. None: connections stay as they are,
            their biases and inputs included.
        biases: bits of their biases; None: full precision. Default 16.
        states: bits of the states of neurons, fixed point with a range that ``x`` shows and at least 16 steps up to the
            threshold; or a ``FixedPoint`` for all neurons; None, the default: full precision.
        parameters: bits of decays, thresholds and other parameters of neurons, each with a power of two as its scale;
            None, the default: full precision.
        inputs: bits of the inputs of connections that are not spikes or other integers in ``x``; or a ``FixedPoint``
            for the inputs of all connections but recurrent ones; None, the default: as they are.
        per: "tensor" (the default) or "channel": one scale per weight, or per output channel.
        scale: "max" (the default): the scale follows the largest weight. "mse": it is the one with the least squared
            error for the weights of the model, and fixed. "learned": it begins there and is trained.
        power_of_two: whether scales are powers of two, as integer programs with shifts need them; default True.
        skip: names of layers that stay as they are, e.g. ``["0"]``.
        x: a batch for calibration: a few hundred samples, as for ``model(x, num_steps=...)``.
        num_steps, encoder: for ``x``, as in ``Model.fit``.
        headroom: for states in bits: how many stay free above the largest state in ``x``; default 1. States beyond the
            range saturate.

    Returns:
        a ``Model`` on the same engine, or the quantised network.

    Raises:
        ValueError: states or inputs are to be calibrated and there is no ``x``, or the other way round; "mse" without
            weights; an unknown name in ``skip``; an option is out of range; ``states`` has too few bits to reach the
            threshold; or a layer has weights without a grid: with delays, of a cell, ``WeightStandardized``.
        TypeError: ``model`` is something else.

    Source: Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    CVPR 2018; Esser et al., Learned step size quantization, ICLR 2020.

    Example:
        >>> small = sc.compression.quantize(model, weights=8, states=16, parameters=8, x=x, num_steps=25)
    """
    network = model if isinstance(model, Layer) else getattr(model, "network", None)
    if not isinstance(network, Layer):
        raise TypeError(f"quantize: model={shown(model)} is neither a Model nor a network")
    if scale not in get_args(How):
        raise ValueError(f"quantize: {unknown('scale', scale, get_args(How))}")
    given = {"weights": weights, "biases": biases, "states": states, "parameters": parameters, "inputs": inputs}
    for name, bits in given.items():
        if isinstance(bits, int) and not 2 <= bits <= Grid.most:
            raise ValueError(f"quantize: {name}={bits!r} must be an int in [2, {Grid.most}], or None")
    known = [name for name, _ in walk(network)]
    for name in skip:
        if name not in known:
            raise ValueError(f"quantize: skip: {unknown('layer', name, known)}")
    trained: Any = None if isinstance(model, Layer) else model
    if headroom != 1 and not isinstance(states, int):
        raise ValueError(f"quantize: headroom={headroom!r} has no effect: it serves to calibrate states=BITS")
    ranges = _seen(trained, states, inputs, x, num_steps, encoder)
    held = trained is not None and trained.input_shape is not None
    if scale == "mse" and not held:
        raise ValueError("quantize: scale='mse' needs a Model with weights; take 'max' or 'learned'")
    wide = ScaledInteger(weights, per, "max", power_of_two) if weights is not None else None
    chooser = Chooser(
        wide,
        ScaledInteger(biases, power_of_two=power_of_two) if biases is not None else None,
        states,
        ScaledInteger(parameters) if parameters is not None else None,
        inputs,
        scale,
        tuple(skip),
        ranges,
        headroom,
    )
    params, buffers = weights_of(trained, host()) if held else (None, EMPTY)
    quantised, params = chooser.layer("", network, params)
    if held:
        again: Any = with_network(trained, quantised, params, buffers)
        return cast(Subject, again)
    return cast(Subject, quantised if trained is None else type(trained)(quantised, trained.engine, trained.seed))


def _seen(model: Any, states: Any, inputs: Any, x: Any, num_steps: Any, encoder: Any) -> Optional[Ranges]:
    """The ranges of a batch; None where no range is asked for."""
    asked = {name: bits for name, bits in (("states", states), ("inputs", inputs)) if isinstance(bits, int)}
    check_feeds("quantize", x, num_steps, encoder)
    if not asked and x is not None:
        raise ValueError("quantize: x has no effect: it serves to calibrate states=BITS and inputs=BITS")
    if not asked:
        return None
    if x is None or model is None:
        raise ValueError(
            f"quantize: {' and '.join(f'{name}={bits}' for name, bits in asked.items())}: ranges are measured on data; "
            "pass a Model and x, a batch of it, or give the numbers, e.g. "
            f"{', '.join(f'{name}=sc.compression.FixedPoint({bits}, {bits // 2})' for name, bits in asked.items())}"
        )
    ranges = Ranges(model, x, num_steps, encoder)
    ranges.run()
    return ranges


@dataclass(frozen=True)
class Chooser:
    """Chooses the grids of a network's layers.

    Args:
        weights, biases, states, parameters, inputs, scale, skip, headroom: see ``quantize``; bits only for what is
            calibrated.
        ranges: what calibration saw.
    """

    weights: Optional[ScaledInteger]
    biases: Optional[ScaledInteger]
    states: Union[None, int, FixedPoint]
    parameters: Optional[ScaledInteger]
    inputs: Union[None, int, FixedPoint]
    scale: str
    skip: Tuple[str, ...]
    ranges: Optional[Ranges]
    headroom: int

    def layer(self, path: str, layer: Layer, params: Optional[Params]) -> Tuple[Layer, Any]:
        """A layer named ``path`` on its grids, and its parameters (None: there are none yet)."""
        if isinstance(layer, Container):
            parts = {
                name: self.layer(f"{path}.{name}" if path else name, child, None if params is None else params[name])
                for name, child in layer.children()
            }
            same = all(parts[name][0] is child for name, child in layer.children())
            changed = layer if same else with_children(layer, {name: child for name, (child, _) in parts.items()})
            return changed, None if params is None else Params({name: below for name, (_, below) in parts.items()})
        if path in self.skip:
            return layer, params
        if isinstance(layer, Stepper):
            return self.stepper(path, layer, params)
        return self.connection(path, layer, params)

    # ---- connections ----

    def connection(self, path: str, layer: Any, params: Optional[Params]) -> Tuple[Layer, Any]:
        """A connection on its grids; what is none, or is on grids already, stays."""
        if isinstance(layer, DelayedConnection) and self.weights is not None:
            whole, recurrent, _ = path.partition(".connection")
            also = "" if recurrent else f", or write it as a Delay and a {layer_name(layer.without_delays())}"
            raise ValueError(
                f"quantize: layer {path} ({layer_name(layer)}): weights with delays have no grid: leave it as it is, "
                f"skip=[{whole!r}]{also}"
            )
        if self.weights is None or not isinstance(layer, CONNECTIONS):
            made = isinstance(getattr(layer, "layer", None), CONNECTIONS) and not isinstance(layer, Quantized)
            if made and self.weights is not None:  # WeightStandardized, DropConnect
                raise ValueError(
                    f"quantize: layer {path or WHOLE} ({layer_name(layer)}): it computes with weights that it makes of "
                    f"its own, and those have no grid: leave it as it is, skip=[{path!r}]"
                )
            return layer, params
        entering = self._input(path)
        bias = self.biases if getattr(layer, "bias", False) else None
        if isinstance(layer, OneToOne) and not isinstance(layer.V, Learn):
            values = self.weights.quantised(host(), host().asarray(float64(values_of(layer.V))))
            return OneToOne(V=to_numpy(values) if values.ndim else float(values)), params
        grid = self.weights
        chosen = Quantized(layer, grid, bias, entering)
        if params is None:
            return self._learning(chosen, grid) if self.scale == "learned" else chosen, None
        if self.scale == "max":
            return chosen, params
        scales = {
            name: least_error(grid, params[name], chosen.channel_axis if params[name].ndim else 0)
            for name in params
            if chosen.grid(name) is grid
        }
        if self.scale == "learned":
            first = {name + SCALE: host().asarray(value) for name, value in scales.items()}
            return self._learning(chosen, grid), params.replace(**first)
        (value,) = scales.values()
        return replace(chosen, weight_quant=replace(grid, scale=value)), params

    def _learning(self, chosen: Quantized, grid: ScaledInteger) -> Quantized:
        return replace(chosen, weight_quant=replace(grid, scale="learned"))

    def _input(self, path: str) -> Optional[FixedPoint]:
        if not isinstance(self.inputs, int):
            return None if path.endswith(".connection") else self.inputs
        seen = cast(Ranges, self.ranges).inputs.get(path)
        return None if seen is None or seen.whole else fixed_point(self.inputs, seen)

    # ---- neurons ----

    def stepper(self, path: str, layer: Any, params: Optional[Params]) -> Tuple[Layer, Any]:
        """A neuron, or a wrapper around one, on its grids."""
        spelled = _spelled(path, layer) if hasattr(layer, "recurrent") else layer
        if isinstance(spelled, (Recurrent, Refractory, Noisy)):
            within = {f.name: getattr(spelled, f.name) for f in fields(spelled)}
            below: Dict[str, Any] = dict(params.items()) if params is not None else {}
            for name, part in within.items():
                if isinstance(part, Stepper):
                    within[name], below[name] = self.stepper(path, part, below.get(name))
                elif isinstance(part, Layer):
                    within[name], below[name] = self.connection(f"{path}.{name}", part, below.get(name))
            if all(part is getattr(spelled, name) for name, part in within.items()):
                return layer, params
            return type(spelled)(**within), None if params is None else Params(below)
        if isinstance(spelled, QuantizedNeuron) and spelled.param_quant is None:
            self._own_weights(path, spelled.neuron)
        return (self.neuron(path, spelled, params) if isinstance(spelled, Neuron) else layer), params

    def neuron(self, path: str, neuron: Any, params: Optional[Params]) -> Layer:
        """A neuron on its grids; one that needs whole sequences stays."""
        grid: Optional[Grid] = self.parameters
        if grid is None:
            self._own_weights(path, neuron)
        states = self._states(path, neuron, params)
        if not neuron.by_steps or (grid is None and states is None):
            return cast(Layer, neuron)
        if neuron.parallel:
            neuron = replace(neuron, parallel=False)
        if isinstance(neuron, Membrane) and states is not None:
            neuron, states = replace(neuron, state_quant=states), None
        return QuantizedNeuron(neuron, grid, states) if grid is not None or states is not None else neuron

    def _own_weights(self, path: str, neuron: Any) -> None:
        """Refuse a cell, whose weights are none of a connection."""
        if neuron.connections and self.weights is not None:
            raise ValueError(
                f"quantize: layer {path or WHOLE} ({layer_name(neuron)}): its own weights have no grid: quantise them "
                f"as its parameters, parameters=8, or leave it as it is, skip=[{path!r}]"
            )

    def _states(self, path: str, neuron: Any, params: Optional[Params]) -> Optional[FixedPoint]:
        if not isinstance(self.states, int):
            return self.states
        seen = cast(Ranges, self.ranges).states[path]
        learned = params is not None and "threshold" in params
        given = neuron.prepare(host(), params).threshold if learned else values_of(neuron.threshold)
        thresholds = abs(float64(0.0 if isinstance(given, Initialiser) else given))
        highest, lowest = float(thresholds.max()), float(thresholds.min())
        before = 0.0 if getattr(neuron, "reset_delay", True) else highest  # what a reset in the same step takes away
        most = max(seen.most + before, highest)
        grid = fixed_point(self.states, Range(-most, most, False), self.headroom, signed=True)
        if not neuron.spiking or lowest == 0.0:
            return grid
        finer = replace(grid, fraction=max(grid.fraction, min(32, math.ceil(math.log2(LEVELS / lowest)))))
        if finer.span[1] <= highest:
            raise ValueError(
                f"quantize: states={self.states}: layer {path or WHOLE} with a threshold of {highest:g} would never "
                f"fire: with {LEVELS} steps up to {lowest:g}, the largest value is {finer.span[1]:g}; give more bits, "
                "or a grid, e.g. states=sc.compression.FixedPoint(4, 2), or skip it"
            )
        return finer


def _spelled(path: str, layer: Any) -> Recurrent:
    """``RLeaky`` or ``RSynaptic`` as the ``Recurrent`` that it is.

    Raises:
        ValueError: an ``RLeaky`` whose reset clears the current, which no other neuron does.
    """
    inner, connection = layer.recurrent.neuron, layer.recurrent.connection
    if type(inner).__name__.startswith("_"):
        if inner.reset_mechanism == "zero" and inner.reset_delay:
            raise ValueError(
                f"quantize: layer {path} ({type(layer).__name__}): its reset 'zero' also clears the current; write it "
                "as sc.Recurrent(sc.Leaky(...), connection), whose reset keeps the input, or skip it"
            )
        inner = Leaky(**{f.name: getattr(inner, f.name) for f in fields(Leaky)})
    return Recurrent(inner, connection)

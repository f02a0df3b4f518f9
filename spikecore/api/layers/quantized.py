"""A connection whose weights, bias, input and output are on grids of integers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Dict, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import first_weight, host
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, Stateless, Tree, layer_name
from spikecore.api.core.words import Array
from spikecore.api.functional.quantisers import FixedPoint, Grid, ScaledInteger
from spikecore.api.layers.transposed import _ConvTranspose

BIAS, SCALE = "bias", "_scale"


@dataclass(frozen=True)
class Quantized(Stateless):
    """A connection whose weights are integers times a scale: it trains them in floating point and computes with the
    rounded ones.

        y = q_out(layer(q_in(x)))   with q_w(weight) and q_b(bias) instead of weight and bias

    The gradients go through the rounding as if it were not there (straight-through estimator; see ``ScaledInteger``).
    The parameters have the names and values of the layer inside, so weights that were trained without quantisation fit.

    Args:
        layer: ``Linear``, ``Conv1d``, ``Conv2d``, ``Conv3d``, ``ConvTranspose1d``, ``ConvTranspose2d``,
            ``ConvTranspose3d``, ``GradedSpikes`` or a learned ``OneToOne``: a layer without a state whose parameters
            are weights and a bias.
        weight_quant: the grid of the weights; default ``ScaledInteger(8)``.
        bias_quant: the grid of the bias; None, the default: full precision.
        input_quant, output_quant: the grids of the input and of the output; None, the default: as they are. Spikes are
            integers already; currents of an encoder, averages of a pooling layer and normalised values are not.

    Raises:
        TypeError: the layer has no parameters that are weights.
        ValueError: ``bias_quant`` is given for a layer without a bias.

    Source: Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
    CVPR 2018.

    Example:
        >>> net = sc.Sequential(sc.Quantized(sc.Linear(64, 10), sc.compression.ScaledInteger(4)), sc.Leaky(beta=0.875))
    """

    layer: Stateless
    weight_quant: Grid = ScaledInteger()
    bias_quant: Optional[Grid] = None
    input_quant: Optional[FixedPoint] = None
    output_quant: Optional[FixedPoint] = None

    def __post_init__(self) -> None:
        if not isinstance(self.layer, Stateless) or isinstance(self.layer, Quantized):
            raise TypeError(f"Quantized: layer={self.layer!r} must be a connection such as sc.Linear(64, 10)")
        if self.bias_quant is not None and not getattr(self.layer, "bias", False):
            raise ValueError(f"Quantized: bias_quant={self.bias_quant!r} needs a layer with bias=True")
        if isinstance(self.bias_quant, ScaledInteger) and self.bias_quant.per == "channel":
            raise ValueError("Quantized: bias_quant needs per='tensor': a bias has one number per channel")

    @property
    def connections(self) -> Tuple[str, ...]:  # type: ignore[override]  # a property in place of a constant
        return self.layer.connections

    @property
    def input_shape(self) -> Optional[Shape]:
        return self.layer.input_shape

    @property
    def once_prepared(self) -> Stateless:
        return self.layer if self.input_quant is None and self.output_quant is None else self

    @property
    def channel_axis(self) -> int:
        """The axis of the weight that runs over output channels."""
        return 1 if isinstance(self.layer, _ConvTranspose) else 0

    def grid(self, name: str) -> Optional[Grid]:
        """The grid of the layer's parameter ``name``; None: full precision."""
        return self.bias_quant if name == BIAS else self.weight_quant

    def split(self, params: Params) -> Tuple[Params, Dict[str, Any]]:
        """The parameters of the layer inside, and the learned scales by the names of what they scale."""
        grids = {name: self.grid(name) for name in params}
        scales = {name: name + SCALE for name, grid in grids.items() if grid is not None and grid.learns}
        held = {name: params[scale] for name, scale in scales.items() if scale in params}
        return Params({name: v for name, v in params.items() if name not in scales.values()}), held

    def init(self, key: Key, shape: Shape) -> Init:
        first = self.layer.init(key, shape)
        names = set(first.params)
        if not names - {BIAS} or len(first.buffers) or names & {name + SCALE for name in names}:
            raise TypeError(
                f"Quantized: {layer_name(self.layer)} has parameters {', '.join(names) or 'none'}, not weights and "
                "a bias; quantise connections such as sc.Linear or sc.Conv2d"
            )
        scales = {}
        for name, values in first.params.items():
            grid, axis = self.grid(name), self.channel_axis
            if isinstance(grid, ScaledInteger) and grid.learns:
                first_scale = partial(grid.first_scale, host().xp, host().asarray(values), axis)
                scales[name + SCALE] = first_weight(key, grid.scale_shape(values, axis), first_scale)
        return first._replace(params=first.params.replace(**scales))

    def prepare(self, engine: Engine, params: Params) -> Params:
        """The layer's own parameters, on their grids."""
        own, scales = self.split(params)
        inner = self.layer.prepare(engine, own)
        grids = {name: self.grid(name) for name in inner}
        return inner.replace(
            **{
                name: grid.quantised(engine, inner[name], self.channel_axis, scales.get(name))
                for name, grid in grids.items()
                if grid is not None
            }
        )

    def apply(self, engine: Engine, params: Params, buffers: Tree, x: Array, *, train: bool, key: Optional[Key]) -> Any:
        return self._applied(engine, self.prepare(engine, params), x, train=train, key=key), buffers

    def step(self, engine: Engine, params: Params, state: Any, x: Array) -> Tuple[Any, Any]:
        y = self._applied(engine, params, engine.xp.expand_dims(x, axis=0), train=False, key=None)
        return y[0, ...], state

    def _applied(self, engine: Engine, prepared: Params, x: Any, **option: Any) -> Any:
        x = x if self.input_quant is None else self.input_quant.apply(engine, x)
        y, _ = self.layer.apply(engine, prepared, EMPTY, x, **option)
        return y if self.output_quant is None else self.output_quant.apply(engine, y)

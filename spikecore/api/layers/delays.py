"""Layers that delay their input: ``Delay``, by neurons or channels; ``DelayedLinear`` and others, by synapses.

Over a sequence the sum of taps (``taps.py``) is a convolution in time, for a single step a matrix product with the
inputs that the state has kept.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any, ClassVar, Optional, Sequence, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import float64
from spikecore.api.core.initialisers import Initialiser, drawn, uniform
from spikecore.api.core.layer import Init, Key, Params, Shape, ShapeError
from spikecore.api.core.parameters import Learn, Param, check_broadcast, check_range, initial, normalise, values_of
from spikecore.api.core.sizes import at_least_one
from spikecore.api.layers.linear import Linear
from spikecore.api.layers.spatial import Conv1d, Conv2d, check_convolution, convolved
from spikecore.api.layers.taps import Delayed, TapKernel, taps
from spikecore.arguments import Size, Sizes


@dataclass(frozen=True)
class Delay(Delayed):
    """Delays each neuron's signal: axonal delays, before a connection, or dendritic ones, after it.

        y[t] = sum_k h[k] x[t - k],   k = 0 ... max_delay        inputs before the first step are zero
        h[k] = max(0, 1 - |k - d|)                               kernel "linear"
        h[k] = exp(-(k - d)^2 / 2 sigma^2) / c                   kernel "gaussian", with sum_k h[k] = 1

    A delay of whole steps d with linear taps gives x[t - d]. A real-valued one is interpolated between the two nearest
    steps. It can be learned: ``sc.learn(3.0, per="neuron")``, or ``per="channel"`` for maps.

    Args:
        delay: d, in time steps, >= 0; a number, an array that broadcasts to the neurons, or learned. Default 1.
        max_delay: the longest possible delay, an int >= 1; a learned delay stays in [0, max_delay], see
            ``DelayedLinear``. None, the default: the delay itself, rounded up; a delay that is learned needs it.
        kernel: "linear" (the default) or "gaussian".
        sigma: width of Gaussian taps, in steps, > 0; default 0.5.
        sigma_start, anneal: the width begins at ``sigma_start`` and shrinks exponentially to ``sigma`` in ``anneal``
            training batches, as in ``DelayedLinear``; None, the default: it is ``sigma`` from the beginning.

    Parameters: ``delay``, if it is learned. State: ``past`` (batch, max_delay, *neurons), the last inputs, the oldest
    first. Buffer: ``batches``, how many training batches there were, if the width is annealed.

    Raises:
        ValueError: an argument is out of range; a learned delay has no ``max_delay``; a width for linear taps.

    Source: Hammouamri, Khalfaoui-Hassani & Masquelier, Learning delays in spiking neural networks using dilated
    convolutions with learnable spacings, ICLR 2024; linear taps as in snnTorch's ``SynapticDelay``.

    Example:
        >>> net = sc.Sequential(sc.Delay(sc.learn(5.0, per="neuron"), max_delay=20), sc.Linear(64, 10), sc.Leaky())
    """

    delay: Param = 1.0
    max_delay: Optional[Size] = None
    kernel: TapKernel = "linear"
    sigma: float = 0.5
    sigma_start: Optional[float] = None
    anneal: Optional[Size] = None

    _told: ClassVar[Tuple[str, ...]] = ("delay",)
    bounds: ClassVar[Any] = {"delay": (0.0, math.inf)}

    def __post_init__(self) -> None:
        object.__setattr__(self, "delay", normalise(self.delay, "Delay: delay"))
        self._check_taps()
        if self.max_delay is not None:
            at_least_one(self, max_delay=self.max_delay)
        elif isinstance(self.delay, Learn):
            raise ValueError(f"Delay: delay={self.delay!r} is learned: give max_delay, the longest possible delay")
        if isinstance(self.delay, Learn) and self.delay.dt is not None:
            raise ValueError("Delay: delay=learn_tau(...) is for decays; give it learn(...)")
        check_range(self, "delay", self.delay, 0.0, self.max_delay or 1e9)

    @property
    def longest(self) -> int:
        return self.max_delay or math.ceil(float64(values_of(self.delay)).max())

    def init(self, key: Key, shape: Shape) -> Init:
        if not isinstance(self.delay, Learn):
            check_broadcast(self, "delay", values_of(self.delay), shape)
            return Init(Params(), self._counter(key), shape)
        first = initial(key, self, "delay", self.delay, shape)
        check_drawn(self, "delay", first, key)
        return Init(Params(delay=first), self._counter(key), shape)

    def ages(self) -> Sequence[int]:
        """How many steps old the inputs with a tap are: every age has a tap, unless the delays are constants."""
        if isinstance(self.delay, Learn) or self.kernel == "gaussian":
            return range(self.longest + 1)
        flat = float64(values_of(self.delay)).reshape(-1).tolist()
        return sorted({age for d in flat for age in (math.floor(d), math.ceil(d))})

    def with_taps(self, engine: Engine, params: Params, sigma: Any) -> Params:
        delay = params.delay if isinstance(self.delay, Learn) else float64(values_of(self.delay))
        return params.replace(taps=taps(engine, delay, self.ages(), self.longest, sigma))

    def delayed(self, engine: Engine, params: Params, line: Any) -> Any:
        time, y = line.shape[0] - self.longest, None
        for i, age in enumerate(self.ages()):
            first = self.longest - age
            part = engine.xp.multiply(params.taps[..., i], line[first : first + time, ...])
            y = part if y is None else y + part
        return y

    def delays(self, params: Params) -> Any:
        return super().delays(params) if isinstance(self.delay, Learn) else float64(values_of(self.delay))

    def rounded(self, params: Params) -> Tuple[Any, Params]:
        if isinstance(self.delay, Learn):
            return super().rounded(params)
        whole = self.delays(params).round()
        return replace(self._without_width(), delay=whole if whole.ndim else float(whole)), params


class DelayedConnection(Delayed):
    """A connection with one more axis of weights: how many steps old the input is.

    What a synapse weighs is spread over its taps, so a sequence needs one convolution whose first axis is time. A
    single step needs the connection itself, with the inputs that are kept as further channels.
    """

    connections: ClassVar[Tuple[str, ...]] = ("weight",)

    max_delay: Size
    bias: bool
    delay_init: Optional[Initialiser]

    def without_delays(self) -> Any:
        """The connection as it would be if all delays were zero."""
        raise NotImplementedError

    def _sizes(self) -> Tuple[Any, Any, Any, int]:
        """Stride, padding and dilation over the axes of space, and the groups."""
        return (), (), (), 1

    @property
    def longest(self) -> int:
        return self.max_delay

    def init(self, key: Key, shape: Shape) -> Init:
        params, _, out = self.without_delays().init(key, shape)
        how = uniform(0.0, float(self.max_delay)) if self.delay_init is None else self.delay_init
        first = drawn(how, key, "delay", params.weight.shape)
        check_drawn(self, "delay_init", first, key)
        return Init(params.replace(delay=first), self._counter(key), out)

    def with_taps(self, engine: Engine, params: Params, sigma: Any) -> Params:
        xp, space = engine.xp, range(2, params.weight.ndim)
        ages = range(self.longest, -1, -1)  # the oldest first, as the line has them
        weights = xp.expand_dims(params.weight, axis=-1) * taps(engine, params.delay, ages, self.longest, sigma)
        return params.replace(taps=xp.permute_dims(weights, (0, 1, weights.ndim - 1, *space)))

    def delayed(self, engine: Engine, params: Params, line: Any) -> Any:
        xp, bias, space = engine.xp, params.bias if self.bias else None, range(3, line.ndim)
        line = xp.permute_dims(line, (1, 2, 0, *space))  # (batch, channels, time, *space)
        stride, padding, dilation, groups = self._sizes()
        if line.shape[2] > self.longest + 1:
            y = xp.conv(line, params.taps, bias, (1, *stride), (0, *padding), (1, *dilation), groups)
            return xp.permute_dims(y, (2, 0, 1, *space))
        window, kernel = (
            xp.reshape(x, (x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:])) for x in (line, params.taps)
        )
        sizes = (stride, padding, dilation, groups)
        y = xp.conv(window, kernel, bias, *sizes) if stride else xp.linear(window, kernel, bias)
        return xp.expand_dims(y, axis=0)


@dataclass(frozen=True)
class DelayedLinear(DelayedConnection):
    """Dense connection in which each synapse has a delay of its own, which is learned like its weight.

        y_o[t] = b_o + sum_i w_oi sum_k h_oi[k] x_i[t - k],   k = 0 ... max_delay
        h_oi[k] = max(0, 1 - |k - d_oi|)                         kernel "linear"
        h_oi[k] = exp(-(k - d_oi)^2 / 2 sigma^2) / c_oi          kernel "gaussian", with sum_k h_oi[k] = 1

    Inputs before the first step are zero. Linear taps read the two steps around d, and a delay learns from what they
    hold. Gaussian taps also see inputs that are further away, the wider the further; the paper lets the width shrink in
    training, and rounds the delays in the end: ``sc.compression.round_delays``.

    Args:
        in_features: size of the last axis of the input.
        out_features: size of the last axis of the output.
        max_delay: the longest possible delay in time steps, an int >= 1. A parameter that training drives out of
            [0, max_delay] acts as if mirrored at the bound, so that it can come back: -0.3 is a delay of 0.3 steps.
        bias: whether to add b; default True.
        kernel: "linear" (the default) or "gaussian".
        sigma: width of Gaussian taps, in steps, > 0; default 0.5.
        sigma_start: first width, > 0, e.g. max_delay / 2; with ``anneal``. None, the default: ``sigma``.
        anneal: number of training batches, >= 1, in which the width shrinks exponentially from ``sigma_start`` to
            ``sigma``: sigma_start (sigma / sigma_start)^(n / anneal) after n of them.
        weight_init, bias_init: how to draw W and b, as in ``Linear``.
        delay_init: how to draw the delays, in steps, of ``sc.init``; None, the default: uniform in [0, max_delay).

    Shapes: x (time, batch, in_features), W ``weight`` and d ``delay`` (out_features, in_features), b ``bias``
    (out_features,); state ``past`` (batch, max_delay, in_features), the last inputs, the oldest first. Buffer:
    ``batches``, how many training batches there were, if the width is annealed.

    Raises:
        ValueError: an argument is out of range; a width for linear taps.
        ShapeError: samples of another shape.

    Source: Hammouamri, Khalfaoui-Hassani & Masquelier, Learning delays in spiking neural networks using dilated
    convolutions with learnable spacings, ICLR 2024; Khalfaoui-Hassani, Pellegrini & Masquelier, Dilated convolution
    with learnable spacings: beyond bilinear interpolation, 2023.

    Example:
        >>> layer = sc.DelayedLinear(64, 10, max_delay=20, kernel="gaussian", sigma_start=10.0, anneal=2000)
    """

    in_features: Size
    out_features: Size
    max_delay: Size
    bias: bool = True
    kernel: TapKernel = "linear"
    sigma: float = 0.5
    sigma_start: Optional[float] = None
    anneal: Optional[Size] = None
    weight_init: Optional[Initialiser] = None
    bias_init: Optional[Initialiser] = None
    delay_init: Optional[Initialiser] = None

    def __post_init__(self) -> None:
        self._check_taps()
        at_least_one(self, max_delay=self.max_delay)
        self.without_delays()

    def without_delays(self) -> Linear:
        """The connection as it would be if all delays were zero."""
        return Linear(self.in_features, self.out_features, self.bias, self.weight_init, self.bias_init)

    @property
    def input_shape(self) -> Optional[Shape]:
        return (self.in_features,)

    def init(self, key: Key, shape: Shape) -> Init:
        if shape != (self.in_features,):
            raise ShapeError(f"DelayedLinear: samples of shape {shape}, expected ({self.in_features},)")
        return super().init(key, shape)


@dataclass(frozen=True)
class _DelayedConv(DelayedConnection):
    """Base of ``DelayedConv1d`` and ``DelayedConv2d``."""

    in_channels: Size
    out_channels: Size
    kernel_size: Sizes
    max_delay: Size
    stride: Sizes = 1
    padding: Sizes = 0
    dilation: Sizes = 1
    groups: Size = 1
    bias: bool = True
    kernel: TapKernel = "linear"
    sigma: float = 0.5
    sigma_start: Optional[float] = None
    anneal: Optional[Size] = None
    weight_init: Optional[Initialiser] = None
    bias_init: Optional[Initialiser] = None
    delay_init: Optional[Initialiser] = None

    space: ClassVar[int] = 0
    undelayed: ClassVar[Any]  # the convolution that it would be if all delays were zero

    def __post_init__(self) -> None:
        self._check_taps()
        at_least_one(self, max_delay=self.max_delay)
        check_convolution(self)

    def without_delays(self) -> Any:
        names = (f.name for f in fields(self.undelayed))
        return self.undelayed(**{name: getattr(self, name) for name in names})

    def _written(self, name: str) -> Any:
        plain = self.without_delays()
        return plain._written(name) if hasattr(plain, name) else super()._written(name)

    def _sizes(self) -> Tuple[Any, Any, Any, int]:
        return self.stride, self.padding, self.dilation, self.groups

    def init(self, key: Key, shape: Shape) -> Init:
        convolved(self, shape)  # whose messages name this class
        return super().init(key, shape)


@dataclass(frozen=True)
class DelayedConv1d(_DelayedConv):
    """One-dimensional convolution in which each weight of the kernel has a delay of its own, see ``DelayedConv2d``.

    Args:
        in_channels, out_channels, max_delay, groups, bias, kernel, sigma, sigma_start, anneal, weight_init, bias_init,
            delay_init: as in ``DelayedConv2d``.
        kernel_size, stride, padding, dilation: an int, as in ``Conv1d``.

    Shapes: x (time, batch, in_channels, length), ``weight`` and ``delay`` (out_channels, in_channels / groups,
    kernel_size), ``bias`` (out_channels,); state ``past`` (batch, max_delay, in_channels, length).

    Raises:
        ValueError: an argument is out of range; a width for linear taps.
        ShapeError: samples of another shape.

    Example:
        >>> layer = sc.DelayedConv1d(1, 8, kernel_size=5, max_delay=10, padding=2)
    """

    space: ClassVar[int] = 1
    undelayed: ClassVar[Any] = Conv1d


@dataclass(frozen=True)
class DelayedConv2d(_DelayedConv):
    """Two-dimensional convolution in which each weight of the kernel has a delay of its own, which is learned.

        y_o[t, p] = b_o + sum over i, q of w_oi[q] sum_k h_oi[q, k] x_i[t - k, p + q],   k = 0 ... max_delay

    p is a place in the map, and q one in the kernel. The taps h_oi[q, k] are those of the delay d_oi[q], see
    ``DelayedLinear``. So a neuron answers to what moves over its field: it sees the places of a kernel at different
    times. Inputs before the first step are zero.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: an int, or one int per axis of space.
        max_delay: the longest possible delay in time steps, an int >= 1, as in ``DelayedLinear``.
        stride, padding, dilation, groups, bias: over space, as in ``Conv2d``; defaults 1, 0, 1, 1, True.
        kernel, sigma, sigma_start, anneal: the taps, as in ``DelayedLinear``.
        weight_init, bias_init: how to draw ``weight`` and ``bias``, as in ``Conv2d``.
        delay_init: how to draw the delays, in steps, of ``sc.init``; None, the default: uniform in [0, max_delay).

    Shapes: x (time, batch, in_channels, height, width), ``weight`` and ``delay`` (out_channels, in_channels / groups,
    *kernel_size), ``bias`` (out_channels,); state ``past`` (batch, max_delay, in_channels, height, width), the last
    inputs, the oldest first. Buffer: ``batches``, how many training batches there were, if the width is annealed.

    Raises:
        ValueError: an argument is out of range; a width for linear taps.
        ShapeError: samples of another shape.

    Source: Khalfaoui-Hassani, Pellegrini & Masquelier, Dilated convolution with learnable spacings: beyond bilinear
    interpolation, 2023, with time as the axis that has learned positions (``Dcls3_1d`` of their library).

    Example:
        >>> layer = sc.DelayedConv2d(2, 16, kernel_size=3, max_delay=8, padding=1)
    """

    space: ClassVar[int] = 2
    undelayed: ClassVar[Any] = Conv2d


def check_drawn(layer: Any, name: str, delays: Any, key: Key) -> None:
    """Refuse first delays that are out of range.

    Raises:
        ValueError: names the layer, the argument and a value.
    """
    if key.blank:
        return
    wrong = [d for d in delays.reshape(-1).tolist() if not 0.0 <= d <= layer.longest]
    if wrong:
        how = getattr(layer, name)
        raise ValueError(
            f"{type(layer).__name__}: {name}={how!r} gives a delay of {wrong[0]:.4g} steps, which must be in "
            f"[0, {layer.longest}]: give it low and high, or a larger max_delay"
        )

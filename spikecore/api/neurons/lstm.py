"""Spiking LSTMs: LSTM cells that fire when their output exceeds the threshold."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.core.activation import logistic
from spikecore.api.core.engine import Engine
from spikecore.api.core.host import uniform_weight
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, ShapeError, State, as_batch, linear
from spikecore.api.core.sizes import at_least_one, spread
from spikecore.api.core.windows import window_counts
from spikecore.api.core.words import Array
from spikecore.api.neurons.cells import DenseGates
from spikecore.api.neurons.membrane import Membrane, Reset
from spikecore.arguments import Count, Sizes


@dataclass(frozen=True)
class _Gated(Membrane):
    """Base of both LSTMs: syn is the cell c, mem the output h; a reset changes mem and never syn."""

    reset_mechanism: Reset = "none"

    state: ClassVar[Tuple[str, ...]] = ("syn", "mem")  # type: ignore[misc]

    def gated(
        self, engine: Engine, params: Params, state: State, gates: Tuple[Any, ...], reset: Optional[Array]
    ) -> Tuple[Any, Any]:
        """Cell and membrane after one step; ``gates``: input, forget, cell and output gate before the nonlinearity."""
        xp = engine.xp
        enter, forget, content, leave = gates
        syn = logistic(xp, forget) * state.syn + logistic(xp, enter) * xp.tanh(content)
        mem = self.reset_after(params, logistic(xp, leave) * xp.tanh(syn), reset)
        return self.quantised(engine, syn), mem


@dataclass(frozen=True)
class SLSTM(DenseGates, _Gated):
    """Spiking LSTM (snnTorch ``SLSTM``).

        i, f, g, o = W_ih x[t] + b_ih + W_hh mem[t-1] + b_hh
        syn[t] = sigma(f) syn[t-1] + sigma(i) tanh(g)
        mem[t] = sigma(o) tanh(syn[t]), then the reset of ``Membrane`` (default "none"); syn is never reset
        S[t] = gamma Theta(mem[t] - theta)

    mem lies in (-1, 1): with the default threshold 1 the neuron never fires, so set a lower one.

    Args:
        input_size: features of the input (time, batch, input_size), >= 1.
        hidden_size: number of neurons, >= 1.
        bias: whether the gates have biases; default True.
        threshold, surrogate, graded_spikes_factor, reset_mechanism, reset_delay, inhibition, state_quant: see
            ``Membrane``.

    Parameters: ``weight_ih`` (4 hidden, input), ``weight_hh`` (4 hidden, hidden), ``bias_ih``, ``bias_hh``
    (4 hidden,), in the order i, f, g, o, uniform in +-1/sqrt(hidden_size), as in torch.nn.LSTMCell.

    Source: Hochreiter & Schmidhuber, Long short-term memory, 1997; Eshraghian et al., 2023.
    """

    gate_count: ClassVar[int] = 4

    def project(self, engine: Engine, params: Params, x: Array) -> Any:
        return linear(engine.xp, x, params.weight_ih, params.bias_ih + params.bias_hh if self.bias else None)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        before = self.reset_before(params, state.mem, reset)
        gates = x + before @ engine.xp.permute_dims(params.weight_hh, (1, 0))
        return self.behind(engine, params, state, self.gates_of(gates), reset)

    def behind(
        self, engine: Engine, params: Params, state: State, gates: Tuple[Any, ...], reset: Optional[Array]
    ) -> Tuple[Any, State]:
        """The rest of a step once the product is given; ``gates``: i, f, g, o, the others as for ``gated``."""
        syn, mem = self.gated(engine, params, state, gates, reset)
        spikes, mem = self.fire(engine, params, mem)
        return spikes, State(syn=syn, mem=mem)


@dataclass(frozen=True)
class SConv2dLSTM(_Gated):
    """Spiking convolutional LSTM (snnTorch ``SConv2dLSTM``).

        i, f, o, g = W * [x[t], mem[t-1]] + b              a convolution over input and output channels together
        syn[t] = sigma(f) syn[t-1] + sigma(i) tanh(g)
        mem[t] = sigma(o) tanh(syn[t]), then the reset of ``Membrane`` (default "none"); syn is never reset
        S[t] = gamma Theta(pool(mem[t]) - theta)           only the spikes are pooled

    Args:
        in_channels: channels of the input (time, batch, in_channels, height, width).
        out_channels: channels of states and spikes.
        kernel_size: an odd int or two, default 3. The padding is half of it, so maps keep their size if stride is 1.
        bias: whether the gates have biases; default True.
        stride: stride over the input, an int or two, default 1; the states have the size of the output map.
        dilation: spacing of the kernel, for input and states, an int or two, default 1.
        max_pool, avg_pool: size (and stride) of the window of a pooling before the threshold, an int; 0, the default,
            for none. Give one of them at most.
        threshold, surrogate, graded_spikes_factor, reset_mechanism, reset_delay, inhibition, state_quant: see
            ``Membrane``.

    Parameters: ``weight`` (4 out, in + out, *kernel_size), ``bias`` (4 out,), in the order i, f, o, g.

    Source: Shi et al., Convolutional LSTM network, 2015; Eshraghian et al., 2023.
    """

    in_channels: int = 0
    out_channels: int = 0
    kernel_size: Sizes = 3
    bias: bool = True
    stride: Sizes = 1
    dilation: Sizes = 1
    max_pool: Count = 0
    avg_pool: Count = 0

    connections: ClassVar[Tuple[str, ...]] = ("weight",)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, in_channels=self.in_channels, out_channels=self.out_channels)
        for name in ("kernel_size", "stride", "dilation"):
            object.__setattr__(self, name, spread("SConv2dLSTM", name, getattr(self, name), 2, 1))
        if any(k % 2 == 0 for k in self._windows[0]):
            raise ValueError(
                f"SConv2dLSTM: kernel_size={self.kernel_size!r} must be odd, so that states keep their size"
            )
        if self.max_pool and self.avg_pool:
            raise ValueError(
                f"SConv2dLSTM: max_pool={self.max_pool!r} and avg_pool={self.avg_pool!r}: give one of them"
            )
        if not self.reset_delay and (self.max_pool or self.avg_pool):
            raise ValueError(
                "SConv2dLSTM: reset_delay=False cannot be used with pooling, since spikes and membrane differ in shape"
            )

    @property
    def _windows(self) -> Any:
        """Kernel, stride and dilation, each for both axes."""
        return self.kernel_size, self.stride, self.dilation

    @property
    def padding(self) -> Tuple[int, int]:
        """Half of the dilated kernel."""
        kernel, _, dilation = self._windows
        rows, columns = (d * (k // 2) for d, k in zip(dilation, kernel))
        return rows, columns

    def init(self, key: Key, shape: Shape) -> Init:
        if len(shape) != 3 or shape[0] != self.in_channels:
            raise ShapeError(f"SConv2dLSTM: samples of shape {shape}, expected ({self.in_channels}, height, width)")
        kernel, stride, dilation = self._windows
        space = window_counts(shape[1:], kernel, stride, self.padding, dilation)
        if min(space) < max(1, self.max_pool, self.avg_pool):
            raise ShapeError(f"SConv2dLSTM: a map of {shape[1:]} is too small; the states would be {space}")
        inherited = super().init(key, (self.out_channels, *space)).params
        size = (4 * self.out_channels, self.in_channels + self.out_channels, *kernel)
        bound = 1.0 / math.sqrt(math.prod(size[1:]))
        weights = {"weight": uniform_weight(key, "weight", size, bound)}
        if self.bias:
            weights["bias"] = uniform_weight(key, "bias", size[:1], bound)
        pool = self.max_pool or self.avg_pool or 1
        return Init(inherited.replace(**weights), EMPTY, (self.out_channels, *(n // pool for n in space)))

    def prepare(self, engine: Engine, params: Params) -> Params:
        now, before = params.weight[:, : self.in_channels, ...], params.weight[:, self.in_channels :, ...]
        prepared = super().prepare(engine, params).replace(weight_x=now, weight_h=before)
        return prepared.replace(bias=params.bias) if self.bias else prepared

    def project(self, engine: Engine, params: Params, x: Array) -> Any:
        option = {"stride": self.stride, "padding": self.padding, "dilation": self.dilation, "groups": 1}
        bias = params.bias if self.bias else None
        return as_batch(engine.xp, lambda flat: engine.xp.conv(flat, params.weight_x, bias, **option), x)

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        return super().rest(engine, params, x[:, : self.out_channels, ...])

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        reset = self.reset(engine, params, state.mem)
        before = self.reset_before(params, state.mem, reset)
        option = {"stride": (1, 1), "padding": self.padding, "dilation": self.dilation, "groups": 1}
        gates, n = x + engine.xp.conv(before, params.weight_h, None, **option), self.out_channels
        enter, forget, leave, content = (gates[:, i * n : (i + 1) * n, ...] for i in range(4))
        syn, mem = self.gated(engine, params, state, (enter, forget, content, leave), reset)
        if not (self.max_pool or self.avg_pool):
            spikes, mem = self.fire(engine, params, mem)
            return spikes, State(syn=syn, mem=mem)
        mem = self.quantised(engine, mem)
        return self.fire(engine, params, self._pooled(engine, mem))[0], State(syn=syn, mem=mem)

    def _pooled(self, engine: Any, mem: Any) -> Any:
        size = (self.max_pool or self.avg_pool,) * 2
        pool = engine.xp.max_pool if self.max_pool else engine.xp.avg_pool
        return pool(mem, size, size, (0, 0))

"""snnTorch's linear neurons: without reset, most of them compute all steps at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.core.activation import logistic
from spikecore.api.core.engine import Engine
from spikecore.api.core.host import uniform_weight
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, ShapeError, State, linear
from spikecore.api.core.parameters import (
    Learn,
    check_broadcast,
    check_range,
    constant,
    initial,
    normalise,
    refuse_drawn,
    values_of,
)
from spikecore.api.core.sizes import at_least_one
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.neurons.base import DECAY, Neuron, Param, clamp01
from spikecore.api.neurons.parallel import Parallel, recurrence
from spikecore.arguments import Size


def affine(xp: Vocabulary, x: Any, params: Params, name: str) -> Any:
    """Compute x W^T + b over time and batch; the bias is optional."""
    return linear(xp, x, params[f"{name}_weight"], params.get(f"{name}_bias"))


def affine_init(key: Key, name: str, rows: int, columns: int, bias: bool = True) -> Params:
    """Initial weight (rows, columns) and bias (rows,), uniform in +-1/sqrt(columns)."""
    bound = 1.0 / math.sqrt(columns)
    params = {f"{name}_weight": uniform_weight(key, f"{name}_weight", (rows, columns), bound)}
    if bias:
        params[f"{name}_bias"] = uniform_weight(key, f"{name}_bias", (rows,), bound)
    return Params(params)


@dataclass(frozen=True)
class StateLeaky(Parallel):
    """Leaky neuron without reset that computes all steps at once (snnTorch ``StateLeaky``).

        tau = 1 / (1 - beta)
        U[t] = exp(-1 / tau) U[t-1] + I[t] = sum_k exp(-k / tau) I[t-k]
        S[t] = gamma Theta(U[t] - theta)

    As in snnTorch, the decay per step is exp(-(1 - beta)), not beta.

    Args:
        beta: in [0, 1], default 0.9; a number, an array, or learned. ``sc.learn`` must begin below 1, and the learned
            parameter is tau, named "tau". With ``sc.learn_tau`` the decay per step is exp(-dt / tau), and the learned
            parameter is log tau, named "beta".
        channels: number of neurons, checked against the input; None (the default) accepts any.
        parallel: True, the default, computes all steps at once; False runs the same recurrence step by step.
        threshold, surrogate, graded_spikes_factor: see ``Neuron``.

    Raises:
        ValueError: a learned beta does not begin below 1.
        ShapeError: the input does not have ``channels`` neurons.
    """

    beta: Param = 0.9
    channels: Optional[Size] = None
    parallel: bool = True

    bounds = {"beta": DECAY}

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.beta, Learn) and self.beta.dt is None:
            refuse_drawn(self, "beta")  # write learn_tau(...)
        if isinstance(self.beta, Learn) and self.beta.dt is None and not _below_one(self.beta):
            raise ValueError(
                f"{type(self).__name__}: beta={self.beta!r} must begin below 1: what is learned is tau = 1 / (1 - beta)"
            )

    def init(self, key: Key, shape: Shape) -> Init:
        if self.channels is not None and shape != (self.channels,):
            raise ShapeError(f"{type(self).__name__}: samples of shape {shape}, expected ({self.channels},)")
        initialised = super().init(key, shape)
        if not isinstance(self.beta, Learn) or self.beta.dt is not None:
            return initialised
        params = {name: value for name, value in initialised.params.items() if name != "beta"}
        tau = constant(1.0 / (1.0 - values_of(self.beta)))
        taus = initial(key, self, "beta", Learn(tau, self.beta.per), shape)
        return Init(Params(params, tau=taus), EMPTY, shape)

    def prepare(self, engine: Engine, params: Params) -> Params:
        if isinstance(self.beta, Learn) and self.beta.dt is None:
            prepared = super().prepare(engine, params.replace(beta=params.tau))
            return prepared.replace(decay=engine.xp.exp(-1.0 / params.tau))
        prepared = super().prepare(engine, params)
        if isinstance(self.beta, Learn):
            return prepared.replace(decay=prepared.beta)
        if type(prepared.beta) is float:
            return prepared.replace(decay=math.exp(prepared.beta - 1.0))
        return prepared.replace(decay=engine.xp.exp(prepared.beta - 1.0))

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        mem = params.decay * state.mem + x
        return self.graded(params, self.fires(engine, params, mem)), State(mem=mem)

    def unrolled(self, engine: Engine, params: Params, state: State, inputs: Array) -> State:
        return State(mem=recurrence(engine, params.decay, inputs, state.mem))


def _below_one(value: Param) -> bool:
    plain = values_of(value)
    return plain < 1.0 if isinstance(plain, float) else bool((plain < 1.0).all())


@dataclass(frozen=True)
class LinearLeaky(StateLeaky):
    """A linear layer and ``StateLeaky`` in one (snnTorch ``LinearLeaky``).

    Args:
        in_features: features of the input, >= 1.
        out_features: number of neurons, >= 1.
        bias: whether the linear layer has a bias; default True.
        channels: leave it out; ``out_features`` gives the number of neurons.
        beta, parallel, threshold, surrogate, graded_spikes_factor: as in ``StateLeaky``.

    Parameters: ``linear_weight`` (out, in), ``linear_bias`` (out,).
    """

    in_features: int = 0
    out_features: int = 0
    bias: bool = True

    connections: ClassVar[Tuple[str, ...]] = ("linear_weight",)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, in_features=self.in_features, out_features=self.out_features)
        if self.channels not in (None, self.out_features):
            raise ValueError(
                f"LinearLeaky: channels={self.channels!r}: leave it out, out_features gives the number of neurons"
            )

    @property
    def input_shape(self) -> Optional[Shape]:
        return (self.in_features,)

    def init(self, key: Key, shape: Shape) -> Init:
        if shape != (self.in_features,):
            raise ShapeError(f"LinearLeaky: samples of shape {shape}, expected ({self.in_features},)")
        params = super().init(key, (self.out_features,)).params
        weights = affine_init(key, "linear", self.out_features, self.in_features, self.bias)
        return Init(params.replace(**weights), EMPTY, (self.out_features,))

    def prepare(self, engine: Engine, params: Params) -> Params:
        weights = {name: params[name] for name in params if name.startswith("linear_")}
        return super().prepare(engine, params).replace(**weights)

    def project(self, engine: Engine, params: Params, x: Array) -> Any:
        return affine(engine.xp, x, params, "linear")


@dataclass(frozen=True)
class LeakyParallel(Neuron):
    """A rectified recurrent layer whose units fire above a threshold (snnTorch ``LeakyParallel``).

        h[t] = relu(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh),   S[t] = gamma Theta(h[t] - theta)

    W_hh is diagonal, one decay per neuron, unless ``dense``. There is no reset. The layer runs step by step, because
    the rectification is not linear.

    Args:
        input_size: features of the input, >= 1.
        hidden_size: number of neurons, >= 1.
        beta: the decays: a number or (hidden_size,), constant or learned, as in ``Leaky``. None, the default, draws
            initial decays at random and learns them.
        bias: whether there are biases; default True.
        dense: whether W_hh is a full matrix, drawn at random and learned (snnTorch's ``weight_hh_enable``); then leave
            out ``beta``. Default False.
        threshold, surrogate, graded_spikes_factor: see ``Neuron``.

    Parameters: ``input_weight`` (hidden, input), ``input_bias``, ``hidden_bias`` (hidden,), ``beta`` or ``weight_hh``.
    """

    input_size: int = 0
    hidden_size: int = 0
    beta: Optional[Param] = None
    bias: bool = True
    dense: bool = False

    connections: ClassVar[Tuple[str, ...]] = ("input_weight", "weight_hh")

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, input_size=self.input_size, hidden_size=self.hidden_size)
        if self.dense and self.beta is not None:
            raise ValueError(f"LeakyParallel: beta={self.beta!r} cannot be used with dense=True; give one of them")
        if self.beta is not None:
            object.__setattr__(self, "beta", normalise(self.beta, f"{type(self).__name__}: beta"))
            check_range(self, "beta", self.beta, 0.0, 1.0)

    @property
    def input_shape(self) -> Optional[Shape]:
        return (self.input_size,)

    def init(self, key: Key, shape: Shape) -> Init:
        if shape != (self.input_size,):
            raise ShapeError(f"LeakyParallel: samples of shape {shape}, expected ({self.input_size},)")
        size, bound = (self.hidden_size,), 1.0 / math.sqrt(self.hidden_size)
        params = (
            super()
            .init(key, size)
            .params.replace(**affine_init(key, "input", self.hidden_size, self.input_size, self.bias))
        )
        if self.bias:
            params = params.replace(hidden_bias=uniform_weight(key, "hidden_bias", size, bound))
        if self.dense:
            params = params.replace(weight_hh=uniform_weight(key, "weight_hh", (self.hidden_size,) * 2, bound))
        elif self.beta is None:
            params = params.replace(beta=uniform_weight(key, "beta", size, bound))
        elif not isinstance(self.beta, Learn):
            check_broadcast(self, "beta", values_of(self.beta), size)
        else:
            params = params.replace(beta=initial(key, self, "beta", self.beta, size))
        return Init(params, EMPTY, size)

    def prepare(self, engine: Engine, params: Params) -> Params:
        prepared = super().prepare(engine, params)
        weights = {name: value for name, value in params.items() if name not in prepared}
        if self.beta is not None:
            weights["beta"] = clamp01(engine, self._value(engine, params, "beta"))
        return prepared.replace(**weights)

    def project(self, engine: Engine, params: Params, x: Array) -> Any:
        y = affine(engine.xp, x, params, "input")
        return y + params.hidden_bias if self.bias else y

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        xp = engine.xp
        if self.dense:
            drive = x + state.mem @ xp.permute_dims(params.weight_hh, (1, 0))
        else:
            drive = x + params.beta * state.mem
        mem = xp.where(drive > 0, drive, xp.zeros_like(drive))
        return self.graded(params, self.fires(engine, params, mem)), State(mem=mem)


@dataclass(frozen=True)
class AssociativeLeaky(Parallel):
    """Spiking associative memory: a decaying matrix of key-value products (snnTorch ``AssociativeLeaky``).

        v = W_v x,  k = W_k x,  a = sigma(W_a x)
        M[t] = M[t-1] diag(a[t]) + v[t] k[t]^T             (d_value, d_key)
        S[t] = gamma Theta(M[t] - theta)
        output  S[t] Q[t] with Q = W_q x as (d_key, d_value), flattened; S[t] flattened without ``use_q_projection``

    Args:
        in_dim: features of the input, >= 1.
        d_value, d_key: rows and columns of the memory matrix M, >= 1.
        use_q_projection: whether the spikes are read out through Q; default True.
        parallel: True, the default, computes all steps at once; False runs the same recurrence step by step.
        threshold, surrogate, graded_spikes_factor: see ``Neuron``.

    Shapes: x (time, batch, in_dim), output (time, batch, d_value * d_value), or d_value * d_key without projection.

    Source: the linear recurrences of Gu & Dao, Mamba, 2023, and Yang et al., Gated linear attention, 2023.
    """

    in_dim: int = 0
    d_value: int = 0
    d_key: int = 0
    use_q_projection: bool = True
    parallel: bool = True

    connections: ClassVar[Tuple[str, ...]] = ("value_weight", "key_weight", "decay_weight", "query_weight")

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, in_dim=self.in_dim, d_value=self.d_value, d_key=self.d_key)

    @property
    def input_shape(self) -> Optional[Shape]:
        return (self.in_dim,)

    @property
    def spiking(self) -> bool:  # type: ignore[override]  # a property in place of a constant
        return not self.use_q_projection

    @property
    def sizes(self) -> Tuple[Tuple[str, int], ...]:
        """Names and sizes of the input's projections, in the order in which ``project`` concatenates them."""
        base = (("value", self.d_value), ("key", self.d_key), ("decay", self.d_key))
        return (*base, ("query", self.d_key * self.d_value)) if self.use_q_projection else base

    def init(self, key: Key, shape: Shape) -> Init:
        if shape != (self.in_dim,):
            raise ShapeError(f"AssociativeLeaky: samples of shape {shape}, expected ({self.in_dim},)")
        params = super().init(key, (self.d_value, self.d_key)).params
        for name, rows in self.sizes:
            params = params.replace(**affine_init(key, name, rows, self.in_dim))
        return Init(params, EMPTY, (self.d_value * (self.d_value if self.use_q_projection else self.d_key),))

    def prepare(self, engine: Engine, params: Params) -> Params:
        weights = {name: value for name, value in params.items() if name.endswith(("_weight", "_bias"))}
        return super().prepare(engine, params).replace(**weights)

    def project(self, engine: Engine, params: Params, x: Array) -> Any:
        return engine.xp.concat([affine(engine.xp, x, params, name) for name, _ in self.sizes], axis=-1)

    def _parts(self, engine: Any, x: Any) -> Any:
        """The product v k^T (..., d_value, d_key), the decay (..., 1, d_key) and the query, for one step or all."""
        xp, projections, start = engine.xp, {}, 0
        for name, rows in self.sizes:
            projections[name] = x[..., start : start + rows]
            start += rows
        write = xp.expand_dims(projections["value"], axis=-1) * xp.expand_dims(projections["key"], axis=-2)
        decay = xp.expand_dims(logistic(xp, projections["decay"]), axis=-2)
        return write, decay, projections.get("query")

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        write, _, _ = self._parts(engine, x)
        return State(mem=engine.xp.zeros_like(write))

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        write, decay, query = self._parts(engine, x)
        mem = decay * state.mem + write
        return self._read(engine, params, mem, query), State(mem=mem)

    def unrolled(self, engine: Engine, params: Params, state: State, inputs: Array) -> State:
        write, decay, _ = self._parts(engine, inputs)
        return State(mem=recurrence(engine, decay, write, state.mem))

    def _read(self, engine: Any, params: Params, mem: Any, query: Any) -> Any:
        xp, lead = engine.xp, tuple(mem.shape[:-2])
        spikes = self.graded(params, self.fires(engine, params, mem))
        if query is None:
            return xp.reshape(spikes, (*lead, self.d_value * self.d_key))
        read = spikes @ xp.reshape(query, (*lead, self.d_key, self.d_value))
        return xp.reshape(read, (*lead, self.d_value * self.d_value))

    def at_once(
        self,
        engine: Engine,
        params: Params,
        state: State,
        inputs: Array,
        *,
        steps: Optional[int] = None,
        record: Tuple[str, ...] = (),
        window: Optional[int] = None,
    ) -> Any:
        """All steps at once, see ``Parallel.at_once``; the query of each step reads the memory of the same step."""
        _, recorded, final = super().at_once(engine, params, state, inputs, steps=steps, record=("mem",), window=window)
        _, _, query = self._parts(engine, inputs)
        if query is not None and query.shape[0] != recorded.mem.shape[0]:
            query = engine.xp.broadcast_to(query, (recorded.mem.shape[0], *query.shape[1:]))
        return self._read(engine, params, recorded.mem, query), recorded if record else State(), final

    def outputs(self, engine: Engine, params: Params, before: State, states: State) -> Any:
        return states.mem  # at_once, which has the queries, computes the outputs

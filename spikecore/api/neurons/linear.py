"""Neurons that are made to run in parallel over time: no reset, so every step can be computed at once."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import uniform_weight
from spikecore.api.core.layer import EMPTY, Init, Key, Params, Shape, ShapeError, State, linear
from spikecore.api.core.parameters import Learn, check_broadcast, check_range, constant, initial, normalise, values_of
from spikecore.api.core.sizes import at_least_one
from spikecore.api.core.words import Array, Vocabulary
from spikecore.api.neurons.base import DECAY, Neuron, Param, clamp01
from spikecore.api.neurons.lstm import logistic
from spikecore.api.neurons.parallel import Parallel, recurrence
from spikecore.arguments import Size


def affine(xp: Vocabulary, x: Any, params: Params, name: str) -> Any:
    """Give x W^T + b over time and batch; the bias is optional."""
    return linear(xp, x, params[f"{name}_weight"], params.get(f"{name}_bias"))


def affine_init(key: Key, name: str, rows: int, columns: int, bias: bool = True) -> Params:
    """First weight (rows, columns) and bias (rows,), uniform in +-1/sqrt(columns)."""
    bound = 1.0 / math.sqrt(columns)
    made = {f"{name}_weight": uniform_weight(key, f"{name}_weight", (rows, columns), bound)}
    if bias:
        made[f"{name}_bias"] = uniform_weight(key, f"{name}_bias", (rows,), bound)
    return Params(made)


@dataclass(frozen=True)
class StateLeaky(Parallel):
    """Leaky neuron without reset, all steps at once (snnTorch ``StateLeaky``).

        tau = 1 / (1 - beta)
        U[t] = exp(-1 / tau) U[t-1] + I[t] = sum_k exp(-k / tau) I[t-k]
        S[t] = gamma Theta(U[t] - theta)

    As in snnTorch the decay per step is exp(-(1 - beta)), not beta.

    Args:
        beta: in [0, 1]; a number, an array, or learned, below 1: then tau is the parameter, named "tau". With
            ``sc.learn_tau`` the decay per step is exp(-dt / tau), and log tau is the parameter, named "beta".
        channels: number of neurons, checked against the input; None takes any.
        parallel: False runs the same recurrence step by step.
        threshold, surrogate, graded_spikes_factor: see ``Neuron``.
    """

    beta: Param = 0.9
    channels: Optional[Size] = None
    parallel: bool = True

    bounds = {"beta": DECAY}

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.beta, Learn) and self.beta.dt is None and not _below_one(self.beta):
            raise ValueError(
                f"{type(self).__name__}: beta={self.beta!r} must begin below 1: what is learned is tau = 1 / (1 - beta)"
            )

    def init(self, key: Key, shape: Shape) -> Init:
        if self.channels is not None and shape != (self.channels,):
            raise ShapeError(f"{type(self).__name__}: samples of shape {shape}, expected ({self.channels},)")
        made = super().init(key, shape)
        if not isinstance(self.beta, Learn) or self.beta.dt is not None:
            return made
        params = {name: value for name, value in made.params.items() if name != "beta"}
        tau = constant(1.0 / (1.0 - values_of(self.beta)))
        taus = initial(key, self, "beta", Learn(tau, self.beta.per), shape)
        return Init(Params(params, tau=taus), EMPTY, shape)

    def prepare(self, engine: Engine, params: Params) -> Params:
        if isinstance(self.beta, Learn) and self.beta.dt is None:
            ready = super().prepare(engine, params.replace(beta=params.tau))
            return ready.replace(decay=engine.xp.exp(-1.0 / params.tau))
        ready = super().prepare(engine, params)
        if isinstance(self.beta, Learn):
            return ready.replace(decay=ready.beta)
        if type(ready.beta) is float:
            return ready.replace(decay=math.exp(ready.beta - 1.0))
        return ready.replace(decay=engine.xp.exp(ready.beta - 1.0))

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
        in_features: features of the input.
        out_features: number of neurons.
        bias: whether the linear layer has a bias.
        beta, parallel, threshold, surrogate, graded_spikes_factor: as in ``StateLeaky``.

    Parameters: ``linear_weight`` (out, in), ``linear_bias`` (out,).
    """

    in_features: int = 0
    out_features: int = 0
    bias: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, in_features=self.in_features, out_features=self.out_features)
        if self.channels not in (None, self.out_features):
            raise ValueError(
                f"LinearLeaky: channels={self.channels!r}: leave it out, out_features says how many there are"
            )

    @property
    def input_shape(self) -> Optional[Shape]:
        return (self.in_features,)

    def init(self, key: Key, shape: Shape) -> Init:
        if shape != (self.in_features,):
            raise ShapeError(f"LinearLeaky: samples of shape {shape}, expected ({self.in_features},)")
        made = super().init(key, (self.out_features,))
        weights = affine_init(key, "linear", self.out_features, self.in_features, self.bias)
        return Init(made.params.replace(**weights), EMPTY, (self.out_features,))

    def prepare(self, engine: Engine, params: Params) -> Params:
        weights = {name: params[name] for name in params if name.startswith("linear_")}
        return super().prepare(engine, params).replace(**weights)

    def project(self, engine: Engine, params: Params, x: Array) -> Any:
        return affine(engine.xp, x, params, "linear")


@dataclass(frozen=True)
class LeakyParallel(Neuron):
    """A rectified recurrent layer whose units fire above a threshold (snnTorch ``LeakyParallel``).

        h[t] = relu(W_ih x[t] + b_ih + W_hh h[t-1] + b_hh),   S[t] = gamma Theta(h[t] - theta)

    W_hh is diagonal, one decay per neuron, unless ``dense``. There is no reset, and the membrane cannot go below zero:
    that rectification is what keeps the steps from being computed at once, so it runs step by step.

    Args:
        input_size: features of the input.
        hidden_size: number of neurons.
        beta: first value of the decays: a number or (hidden_size,); learned or not, as in ``Leaky``. None draws them
            and learns them.
        bias: whether there are biases.
        dense: W_hh a full matrix, drawn at random and learned (snnTorch's ``weight_hh_enable``); without ``beta``.
        threshold, surrogate, graded_spikes_factor: see ``Neuron``.

    Parameters: ``input_weight`` (hidden, input), ``input_bias``, ``hidden_bias`` (hidden,), ``beta`` or ``weight_hh``.
    """

    input_size: int = 0
    hidden_size: int = 0
    beta: Optional[Param] = None
    bias: bool = True
    dense: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least_one(self, input_size=self.input_size, hidden_size=self.hidden_size)
        if self.dense and self.beta is not None:
            raise ValueError(f"LeakyParallel: beta={self.beta!r} has no place in a dense W_hh; give one of them")
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
        ready = super().prepare(engine, params)
        weights = {name: value for name, value in params.items() if name not in ready}
        if self.beta is not None:
            weights["beta"] = clamp01(engine, self._value(engine, params, "beta"))
        return ready.replace(**weights)

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
        in_dim: features of the input.
        d_value, d_key: extents of the memory.
        use_q_projection: whether the spikes are read out through Q.
        parallel: False runs the same recurrence step by step.
        threshold, surrogate, graded_spikes_factor: see ``Neuron``.

    Shapes: x (time, batch, in_dim), output (time, batch, d_value * d_value), or d_value * d_key without projection.

    Source: the linear recurrences of Gu & Dao, Mamba, 2023, and Yang et al., Gated linear attention, 2023.
    """

    in_dim: int = 0
    d_value: int = 0
    d_key: int = 0
    use_q_projection: bool = True
    parallel: bool = True

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
        """The projections of the input by name, in the order in which ``project`` lines them up."""
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
        """What one or all steps write and how they decay: (..., d_value, d_key) and (..., 1, d_key), and the query."""
        xp, found, start = engine.xp, {}, 0
        for name, rows in self.sizes:
            found[name] = x[..., start : start + rows]
            start += rows
        write = xp.expand_dims(found["value"], axis=-1) * xp.expand_dims(found["key"], axis=-2)
        kept = xp.expand_dims(logistic(xp, found["decay"]), axis=-2)
        return write, kept, found.get("query")

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        write, _, _ = self._parts(engine, x)
        return State(mem=engine.xp.zeros_like(write))

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        write, kept, query = self._parts(engine, x)
        mem = kept * state.mem + write
        return self._read(engine, params, mem, query), State(mem=mem)

    def unrolled(self, engine: Engine, params: Params, state: State, inputs: Array) -> State:
        write, kept, _ = self._parts(engine, inputs)
        return State(mem=recurrence(engine, kept, write, state.mem))

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
        """As ``Parallel.at_once``; the queries of all steps read the memories of all steps."""
        _, made, final = super().at_once(engine, params, state, inputs, steps=steps, record=("mem",), window=window)
        _, _, query = self._parts(engine, inputs)
        if query is not None and query.shape[0] != made.mem.shape[0]:
            query = engine.xp.broadcast_to(query, (made.mem.shape[0], *query.shape[1:]))
        return self._read(engine, params, made.mem, query), made if record else State(), final

    def outputs(self, engine: Engine, params: Params, before: State, states: State) -> Any:
        return states.mem  # read out in at_once, which has the queries

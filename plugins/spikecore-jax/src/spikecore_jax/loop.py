"""The loop over time as one ``lax.scan``, which JAX differentiates."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from spikecore.api.core.tree import Params, State
from spikecore.api.neurons.stepper import one_step


def loop(
    engine: Any,
    stepper: Any,
    params: Params,
    state: State,
    inputs: Any,
    weight: Any,
    steps: int,
    record: tuple[str, ...],
    window: int | None,
) -> tuple[Any, State, State]:
    """``Engine.scan``. An input that is constant in time stays one step. With ``engine.checkpoint_every``, the backward
    pass keeps the states of every so many steps only, and computes the steps between again. With a ``weight`` (outs,
    neurons), each step's spikes are multiplied by it at once, so that the gradient of all spikes is never stored.
    """
    constant = inputs.shape[0] == 1

    def advance(state: State, at: Any) -> Any:
        tick, x = at
        if window is not None:
            cut = (tick % window == 0) & (tick > 0)
            state = jax.tree.map(lambda s: jnp.where(cut, lax.stop_gradient(s), s), state)
        y, after = one_step(engine, stepper, params, state, inputs[0] if constant else x)
        y = y if weight is None else engine.xp.linear(y, weight)
        return after, (y, State({name: after[name] for name in record}))

    over = jnp.arange(steps), None if constant else inputs
    state = _as_after(advance, state, jax.tree.map(lambda x: x[0], over))
    final, (outputs, recorded) = _segmented(advance, state, over, steps, engine.checkpoint_every)
    return outputs, recorded, final


def _as_after(advance: Any, state: State, at: Any) -> State:
    """The state before the first step in the shapes and dtypes that it has after it, as ``lax.scan`` wants it."""
    after = jax.eval_shape(advance, state, at)[0]
    found: State = jax.tree.map(lambda a, b: jnp.broadcast_to(jnp.asarray(a, b.dtype), b.shape), state, after)
    return found


def _segmented(advance: Any, state: State, over: Any, steps: int, every: int | None) -> Any:
    if every is None or steps < every:
        return lax.scan(advance, state, over, length=steps)
    whole = steps // every
    head = jax.tree.map(lambda x: x[: whole * every].reshape(whole, every, *x.shape[1:]), over)
    tail = jax.tree.map(lambda x: x[whole * every :], over)
    segment = jax.checkpoint(lambda state, part: lax.scan(advance, state, part, length=every))
    state, found = lax.scan(segment, state, head, length=whole)
    found = jax.tree.map(lambda y: y.reshape(whole * every, *y.shape[2:]), found)
    if steps == whole * every:
        return state, found
    state, rest = lax.scan(advance, state, tail, length=steps - whole * every)
    return state, jax.tree.map(lambda a, b: jnp.concatenate((a, b)), found, rest)

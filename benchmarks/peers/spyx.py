"""Spyx: its LIF under ``jit``, with the time loop of ``spyx.nn.run``; and the same neuron for this library.

    S[t] = Theta(U[t-1] - theta)                 the spike of the step before
    U[t] = beta U[t-1] + I[t] - S[t] theta       the reset is differentiated

Its decay is always learned.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Dict, Sequence, Tuple

from spikecore.api.core.layer import State
from spikecore.api.neurons.base import DECAY, Neuron, Param, Params


@dataclass(frozen=True)
class SpyxLIF(Neuron):
    """Spyx's LIF as a neuron of this library."""

    beta: Param = 0.9

    bounds: ClassVar[Dict[str, Tuple[float, float]]] = {"beta": DECAY}

    def step(self, engine: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
        spikes = self.graded(params, self.fires(engine, params, state.mem))
        return spikes, State(mem=params.beta * state.mem + x - spikes * params.threshold)


def lif(size: int, beta: float) -> Any:
    """Spyx's LIF with the derivative of ``atan(2)``."""
    import flax.nnx as nnx
    import spyx

    surrogate = spyx.axn.custom(lambda u: 1.0 / (1.0 + (math.pi * u) ** 2))
    return spyx.nn.LIF((size,), beta=beta, activation=surrogate, rngs=nnx.Rngs(0))


def network(parts: Sequence[Any], hoisted: bool = False, steps: int = 0) -> Tuple[Any, Callable[..., Any]]:
    """The parameters of a network, as a pytree, and a function ``(parameters, x) -> outputs over time``.

    Args:
        parts: neurons, and pairs (weight, bias) of arrays for a Linear; bias may be None.
        hoisted: run the first part, a Linear, once and outside of ``spyx.nn.run``.
        steps: number of steps of an input that is constant in time; 0 if x is (time, batch, ...).
    """
    import flax.nnx as nnx
    import jax.numpy as jnp
    import spyx

    modules = [_dense(*part) if isinstance(part, tuple) else part for part in parts]
    definition, params = nnx.split(spyx.nn.Sequential(*modules))

    def call(params: Any, x: Any) -> Any:
        net = nnx.merge(definition, params)
        if hoisted:
            first, *rest = net.layers
            x, net = first(x), spyx.nn.Sequential(*rest)
        if steps:
            x = jnp.broadcast_to(x, (steps, *x.shape))
        return spyx.nn.run(net, x)[0]

    return params, call


def named(tree: Any) -> Dict[str, Any]:
    """The arrays of a pytree of parameters by the names that this library uses, e.g. "0.weight", "1.beta"."""
    import flax.nnx as nnx
    import jax

    arrays = {}
    for i, parameters in nnx.to_pure_dict(tree)["layers"].items():
        for name, values in parameters.items():
            array = jax.device_get(values)
            arrays[f"{i}.weight" if name == "kernel" else f"{i}.{name}"] = array.T if name == "kernel" else array
    return arrays


def _dense(weight: Any, bias: Any) -> Any:
    import flax.nnx as nnx
    import jax.numpy as jnp

    layer: Any = nnx.Linear(weight.shape[1], weight.shape[0], use_bias=bias is not None, rngs=nnx.Rngs(0))
    layer.kernel[...] = jnp.asarray(weight.T)
    if bias is not None:
        layer.bias[...] = jnp.asarray(bias)
    return layer


def li(size: int, beta: float) -> Any:
    """Spyx's leaky integrator."""
    import flax.nnx as nnx
    import spyx

    return spyx.nn.LI((size,), beta=beta, rngs=nnx.Rngs(0))

"""Plain JAX without a library of neurons: snnTorch's default Leaky under jit and scan, and Adam, written by hand."""

from __future__ import annotations

from typing import Any, Callable, Dict, Tuple

import numpy as np

from benchmarks.plan import Run

B1, B2, EPS = 0.9, 0.999, 1e-8


def spike_function() -> Callable[[Any], Any]:
    """Theta(u) with the derivative of ``atan(2)``."""
    import jax
    import jax.numpy as jnp

    @jax.custom_jvp
    def spike(u: Any) -> Any:
        return (u > 0).astype(u.dtype)

    @spike.defjvp
    def _(primals: Tuple[Any], tangents: Tuple[Any]) -> Any:
        return spike(primals[0]), tangents[0] / (1.0 + (jnp.pi * primals[0]) ** 2)

    return spike


def adam(params: Any, grads: Any, slots: Tuple[Any, Any, Any], lr: float) -> Tuple[Any, Any]:
    """One step of Adam on a dict of arrays; ``slots`` are the two moments and the number of steps."""
    import jax
    import jax.numpy as jnp

    over = jax.tree_util.tree_map
    mean = over(lambda m, g: B1 * m + (1 - B1) * g, slots[0], grads)
    square = over(lambda v, g: B2 * v + (1 - B2) * g * g, slots[1], grads)
    count = slots[2] + 1
    c1, c2 = 1 - B1**count, 1 - B2**count
    moved = over(lambda p, m, v: p - lr * (m / c1) / (jnp.sqrt(v / c2) + EPS), params, mean, square)
    return moved, (mean, square, count)


def two_layers(beta: float, steps: int, hoisted: bool) -> Callable[..., Any]:
    """The loss of tutorial 5's network: cross-entropy of the membrane, summed over time, averaged over samples.

    Args:
        beta: decay of the membrane per step.
        steps: number of time steps.
        hoisted: compute the first Linear, whose input is constant in time, once and outside the scan.
    """
    import jax
    import jax.numpy as jnp

    spike = spike_function()

    def leaky(mem: Any, current: Any) -> Tuple[Any, Any]:
        reset = jax.lax.stop_gradient((mem > 1.0).astype(mem.dtype))
        mem = beta * mem + current - reset
        return spike(mem - 1.0), mem

    def loss(params: Dict[str, Any], x: Any, y: Any) -> Any:
        def first(inputs: Any) -> Any:
            return inputs @ params["0.weight"].T + params["0.bias"]

        once = first(x) if hoisted else None

        def step(mems: Any, _: Any) -> Any:
            spikes, hidden = leaky(mems[0], once if hoisted else first(x))
            _, readout = leaky(mems[1], spikes @ params["2.weight"].T + params["2.bias"])
            return (hidden, readout), readout

        rest = (jnp.zeros((x.shape[0], params["0.bias"].size)), jnp.zeros((x.shape[0], params["2.bias"].size)))
        _, mem = jax.lax.scan(step, rest, None, length=steps)
        logs = jnp.take_along_axis(jax.nn.log_softmax(mem), y[None, :, None], axis=-1)
        return -logs.sum() / x.shape[0]

    return loss


def spiking_layers(beta: float, depth: int) -> Callable[..., Any]:
    """The loss of layers of a Linear and a Leaky with the reset "zero": cross-entropy of the last layer's spike counts.

    A Linear is one product for all steps and samples; a neuron is a scan.

    Args:
        beta: decay of the membrane per step.
        depth: number of layers; the parameters of the n-th are named 2n.
    """
    import jax
    import jax.numpy as jnp

    spike = spike_function()

    def leaky(mem: Any, current: Any) -> Tuple[Any, Any]:
        kept = jax.lax.stop_gradient((mem <= 1.0).astype(mem.dtype))
        mem = beta * (mem * kept) + current
        return mem, spike(mem - 1.0)

    def loss(params: Dict[str, Any], x: Any, y: Any) -> Any:
        for number in range(0, 2 * depth, 2):
            current = x @ params[f"{number}.weight"].T + params[f"{number}.bias"]
            _, x = jax.lax.scan(leaky, jnp.zeros_like(current[0]), current)
        logs = jax.nn.log_softmax(x.sum(0))
        return -jnp.take_along_axis(logs, y[:, None], axis=-1).sum() / y.shape[0]

    return loss


def trained(
    loss: Callable[..., Any],
    params: Any,
    inputs: Tuple[Any, ...],
    lr: float,
    named: Callable[[Any], Dict[str, Any]] = dict,
) -> Run:
    """A run of one training step in one jit. Its evidence is the gradient, Adam's first moment divided by 1 - b1.

    Args:
        loss: function of parameters and inputs.
        params: a pytree of arrays.
        inputs: arrays.
        lr: learning rate.
        named: converts a pytree like ``params`` to arrays by name.
    """
    import jax
    import jax.numpy as jnp

    def step(params: Any, slots: Any, *data: Any) -> Any:
        value, grads = jax.value_and_grad(loss)(params, *data)
        return (*adam(params, grads, slots, lr), value)

    compiled = jax.jit(step, donate_argnums=(0, 1))
    data, over = tuple(jnp.asarray(array) for array in inputs), jax.tree_util.tree_map
    slots = (over(jnp.zeros_like, params), over(jnp.zeros_like, params), jnp.zeros(()))
    current = [over(jnp.array, params), slots]

    def run() -> Any:
        current[0], current[1], value = compiled(current[0], current[1], *data)
        jax.block_until_ready((current, value))
        return lambda: {name: np.asarray(mean) / (1 - B1) for name, mean in named(current[1][0]).items()}

    return run

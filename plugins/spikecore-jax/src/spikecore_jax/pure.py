"""A network as pure functions of its parameters, for JAX's own transformations, optimisers and loops."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from spikecore.api.core.layer import Key, Pass, ShapeError, initialised
from spikecore.api.core.random import stream
from spikecore.api.core.tree import Tree, leaves, map_leaves, replaced
from spikecore.api.layers.network import Output, forward, record_option
from spikecore.api.training.stream import resting_state
from spikecore_jax.draws import TRACED, Draws, halves
from spikecore_jax.engine import JaxEngine, compiling

Arrays = Mapping[str, Any]  # arrays by name


class PureNetwork:
    """A network as pure functions: ``jax.jit``, ``grad``, ``vmap`` and any optimiser of JAX work on them.

    Args:
        network: the layers, e.g. ``sc.Sequential(sc.Linear(64, 10), sc.Leaky())``.
        sample_shape: shape of one sample, without the axes of time and batch, e.g. ``(64,)``.
        num_steps: number of time steps, >= 1, for inputs that are constant in time, whose shape is (batch,
            *sample_shape). None, the default: inputs have a time axis, (time, batch, *sample_shape).
        dtype: "float32", the default, or "float64", which JAX must have switched on.

    Attributes:
        engine: the engine of the functions; spikecore's losses take it, ``loss.evaluate(network.engine, out, labels)``.
        output_shape: shape of one sample of the output, at one step.

    Raises:
        ShapeError: the network does not take samples of this shape.
        ValueError: ``num_steps`` or ``dtype`` is not allowed.

    Example:
        >>> network = PureNetwork(sc.Sequential(sc.Linear(64, 10), sc.Leaky(beta=0.9)), (64,), num_steps=25)
        >>> params = network.init(seed=0)                       # a dict: "0.weight", "0.bias"
        >>> out = jax.jit(network.apply)(params, x)             # x (batch, 64); out.spikes (25, batch, 10)
    """

    def __init__(
        self, network: Any, sample_shape: tuple[int, ...], *, num_steps: int | None = None, dtype: str = "float32"
    ) -> None:
        if num_steps is not None and (not isinstance(num_steps, int) or isinstance(num_steps, bool) or num_steps < 1):
            raise ValueError(f"num_steps={num_steps!r} must be a number of steps, at least 1, or None")
        self.network, self.sample_shape, self.num_steps = network, tuple(sample_shape), num_steps
        self.engine = JaxEngine(dtype).traced()
        drawn = initialised(network, Key((0, "init")), self.sample_shape)
        self.output_shape, self._buffers = drawn.shape, drawn.buffers
        self._like, self._like_buffers = (map_leaves(np.shape, tree) for tree in (drawn.params, drawn.buffers))

    def __repr__(self) -> str:
        return f"PureNetwork({self.network!r}, {self.sample_shape}, num_steps={self.num_steps})"

    # ---- initial values ----

    @property
    def blank(self) -> dict[str, jax.Array]:
        """Parameters of the right shapes, all 0."""
        return {name: jnp.zeros(shape, self.engine.dtype) for name, shape in leaves(self._like)}

    def init(self, seed: Any = 0) -> dict[str, jax.Array]:
        """The initial parameters by name: those of ``sc.Model(network, seed=seed)``, whatever its engine.

        Args:
            seed: a whole number, or a key of ``jax.random``, from whose bits one is made.

        Raises:
            TypeError: the key is traced: the weights are drawn on the host, so call ``init`` outside of ``jax.jit``.
        """
        drawn = initialised(self.network, Key((_whole(seed), "init")), self.sample_shape)
        return {name: jnp.asarray(x, self.engine.dtype) for name, x in leaves(drawn.params)}

    def buffers(self) -> dict[str, jax.Array]:
        """The initial running statistics by name, as batch normalisation has them; {} for a network without."""
        return {name: jnp.asarray(x, self.engine.dtype) for name, x in leaves(self._buffers)}

    def rest(self, params: Arrays, batch: int, buffers: Arrays | None = None) -> Tree:
        """The states before the first step, with which ``lax.scan`` begins: a pytree.

        Args:
            params: the parameters by name.
            batch: number of samples.
            buffers: the running statistics by name; None: the initial ones.
        """
        holder = SimpleNamespace(engine=self.engine, **self._given(params, buffers))
        with compiling():
            return resting_state(self.network, holder, (1, batch, *self.sample_shape))

    # ---- the functions ----

    def apply(
        self,
        params: Arrays,
        x: Any,
        *,
        state: Tree | None = None,
        buffers: Arrays | None = None,
        record: Any = "last",
    ) -> Output:
        """Run the network; the output is a pytree.

        Args:
            params: the parameters by name.
            x: the input, (batch, *sample_shape) with ``num_steps``, else (time, batch, *sample_shape).
            state: the states before the first step, from ``rest`` or the output before; None: at rest.
            buffers: the running statistics by name, from ``train``; None: the initial ones.
            record: whose states the output holds: True, False, "last", or names of layers.

        Raises:
            ShapeError: ``x`` has another shape.
            KeyError: a parameter is missing or unknown.
        """
        return self._run(Pass(self.engine, record=record_option(self.network, record)), params, buffers, x, state)[0]

    def train(
        self,
        params: Arrays,
        x: Any,
        key: Any = None,
        *,
        state: Tree | None = None,
        buffers: Arrays | None = None,
        record: Any = "last",
    ) -> tuple[Output, dict[str, jax.Array]]:
        """Run the network as in training: dropout draws, running statistics move.

        Args:
            key: a key of ``jax.random`` for the draws; None for a network that draws nothing.
            params, x, state, buffers, record: see ``apply``.

        Returns:
            The output, and the running statistics after the pass.

        Raises:
            ValueError: a layer draws, and there is no key.
            ShapeError, KeyError: see ``apply``.
        """
        record = record_option(self.network, record)
        run = Pass(self.engine.traced(_Keyed(key)), train=True, key=TRACED, record=record, repeating=True)
        out, moved = self._run(run, params, buffers, x, state)
        return out, dict(leaves(moved))

    def _run(self, run: Pass, params: Arrays, buffers: Arrays | None, x: Any, state: Any) -> tuple[Output, Tree]:
        shape, axes = tuple(np.shape(x)), ("time", "batch") if self.num_steps is None else ("batch",)
        if shape[len(axes) :] != self.sample_shape or len(shape) != len(axes) + len(self.sample_shape):
            why = "num_steps=N is for inputs without time" if self.num_steps is None else "num_steps=None has time"
            raise ShapeError(f"x of shape {shape} must be ({', '.join((*axes, *map(str, self.sample_shape)))}); {why}")
        given = self._given(params, buffers)
        with run.engine.isolated(), compiling():
            inputs = run.engine.asarray(x)
            if self.num_steps is not None:
                inputs, run = inputs[None], replace(run, steps=self.num_steps)
            return forward(self.network, run, given["params"], given["buffers"], inputs, state)

    def _given(self, params: Arrays, buffers: Arrays | None) -> dict[str, Any]:
        """The collections as the network takes them."""
        buffers = self.buffers() if buffers is None else buffers
        moving = _filled(self._like_buffers, buffers, "buffers")
        return {"params": _filled(self._like, params, "params"), "buffers": moving}


class _Keyed(Draws):
    """Draws whose words come from a key of JAX, which may be traced: another for each place in the network."""

    def __init__(self, key: Any) -> None:
        super().__init__()
        self.key = key

    def words(self, path: Any, first: int) -> Any:
        if self.key is None:
            raise ValueError("train: a layer of this network draws random numbers: pass key=jax.random.key(0)")
        low, high = stream(path)
        key = jax.random.fold_in(jax.random.fold_in(self.key, np.uint32(low)), np.uint32(high))
        return jax.random.bits(key, (2,), "uint32"), halves(0)


def _whole(seed: Any) -> int:
    """A seed as a whole number; a key of JAX gives one by its bits."""
    if isinstance(seed, int) and not isinstance(seed, bool):
        return seed
    if isinstance(seed, jax.core.Tracer):
        raise TypeError("init: the key is traced, and weights are drawn on the host: call init outside of jax.jit")
    try:
        return int(jax.random.bits(seed, (), "uint32"))
    except (TypeError, ValueError) as error:
        raise TypeError(f"init: seed={seed!r} must be a whole number or a key of jax.random") from error


def _filled(like: Any, given: Arrays, what: str) -> Any:
    """The tree of arrays from arrays by name.

    Raises:
        KeyError: a name is missing or unknown.
        ShapeError: an array has another shape.
    """
    shapes = dict(leaves(like))
    wrong = sorted(shapes.keys() ^ given.keys())
    if wrong:
        kind = "missing" if wrong[0] in shapes else "unknown"
        raise KeyError(f"{what}: {wrong[0]!r} is {kind}; the network has {', '.join(shapes) or 'none'}")
    for name, shape in shapes.items():
        if tuple(np.shape(given[name])) != shape:
            raise ShapeError(f"{what}: {name} of shape {tuple(np.shape(given[name]))} must have shape {shape}")
    return replaced(like, given)

"""The JAX engine: arrays of ``jax.numpy``, loops as ``lax.scan``, gradients by JAX, training steps compiled whole."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any, Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from spikecore.api.core.engine import Engine, Executor
from spikecore.api.core.extras import Processes, StepwiseLearning
from spikecore.api.core.layer import not_by_steps
from spikecore.api.core.lowering import Alone, Stage
from spikecore.api.core.sizes import check_steps, is_whole
from spikecore.api.core.tree import Params, State
from spikecore.api.layers.containers import Container, stages_of
from spikecore.arguments import real
from spikecore.engines.stages import Neighbours, Readout, Scans
from spikecore_jax.devices import chosen, name_of, whole
from spikecore_jax.draws import Draws, draw, halves, layout_of, stream
from spikecore_jax.loop import loop
from spikecore_jax.trees import Rest, joined, parted
from spikecore_jax.words import held, words

DTYPES = ("float32", "float64")
MOST_LOOPS = 1024  # compiled loops that an engine keeps
READING = (
    "engine 'jax' compiles steps and losses, which can therefore not look at the values of arrays (Python's if, NumPy, "
    "checks of labels): write them in words, or in jax.numpy; a loss of spikecore's inside your own jax.jit is "
    "loss.evaluate(engine, outputs, labels)"
)
READS = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
SMALLER = 4  # how many times smaller than the batch a Linear is that is multiplied within a scan


@contextlib.contextmanager
def compiling() -> Iterator[None]:
    """A context in which code may be traced.

    Raises:
        NotImplementedError: the code looks at the values of an array.
    """
    try:
        yield
    except READS as error:
        raise NotImplementedError(READING) from error


class InScan(Readout):
    """A neuron and a small Linear behind it, as one scan."""

    def explain(self, engine: Any) -> str:
        return f"{engine.explain(self.neuron)}; batches of {SMALLER} times its outputs are multiplied there, too"


class JaxStages(Neighbours):
    """A neuron and a small Linear as one scan; every other layer by itself."""

    def lower(self, engine: Any, network: Any) -> tuple[Stage, ...]:
        layers = dict(network.children())
        return tuple(piece for stage in super().lower(engine, network) for piece in _pieces(stage, layers))


class TracedRows(StepwiseLearning):
    """Rows by an index that is traced."""

    def row(self, engine: Any, x: Any, index: Any) -> Any:
        return lax.dynamic_slice_in_dim(x, index.astype("int32"), 1)


class OneProcess(Processes):
    """One process has all devices."""

    together = "use devices=N, since this engine divides a batch among the devices of one process"


def _pieces(stage: Stage, layers: Any) -> tuple[Stage, ...]:
    if isinstance(stage, Readout):
        return (InScan(stage.names, stage.neuron, stage.linear),)
    return tuple(Alone(name, layers[name]) for name in stage.covers)


class JaxEngine(Scans, Engine):
    """JAX arrays, differentiated and compiled by JAX.

    Args:
        dtype: "float32" or "float64". JAX's own switch for 64 bits stays as it is: the engine sets it for its own work.
        device: a platform of JAX, e.g. "cpu", "cuda" or "tpu", with ":1" for its second device. None, the default:
            JAX's default device.
        devices: how many devices share the samples of each training batch, beginning with ``device``; default 1.
        checkpoint_every: number of steps, >= 1: the backward pass keeps the states of every so many steps only and
            computes those between again; None, the default, keeps what it needs of all.

    Raises:
        ValueError: an option other than these, or JAX has no such devices here.
    """

    name = "jax"
    lacks = MappingProxyType({"reading": READING})
    extras = (JaxStages(), TracedRows(), OneProcess())
    draws: Draws | None = None  # of the step that is being traced

    def __init__(
        self,
        dtype: str = "float32",
        device: str | None = None,
        devices: int = 1,
        checkpoint_every: int | None = None,
    ) -> None:
        if dtype not in DTYPES:
            raise ValueError(f"dtype={dtype!r} must be one of {', '.join(DTYPES)}")
        if checkpoint_every is not None and not is_whole(checkpoint_every, 1):
            raise ValueError(f"checkpoint_every={checkpoint_every!r} must be a number of steps, at least 1, or None")
        self.dtype, self.checkpoint_every = dtype, checkpoint_every
        self.on = chosen(device, devices)
        self.device, self.place = name_of(self.on[0]), whole(self.on)
        self.xp = words(dtype)
        self._loops: dict[Any, Any] = {}

    def traced(self, draws: Draws | None = None) -> JaxEngine:
        """The engine as code sees it that is being traced: constants are placed where the compiled code runs."""
        other = copy.copy(self)
        other.draws, other.place = draws, None
        return other

    def __repr__(self) -> str:
        several = f", devices={len(self.on)}" if len(self.on) > 1 else ""
        every = f", checkpoint_every={self.checkpoint_every}" if self.checkpoint_every else ""
        return f"JaxEngine(dtype={self.dtype!r}, device={self.device!r}{several}{every})"

    def __copy__(self) -> JaxEngine:  # with words of its own it would run other loops
        other: JaxEngine = super().__copy__()
        other._loops = {}
        return other

    # ---- host and engine ----

    @contextlib.contextmanager
    def isolated(self) -> Iterator[None]:
        """Everything computes inside this: on the engine's device, products in full precision, 64 bits switched on.

        Labels are int64 next to float32, too.
        """
        with jax.enable_x64(True), jax.default_device(self.on[0]), jax.default_matmul_precision("highest"):
            yield

    def asarray(self, x: Any, dtype: str | None = None) -> Any:
        name = dtype or self.dtype
        wanted = np.dtype(name) if name.startswith("float") else held(name)  # integers as wide as the caller's
        with self.isolated():
            if not isinstance(x, jax.Array):
                return jax.device_put(_cast(x, wanted), self.place)
            if self.place is not None and not isinstance(x, jax.core.Tracer) and x.devices() != self.place.device_set:
                x = jax.device_put(x, self.place)
            if x.dtype == wanted:
                return x
            if jnp.issubdtype(x.dtype, jnp.floating) and jnp.issubdtype(wanted, jnp.floating):
                other = f", or use get_engine('jax', dtype='{x.dtype}')" if x.dtype in DTYPES else ""
                raise TypeError(
                    f"a {x.dtype} array came to an engine of {wanted}: convert it with x.astype('{wanted}'){other}"
                )
            return x.astype(wanted)

    def to_numpy(self, x: Any) -> Any:
        with compiling():
            return np.array(lax.stop_gradient(x))  # a copy: the buffers of weights are used again

    # ---- randomness ----

    def uniform(self, key: Any, shape: tuple[int, ...], *, sample_axis: int | None = None, first: int = 0) -> Any:
        layout = layout_of(shape, sample_axis, first)
        with self.isolated():
            if self.draws is None:
                return draw(self.xp, np.array(stream(key), np.uint32), halves(first), layout, self.dtype)
            words, start = self.draws.words(key, first)
            return draw(self.xp, words, start, layout, self.dtype)

    # ---- spikes, time, gradients ----

    def scan(
        self,
        stepper: Any,
        params: Params,
        state: State,
        inputs: Any,
        *,
        steps: int | None = None,
        record: tuple[str, ...] = (),
        window: int | None = None,
        repeating: bool = False,
    ) -> tuple[Any, State, State]:
        steps = inputs.shape[0] if steps is None else steps
        check_steps(steps, inputs.shape[0])
        arrays, rest = parted((params, state, inputs, None))
        with self.isolated(), compiling():
            outputs, recorded, final = self._loop(stepper, steps, tuple(record), window, rest)(arrays)
        return outputs, recorded, final

    def readout_scan(
        self,
        stepper: Any,
        params: Params,
        state: State,
        inputs: Any,
        weight: Any,
        bias: Any = None,
        *,
        steps: int | None = None,
        window: int | None = None,
        repeating: bool = False,
    ) -> tuple[Any, State] | None:
        steps = inputs.shape[0] if steps is None else steps
        check_steps(steps, inputs.shape[0])
        # Each step adds to the weight's gradient: that costs more than what is saved if it is as large as the spikes.
        if self.on[0].platform != "cpu" or inputs.ndim != 3 or SMALLER * weight.shape[0] > inputs.shape[1]:
            return None
        arrays, rest = parted((params, state, inputs, weight))
        with self.isolated(), compiling():
            products, _, final = self._loop(stepper, steps, (), window, rest)(arrays)
            return products if bias is None else products + bias, final

    def _loop(self, stepper: Any, steps: int, record: tuple[str, ...], window: int | None, rest: Rest) -> Any:
        """The compiled loop for a stepper: the same one again for an equal stepper."""
        key: Any = stepper, steps, record, window, rest
        try:
            if key in self._loops:
                return self._loops[key]
        except TypeError:  # a stepper of the user's that cannot be hashed is compiled each time
            key = None

        @jax.jit
        def run(arrays: Any) -> Any:
            params, state, inputs, weight = joined(arrays, rest)
            return loop(self, stepper, params, state, inputs, weight, steps, record, window)

        if key is not None:
            if len(self._loops) >= MOST_LOOPS:
                self._loops.clear()
            self._loops[key] = run
        return run

    def explain(self, stepper: Any) -> str:
        if isinstance(stepper, Container):
            return stages_of(self, stepper)
        name = type(stepper).__name__
        return not_by_steps(stepper) or f"compiled: {name}.step in a lax.scan over time, by XLA for {self.device}"

    def value_and_grad(
        self, function: Callable[..., tuple[Any, Any]], argument: Any, *constants: Any
    ) -> tuple[Any, Any, Any]:
        rest: Any = None

        def traced(argument: Any) -> Any:
            nonlocal rest
            value, extra = function(argument, *constants)
            arrays, rest = parted(extra)
            return jnp.reshape(jnp.asarray(value, self.dtype), ()), arrays

        with self.isolated():
            (value, arrays), gradient = jax.value_and_grad(traced, has_aux=True)(argument)
        return value, joined(arrays, rest), gradient

    def compile(
        self, network: Any, params: Params, buffers: Any, loss: Any, optimizer: Any, **options: Any
    ) -> Executor:
        from spikecore_jax.executor import JaxExecutor

        return JaxExecutor(self, network, params, buffers, loss, optimizer, **options)


def engine_of(x: Any) -> JaxEngine:
    """The engine of a JAX array: in its dtype, on its devices."""
    dtype = "float64" if x.dtype == "float64" else "float32"
    if isinstance(x, jax.core.Tracer):
        return JaxEngine(dtype).traced()
    return JaxEngine(dtype, name_of(min(x.devices(), key=lambda device: device.id)), len(x.devices()))


def _cast(x: Any, wanted: Any) -> Any:
    """Host data as a NumPy array of its own memory."""
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    return np.array(real(np.asarray(x)), wanted)

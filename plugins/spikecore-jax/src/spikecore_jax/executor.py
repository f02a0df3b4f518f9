"""Training on the JAX engine: one compiled function per training step, from the batch to the new weights."""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any, NamedTuple, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from spikecore.api.core.layer import Key, Pass
from spikecore.api.core.tree import Params, Tree, flatten, leaves, map_leaves, replaced
from spikecore.api.functional.loss import varies
from spikecore.api.functional.steps import CheckedLengths, checked_lengths
from spikecore.api.layers.network import Output, forward, objective, record_option
from spikecore.api.training.executor import NetworkExecutor
from spikecore_jax.devices import divided
from spikecore_jax.draws import TRACED, Draws, halves
from spikecore_jax.engine import compiling

Arrays = dict[str, Any]


class Settings(NamedTuple):
    """What a compiled step is made for, besides the shapes of its arguments."""

    steps: int | None
    paths: tuple[Any, ...] | None  # names of the random draws; None: nothing may be drawn


class JaxExecutor(NetworkExecutor):
    """Trains and runs one network on the JAX engine. See ``NetworkExecutor``.

    Attributes:
        traces: how often a function has been traced for compilation: once for each shape of batch.
    """

    engine: Any  # a JaxEngine
    traces: int = 0
    _slots: dict[str, Arrays]
    _begun: bool  # whether an update has filled the slots

    def place(self, params: Params, buffers: Tree) -> None:
        super().place(params, buffers)
        self._grads: Arrays | None = None  # the sum of what ``add`` has made
        self.load_slots({})

    # ---- batches ----

    def batch(self, inputs: Any, targets: Any) -> tuple[Any, Any]:
        x, y = super().batch(inputs, targets)
        place, samples = self.engine.place, x.shape[1]
        if len(self.engine.on) > 1:
            x = jax.device_put(x, divided(place, 1, samples))
            axis = int(varies(self.loss))
            if y.ndim > axis and y.shape[axis] == samples:
                y = jax.device_put(y, divided(place, axis, samples))
        return x, y

    def _placed(
        self, inputs: Any, targets: Any, steps: int | None, key: Key | None, state: Any, lengths: Any
    ) -> tuple[Settings, Any]:
        """What the step of a batch is compiled for, and the batch as its arguments."""
        x, y = self.batch(inputs, targets)
        if lengths is not None:
            counted = checked_lengths(self.engine, lengths, steps or x.shape[0], x.shape[1])
            lengths = self.engine.asarray(counted)
        paths = None if key is None else self._paths(tuple(x.shape), steps)
        drawn = Draws(list(paths or ())).given(key)
        return Settings(steps, paths), (x, y, state, lengths, drawn)

    @functools.cached_property
    def _known_paths(self) -> dict[Any, tuple[Any, ...]]:
        return {}

    def _paths(self, shape: tuple[int, ...], steps: int | None) -> tuple[Any, ...]:
        """The names of the random draws of a step, which a run on shapes alone finds."""
        kind = len(shape), steps
        if kind not in self._known_paths:
            draws = Draws()
            run = self._pass(Settings(steps, ()), draws)
            x = jax.ShapeDtypeStruct(shape, self.engine.dtype)
            jax.eval_shape(lambda *given: forward(self.network, run, *given)[0], self.params, self.buffers, x)
            self._known_paths[kind] = tuple(draws.paths)
        return self._known_paths[kind]

    def _pass(self, settings: Settings, draws: Draws) -> Pass:
        """The settings of the traced pass, whose draws come from ``draws``."""
        key = None if settings.paths is None else TRACED
        return replace(self.training_pass(settings.steps, key), engine=self.engine.traced(draws))

    # ---- what is compiled ----

    def _differentiated(self, settings: Settings, trained: Arrays, others: Arrays, buffers: Tree, batch: Any) -> Any:
        """The loss of a batch with the output and the new buffers, and the gradient by the trained parameters."""
        self.traces += 1
        x, y, state, lengths, drawn = batch
        run = self._pass(settings, Draws(list(settings.paths or ()), *drawn))
        counted = None if lengths is None else CheckedLengths(lengths)

        def value(trained: Arrays) -> Any:
            params = replaced(self._like, {**others, **trained})
            found = objective(self.network, self.loss, run, params, buffers, x, y, state, counted)
            return jnp.reshape(jnp.asarray(found[0], self.engine.dtype), ()), found[1]

        return jax.value_and_grad(value, has_aux=True)(trained)

    def _updated(self, trained: Arrays, grads: Arrays, slots: Any, rates: Any, begun: Any) -> Any:
        """Weights and slots after an update by the optimisers' own rules."""
        xp, after, kept = self.engine.xp, {}, {}
        for name, grad in self._clipped(trained, grads).items():
            spec, param = self.trained[name], trained[name]
            now = rates[self._specs.index(spec)]
            after[name], kept[name] = spec.whole_rule(xp, param, grad, slots[name], now)
            if spec.slots:  # the first update finds none; one code for both is compiled once
                first = spec.whole_rule(xp, param, grad, {}, now)
                after[name], kept[name] = _either(begun, (after[name], kept[name]), first)
        return self._whole(after), self._whole(kept)

    def _clipped(self, trained: Arrays, grads: Arrays) -> Arrays:
        if self.clip_norm is None:
            return grads
        xp = self.engine.xp
        grads = {name: self.trained[name].existing(xp, trained[name], g) for name, g in grads.items()}
        norm = xp.sqrt(sum(xp.sum(g * g) for g in grads.values()))
        factor = xp.minimum(1.0, self.clip_norm / (norm + 1e-6))
        return {name: g * factor for name, g in grads.items()}

    def _whole(self, tree: Any) -> Any:
        """Weights stay whole on each device, so that the next step is the same code."""
        return lax.with_sharding_constraint(tree, self.engine.place) if len(self.engine.on) > 1 else tree

    @functools.cached_property
    def _add(self) -> Any:
        return jax.jit(self._differentiated, static_argnums=0)

    @functools.cached_property
    def _apply(self) -> Any:
        return jax.jit(self._updated, donate_argnums=(0, 2))

    @functools.cached_property
    def _step(self) -> Any:
        def step(
            settings: Settings, guarded: bool, trained: Arrays, slots: Any, others: Arrays, buffers: Tree, batch: Any,
            rates: Any, begun: Any,
        ) -> Any:  # fmt: skip
            (loss, (out, moved)), grads = self._differentiated(settings, trained, others, buffers, batch)
            grads = lax.optimization_barrier(grads)  # rounded as by ``add`` and ``apply``, which cannot be fused
            after = *self._updated(trained, grads, slots, rates, begun), moved
            if guarded:
                after = _either(jnp.isfinite(loss), after, (trained, slots, buffers))
            return loss, out, after

        return jax.jit(step, static_argnums=(0, 1), donate_argnums=(2, 3))

    @functools.cached_property
    def _forward(self) -> Any:
        def run(settings: Any, params: Params, buffers: Tree, x: Any, state: Any, first: Any) -> Output:
            self.traces += 1
            steps, record = settings
            engine, key = self.engine.traced(Draws(first=first)), Key((), TRACED.first)
            return forward(self.network, Pass(engine, steps, key=key, record=record), params, buffers, x, state)[0]

        return jax.jit(run, static_argnums=0)

    # ---- training ----

    def step(
        self,
        inputs: Any,
        targets: Any,
        *,
        steps: int | None = None,
        key: Key | None = None,
        state: Any = None,
        lengths: Sequence[int] | None = None,
    ) -> tuple[float, Output]:
        self.discard()
        with self.engine.isolated(), compiling():
            settings, batch = self._placed(inputs, targets, steps, key, state, lengths)
            trained, others = self._divided()
            given = others, self.buffers, batch, self._rates(self.steps_done + 1), self._begun
            loss, out, after = self._step(settings, self.guarded, trained, self._slots, *given)
            self.params, self._slots, self.buffers = replaced(self.params, after[0]), after[1], after[2]
        value = float(loss)
        if math.isfinite(value) or not self.guarded:
            self.steps_done, self._begun = self.steps_done + 1, True
        return value, out

    def add(
        self,
        inputs: Any,
        targets: Any,
        *,
        weight: float = 1.0,
        whole: int | None = None,
        last: bool = False,
        steps: int | None = None,
        key: Key | None = None,
        state: Any = None,
        lengths: Sequence[int] | None = None,
    ) -> tuple[float, Output]:
        with self.engine.isolated(), compiling():
            settings, batch = self._placed(inputs, targets, steps, key, state, lengths)
            buffers = self.buffers if self.moved is None else self.moved
            (loss, (out, self.moved)), grads = self._add(settings, *self._divided(), buffers, batch)
            self._hold(grads, weight)
        return float(loss), out

    def add_gradient(self, grads: Params, weight: float) -> None:
        given = flatten(grads)
        with self.engine.isolated():
            self._hold({name: given[name] for name in self.trained}, weight)

    def _hold(self, grads: Arrays, weight: float) -> None:
        if weight != 1.0:
            grads = {name: weight * g for name, g in grads.items()}
        self._grads = grads if self._grads is None else {n: g + grads[n] for n, g in self._grads.items()}
        self.added += weight

    def assign(self, params: Params) -> None:
        with self.engine.isolated():  # copies, since the next step uses the memory of weights again
            super().assign(map_leaves(jnp.copy, params))

    def update(self) -> None:
        self.apply(self.gradient())

    def gradient(self) -> Params:
        with self.engine.isolated():
            grads = {name: g / self.added if self.added != 1.0 else g for name, g in (self._grads or {}).items()}
            if self.moved is not None:
                self.buffers = self.moved
            self.discard()
            whole: Params = replaced(map_leaves(jnp.zeros_like, self.params), grads)
            return whole

    def discard(self) -> None:
        super().discard()
        self._grads = None

    def apply(self, grads: Params) -> None:
        with self.engine.isolated():
            given, (trained, _) = flatten(grads), self._divided()
            wanted = {name: given[name] for name in trained}
            rates = self._rates(self.steps_done + 1)
            after, self._slots = self._apply(trained, wanted, self._slots, rates, self._begun)
            self.params = replaced(self.params, after)
        self.steps_done, self._begun = self.steps_done + 1, True

    def _divided(self) -> tuple[Arrays, Arrays]:
        """The parameters that are trained, and the others."""
        params = leaves(self.params)
        return {n: p for n, p in params if n in self.trained}, {n: p for n, p in params if n not in self.trained}

    def _rates(self, step: int) -> list[dict[str, float]]:
        """The numbers of the update rules that change from step to step, for each kind of optimiser."""
        optimizer: Any = self.optimizer  # None only where there are no specs
        return [spec.scalars(step, optimizer.rate(spec, self.lr)) for spec in self._specs]

    @functools.cached_property
    def _specs(self) -> list[Any]:
        return list(dict.fromkeys(self.trained.values()))

    @functools.cached_property
    def _like(self) -> Params:
        """The names of the parameters as a tree, for building others."""
        names: Params = map_leaves(lambda x: None, self.params)
        return names

    # ---- running ----

    def run(
        self, inputs: Any, state: Any = None, *, steps: int | None = None, record: Any = (), first: int = 0
    ) -> Output:
        settings = steps, record_option(self.network, record)
        with self.engine.isolated(), compiling():
            x = self.engine.asarray(inputs)
            out: Output = self._forward(settings, self.params, self.buffers, x, state, halves(first))
            return out

    # ---- state ----

    def set_lr(self, lr: float) -> None:
        self.lr = lr

    def slots(self) -> dict[str, Any]:
        if not self._begun:
            return {}
        return {f"{name}.{slot}": x for name, arrays in self._slots.items() for slot, x in arrays.items()}

    def load_slots(self, slots: dict[str, Any]) -> None:
        self._begun = bool(slots)
        with self.engine.isolated():
            self._slots = {
                name: {slot: slots[f"{name}.{slot}"] if slots else jnp.zeros_like(param) for slot in spec.slots}
                for name, param in leaves(self.params)
                for spec in ([self.trained[name]] if name in self.trained else [])
            }


def _either(condition: Any, first: Any, second: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), first, second)

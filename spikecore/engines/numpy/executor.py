"""Training on the NumPy engine: gradients by hand, and the update rules of ``api/training/optimizers.py``."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Dict, Optional, Sequence, Tuple, Union

from spikecore.api.core.layer import EMPTY, Key, Shape
from spikecore.api.core.stream import Stream
from spikecore.api.core.tree import Params, Tree, flatten, leaves, map_leaves, rebuild, replaced
from spikecore.api.layers.network import Output, objective
from spikecore.api.training.executor import NetworkExecutor
from spikecore.kernels.sizes import REPEATED, has_numba


class NumpyExecutor(NetworkExecutor):
    """Trains and runs one network on the NumPy engine. See ``NetworkExecutor``."""

    def place(self, params: Params, buffers: Tree) -> None:
        super().place(params, buffers)
        self._grads: Optional[Params] = None  # by dotted path: the sum of what ``add`` has made
        self._slots: Dict[str, Dict[str, Any]] = {name: {} for name in self.trained}
        self._spare: Optional[Tuple[Any, Stream]] = None  # for the next events, with the weights that it has

    def add(
        self,
        inputs: Any,
        targets: Any,
        *,
        weight: float = 1.0,
        whole: Optional[int] = None,
        last: bool = False,
        steps: Optional[int] = None,
        key: Optional[Key] = None,
        state: Any = None,
        lengths: Optional[Sequence[int]] = None,
    ) -> Tuple[float, Output]:
        run = self.training_pass(steps, key)
        x, y = self.batch(inputs, targets)
        frozen = len(self.trained) < len(leaves(self.params))
        trained = Tree({n: p for n, p in leaves(self.params) if n in self.trained}) if frozen else self.params

        def value(trained: Tree, params: Params, buffers: Tree, x: Any, y: Any, state: Any) -> Any:
            params = replaced(params, trained) if frozen else trained  # type: ignore[arg-type,assignment]
            return objective(self.network, self.loss, run, params, buffers, x, y, state, lengths)

        constants = self.params if frozen else EMPTY, self.buffers if self.moved is None else self.moved, x, y, state
        loss, (out, self.moved), grads = self.engine.value_and_grad(value, trained, *constants)
        self.hold(grads, weight)
        return float(loss), out

    def hold(self, grads: Params, weight: float) -> None:
        given = flatten(grads)
        found = Params({name: given[name] if weight == 1.0 else weight * given[name] for name in self.trained})
        self._grads = found if self._grads is None else map_leaves(lambda a, b: a + b, self._grads, found)
        self.added += weight

    def update(self) -> None:
        self.apply(self.gradient())

    def gradient(self) -> Params:
        grads: Any = self._grads
        if self.added != 1.0:
            grads = map_leaves(lambda g: g / self.added, grads)
        if self.moved is not None:
            self.buffers = self.moved
        self.discard()
        return grads  # type: ignore[no-any-return]

    def discard(self) -> None:
        super().discard()
        self._grads = None

    def apply(self, grads: Params) -> None:
        given = flatten(grads)
        self._update(self._clipped({name: given[name] for name in self.trained}))

    def _clipped(self, grads: Dict[str, Any]) -> Dict[str, Any]:
        if self.clip_norm is None:
            return grads
        from spikecore.api.training.clipping import clipped

        params = dict(leaves(self.params))
        grads = {name: self.trained[name].existing(self.engine.xp, params[name], g) for name, g in grads.items()}
        return clipped(self.engine.xp, grads, self.clip_norm)

    def _update(self, grads: Dict[str, Any]) -> None:
        self.steps_done += 1
        params, asarray = dict(leaves(self.params)), self.engine.asarray
        for name, grad in grads.items():
            params[name], slots = self._updated(self.trained[name], params[name], grad, self._slots[name])
            self._slots[name] = {slot: asarray(x) for slot, x in slots.items()}  # NumPy 1 widens scalars
        self.params = rebuild(self.params, iter([asarray(x) for x in params.values()]))

    def _updated(self, spec: Any, param: Any, grad: Any, slots: Dict[str, Any]) -> Any:
        engine: Any = self.engine
        lr = self.optimizer.rate(spec, self.lr)  # type: ignore[union-attr]
        if engine.target == "cpu" and engine.fused is not False and param.size >= REPEATED and has_numba():
            from spikecore.kernels.trace import NotElementwise
            from spikecore.kernels.update import update

            with suppress(NotElementwise):  # a rule of the user's that is not elementwise, e.g. with a norm
                return update(spec, param, grad, slots, self.steps_done, lr)
        return spec.update(engine.xp, param, grad, slots, self.steps_done, lr)

    # ---- streams ----

    def stream(self, shape: Shape, batch_size: int, record: Any) -> Union[Stream, str]:
        from spikecore.engines.numpy.stream import compiled_stream

        return compiled_stream(self.network, self.engine, self.params, self.buffers, shape, batch_size, record)

    def run_events(self, events: Any, shape: Shape, samples: int, **options: Any) -> Output:
        spare, self._spare = self._spare, None  # while it runs, no other thread gets it
        key = self.params, self.buffers  # a changed weight is in another tree
        if spare is None or any(a is not b for a, b in zip(spare[0], key)) or spare[1].batch_size != samples:
            stream = self.stream(shape, samples, ())
            if isinstance(stream, str):
                raise NotImplementedError(f"events need a compiled stream, and there is none: {stream}")
            spare = key, stream
        spare[1].reset()
        out = spare[1].run_events(events, **options)
        self._spare = spare
        return out

    def __getstate__(self) -> Dict[str, Any]:
        return {**vars(self), "_spare": None}  # a stream is not copied

    def set_lr(self, lr: float) -> None:
        self.lr = lr

    def slots(self) -> Dict[str, Any]:
        return {f"{name}.{slot}": x for name, arrays in self._slots.items() for slot, x in arrays.items()}

    def load_slots(self, slots: Dict[str, Any]) -> None:
        wanted = self.optimizer.slots if slots and self.optimizer is not None else ()
        self._slots = {name: {slot: slots[f"{name}.{slot}"] for slot in wanted} for name in self.trained}

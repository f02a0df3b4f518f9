"""Training on the NumPy engine: gradients by hand, and the update rules of ``api/training/optimizers.py``."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

from spikecore.api.core.layer import Key, Shape
from spikecore.api.core.stream import Stream
from spikecore.api.core.tree import Params, Tree, leaves, map_leaves, rebuild
from spikecore.api.layers.network import Output, objective
from spikecore.api.training.executor import NetworkExecutor
from spikecore.engines.numpy.stream import compiled_stream
from spikecore.kernels.sizes import REPEATED, has_numba


class NumpyExecutor(NetworkExecutor):
    """Trains and runs one network on the NumPy engine. See ``NetworkExecutor``."""

    def place(self, params: Params, buffers: Tree) -> None:
        super().place(params, buffers)
        self._grads: Optional[Params] = None  # the sum of what ``add`` has made
        self._slots: List[Dict[str, Any]] = [{} for _ in leaves(self.params)]
        self._spare: Optional[Tuple[Any, Stream]] = None  # for the next events, with the weights that it has

    def add(
        self,
        inputs: Any,
        targets: Any,
        *,
        weight: float = 1.0,
        steps: Optional[int] = None,
        key: Optional[Key] = None,
        state: Any = None,
        lengths: Optional[Sequence[int]] = None,
    ) -> Tuple[float, Output]:
        run = self.training_pass(steps, key)
        x, y = self.batch(inputs, targets)

        def value(params: Params, buffers: Tree, x: Any, y: Any, state: Any) -> Any:
            return objective(self.network, self.loss, run, params, buffers, x, y, state, lengths)

        constants = self.buffers if self.moved is None else self.moved, x, y, state
        loss, (out, self.moved), grads = self.engine.value_and_grad(value, self.params, *constants)
        if weight != 1.0:
            grads = map_leaves(lambda g: weight * g, grads)
        self._grads = grads if self._grads is None else map_leaves(lambda a, b: a + b, self._grads, grads)
        self.added += weight
        return float(loss), out

    def update(self) -> None:
        grads: Any = self._grads
        if self.added != 1.0:
            grads = map_leaves(lambda g: g / self.added, grads)
        if self.moved is not None:
            self.buffers = self.moved
        self.apply(grads)
        self.discard()

    def discard(self) -> None:
        super().discard()
        self._grads = None

    def apply(self, grads: Params) -> None:
        self._update(self._clipped(grads))

    def _clipped(self, grads: Params) -> Params:
        if self.clip_norm is None:
            return grads
        squares = sum(float(self.engine.xp.sum(g * g)) for _, g in leaves(grads))
        factor = min(1.0, self.clip_norm / (squares**0.5 + 1e-6))
        return map_leaves(lambda g: g * factor, grads)

    def _update(self, grads: Params) -> None:
        self.steps_done += 1
        updated = []
        for i, ((_, param), (_, grad)) in enumerate(zip(leaves(self.params), leaves(grads))):
            new, slots = self._updated(param, grad, self._slots[i])
            self._slots[i] = {slot: self.engine.asarray(x) for slot, x in slots.items()}  # NumPy 1 widens scalars
            updated.append(self.engine.asarray(new))
        self.params = rebuild(self.params, iter(updated))

    def _updated(self, param: Any, grad: Any, slots: Dict[str, Any]) -> Any:
        optimizer: Any = self.optimizer
        engine: Any = self.engine
        if engine.target == "cpu" and engine.fused is not False and param.size >= REPEATED and has_numba():
            from spikecore.kernels.trace import NotElementwise
            from spikecore.kernels.update import update

            with suppress(NotElementwise):  # a rule of the user's that is not elementwise, e.g. with a norm
                return update(optimizer, param, grad, slots, self.steps_done, self.lr)
        return optimizer.update(engine.xp, param, grad, slots, self.steps_done, self.lr)

    # ---- streams ----

    def stream(self, shape: Shape, batch_size: int, record: Any) -> Union[Stream, str]:
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
        names = [name for name, _ in leaves(self.params)]
        return {f"{name}.{slot}": x for name, arrays in zip(names, self._slots) for slot, x in arrays.items()}

    def load_slots(self, slots: Dict[str, Any]) -> None:
        wanted = self.optimizer.slots if slots and self.optimizer is not None else ()
        self._slots = [{slot: slots[f"{name}.{slot}"] for slot in wanted} for name, _ in leaves(self.params)]

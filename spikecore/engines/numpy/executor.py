"""Training on the NumPy engine: gradients by hand, and the update rules of ``api/training/optimizers.py``."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Dict, Optional, Tuple, Union

from spikecore.api.core.layer import Shape
from spikecore.api.core.stream import Stream
from spikecore.api.core.tree import Params, Tree, flatten
from spikecore.api.layers.network import Output
from spikecore.api.training.executor import NetworkExecutor
from spikecore.api.training.optimizers import Optimizer
from spikecore.kernels.sizes import REPEATED, has_numba
from spikecore.kernels.sparse.product import keeping


class NumpyExecutor(NetworkExecutor):
    """Trains and runs one network on the NumPy engine. See ``NetworkExecutor``."""

    engine: Any  # a NumpyEngine

    def place(self, params: Params, buffers: Tree) -> None:
        super().place(params, buffers)
        self._spare: Optional[Tuple[Any, Stream]] = None  # a stream for the next ``run_events``, and its weights

    def differentiate(self, *arguments: Any) -> Tuple[float, Output, Tree, Params]:
        held, listed = flatten(self.params), self.engine.fused and self.engine.target == "cpu"
        with keeping(held[name].ctypes.data for name, spec in self.trained.items() if listed and spec.keep_zeros):
            return super().differentiate(*arguments)

    def updated(self, spec: Optimizer, param: Any, grad: Any, slots: Dict[str, Any]) -> Tuple[Any, Dict[str, Any]]:
        # ``slots`` are the optimiser's arrays of this parameter, not slots of a tape. A compiled kernel pays off for
        # parameters of at least REPEATED entries; the number is also that of neuron-steps for runs in training.
        if self.engine.target == "cpu" and self.engine.fused and param.size >= REPEATED and has_numba():
            from spikecore.api.core.recorder import Untraceable
            from spikecore.kernels.update import update

            lr = self.optimizer.rate(spec, self.lr)  # type: ignore[union-attr]
            with suppress(Untraceable):  # a rule of the user's that is not elementwise, e.g. with a norm
                return update(spec, param, grad, slots, self.steps_done, lr)
        return super().updated(spec, param, grad, slots)

    def stream(self, shape: Shape, batch_size: int, record: Any) -> Union[Stream, str]:
        from spikecore.engines.numpy.stream import compiled_stream

        return compiled_stream(self.network, self.engine, self.params, self.buffers, shape, batch_size, record)

    def run_events(self, events: Any, shape: Shape, samples: int, **options: Any) -> Output:
        spare, self._spare = self._spare, None  # while it runs, no other thread gets it
        key = self.params, self.buffers  # trees never change: after an update these are others
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

"""Training steps on a CUDA device whose values are read later, so that the GPU does not wait for the program."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Callable, List, Sequence, Tuple, cast

import torch

if TYPE_CHECKING:
    from spikecore.engines.torch.executor import TorchExecutor


class Deferred:
    """Updates of an executor that the device itself leaves out where loss or gradient are not finite.

    torch's fused optimisers take a number, ``found_inf``, and do nothing where it is 1. It stays 1 until the program
    has read it, so that steps which were begun in the meantime change nothing either.

    Args:
        executor: has a fused optimiser.
    """

    def __init__(self, executor: TorchExecutor) -> None:
        self.executor, self.optimizer = executor, cast(Any, executor.torch_optimizer)
        self.refused = torch.zeros((), device=executor.engine.device)  # ``found_inf``
        self.begun: List[Tuple[int, Any]] = []  # for each step that is not settled: steps and buffers before it

    def update(self, loss: Any) -> Any:
        """Update the weights by the gradients that wait; returns the step's report: loss, soundness, squares."""
        executor = self.executor
        self.begun.append((executor.steps_done, executor.buffers))
        executor.end_batches()
        norms = executor.norms().double()  # as Python's numbers are: squares must not overflow
        sound = torch.ones_like(loss, dtype=torch.bool) if executor.sound is None else executor.sound
        report = torch.cat([torch.stack([loss.double(), sound.double()]), norms * norms])
        if executor.guarded:
            wrong = (~(torch.isfinite(report.sum()) & sound)).float()
            torch.maximum(self.refused, wrong, out=self.refused)
            self.optimizer.found_inf = self.refused
        executor.change()
        executor.discard()
        return report

    def settle(self, report: Any) -> Tuple[float, bool]:
        """The loss of the earliest step that is not settled, and whether its ``sound`` was True."""
        executor = self.executor
        loss, sound, *squares = report.tolist()
        steps, buffers = self.begun.pop(0)
        if executor.guarded and not (sound and math.isfinite(loss)):
            self._take_back(steps, buffers)
            return loss, bool(sound)
        try:
            executor.note_squares(dict(zip(executor.trained, squares)))
        except ArithmeticError:  # running statistics are those after the batch, as on other engines
            self._take_back(steps, self.begun[0][1] if self.begun else executor.buffers)
            raise
        return loss, True

    def _take_back(self, steps: int, buffers: Any) -> None:
        """Put back what the host counts; the device has changed nothing."""
        self.executor.steps_done, self.executor.buffers = steps, buffers
        self.begun.clear()
        self.refused.zero_()

    def end(self) -> None:
        """Make updates plain again."""
        self.optimizer.found_inf = None


class CudaQueue:
    """The ``DeviceQueue`` of a CUDA device.

    Args:
        engine: of the arrays.
    """

    def __init__(self, engine: Any) -> None:
        self.device = torch.device(engine.device)

    def read(self, arrays: Sequence[Any]) -> Callable[[], List[Any]]:
        """Copies go to pinned memory, and an event says when they are there."""
        tensors = [torch.as_tensor(x).detach() for x in arrays]
        hosts = [torch.empty(x.shape, dtype=x.dtype, device="cpu", pin_memory=True) for x in tensors]
        for host, x in zip(hosts, tensors):
            host.copy_(x, non_blocking=True)
        with torch.cuda.device(self.device):
            done = torch.cuda.Event()
            done.record()

        def values() -> List[Any]:
            done.synchronize()
            return [host.numpy() for host in hosts]

        return values

    def defer(self, executor: Any, on: bool) -> bool:
        """Only fused optimisers can leave out a step by themselves; in float16 the scale of the loss is read anyway."""
        if executor.deferred is not None:
            executor.deferred.end()
        optimizer = executor.torch_optimizer
        fused = optimizer is not None and bool(optimizer.defaults.get("fused"))
        on = on and fused and executor.scaler is None and executor.ranks.size == 1
        executor.deferred, executor.sound = Deferred(executor) if on else None, None
        return on

    def settle(self, executor: Any, report: Any) -> Tuple[float, bool]:
        """See ``Deferred.settle``."""
        return executor.deferred.settle(report)  # type: ignore[no-any-return]

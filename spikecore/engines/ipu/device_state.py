"""States that a training program keeps on the device from one call to the next: truncated BPTT in parts.

The states are float buffers of the module. They change by ``copy_`` alone, which PopTorch carries out on the device;
it refuses a buffer that is replaced, and loses changes of a buffer of whole numbers. An input of the call says which
samples begin a sequence at rest, so the host does not have to write zeros to the device::

    U[0] = where(begins > 0, rest, buffer)        begins: one number per sample, positive where the sequence begins
    ...                                           the steps of this part
    buffer <- U[T].detach()                       no gradient passes from part to part
"""

from __future__ import annotations

from typing import Any, Optional, Set, Tuple

import torch

from spikecore.api.core.tree import State, Tree, leaves, rebuild


class DeviceState(State):
    """The state after a training step, which stays on the device.

    Its only leaf, ``after``, is the number of the training step that computed it; 0 begins a sequence at rest.
    """


def on_device(number: int) -> DeviceState:
    """The state that training step ``number`` has computed."""
    return DeviceState(after=torch.tensor(number))


class DeviceStates:
    """The states on the device, during one call.

    Args:
        xp: the words of the traced engine.
        buffers: a ``Holder`` with the states of each layer.
        begins: (batch,), positive for samples whose sequence begins.
    """

    def __init__(self, xp: Any, buffers: Any, begins: Any) -> None:
        self.xp, self.buffers, self.begins = xp, buffers, begins
        self.used: Set[str] = set()

    def start(self, path: str, resting: Tree) -> Any:
        """The state before the first step of the layer ``path``."""
        return rebuild(resting, iter([self._start(f"{path}.{n}" if path else n, x) for n, x in leaves(resting)]))

    def _start(self, path: str, rest: Any) -> Any:
        self.used.add(path)
        begins = self.begins.reshape(-1, *[1] * (rest.ndim - 1)) > 0
        return self.xp.where(begins, rest, self.buffers.tensor(path))

    def keep(self, state: Tree) -> None:
        """Store the state after the last step for the next call.

        Raises:
            ValueError: a layer has not asked for its state with ``start``; it would begin every part at rest.
        """
        for path, value in leaves(state):
            if path not in self.used:
                raise ValueError(f"update_every: the layer of state {path!r} must get its state from ``Pass.start``")
            self.buffers.tensor(path).copy_(value.detach())


def not_keepable(state: Tree, parts: int) -> Optional[Tuple[str, str]]:
    """The reason why the device cannot keep the states, with the remedy; None if it can.

    Args:
        state: state of a batch after its last step.
        parts: number of parts into which a batch is cut in one call.
    """
    if parts > 1:
        return (
            f"update_every keeps one state on the device, but a batch is cut into {parts} parts",
            "Leave out device_iterations, gradient_accumulation, replication_factor and pipeline, or update_every",
        )
    for path, value in leaves(state):
        if not value.is_floating_point():
            return (
                f"update_every keeps the state {path!r}, which is {value.dtype}, and changes of whole-number buffers "
                "are silently lost",
                "Make it a floating-point state",
            )
    return None

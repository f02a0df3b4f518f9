"""Copy weights and the optimiser's settings and arrays between the host and the simulated device."""

from __future__ import annotations

import copy
from typing import Any, Dict

from spikecore.engines.ipu.simulation.machine import MACHINE
from spikecore.engines.ipu.simulation.optim import converted


class Attached:
    """The part of ``PoplarExecutor`` that holds IPUs and tracks whether the host's or their values are out of date.

    Args:
        user_model: the module whose weights are copied.
        training: whether the weights are trained.
    """

    _offline: bool  # whether it compiles only, without a device

    def __init__(self, user_model: Any, training: bool) -> None:
        self._user_model, self._training = user_model, training
        self._device: Any = None  # a ``Device`` after compilation
        self._attached, self._dirty = False, False  # dirty: the weights on the device are newer than the host's
        self._ipus = 0  # how many it holds while it is attached
        self._host_version = 0  # how often the weights were copied to the host
        self._optimizer: Any = None
        self._settings: Any = None  # the optimiser's settings on the device

    def isCompiled(self) -> bool:
        return self._device is not None

    def isAttachedToDevice(self) -> bool:
        return self._attached

    def detachFromDevice(self) -> None:
        assert self._attached, "the model is not attached to a device"
        self.copyWeightsToHostIfNeeded()
        self.read_optimizer()
        self._leave()

    def attachToDevice(self) -> None:
        assert self.isCompiled(), "the model is not compiled"
        assert not self._offline, "Trying to attach to an offline device"
        assert not self._attached, "the model is already attached"
        self._attach()

    def _attach(self) -> None:
        """Take IPUs, and copy weights, settings and, if there are any, the optimiser's arrays to them."""
        self._take()
        self._attached = True
        self.copyWeightsToDevice()
        if self._optimizer is not None:
            self._update_settings()
            self._optimizer.device_is_stale = self._optimizer.has_state()
            self._optimizer.host_is_stale = not self._optimizer.device_is_stale
            self._write_optimizer()

    def _take(self) -> None:
        MACHINE.acquire(self, self._ipus)

    def _leave(self) -> None:
        MACHINE.release(self)
        self._attached = False

    # ---- weights ----

    def copyWeightsToHostIfNeeded(self) -> bool:
        if self._dirty and self._device is not None:
            self.copyWeightsToHost()
            return True
        return False

    def copyWeightsToHost(self) -> None:
        assert self._device is not None, "compile the model, or call it, before copying weights"
        self._dirty = False
        self._host_version += 1
        self._device.to_host()

    def copyWeightsToDevice(self) -> None:
        assert self._device is not None, "compile the model, or call it, before copying weights"
        self.read_optimizer()
        self._device.from_host()
        self._dirty = False

    def state_dict(self) -> Dict[str, Any]:
        return self._user_model.state_dict()

    def load_state_dict(self, state_dict: Dict[str, Any], strict: bool = True) -> Any:
        unmatched_keys = self._user_model.load_state_dict(state_dict, strict)
        if self._attached:
            self.copyWeightsToDevice()
        return unmatched_keys

    # ---- the optimiser ----

    def setOptimizer(self, optimizer: Any) -> None:
        assert self._training, "an inference model has no optimiser"
        optimizer, before = converted(optimizer), self._optimizer
        if before is not None and optimizer is not before:
            self.read_optimizer()
            before.executor, optimizer.device_is_stale = None, True
        optimizer.executor, self._optimizer = self, optimizer
        if self._attached:
            self._update_settings()
            self._write_optimizer()

    def _update_settings(self) -> None:
        if self._optimizer.settings() != self._settings:
            self._settings = copy.deepcopy(self._optimizer.settings())
            self._device.updates.take(self._optimizer)

    def read_optimizer(self) -> None:
        """Copy the optimiser's arrays to the host if the device has made a step since the last copy."""
        if self._optimizer is not None and self._optimizer.host_is_stale and self._device is not None:
            self._optimizer.hold(self._device.updates.read())

    def _write_optimizer(self) -> None:
        if self._optimizer is not None and self._optimizer.device_is_stale:
            if self._optimizer.has_state():
                self.copyWeightsToHostIfNeeded()
                self._device.updates.write(self._optimizer.held)
            self._optimizer.device_is_stale = False

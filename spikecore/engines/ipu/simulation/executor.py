"""``poptorch.trainingModel``, ``inferenceModel`` and what they return, in the simulation."""

from __future__ import annotations

from typing import Any, Dict, List, Optional

import torch

from spikecore.engines.ipu.simulation.device import Device, parts_of
from spikecore.engines.ipu.simulation.ops import Error
from spikecore.engines.ipu.simulation.optim import SGD, converted
from spikecore.engines.ipu.simulation.options import ConnectionType, Options, OutputMode


def trainingModel(model: Any, options: Any = None, optimizer: Any = None) -> PoplarExecutor:
    """Wrap a module that returns its loss."""
    if optimizer is None:
        optimizer = SGD(model.parameters(), lr=0.01)
    return PoplarExecutor(model, options, True, None, optimizer=converted(optimizer))


def inferenceModel(model: Any, options: Any = None) -> PoplarExecutor:
    """Wrap a module for inference."""
    if options is not None and options.Training.gradient_accumulation != 1:
        raise ValueError("You must set gradient_accumulation to 1 for inference")
    return PoplarExecutor(model, options, False, None)


class PoplarExecutor:
    """A module with its weights on the simulated device."""

    def __init__(
        self, model: Any, options: Any, training: bool, poptorch_version: Any, optimizer: Any = None,
        user_model: Any = None,
    ) -> None:  # fmt: skip
        if type(model).__name__.startswith("Poptorch"):
            raise RuntimeError("Model has already been wrapped: call destroy() on the executor before wrapping again")
        given = Options() if options is None else options
        given._freeze()
        self._options, self._model, self._training = given.clone(), model, training
        self._options._freeze()
        self._device: Optional[Device] = None
        self._attached, self._dirty, self._destroyed, self.compilations = False, False, False, 0
        self._signature: Any = None
        self._optimizer = optimizer
        self._wrap()

    @property
    def model(self) -> Any:
        return self._model

    @property
    def options(self) -> Any:
        return self._options

    def _wrap(self) -> None:
        """Exchange the class of the module: reading its weights copies them from the device first."""
        executor, base = self, type(self._model)

        def fetching(name: str) -> Any:
            def method(module: Any, *args: Any, **kwargs: Any) -> Any:
                executor.copyWeightsToHostIfNeeded()
                return getattr(base, name)(module, *args, **kwargs)

            return method

        names = "state_dict named_parameters parameters named_buffers buffers".split()
        self._model.__class__ = type(f"Poptorch{base.__name__}", (base,), {name: fetching(name) for name in names})
        self._base = base

    # ---- the device ----

    def isCompiled(self) -> bool:
        return self._device is not None

    def isAttachedToDevice(self) -> bool:
        return self._attached

    def compile(self, *args: Any, **kwargs: Any) -> None:
        assert not kwargs, "the simulation takes positional inputs"
        self._alive()
        _check_divisible(args, self._options)
        if self._device is None:
            self.compilations += 1
            self._device = Device(self._model, self._training, self._options)
            self._device.fresh_optimizer(self._optimizer)
            self._signature = _signature(args)
            self._attached = self._options.connection_type != ConnectionType.Never
            if self._optimizer is not None:
                self._optimizer.executor = self
                if self._optimizer.pending:
                    self.load_optimizer_state(self._optimizer.pending)

    def compileAndExport(self, filename: str, *args: Any, export_model: bool = True, **kwargs: Any) -> None:
        raise Error("the simulation of PopTorch has no compiler: compileAndExport needs the Poplar SDK")

    def detachFromDevice(self) -> None:
        assert self._attached, "the model is not attached to a device"
        self.copyWeightsToHostIfNeeded()
        self._attached = False

    def attachToDevice(self) -> None:
        assert self.isCompiled(), "the model is not compiled"
        assert not self._attached, "the model is already attached"
        self._attached = True
        self.copyWeightsToDevice()

    def destroy(self) -> None:
        if not self._destroyed:
            self.copyWeightsToHostIfNeeded()
            self._model.__class__ = self._base
            self._device, self._attached, self._destroyed = None, False, True

    # ---- weights ----

    def copyWeightsToHostIfNeeded(self) -> bool:
        if self._dirty and self._device is not None:
            self.copyWeightsToHost()
            return True
        return False

    def copyWeightsToHost(self) -> None:
        assert self._device is not None, "compile the model, or call it, before copying weights"
        self._dirty = False
        self._device.to_host()

    def copyWeightsToDevice(self) -> None:
        assert self._device is not None, "compile the model, or call it, before copying weights"
        self._device.from_host()
        self._dirty = False

    def state_dict(self) -> Dict[str, Any]:
        return self._model.state_dict()

    def load_state_dict(self, state_dict: Dict[str, Any], strict: bool = True) -> Any:
        found = self._model.load_state_dict(state_dict, strict)
        if self._device is not None:
            self.copyWeightsToDevice()
        return found

    def setOptimizer(self, optimizer: Any) -> None:
        assert self._training, "an inference model has no optimiser"
        self._optimizer = converted(optimizer)
        self._optimizer.executor = self
        if self._device is not None:
            self._device.set_optimizer(self._optimizer)

    def optimizer_state(self) -> Dict[str, Any]:
        """The optimiser's arrays by PopART's names."""
        return self._device.optimizer_state() if self._device is not None else {}

    def load_optimizer_state(self, state: Dict[str, Any]) -> None:
        """The inverse of ``optimizer_state``."""
        if self._device is not None:
            self._device.load_optimizer_state(state)

    # ---- running ----

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._alive()
        assert self._options.connection_type != ConnectionType.Never, "Trying to run a model on an offline device"
        self.compile(*args, **kwargs)
        if not self._attached:
            self.attachToDevice()
        if _signature(args) != self._signature:
            raise Error(f"inputs {_signature(args)} differ from those the model was compiled for, {self._signature}")
        assert self._device is not None
        tensors = [_as_on_device(x, self._device.double) for x in args]
        outputs = self._device.run(parts_of(tensors, self._options))
        self._dirty = self._dirty or self._training
        return _gathered(outputs, self._options, self._training, self._device)

    def _alive(self) -> None:
        if self._destroyed:
            raise Error("the model has been destroyed")


def _gathered(outputs: List[Any], options: Any, training: bool, device: Device) -> Any:
    """What a call returns, from what the module returned for each part."""
    mode = options.output_mode
    if mode == OutputMode.Default:
        mode = OutputMode.Final if training else OutputMode.All
    if mode == OutputMode.Final:
        outputs = outputs[-options.replication_factor :]
    assert mode in (OutputMode.Final, OutputMode.All), f"the simulation has no output mode {mode!r}"
    several = len(outputs) > 1 or mode == OutputMode.All
    columns = [_joined(column, several) for column in zip(*outputs)]
    found = tuple(_coerced(x, device.double) for x in columns)
    for x in found:
        x.backward = _no_backward  # type: ignore[method-assign]
    return found if device.many else found[0]


def _check_divisible(args: Any, options: Any) -> None:
    count = _parts(options)
    for x in args:
        extent = x.shape[0] if x.ndim else 0
        assert extent > 0 == extent % count, (
            f"axis 0 of an input of shape {tuple(x.shape)} must be a multiple of {count}: device iterations x "
            "replication factor x gradient accumulation"
        )


def _parts(options: Any) -> int:
    return options.device_iterations * options.replication_factor * options.Training.gradient_accumulation


def _signature(args: Any) -> Any:
    return [(tuple(x.shape), str(x.dtype)) for x in args]


def _as_on_device(x: Any, double: bool) -> Any:
    """What is left of an input on the way to the device: 32 bits. Kernels of this CPU want int64 all the same."""
    if x.dtype == torch.int64:
        return x.to(torch.int32).to(torch.int64)
    return x.to(torch.float32) if x.dtype == torch.float64 and not double else x.clone()


def _coerced(x: Any, double: bool) -> Any:
    wanted = {torch.int64: torch.int32} if double else {torch.int64: torch.int32, torch.float64: torch.float32}
    return x.detach().to(wanted.get(x.dtype, x.dtype)).clone()


def _joined(column: Any, several: bool) -> Any:
    if not several:
        return column[0]
    return torch.stack(column) if column[0].ndim == 0 else torch.cat(column)


def _no_backward(*args: Any, **kwargs: Any) -> None:
    raise Error("backward() does not exist on outputs of a model: the optimiser runs on the device")

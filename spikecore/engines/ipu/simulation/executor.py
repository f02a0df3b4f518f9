"""``poptorch.trainingModel``, ``poptorch.inferenceModel`` and the ``PoplarExecutor`` they return, simulated."""

from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any, Callable, List

import numpy as np
import torch

from spikecore.engines.ipu.simulation.attached import Attached
from spikecore.engines.ipu.simulation.device import Device, parts_of
from spikecore.engines.ipu.simulation.machine import needed
from spikecore.engines.ipu.simulation.ops import Error
from spikecore.engines.ipu.simulation.optim import SGD, converted
from spikecore.engines.ipu.simulation.options import ConnectionType, Options, OutputMode

VERSION = "3.4.0 (simulated)"


def trainingModel(model: Any, options: Any = None, optimizer: Any = None) -> PoplarExecutor:
    """Wrap a module that returns its loss."""
    if optimizer is None:
        optimizer = SGD(model.parameters(), lr=0.01)
    return PoplarExecutor(copy.copy(model), options, True, VERSION, converted(optimizer), model)


def inferenceModel(model: Any, options: Any = None) -> PoplarExecutor:
    """Wrap a module for inference."""
    if options is not None and options.Training.gradient_accumulation != 1:
        raise ValueError("You must set gradient_accumulation to 1 for inference")
    return PoplarExecutor(copy.copy(model), options, False, VERSION, user_model=model)


class PoplarExecutor(Attached):
    """A module with its weights on the simulated device.

    PopTorch traces ``model``, a shallow copy of ``user_model``. An attribute that the forward pass assigns is therefore
    not assigned on the user's module; weights and containers belong to both.
    """

    def __init__(
        self, model: Any, options: Any, training: bool, poptorch_version: Any, optimizer: Any = None,
        user_model: Any = None,
    ) -> None:  # fmt: skip
        super().__init__(model if user_model is None else user_model, training)
        self._model, self._base = model, type(self._user_model)
        if training and hasattr(self._base, "_executor"):
            raise RuntimeError("Model has already been wrapped: call destroy() on the executor before wrapping again")
        given = Options() if options is None else options
        given._freeze()
        self._options, self._version = given.clone(), poptorch_version
        self._options._freeze()
        self._offline = bool(self._options.connection_type == ConnectionType.Never)
        self._inputs: Any = None  # the inputs with which it was compiled
        self._destroyed, self.compilations = False, 0
        if optimizer is not None:
            self.setOptimizer(optimizer)
        if training:
            self._wrap()

    @property
    def model(self) -> Any:
        return self._user_model

    @property
    def options(self) -> Any:
        return self._options

    def _wrap(self) -> None:
        """Replace the module's class by one that copies the weights from the device before they are read."""
        executor, base = self, self._base

        def fetching(name: str) -> Any:
            def method(module: Any, *args: Any, **kwargs: Any) -> Any:
                executor.copyWeightsToHostIfNeeded()
                return getattr(base, name)(module, *args, **kwargs)

            return method

        names = "state_dict named_parameters parameters named_buffers buffers".split()
        wrapped = {"_executor": self, **{name: fetching(name) for name in names}}
        self._user_model.__class__ = type(f"Poptorch{base.__name__}", (base,), wrapped)

    # ---- compiling ----

    def compile(self, *args: Any, **kwargs: Any) -> None:
        assert not kwargs, "the simulation takes positional inputs"
        self._alive()
        if not self.isCompiled():
            self._compile(args)
            self._first(lambda: self._device.trace(parts_of(self._on_device(args), self._options)[0][0]))

    def _compile(self, args: Any) -> None:
        _check_divisible(args, self._options)
        self.compilations += 1
        self._inputs = [x.detach().clone() for x in args]
        self._ipus = needed(self._options, 1)  # of the first stage; the first pass shows whether there are more
        self._device = Device(self._model, self._training, self._options, self._optimizer)
        if not self._offline:
            self._first(self._attach)

    def _first(self, compiling: Callable[[], Any]) -> Any:
        """Call a part of the compilation; if it fails, there is no program, and it holds no IPUs."""
        try:
            result = compiling()
            self._check_stages(max(1, len({ipu for _, ipu in self._device.blocks})))
            return result
        except Exception:
            self._device = None
            self._leave()
            raise

    def _check_stages(self, stages: int) -> None:
        """Take the IPUs of all stages, and refuse a pipeline with too few parts to keep them busy."""
        parts = self._options.Training.gradient_accumulation if self._training else self._options.device_iterations
        least = 2 * stages - 1 if self._training else stages
        if stages > 1 and parts < least:
            what = "gradient accumulation" if self._training else "device iterations"
            raise Error(f"a pipeline of {stages} stages needs {what} of at least {least}, got {parts}")
        self._ipus = needed(self._options, stages)
        if self._attached:
            self._take()

    def save(self, filename: str, export_model: bool = True, save_rng_state: bool = True) -> None:
        if self._device is None:
            raise Error("Model has not been compiled or has been destroyed.")
        if export_model:
            pickle.dumps(self._model, protocol=4)  # fails for lambdas, as in PopTorch
        with open(filename, "wb") as file:
            np.savez(file, version=self._version, program=self._program(), inputs=len(self._inputs), **{
                f"input{i}": x.numpy() for i, x in enumerate(self._inputs)})  # fmt: skip

    def compileAndExport(self, filename: str, *args: Any, export_model: bool = True, **kwargs: Any) -> None:
        self.compile(*args, **kwargs)
        self.save(filename, export_model)

    def loadExecutable(self, filename: str) -> None:
        with np.load(filename) as file:
            version, program = str(file["version"]), str(file["program"])
            inputs = [torch.from_numpy(file[f"input{i}"]) for i in range(int(file["inputs"]))]
        if version != self._version:
            raise Error(f"Invalid file {filename}: version {version}, expected {self._version}")
        self.compile(*inputs)
        if self._program() != program:
            self._device = None
            self._leave()
            raise Error(f"Invalid file {filename}: it holds the program of another model")
        self.compilations -= 1

    def _program(self) -> str:
        """A description in place of a compiled program: training or not, and the weights by name and shape."""
        shapes = [(name, list(x.shape)) for name, x in self._device.weights.items()]
        return f"{'training' if self._training else 'inference'} {type(self._model).__name__} {shapes}"

    def destroy(self) -> None:
        if not self._destroyed:
            self.copyWeightsToHostIfNeeded()
            self.read_optimizer()
            if self._training:
                self._user_model.__class__ = self._base
            self._leave()
            self._device, self._destroyed = None, True

    # ---- running ----

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._alive()
        assert not self._offline, "Trying to run a model on an offline device"
        assert not kwargs, "the simulation takes positional inputs"
        first = not self.isCompiled()
        if first:
            self._compile(args)
        if not self._attached:
            self.attachToDevice()
        if _signature(args) != _signature(self._inputs):
            raise Error(
                f"inputs {_signature(args)} differ from those the model was compiled for, {_signature(self._inputs)}"
            )
        if not self._training:
            self._follow(getattr(self._user_model, "_executor", None))
        self._write_optimizer()
        run = partial(self._device.run, parts_of(self._on_device(args), self._options))
        outputs = self._first(run) if first else run()
        self._dirty = self._dirty or self._training
        if self._optimizer is not None:
            self._optimizer.host_is_stale = True
        return _gathered(outputs, self._options, self._training, self._device)

    def _follow(self, trained: Any) -> None:
        """Take the weights of the training model of the same module, if it has newer ones."""
        if trained is not None:
            trained.copyWeightsToHostIfNeeded()
            if self._host_version != trained._host_version:
                self._host_version = trained._host_version
                self.copyWeightsToDevice()

    def _on_device(self, args: Any) -> List[Any]:
        return [_as_on_device(x, self._device.double) for x in args]

    def _alive(self) -> None:
        if self._destroyed:
            raise Error("the model has been destroyed")


def _gathered(outputs: List[Any], options: Any, training: bool, device: Device) -> Any:
    """The result of a call, from the module's results for each part."""
    mode = options.output_mode
    if mode == OutputMode.Default:
        mode = OutputMode.Final if training else OutputMode.All
    if mode == OutputMode.Final:
        outputs = outputs[-options.replication_factor :]
    assert mode in (OutputMode.Final, OutputMode.All), f"the simulation has no output mode {mode!r}"
    several = len(outputs) > 1 or mode == OutputMode.All
    columns = [_joined(column, several) for column in zip(*outputs)]
    results = tuple(_coerced(x, device.double) for x in columns)
    for x in results:
        x.backward = _no_backward  # type: ignore[method-assign]
    return results if device.many else results[0]


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
    """Cut an input to 32 bits, as a device does. Whole numbers stay int64, which torch needs on the CPU."""
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

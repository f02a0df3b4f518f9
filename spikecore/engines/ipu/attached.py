"""The programs of an executor: one for training and one for each kind of inference, with the same weights.

The current weights and the optimiser's arrays are on the device. ``_fetch`` copies them to the host when they are
needed there; until then the host's copies are out of date. Only one program is attached to the device at a time. To
alternate between training and validation, the executor detaches one program, copies the weights and attaches the
other. No program is compiled twice. ``pool.py`` does the same between executors.
"""

from __future__ import annotations

from typing import Any, Dict, List, Optional

from spikecore.api.core.random import Key
from spikecore.api.core.tree import Params, Tree, leaves, map_leaves
from spikecore.api.layers.network import Output, record_option
from spikecore.api.training.executor import NetworkExecutor
from spikecore.engines.ipu import optimizers
from spikecore.engines.ipu.module import drawn
from spikecore.engines.ipu.padding import fill
from spikecore.engines.ipu.pool import POOL
from spikecore.engines.ipu.programs import PopTorchProgram, inference_program


class ProgramExecutor(NetworkExecutor):
    """The part of a ``NetworkExecutor`` on PopTorch that manages weights, optimiser state and inference."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.training: Optional[PopTorchProgram] = None
        self.inference: Dict[Any, PopTorchProgram] = {}
        self.attached: Optional[PopTorchProgram] = None
        self.slot_values: Dict[str, Any] = {}
        self.stepped = False  # whether the optimiser has made a step
        self.dirty = False  # whether the weights on the device are newer than the host's
        self.left = 0  # number of the training step whose states are on the device; 0 if there are none
        super().__init__(*arguments, **options)
        self.settings = self.engine.options  # type: ignore[attr-defined]

    @property
    def gradients(self) -> None:
        return None  # they stay on the device

    def place(self, params: Params, buffers: Tree) -> None:
        super().place(params, buffers)
        self.dirty, self.left = False, 0
        for program in self._programs():
            program.stale = True

    def _programs(self) -> List[PopTorchProgram]:
        return [*([self.training] if self.training is not None else []), *self.inference.values()]

    def _fetch(self) -> None:
        """Copy weights, buffers and optimiser state of the training program to the host."""
        if self.dirty and self.training is not None:
            self.training.model.copyWeightsToHost()
            self.params, self.buffers = self.training.trees(self.engine.dtype)
            if self.optimizer is not None and self.optimizer.slots:
                arrays = self.training.optimizer.state_dict()["ipu_state"]
                self.slot_values = optimizers.slots(self.optimizer, self.params, arrays, self._scale())
            self.dirty = False

    def release(self) -> None:
        """Detach the current program from the device; its weights are copied to the host first."""
        self._fetch()
        if self.attached is not None:
            self.attached.detach()
        if self.attached is self.training:
            self._load_optimizer()  # attaching sends the arrays back that were read, with an old learning rate
            for other in self.inference.values():
                other.stale = True
        self.attached = None

    def _attach(self, program: PopTorchProgram) -> None:
        """Put ``program`` on the device, with the current weights; one that is not compiled yet finds the device free.

        The programs of other executors leave the device.
        """
        POOL.give_to(self)
        if self.attached is not None and self.attached is not program:
            self.release()
        if program.stale:
            program.write(self.params, self.buffers)
        if self.attached is not program:
            program.attach()
        if program.stale:
            program.upload()
        program.stale, self.attached = False, program

    def weights(self) -> Dict[str, Any]:
        self._fetch()
        return super().weights()

    def state(self) -> Dict[str, Any]:
        self._fetch()
        return super().state()

    def slots(self) -> Dict[str, Any]:
        return self.slot_values

    def load_slots(self, slots: Dict[str, Any]) -> None:
        self.slot_values, self.stepped = dict(slots), len(slots) > 0
        if self.training is not None:
            self._load_optimizer()

    def _load_optimizer(self) -> None:
        if self.training is None or self.optimizer is None:
            return
        arrays = optimizers.device_state(self.optimizer, self.params, self.slot_values, self.steps_done, self._scale())
        state = self.training.optimizer.state_dict()
        # PopTorch ignores a state whose "ipu_param" is None, its value before compilation. It holds only settings.
        self.training.optimizer.load_state_dict({**state, "ipu_state": arrays, "ipu_param": {}})

    def _scale(self) -> float:
        return float(self.settings.loss_scaling or 1.0)

    def set_lr(self, lr: float) -> None:
        self.lr = lr
        if self.training is not None:
            self._set(lr=lr)

    def _set(self, **settings: float) -> None:
        """Change settings of the optimiser on the device if they differ."""
        assert self.training is not None
        groups = self.training.optimizer.param_groups
        if any(group[name] != value for group in groups for name, value in settings.items()):
            for group in groups:
                group.update(settings)
            self.training.model.setOptimizer(self.training.optimizer)

    # ---- inference ----

    def run(
        self, inputs: Any, state: Any = None, *, steps: Optional[int] = None, record: Any = (), first: int = 0
    ) -> Output:
        x, names = self.engine.asarray(inputs), record_option(self.network, record)
        states = [] if state is None else [(path, self.engine.asarray(value)) for path, value in leaves(state)]
        layout = (x.shape[0], tuple(x.shape[2:]), steps, names, tuple(path for path, _ in states))
        count, samples = self.settings.parts(False), x.shape[1]
        program = self.inference.get(layout)
        if program is None or program.samples < samples:
            if program is not None:
                self._drop(program)
            size = -(-samples // count) * count
            program = self.inference[layout] = inference_program(self, size, x, states, steps, names)
        self._attach(program)
        size = program.samples
        random = drawn(self.engine, program.module.draws, Key((), first), size)
        values = program.call([fill(x.transpose(0, 1), size), *(fill(value, size) for _, value in states), *random])
        return cut(program.module.output(values), samples)

    def _drop(self, program: PopTorchProgram) -> None:
        if self.attached is program:
            self.attached = None
        program.close()

    def close(self) -> None:
        """Fetch what is newer on the device, and destroy the programs; the next call compiles anew."""
        try:
            self._fetch()
        finally:
            for program in self._programs():
                program.close()
            self.training, self.inference, self.attached, self.left = None, {}, None, 0


def cut(out: Output, samples: int) -> Output:
    """An output without the samples that were added to fill its batch."""
    if out.spikes.shape[1] == samples:
        return out
    states = {layer: map_leaves(lambda x: x[:, :samples], state) for layer, state in out.states.items()}
    return Output(out.spikes[:, :samples], states, map_leaves(lambda x: x[:samples], out.state), out.readout)

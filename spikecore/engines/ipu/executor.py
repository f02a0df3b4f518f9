"""Training on the IPU engine: how a batch is passed to the training program, and which batches are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, List, Optional, Tuple

import torch

from spikecore.api.core.layer import EMPTY, Key
from spikecore.api.core.tree import leaves
from spikecore.api.functional.loss import Loss, WeightedSum
from spikecore.api.functional.loss import evaluate as evaluate_loss
from spikecore.api.layers.network import Output
from spikecore.engines.ipu import optimizers
from spikecore.engines.ipu.attached import ProgramExecutor, cut
from spikecore.engines.ipu.device_state import DeviceState, not_keepable, on_device
from spikecore.engines.ipu.module import Draw, drawn, probed
from spikecore.engines.ipu.padding import check_paddable, fill, sample_weights
from spikecore.engines.ipu.pool import POOL
from spikecore.engines.ipu.programs import PopTorchProgram, batch_first, check_divisible, placement, training_program
from spikecore.engines.ipu.subject import Subject, check_network


class IpuExecutor(ProgramExecutor):
    """Trains and runs one network on the IPU engine. See ``NetworkExecutor``, and ``IpuOptions`` for the options.

    The first training batch fixes the shapes of all others. With ``short_batch="drop"`` the executor computes loss and
    outputs of a smaller batch but does not train on it; with "pad" it adds samples of weight zero. A larger batch is
    refused. ``step`` returns loss and outputs before the update; with ``device_iterations`` > 1 each part's are those
    before the update that belongs to this part.

    To train a sequence in parts, pass ``state=executor.resting`` and then ``state=out.state``: the states stay on the
    device. Gradients stay there as well.
    """

    resting = on_device(0)

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.draws: List[Draw] = []
        self.checked, self.parted, self.last = False, False, 0
        super().__init__(*arguments, **options)
        if self.loss is not None and self.settings.short_batch == "pad":
            check_paddable(self.loss, self.buffers)
        if self.loss is not None and self.settings.parts(True) > self.settings.device_iterations:
            _refuse_sums(self.loss)
        if optimizers.dampened(self.optimizer) and self.settings.device_iterations > 1:
            raise ValueError(
                "device_iterations > 1 with SGD(dampening=...): the first step is made without dampening, and one call "
                "would make several like it; use device_iterations=1 or dampening=0"
            )
        if self.optimizer is not None and self.loss is not None:
            optimizers.build(_Nothing(), self.optimizer, [], self.lr, {})

    def step(  # type: ignore[override]
        self, inputs: Any, targets: Any, *, steps: Optional[int] = None, key: Optional[Key] = None, state: Any = None
    ) -> Tuple[float, Output]:
        x, y = self.batch(inputs, targets)
        if not leaves(self.params):  # PopTorch refuses a network without parameters
            self.steps_done += 1
            return self._only_reported(x, y, steps, state)
        if self.training is None:
            self._build_training(x, y, steps, state is not None)
        assert self.training is not None
        program = self.training
        program.check_layout(x, y, steps)
        samples = x.shape[1]
        if samples < program.samples and self.settings.short_batch == "drop":
            return self._only_reported(x, y, steps, state)
        begins = self._begins(state)
        self._attach(program)
        if optimizers.dampened(self.optimizer):
            self._set(dampening=self.optimizer.dampening if self.stepped else 0.0)  # type: ignore[union-attr]
        values = program.call(self._arguments(program, x, y, key, begins))
        self.dirty = self.stepped = True
        self.steps_done += self.settings.device_iterations
        out, loss = program.module.output(values[:-1]), values[-1]
        return float(loss.to(torch.float64).mean()), self._left_behind(cut(out, samples))

    def _begins(self, state: Any) -> bool:
        """Whether a step begins a sequence; otherwise it continues from the states on the device.

        Raises:
            ValueError: the state is not the one on the device, or the program keeps no states.
        """
        if state is None or (isinstance(state, DeviceState) and int(state.after) == 0):
            given = 0
        else:
            given = int(state.after) if isinstance(state, DeviceState) else -1
        if given not in (0, self.left):
            raise ValueError(
                "engine 'ipu': a training step continues only from the state that this executor's last step returned, "
                "which is on the device: begin the sequence again with state=executor.resting"
            )
        if state is not None and not self.parted:
            raise ValueError(
                "engine 'ipu': the program was compiled for whole sequences, whose states it does not keep; use one "
                "executor for sequences in parts and another for whole ones"
            )
        return given == 0

    def _left_behind(self, out: Output) -> Output:
        if not self.parted:
            return out
        self.last += 1
        self.left = self.last
        return replace(out, state=on_device(self.left))

    def _build_training(self, x: Any, y: Any, steps: Optional[int], parted: bool) -> None:
        check_divisible(x.shape[1], placement(x, y, steps), self.settings.parts(True), y)
        probe = probed(self.engine, self.network, self.params, self.buffers, x, steps)
        objection = not_keepable(probe.state, self.settings.parts(True)) if parted else None
        if objection is not None:
            raise ValueError("engine 'ipu': {}. {}".format(*objection))
        subject = Subject(
            self.engine, self.network, self.params, self.buffers, self.loss, self.optimizer, self.window, parted
        )
        if self.settings.check and not self.checked:
            self.checked = True
            check_network(subject, x, y, steps, count=False).require()
        self.draws, self.parted = probe.draws, parted
        kept_states, unreached = probe.state if parted else EMPTY, subject.unreached(x, y, steps)
        self.training = training_program(self, x, y, steps, kept_states, unreached)
        if self.slot_values:
            self._load_optimizer()

    def _arguments(
        self, program: PopTorchProgram, x: Any, y: Any, key: Optional[Key], begins: bool = True
    ) -> List[Any]:
        """The inputs of the training program for a batch, each with the batch as axis 0."""
        size, samples, layout = program.samples, x.shape[1], program.module.layout
        weights = [sample_weights(self.engine, samples, size)] if layout.weights else []
        fresh = [self.engine.asarray([float(begins)] * size)] if layout.keeps else []
        random = drawn(self.engine, self.draws, key, size)
        y = batch_first(y, layout.targets)
        whole = layout.targets == "whole"
        return [fill(x.transpose(0, 1), size), y if whole else fill(y, size), *weights, *fresh, *random]

    def _only_reported(self, x: Any, y: Any, steps: Optional[int], state: Any) -> Tuple[float, Output]:
        """Loss and output of a batch that is not trained on."""
        state = None if isinstance(state, DeviceState) and int(state.after) == 0 else state
        out = self.run(x, state, steps=steps, record=self.record)
        return float(evaluate_loss(self.loss, self.engine, out, y)), out

    def export(self, path: Any, inputs: Any, targets: Any, *, steps: Optional[int] = None, key: Any = None) -> None:
        """Compile the training program and write it to a file that ``load_exported`` reads; see ``offline_target``.

        The file contains the program and the batch that fixed its shapes, but no weights.

        Args:
            path: the file to write.
            inputs, targets, steps, key: a training batch, as in ``step``.
        """
        x, y = self.batch(inputs, targets)
        if self.training is None:
            self._build_training(x, y, steps, False)
        assert self.training is not None
        arguments = self._arguments(self.training, x, y, key)
        POOL.give_to(self)
        if self.attached is not self.training:
            self.release()
        self.training.model.compileAndExport(str(path), *arguments, export_model=False)
        self.attached = self.training if self.training.model.isAttachedToDevice() else None

    def load_exported(self, path: Any, inputs: Any, targets: Any, *, steps: Optional[int] = None) -> None:
        """Load the training program from a file that ``export`` has written, instead of compiling it.

        Args:
            path: the file, written by the same version of PopTorch for the same network.
            inputs, targets, steps: a training batch of the same shapes.

        Raises:
            ValueError: this executor already has a training program.
        """
        if self.training is not None:
            raise ValueError("load_exported: this executor has a training program; load into one that has not trained")
        x, y = self.batch(inputs, targets)
        self._build_training(x, y, steps, False)
        assert self.training is not None
        self._attach(self.training)
        self.training.model.loadExecutable(str(path))


class _Nothing:
    """Stands in for PopTorch where only the kind of an optimiser is checked."""

    def __getattr__(self, name: str) -> Any:
        return self

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        return self


def _refuse_sums(loss: Any) -> None:
    for _, term in loss.terms if isinstance(loss, WeightedSum) else ((1.0, loss),):
        if isinstance(term, Loss) and term.reduction == "sum":
            raise ValueError(
                f"{term!r}: parts of a batch are averaged, so a sum over the batch would become smaller with "
                "gradient_accumulation or replication_factor; use reduction='mean'"
            )

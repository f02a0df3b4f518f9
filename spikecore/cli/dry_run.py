"""The output of ``spikecore train --dry-run``: data, network, steps and memory of a run, without training it."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from spikecore.api.core.layer import Key, shapes_of
from spikecore.api.training.batching import Feed
from spikecore.cli.messages import ConfigError
from spikecore.cli.run_checks import memory_plan, say_of_classes, tried
from spikecore.cli.run_directory import TrainingRun
from spikecore.printing import in_bytes


@dataclass(frozen=True)
class RunPlan:
    """The plan of a training run.

    Args:
        engine: name of the engine.
        dtype: floating-point type of all arrays.
        train_samples: samples that the run trains on.
        validation_samples: samples that are evaluated after each epoch; 0 for none.
        test_samples: samples of the test set.
        time_steps: length of the sequences.
        batches_per_epoch: batches of the training samples.
        epochs: epochs of the whole run.
        epochs_done: of these, those that a resumed run has done already.
        plastic: whether local rules learn, without gradients.
        parameters: number of values of the network.
        weight_bytes: memory of the weights, their gradients and what the optimiser keeps for each of them.
        output_bytes: memory of the outputs of one batch that are kept over time, one number for each output and step:
            those of all layers, at all steps or those between two updates; if learning goes forward in time, those of
            the last layer.
        carried_bytes: memory of what learning forward in time carries from step to step for a batch; None: it does not.
        memory: how a training step keeps the memory budget; None without one.
        peak_bytes: what it takes at most, of the budget; None without one.
        network: the layers as a table.
    """

    engine: str
    dtype: str
    train_samples: int
    validation_samples: int
    test_samples: int
    time_steps: int
    batches_per_epoch: int
    epochs: int
    epochs_done: int
    plastic: bool
    parameters: int
    weight_bytes: int
    output_bytes: int
    carried_bytes: Optional[int]
    memory: Optional[str]
    peak_bytes: Optional[int]
    network: str

    def as_dict(self) -> Dict[str, Any]:
        """The plan for scripts; the table of the network is left out."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "network"}

    def __str__(self) -> str:
        left = self.epochs - self.epochs_done
        done = f" ({self.epochs_done} of {self.epochs} are done)" if self.epochs_done else ""
        judged = f"{self.validation_samples:,}" if self.validation_samples else "none"
        samples = f"{self.train_samples:,} to train on, {judged} for validation, {self.test_samples:,} for the test"
        batches = f"{left} epochs{done} of {self.batches_per_epoch} batches: {left * self.batches_per_epoch:,} batches"
        memory = self._memory()
        lines = [
            self.network,
            "",
            f"engine      {self.engine}, {self.dtype}",
            f"samples     {samples}",
            f"training    {batches}",
            f"time        {self.time_steps} steps per sample",
            f"memory      {memory[0]}",
            f"            {memory[1]}",
            *([] if self.memory is None else [f"budget      {self.memory}"]),
            "",
            "Nothing was trained and nothing was written. The run file, the data and the network fit each other.",
        ]
        return "\n".join(lines)

    def _memory(self) -> Tuple[str, str]:
        weights, outputs = in_bytes(self.weight_bytes), in_bytes(self.output_bytes)
        if self.carried_bytes is not None:
            carried = in_bytes(self.carried_bytes)
            return (
                f"{weights} for weights, gradients and optimiser; {carried} for states, traces and sums of a batch,",
                f"whatever the number of steps; {outputs} for the outputs of the last layer",
            )
        used = "weights" if self.plastic else "weights, gradients and optimiser"
        return (
            f"{weights} for {used}; {outputs} for the layers' outputs of a batch",
            "(one number per output and step, as a loop over steps keeps them; kernels keep less)",
        )


def plan_of(job: TrainingRun, resume: bool = False) -> RunPlan:
    """Check a run as ``spikecore train`` does, and say what it would do. No file is written.

    Args:
        job: the run.
        resume: whether it continues the run in its directory.

    Raises:
        ConfigError: encoder, network, loss and data do not fit each other.
    """
    model = job.model() if resume else tried(job)
    say_of_classes(job, *(() if job.config.data.validation == "test" else ("validation",)), "test")
    config, batch = job.config, min(job.config.data.batch_size, len(job.train_set))
    seen = job.first(job.train_set, batch if config.data.sequences else 1)[0]  # recordings differ in number of steps
    x, steps = Feed(**job.feeding)(model.engine, seen, model.input_shape, Key((config.seed, "plan")))
    time_steps, width = steps or int(x.shape[0]), 8 if config.dtype == "float64" else 4
    train, learning = config.train, config.train.learning.make()
    optimizer = train.update_rule()
    kept = min(time_steps, learning.update_every or time_steps)  # steps of which all outputs are kept
    parameters = sum(math.prod(value.shape) for value in model.params().values())
    outputs, shape = 0, model.input_shape or ()
    for _, layer in model.network.children():  # type: ignore[attr-defined]
        shape = shapes_of(layer, shape).shape
        outputs += math.prod(shape)
    with model.engine.isolated():
        carried = learning.carried(model.trainer.executor, job.loss, model.input_shape or (), batch)
    if carried is not None:
        outputs, kept, carried = math.prod(shape), time_steps, carried * width
    try:
        memory = memory_plan(job, model)
    except (ValueError, NotImplementedError) as error:
        raise ConfigError([f"{job.name}: train.{error}"]) from None
    return RunPlan(
        engine=model.engine.name,
        dtype=config.dtype if config.precision == "float32" else f"{config.dtype}, products in {config.precision}",
        train_samples=len(job.train_set),
        validation_samples=0 if job.held_out is None else len(job.held_out),
        test_samples=len(job.test_set),
        time_steps=time_steps,
        batches_per_epoch=len(job.loader(job.train_set)),
        epochs=config.train.epochs,
        epochs_done=model.epochs_done,
        plastic=train.plastic,
        parameters=parameters,
        weight_bytes=parameters * width * (1 if optimizer is None else 2 + len(optimizer.slots)),
        output_bytes=outputs * kept * batch * width,
        carried_bytes=carried,
        memory=None if memory is None else str(memory),
        peak_bytes=None if memory is None else memory.peak,
        network=model.summary(),
    )

"""Programs: a module with its PopTorch model. Executors build them, attach them to the device and call them."""

from __future__ import annotations

import weakref
from typing import Any, List, Mapping, Optional, Sequence, Tuple

import torch

from spikecore.api.core.layer import ShapeError
from spikecore.api.core.tree import Params, Tree, leaves, map_leaves
from spikecore.api.layers.containers import walk
from spikecore.api.neurons.stepper import noise_seed
from spikecore.engines.ipu import optimizers
from spikecore.engines.ipu.module import CallSignature, InferenceModule, NetworkModule, TrainingModule, probed


class PopTorchProgram:
    """One PopTorch model. ``close()`` destroys it, and so does the end of the program's life.

    Args:
        module: the module that it runs.
        model: the result of ``trainingModel`` or ``inferenceModel``.
        optimizer: a ``poptorch.optim`` optimiser; None for inference.
        samples: number of samples in a batch.
        shapes: the result of ``shapes_of`` for the first batch; None for inference.
    """

    def __init__(self, module: NetworkModule, model: Any, optimizer: Any, samples: int, shapes: Any = None) -> None:
        self.module, self.model, self.optimizer = module, model, optimizer
        self.samples, self.shapes, self.stale = samples, shapes, False
        # PopTorch's executor and optimiser refer to each other: without this a program that is no longer used would
        # hold its IPUs until the next garbage collection. At exit the IPUs are free without it.
        self.close = weakref.finalize(self, model.destroy)
        self.close.atexit = False

    def check_layout(self, x: Any, y: Any, steps: Optional[int]) -> None:
        """Refuse a batch that the compiled program cannot take.

        Raises:
            ShapeError: the batch has other shapes or more samples than the first one.
        """
        shapes, samples = shapes_of(x, y, steps), x.shape[1]
        if shapes != self.shapes:
            raise ShapeError(
                f"engine 'ipu': the program was compiled for {_told(self.shapes)}, not for {_told(shapes)}: give every "
                "batch the same shape and number of steps, or call fit again to compile anew"
            )
        if samples > self.samples:
            raise ShapeError(
                f"engine 'ipu': a batch of {samples} samples, but the first had {self.samples}, which fixed the size; "
                "put the largest batch first"
            )

    def call(self, arguments: List[Any]) -> Tuple[Any, ...]:
        """Run the program on inputs that have the batch as axis 0."""
        return tuple(self.model(*(x.half() if self._halves(x) else x.contiguous() for x in arguments)))

    def _halves(self, x: Any) -> bool:
        return self.module.number == "float16" and x.is_floating_point()

    def write(self, params: Params, buffers: Tree) -> None:
        """Put weights and buffers into the module's own tensors."""
        with torch.no_grad():
            for holder, tree in ((self.module.params, params), (self.module.buffers_, buffers)):
                for path, value in leaves(tree):
                    holder.tensor(path).copy_(value)

    def trees(self, dtype: str) -> Tuple[Params, Tree]:
        """Copies of the module's weights and buffers in the engine's dtype."""
        wanted = getattr(torch, dtype)
        copied = [
            map_leaves(lambda x: x.detach().to(wanted).clone(), holder.tree(like))
            for holder, like in zip((self.module.params, self.module.buffers_), self.module.like)
        ]
        return copied[0], copied[1]

    def attach(self) -> None:
        """Attach the program to the device. One that is not compiled yet is attached by its first call."""
        if self.model.isCompiled() and not self.model.isAttachedToDevice():
            self.model.attachToDevice()

    def upload(self) -> None:
        """Send the module's weights to the device."""
        if self.model.isCompiled():
            self.model.copyWeightsToDevice()

    def detach(self) -> None:
        """Detach the program from the device."""
        if self.model.isCompiled() and self.model.isAttachedToDevice():
            self.model.detachFromDevice()


def shapes_of(x: Any, y: Any, steps: Optional[int]) -> Any:
    """Properties that all batches must share: time steps, features, shape and placement of targets, steps."""
    placed = placement(x, y, steps)
    return x.shape[0], tuple(x.shape[2:]), tuple(y.shape[PLACEMENTS[placed] :]), placed, steps


#: Placements of targets, and how many axes come before those of one sample.
PLACEMENTS = {"samples": 1, "time": 2, "whole": 0}


def placement(x: Any, y: Any, steps: Optional[int]) -> str:
    """Whether targets are (time, batch, ...), "time"; (batch, ...), "samples"; or have no axis of samples, "whole"."""
    time, samples = x.shape[0] if steps is None else steps, x.shape[1]
    if y.ndim >= 2 and tuple(y.shape[:2]) == (time, samples):
        return "time"
    return "samples" if y.ndim and y.shape[0] == samples else "whole"


def batch_first(y: Any, placed: str) -> Any:
    """Targets with the axis that PopTorch divides, the samples, as axis 0."""
    if placed == "whole":
        return y[None, ...]
    return y.transpose(0, 1).contiguous() if placed == "time" else y


def check_divisible(samples: int, placed: str, parts: int, targets: Any) -> None:
    """Refuse a batch that cannot be cut into equal parts.

    Raises:
        ShapeError: the message names the options and a size that fits.
    """
    cut = f"{parts} equal parts (device_iterations x gradient_accumulation x replication_factor)"
    if samples % parts:
        raise ShapeError(
            f"engine 'ipu': a batch of {samples} samples cannot be cut into {cut}; make batch_size a multiple "
            f"of {parts}"
        )
    if placed == "whole" and parts > 1:
        raise ShapeError(
            f"engine 'ipu': targets of shape {tuple(targets.shape)} for {samples} samples cannot be cut into {cut}: "
            "they need the samples as first axis, or time and samples as the first two"
        )


def _told(shapes: Any) -> str:
    time, features, targets, _, steps = shapes
    length = f"{time} time steps" if steps is None else f"{steps} steps of a constant input"
    return f"{length} of {features} with targets of {targets or 'one number'} a sample"


def training_program(
    executor: Any, x: Any, y: Any, steps: Optional[int], state: Tree, unreached: Sequence[str]
) -> PopTorchProgram:
    """Build the training program of an executor for batches like x (time, batch, *features) and y.

    It keeps states shaped like ``state`` from call to call; if ``state`` is empty, every call begins at rest.
    """
    engine, settings, poptorch = executor.engine, executor.settings, executor.engine.poptorch
    shapes = shapes_of(x, y, steps)
    weighted = settings.short_batch == "pad" and shapes[3] != "whole"
    layout = CallSignature(
        steps, executor.record, executor.window, shapes[3], weights=weighted, keeps=len(leaves(state)) > 0
    )
    module = TrainingModule(
        engine, executor.network, executor.params, executor.buffers, layout, half=settings.half, loss=executor.loss,
        identity_loss=poptorch.identity_loss, draws=executor.draws, state=state, unreached=unreached,
    )  # fmt: skip
    _prepare(module, poptorch, settings)
    module.train()
    extra = {} if settings.loss_scaling is None else {"loss_scaling": settings.loss_scaling}
    optimizer = optimizers.build(poptorch, executor.optimizer, list(module.parameters()), executor.lr, extra)
    options = settings.build(poptorch, True, len(leaves(executor.buffers)) > 0 or layout.keeps)
    model = poptorch.trainingModel(module, options=options, optimizer=optimizer)
    return PopTorchProgram(module, model, optimizer, x.shape[1], shapes)


def inference_program(
    executor: Any, samples: int, x: Any, states: List[Tuple[str, Any]], steps: Optional[int], record: Any
) -> PopTorchProgram:
    """Build an inference program of an executor for ``samples`` samples like those of x, starting from ``states``."""
    settings, poptorch = executor.settings, executor.engine.poptorch
    executor._fetch()
    layout = CallSignature(steps, record, state=tuple(path for path, _ in states))
    common = executor.engine, executor.network, executor.params, executor.buffers
    draws = not states and any(noise_seed(layer) is not None for _, layer in walk(executor.network))
    module = InferenceModule(
        *common, layout, half=settings.half, for_loop=poptorch.for_loop if settings.inference_loop else None,
        draws=probed(*common, x, steps, train=False).draws if draws else (),
    )  # fmt: skip
    _prepare(module, poptorch, settings)
    module.eval()
    options = settings.build(poptorch, False, False)
    return PopTorchProgram(module, poptorch.inferenceModel(module, options=options), None, samples)


def _prepare(module: NetworkModule, poptorch: Any, settings: Any) -> None:
    """Apply the options ``half`` and ``pipeline`` to a module."""
    if settings.half:
        module.half()
    if settings.pipeline:
        known = [name for name, _ in module.network.children()] if hasattr(module.network, "children") else []
        for name in settings.pipeline:
            if name not in known:
                raise ValueError(f"pipeline: no top-level layer {name!r}; there are {', '.join(known) or 'none'}")
        if next(iter(settings.pipeline)) != known[0] or [n for n in known if n in settings.pipeline] != list(
            settings.pipeline
        ):
            raise ValueError(f"pipeline: must begin with layer {known[0]!r} and name layers in their order")
        module.entered = module.stages = PipelineStages(poptorch, settings.pipeline)


class PipelineStages:
    """Begins each pipeline stage where its layer is entered.

    Args:
        poptorch: the module, or the simulation of it.
        pipeline: for each stage, the name of its first top-level layer and its IPU.
    """

    def __init__(self, poptorch: Any, pipeline: Mapping[str, int]) -> None:
        self.poptorch, self.pipeline, self.begun = poptorch, dict(pipeline), set()  # type: ignore[var-annotated]

    def __call__(self, path: str) -> None:
        if path in self.pipeline:
            self.poptorch.Block.start(f"stage{self.pipeline[path]}", ipu_id=self.pipeline[path])
            self.begun.add(path)

    def check(self) -> None:
        """Refuse a pass in which a stage has not begun: its layers would run on the IPU of the stage before.

        Raises:
            ValueError: the message names the layer.
        """
        missing = [name for name in self.pipeline if name not in self.begun]
        if missing:
            raise ValueError(
                f"pipeline: layer {missing[0]!r} was never entered by itself, so no stage begins there; a container "
                "of your own must run its layers with spikecore.api.core.lowering.run_child"
            )

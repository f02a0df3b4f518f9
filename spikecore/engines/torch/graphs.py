"""Training steps as CUDA graphs: what the forward and backward pass launch is recorded once, and then started at once.

On a GPU a small network waits for Python, which takes longer to launch an operator than the device to run it. A graph
is one launch. It repeats what was recorded, on the same memory, so what varies has memory of its own: the batch,
running statistics, and the numbers that name random draws.

    x, y, buffers, numbers  ->  graph  ->  loss, output, buffers, gradients

The weights are updated as ever, by a few operators.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import replace
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import torch

from spikecore.api.core.layer import Key
from spikecore.api.core.random import arrange, plan, stream
from spikecore.api.core.tree import Tree, leaves, map_leaves
from spikecore.api.layers.network import Output, detached, objective
from spikecore.engines.torch.executor import TorchExecutor

BEFORE = 2  # steps of a shape before one is recorded: what comes once, as the end of an epoch does, is not worth it
MOST = 4  # graphs of an executor, each with memory for a step; batches of further shapes are launched as ever
MOST_DRAWS = 1024  # of a step


class GraphedExecutor(TorchExecutor):
    """Trains a network by CUDA graphs, one for each shape of a batch, while steps are deferred.

    Args:
        *arguments, **options: those of ``TorchExecutor``.

    Raises:
        ValueError: another option needs a value of each step on the host.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.graphs: Dict[Any, RecordedStep] = {}
        self.seen: Any = Counter()  # steps by the shape of their batch
        super().__init__(*arguments, **options)
        fused = self.torch_optimizer is None or bool(self.torch_optimizer.defaults.get("fused"))
        name = type(self.optimizer).__name__
        for wrong, reason in (
            (not fused, f"optimizer={name}(), which waits for the device at each step: use Adam, AdamW or SGD"),
            (self.scaler is not None, "precision='fp16', whose scale is read at each step: use precision='bf16'"),
            (self.ranks.size > 1, f"{self.ranks.size} processes: use compute=sc.Compute(parallel='none')"),
        ):
            if wrong:
                raise ValueError(f"cuda_graph=True does not go with {reason}; or leave cuda_graph out")

    def place(self, params: Any, buffers: Tree) -> None:
        self.graphs.clear()  # they hold the addresses of the weights
        self.seen.clear()
        super().place(params, buffers)

    def add(self, inputs: Any, targets: Any, **options: Any) -> Tuple[Any, Output]:
        x, y = self.batch(inputs, targets)
        steps, key, state, lengths = (options.get(name) for name in ("steps", "key", "state", "lengths"))
        alike = tuple(x.shape), None if y is None else (tuple(y.shape), y.dtype), steps, key is None
        alone = options.get("weight", 1.0) == 1.0 and not self.added  # a graph's gradients take the place of others
        if self.deferred is None or state is not None or lengths is not None or not (self.leaves and alone):
            return super().add(x, y, **options)
        if alike not in self.graphs:
            self.seen[alike] += 1
            if self.seen[alike] <= BEFORE or len(self.graphs) == MOST:
                return super().add(x, y, **options)
            self.graphs[alike] = self.recorded(x, y, steps, key)
        step = self.graphs[alike]
        step.start(x, y, self.buffers, key)
        for weight, grad in zip(self.leaves, step.grads):
            weight.grad = grad
        self.added, self.moved = 1.0, copied(step.moved)
        return step.loss, step.out

    def recorded(self, x: Any, y: Any, steps: Optional[int], key: Optional[Key]) -> RecordedStep:
        """Record a training step on batches of the shape of this one, after a trial that loads its last kernels.

        Raises:
            RuntimeError: the step waits for the device, or copies from the host.
        """
        x, y, buffers = x.clone(), None if y is None else y.clone(), copied(self.buffers)
        plain = self.training_pass(steps, key)
        # New leaves in the memory of the weights. What torch knows of a leaf includes the stream that first used it,
        # for as long as an output of any step is in use, and no other stream may have part in what is recorded.
        params = map_leaves(lambda w: w.detach().requires_grad_(w.requires_grad), self.used())
        weights = [w for _, w in leaves(params) if w.requires_grad]

        def step(draws: DrawsByMemory) -> Tuple[Any, Output, Tree, Sequence[Any]]:
            run = replace(plain, engine=draws.engine(plain.engine))
            loss, (out, moved) = objective(self.network, self.loss, run, params, buffers, x, y)
            grads = torch.autograd.grad(loss, weights, allow_unused=True)
            return loss.detach(), detached(run.engine, out), map_leaves(torch.Tensor.detach, moved), grads

        with torch.cuda.device(x.device):
            graph, stream, draws = torch.cuda.CUDAGraph(), torch.cuda.Stream(), DrawsByMemory(key, x.device)
            stream.wait_stream(torch.cuda.current_stream())
            try:
                with torch.cuda.stream(stream), torch.enable_grad():
                    step(DrawsByMemory(key, x.device))
                    with torch.cuda.graph(graph, stream=stream):
                        loss, out, moved, grads = step(draws)
            except (NotImplementedError, torch.cuda.OutOfMemoryError):
                raise
            except RuntimeError as error:
                raise RuntimeError(
                    f"cuda_graph=True: this training step cannot be recorded ({error}). Look in loss and layers of "
                    "your own for what waits for a value (float(x), x.item(), if x: ...) or copies one to the device, "
                    "or leave cuda_graph out"
                ) from error
        return RecordedStep(graph, x, y, buffers, draws, loss, out, moved, grads)


def copied(tree: Tree) -> Tree:
    """Arrays in memory of their own."""
    new = map_leaves(torch.empty_like, tree)
    write(arrays_of(new), arrays_of(tree))
    return new  # type: ignore[no-any-return]  # a tree, as it was


def arrays_of(tree: Tree) -> List[Any]:
    """The arrays of a tree, in order."""
    return [x for _, x in leaves(tree)]


def write(targets: List[Any], sources: List[Any]) -> None:
    """Copy arrays, by one launch for those of a type."""
    if targets:
        torch._foreach_copy_(targets, sources)


class DrawsByMemory:
    """Random numbers in a recorded step. What names them varies from step to step, so kernels read it from memory.

    Args:
        key: of the step that is recorded; None: it draws nothing.
        device: of the memory.
    """

    def __init__(self, key: Optional[Key], device: Any) -> None:
        self.key, self.device = key, device
        self.paths: List[Tuple[Any, ...]] = []  # of the draws, behind the step's
        self.named = torch.zeros(MOST_DRAWS, 2, dtype=torch.int64, device=device)

    def engine(self, engine: Any) -> Any:
        """An engine that draws so."""
        other = copy.copy(engine)
        other.uniform = self.uniform
        if "full" in vars(engine):  # which runs the steps of neurons
            other.full = self.engine(engine.full)
        self.xp, self.dtype = engine.xp, getattr(torch, engine.dtype)
        return other

    def uniform(self, key: Any, shape: Tuple[int, ...], *, sample_axis: Optional[int] = None, first: int = 0) -> Any:
        """``Engine.uniform``.

        Raises:
            NotImplementedError: the draws are not those of the step, and would be the same in all.
        """
        from spikecore.kernels.draws import draw_from
        from spikecore.kernels.triton import SequenceTriton

        number = len(self.paths)
        own, start = ((), 0) if self.key is None else (self.key.path, self.key.first)
        within = bool(own) and isinstance(key, tuple) and key[: len(own)] == own and first == start
        if not within or number == MOST_DRAWS or SequenceTriton.missing():
            raise NotImplementedError(
                f"cuda_graph=True repeats one training step, and its draws {key!r} "
                f"{SequenceTriton.missing() or 'would be the same in all'}: leave cuda_graph out"
            )
        self.paths.append(key[len(own) :])
        layout = plan(tuple(shape), sample_axis, 0)
        out = torch.empty(layout.samples * layout.blocks, 4, dtype=self.dtype, device=self.device)
        draw_from(out, layout, self.named[number])
        return arrange(self.xp, layout, out)

    def name(self, key: Optional[Key]) -> None:
        """Name the draws of a step by its key."""
        if self.paths and key is not None:
            from spikecore.kernels.draws import signed

            named = torch.tensor([[signed(stream((*key.path, *path))), key.first] for path in self.paths])
            self.named[: len(named)].copy_(named.pin_memory(), non_blocking=True)


class RecordedStep(NamedTuple):
    """A graph, the memory that it reads, and the memory that it writes."""

    graph: Any
    x: Any
    y: Any
    buffers: Tree
    draws: DrawsByMemory
    loss: Any
    out: Output
    moved: Tree  # the buffers after the step
    grads: Sequence[Any]  # of the executor's leaves

    def start(self, x: Any, y: Any, buffers: Tree, key: Optional[Key]) -> None:
        """Run the step on a batch."""
        write([self.x, *arrays_of(self.buffers)], [x, *arrays_of(buffers)])
        if y is not None:
            self.y.copy_(y)
        self.draws.name(key)
        self.graph.replay()

"""A memory budget of training: the memory of a step is computed from shapes, and methods that save memory are chosen.

A training step runs once on tensors without data (torch's fake tensors). Each that is made and each that is gone is
counted, so the peak is that of the step itself: what autograd keeps, gradients, the largest temporary arrays, kernels'
arrays. Weights, gradients, optimiser slots and the batch are counted as well; the interpreter, libraries, compiled code
and the data set are not.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from spikecore.api.core.tree import leaves, map_leaves
from spikecore.api.core.variants import remade
from spikecore.api.layers.containers import Container, walk
from spikecore.engines.torch.fusing import ScanOptions, fused_scan
from spikecore.engines.torch.memory import KEPT
from spikecore.engines.torch.operators import of_number
from spikecore.engines.torch.recompute import TrainingStep, objective_by_parts
from spikecore.kernels.readout import bias_fits
from spikecore.kernels.sparse.behind import ProductBehind
from spikecore.printing import in_bytes

MARGIN = 1.1  # for what is not counted: rooms of MKL and oneDNN, lists of spikes, pages that are used in part
FEW_PARTS = 8  # of a batch; more are tried where nothing else helps, since small parts take long


class MemorySavings(NamedTuple):
    """Methods that save memory in a training step, at the cost of time."""

    layers: Optional[int] = None  # in each group that is computed again
    every: Optional[int] = None  # steps of a loop that are computed again
    parts: int = 1  # of a batch, one after the other

    def engine(self, engine: Any) -> Any:
        """The engine with these methods, besides those that it has already."""
        changes: Dict[str, Any] = {} if self.layers is None else {"checkpoint_layers": self.layers}
        if self.every is not None:
            changes["checkpoint_every"] = self.every
        return remade(engine, **changes) if changes else engine

    def __str__(self) -> str:
        said = []
        if self.layers is not None:
            said.append(f"groups of {self.layers} layers are computed again (checkpoint_layers={self.layers})")
        if self.every is not None:
            said.append(f"loops are computed again, {self.every} steps at a time (checkpoint_every={self.every})")
        if self.parts > 1:
            said.append(f"a batch goes in {self.parts} parts, whose gradients are added")
        return "; ".join(said) or "nothing need be done"


@dataclass(frozen=True)
class MemoryPlan:
    """The plan by which a training step keeps a budget.

    Args:
        budget: bytes that were allowed.
        peak: bytes that the step takes at most, as computed from shapes.
        plain: bytes that it would take without any means.
        means: what saves memory.
    """

    budget: int
    peak: int
    plain: int
    means: MemorySavings

    def __str__(self) -> str:
        without = "" if self.peak == self.plain else f" instead of {in_bytes(self.plain)}"
        return f"{in_bytes(self.peak)} of {in_bytes(self.budget)}{without}: {self.means}"


class BudgetError(ValueError):
    """A memory budget cannot be kept; the message says which one can."""


class Held(NamedTuple):
    """Memory that a training step cannot change: slots of the optimiser, gradients that wait."""

    slots: int  # arrays that the optimiser keeps for each parameter
    waits: bool  # whether gradients of earlier batches wait meanwhile


def planned(engine: Any, budget: int, step: TrainingStep, held: Held) -> MemoryPlan:
    """The plan that keeps a budget at the least cost of time.

    Args:
        engine: the engine, with the means that its user has chosen.
        budget: bytes.
        step: the training step.
        held: what is in memory meanwhile.

    Raises:
        BudgetError: no means keeps it; says which one can.
    """
    room, known = budget / MARGIN, {}

    def peak(means: MemorySavings) -> int:
        if means not in known:
            known[means] = peak_of(means.engine(engine), means.parts, step, held)
        return known[means]

    plain = peak(MemorySavings())
    divides, batch = not mixes_samples(step.network), int(step.x.shape[1])
    most = batch if divides else 1
    for limit in sorted({min(FEW_PARTS, most), most}):
        for means in _kinds(engine, step):
            if peak(means._replace(parts=limit)) > room:
                continue
            while peak(means) > room:
                means = means._replace(parts=min(2 * means.parts, limit))
            return MemoryPlan(budget, peak(means), plain, means)
    least = min(known, key=lambda means: known[means])
    needed = math.ceil(known[least] * MARGIN)
    whole = "" if divides else ". Its batches are not divided, since layers with batch statistics look at all samples"
    raise BudgetError(
        f"memory={in_bytes(budget)} is not enough for a batch of {batch} samples: a step takes {in_bytes(plain)}, and "
        f"at least {in_bytes(known[least])}, where {least}{whole}. Allow memory={up(needed)!r}, or give smaller "
        "batches with accumulate"
    )


def _kinds(engine: Any, step: TrainingStep) -> Iterator[MemorySavings]:
    """Combinations of methods, the fastest first; batches are not divided yet."""
    depth = len(list(step.network.children())) if isinstance(step.network, Container) else 1
    total = step.run.steps or int(step.x.shape[0])
    groups: List[int] = []
    if engine.checkpoint_layers is None:
        groups = sorted({-(-depth // 2), math.isqrt(depth), 1} - {depth, 0}, reverse=True)
    yield MemorySavings()
    if _loops(engine, step.network) and engine.checkpoint_every is None and total > 3:
        yield MemorySavings(every=math.isqrt(total))
        yield from (MemorySavings(layers, math.isqrt(total)) for layers in groups)
    yield from (MemorySavings(layers) for layers in groups)


def _loops(engine: Any, network: Any) -> bool:
    """Whether a layer runs step by step."""
    return any(engine.explain(layer).startswith("loop") for _, layer in walk(network) if layer.state)


def mixes_samples(network: Any) -> bool:
    """Whether a sample's output may depend on the other samples of its batch, as with batch statistics."""
    return any(layer.mixes_samples for _, layer in walk(network))


# ---- the memory of a step ------------------------------------------------------------------------------------------


class WithoutData:
    """A torch engine for tensors without data: code that needs values gets arbitrary ones."""

    fused: Any
    dtype: str
    device: str

    def uniform(self, key: Any, shape: Tuple[int, ...], *, sample_axis: Optional[int] = None, first: int = 0) -> Any:
        return torch.empty(tuple(shape), dtype=getattr(torch, self.dtype), device=self.device)

    def to_numpy(self, x: Any) -> Any:
        return (
            np.ones(tuple(x.shape), str(x.dtype).rpartition(".")[2]) if isinstance(x, torch.Tensor) else np.asarray(x)
        )

    def readout_scan(
        self, stepper: Any, params: Any, state: Any, inputs: Any, weight: Any, bias: Any = None, **options: Any
    ) -> Any:
        plain = inputs.is_cpu and inputs.dtype in KEPT and weight.dtype == inputs.dtype
        if self.fused is False or not (plain and bias_fits(weight, bias)):
            return None
        time = ScanOptions(options["steps"] or inputs.shape[0], (), options["window"], options["repeating"])
        results = fused_scan(self, stepper, params, state, inputs, time, (weight, bias))
        return None if results is None else (results[0], results[2])


class Counted(TorchDispatchMode):
    """Counts the bytes of the tensors that are made in here, as long as they are alive."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.alive: Dict[int, Any] = {}

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        within = _room_of(function, args)
        for x in tree_flatten(out)[0]:
            if isinstance(x, torch.Tensor):
                self.count(x)
        self.peak = max(self.peak, self.now + within)
        return out

    def count(self, x: Any) -> None:
        """Count a tensor's memory, once, until nothing holds it."""
        storage = x.untyped_storage()
        place, size = storage._cdata, storage.nbytes()
        if place not in self.alive:
            self.now += size
            self.peak = max(self.peak, self.now)
            self.alive[place] = weakref.finalize(storage, self._gone, place, size)

    def _gone(self, place: int, size: int) -> None:
        self.now -= size
        del self.alive[place]


def _room_of(function: Any, arguments: Any) -> int:
    """Bytes that a kernel takes beside what it is given and gives: a neuron with the product behind it makes spikes, or
    gradients by them, for that product.
    """
    name = getattr(function, "_schema", None) and function._schema.name
    if name not in ("spikecore::scan", "spikecore::scan_back"):
        return 0
    inputs, (number, steps) = arguments[0], arguments[2:4] if name == "spikecore::scan" else arguments[4:6]
    if not isinstance(of_number(number), ProductBehind):
        return 0
    return int(steps) * math.prod(inputs.shape[1:]) * inputs.element_size()


def peak_of(engine: Any, parts: int, step: TrainingStep, held: Held) -> int:
    """The most bytes that are alive at once in a training step: weights, gradients, slots, batch and all between.

    Raises:
        BudgetError: a layer or the loss looks at values, so that shapes do not tell.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    kind: Any = type("Shapes", (WithoutData, type(engine)), {})
    shapes = kind(**{name: getattr(engine, name) for name in OPTIONS})
    with FakeTensorMode(allow_non_fake_inputs=True), Counted() as counted:
        params, buffers, x, targets, state = (
            map_leaves(_empty, tree) for tree in (step.params, step.buffers, step.x, step.targets, step.state)
        )
        weights = [w.requires_grad_() for _, w in leaves(params)]
        for w in weights:
            w.grad = torch.empty_like(w) if held.waits else None
        slots = [torch.empty_like(w) for w in weights for _ in range(held.slots)]
        run = replace(step.run, engine=shapes)
        empty = TrainingStep(step.network, step.loss, run, params, buffers, x, targets, state, step.lengths)
        try:
            with torch.enable_grad():
                value, out = objective_by_parts(empty, parts, computed=2)
            if value.requires_grad:
                value.backward()
        except (RuntimeError, NotImplementedError, TypeError) as error:
            raise BudgetError(
                "memory: what this network takes is not known from shapes, since a layer or the loss looks at values "
                f"({(str(error).splitlines() or [''])[0][:200]}): leave memory out, and use checkpoint_layers, "
                "checkpoint_every or smaller batches with accumulate"
            ) from error
        del slots, out
    return counted.peak


OPTIONS = ("device", "dtype", "fused", "checkpoint_every", "sparse_backward", "precision", "checkpoint_layers")


def _empty(x: Any) -> Any:
    return torch.empty(tuple(x.shape), dtype=x.dtype, device=x.device) if isinstance(x, torch.Tensor) else x


def up(count: float) -> str:
    """A number of bytes as ``fit`` takes it, rounded up to megabytes."""
    return f"{math.ceil(count / 1e6)}MB"

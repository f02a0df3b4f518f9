"""Training on the torch engine: autograd and torch.optim."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from dataclasses import replace
from typing import Any, ContextManager, Dict, List, Optional, Sequence, Set, Tuple

import torch

from spikecore.api.core.layer import Key
from spikecore.api.core.tree import Params, Tree, flatten, leaves, map_leaves
from spikecore.api.layers.network import Output
from spikecore.api.training.executor import NetworkExecutor
from spikecore.api.training.optimizers import SGD, Adam, AdamW, Optimizer, RMSprop
from spikecore.engines.torch.across import sync_statistics
from spikecore.engines.torch.modes import compiling, in_functorch
from spikecore.engines.torch.precision import Scaler
from spikecore.engines.torch.ranks import Reduction
from spikecore.engines.torch.recompute import TrainingStep, objective_by_parts
from spikecore.engines.torch.threads import alone
from spikecore.engines.torch.zeros import addresses, existing, keeping_zeros
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.blas import PART
from spikecore.kernels.sparse.product import keeping


class TorchExecutor(NetworkExecutor):
    """Trains and runs one network on the torch engine. See ``NetworkExecutor``.

    Args:
        memory: bytes that a training step may take; None, the default: as many as it needs.
        accumulates: whether several batches make one update, so that gradients wait while a batch runs.
        *arguments, **options: those of ``NetworkExecutor``.

    Attributes:
        plan: how a step keeps the memory budget, a ``MemoryPlan`` after the first step; None without a budget.
    """

    engine: Any  # a TorchEngine
    plan: Any = None
    _planned_for: Tuple[int, ...] = ()  # steps and samples of the plan
    reduction: Optional[Reduction] = None  # of the gradients of several ranks
    deferred: Any = None  # a ``Deferred``, while training steps leave on the device what they compute
    sound: Any = None  # whether the input of the next step is finite, while steps are deferred

    def __init__(
        self, *arguments: Any, memory: Optional[int] = None, accumulates: bool = False, **options: Any
    ) -> None:
        self.memory, self.accumulates = memory, accumulates
        super().__init__(*arguments, **options)

    def place(self, params: Params, buffers: Tree) -> None:
        self.params, self.buffers = self._on_device(params), map_leaves(self._copied, buffers)
        flat = leaves(self.params)
        self.size = sum(x.numel() for _, x in flat)
        trained = {name: x.requires_grad_() for name, x in flat if self.optimizer is None or name in self.trained}
        self.leaves: List[Any] = list(trained.values())  # those that are not frozen
        self.torch_optimizer = self._build(trained) if self.optimizer and trained else None
        self.existing = existing([x for name, x in trained.items() if name in self.keeping])
        if self.reduction is not None:
            self.reduction.close()
        self.reduction = self._reduced(self.leaves) if self.ranks.size > 1 else None
        scales = self.torch_optimizer is not None and self.engine.precision == "fp16"
        self.scaler = Scaler(self.engine.device) if scales else None

    def _copied(self, x: Any) -> Any:
        return self.engine.asarray(x.copy()).detach()

    def _on_device(self, params: Params) -> Params:
        """Weights as the leaves that are trained."""
        return map_leaves(self._copied, params)  # type: ignore[no-any-return]

    def _reduced(self, weights: List[Any]) -> Optional[Reduction]:
        """The function that sums the gradients of weights over all ranks, behind the backward pass."""
        return Reduction(weights, self.ranks.narrow)

    @property
    def keeping(self) -> Set[str]:
        """The weights whose zeros are kept."""
        return {name for name, spec in self.trained.items() if spec.keep_zeros}

    @property
    def skipped(self) -> int:
        """Number of updates that were left out because a gradient in float16 overflowed."""
        return 0 if self.scaler is None else self.scaler.skipped

    def _build(self, trained: Dict[str, Any]) -> torch.optim.Optimizer:
        """Torch's optimiser for the parameters that are trained, with a group for each set of options."""
        self.specs: List[Optimizer] = []  # of torch's groups, in order
        groups: List[Dict[str, Any]] = []
        for name, x in trained.items():
            spec = self.trained[name]
            if spec not in self.specs:
                self.specs.append(spec)
                groups.append({**_options(spec), "params": []})
            groups[self.specs.index(spec)]["params"].append(x)
        return _build(self.optimizer, groups)

    def step(
        self,
        inputs: Any,
        targets: Any,
        *,
        steps: Optional[int] = None,
        key: Optional[Key] = None,
        state: Any = None,
        lengths: Optional[Sequence[int]] = None,
    ) -> Tuple[float, Output]:
        x = self.engine.asarray(inputs)
        if self.deferred is not None:
            self.discard()
            loss, out = self.add(x, targets, steps=steps, key=key, state=state, lengths=lengths)
            return self.deferred.update(loss), out  # type: ignore[return-value]
        with self._threads(x, steps), self._within_budget():
            return super().step(x, targets, steps=steps, key=key, state=state, lengths=lengths)

    def _within_budget(self) -> ContextManager[None]:
        """A context for a training step; with a memory budget on the CPU, freed memory goes back to the system."""
        return nullcontext() if self.memory is None or self.engine.device != "cpu" else allocator.returning()

    def _threads(self, x: Any, steps: Optional[int]) -> ContextManager[None]:
        """A context for a training step; small networks on vectors use one thread: waking another takes longer."""
        if x.ndim != 3 or not x.is_cpu or compiling():  # maps meet each weight of a convolution many times
            return nullcontext()
        forwards = (steps or x.shape[0]) * x.shape[1] * self.size
        return alone() if 3 * forwards <= PART else nullcontext()  # backwards there are two products for each

    def add(
        self,
        inputs: Any,
        targets: Any,
        *,
        weight: float = 1.0,
        whole: Optional[int] = None,
        last: bool = False,
        steps: Optional[int] = None,
        key: Optional[Key] = None,
        state: Any = None,
        lengths: Optional[Sequence[int]] = None,
    ) -> Tuple[float, Output]:
        x, y = self.batch(inputs, targets)
        buffers = self.buffers if self.moved is None else self.moved
        with torch.enable_grad(), keeping(addresses(self.existing)) if self.existing else nullcontext():
            run = self.training_pass(steps, key)
            training, parts = TrainingStep(self.network, self.loss, run, self.used(), buffers, x, y, state, lengths), 1
            if self.memory is not None:
                means = self.planned(training).means
                run, parts = replace(run, engine=means.engine(self.engine)), means.parts
            if self.ranks.size > 1:
                run = replace(run, engine=sync_statistics(run.engine, self.ranks, whole or int(x.shape[1])))
            value, (out, buffers) = objective_by_parts(training._replace(run=run), parts)
            if self.reduction is not None and last:
                self.reduction.expect()
            if self.torch_optimizer is not None and value.requires_grad:
                weighted = value if weight == 1.0 else weight * value
                (weighted if self.scaler is None else self.scaler.scaled(weighted)).backward()
        self.added, self.moved = self.added + weight, map_leaves(torch.Tensor.detach, buffers)
        return float(value.detach()) if self.deferred is None else value.detach(), out

    def add_gradient(self, grads: Params, weight: float) -> None:
        given = flatten(grads)
        for name, x in zip(self.trained, self.leaves):
            x.grad = weight * given[name] if x.grad is None else x.grad + weight * given[name]
        self.added += weight

    def collect(self, figures: Sequence[float]) -> List[float]:
        if self.reduction is not None:
            self.reduction.finish()
        return super().collect(figures)

    def plan_of(self, inputs: Any, targets: Any, steps: Optional[int]) -> Any:
        """The plan by which a step on a batch like this one will keep the budget, a ``MemoryPlan``.

        Raises:
            BudgetError: no plan keeps it.
        """
        x, y = self.batch(inputs, targets)
        run = self.training_pass(steps, Key((0,)))
        return self.planned(TrainingStep(self.network, self.loss, run, self.params, self.buffers, x, y, None, None))

    def planned(self, step: TrainingStep) -> Any:
        """The ``MemoryPlan`` of a training step; that of an earlier one which was at least as large serves again.

        All ranks go by the plan of the largest part: where batch statistics are computed again, all must do so.

        Raises:
            BudgetError: no plan keeps the budget.
            RankError: none keeps it on another rank.
        """
        from spikecore.engines.torch.budget import Held, planned

        count = step.run.steps or step.x.shape[0], step.x.shape[1]
        larger = self.plan is None or any(n > most for n, most in zip(count, self._planned_for))
        if self.ranks.sums([float(larger)])[0]:
            spec = self.optimizer
            held = Held(0 if spec is None else len(spec.slots) + spec.keep_zeros, self.accumulates)
            own = self.ranks.alike(lambda: planned(self.engine, int(self.memory or 0), step, held))
            self.plan, self._planned_for = max(self.ranks.gathered(own), key=lambda plan: plan.plain), count
        return self.plan

    def update(self) -> None:
        if self.end_batches():
            self._update()
        self.discard()

    def gradient(self) -> Params:
        self.end_batches()
        pairs = zip(self.trained, self.leaves)
        grads = {name: torch.zeros_like(x).detach() if x.grad is None else x.grad for name, x in pairs}
        self.discard()
        return Params(grads)

    def end_batches(self) -> bool:
        """Divide the gradients that ``add`` has summed by their weights, and take over the buffers after these batches;
        returns False if a gradient in float16 has overflowed.
        """
        finite = self.scaler is None or self.scaler.finite(self.torch_optimizer)
        if self.added != 1.0:
            for x in self.leaves:
                if x.grad is not None:
                    x.grad /= self.added
        if self.moved is not None:
            self.buffers = self.moved
        return finite

    def discard(self) -> None:
        super().discard()
        if self.reduction is not None:
            self.reduction.forget()
        for weight in self.leaves:  # like torch's zero_grad, but without its hooks
            weight.grad = None

    def apply(self, grads: Params) -> None:
        given = flatten(grads)
        for name, x in zip(self.trained, self.leaves):
            changed = self.clip_norm is not None or name in self.keeping  # in place
            x.grad = given[name].clone() if changed else given[name]
        self._update()
        self.discard()

    def assign(self, params: Params) -> None:
        self.assigned += 1
        given = flatten(params)
        with torch.no_grad():
            for name, x in leaves(self.params):
                x.copy_(given[name])

    def _update(self) -> None:
        if self.torch_optimizer is not None:
            norms = self._read(self.norms())
            self.note_squares({name: norm * norm for name, norm in zip(self.trained, norms)})
        self.change()

    def norms(self) -> Any:
        """The norms of the gradients of the weights that are trained."""
        for x in self.leaves:
            if x.grad is None:  # the loss does not depend on it; weight decay still applies
                x.grad = torch.zeros_like(x)
        return torch.stack(torch._foreach_norm([x.grad for x in self.leaves]))  # by one launch, not by one for each

    def change(self) -> None:
        """Change the weights by their gradients."""
        self.steps_done += 1  # before the update: an interrupted one may have changed weights
        if self.torch_optimizer is not None:
            with keeping_zeros(self.existing, self.torch_optimizer) if self.existing else nullcontext():
                if self.clip_norm is not None:
                    torch.nn.utils.clip_grad_norm_(self.leaves, self.clip_norm)
                self._check_slots()
                self.torch_optimizer.step()

    def _read(self, x: Any) -> List[float]:
        """Numbers of all ranks."""
        found: List[float] = x.tolist()
        return found

    def _check_slots(self) -> None:
        """Refuse optimiser arrays that do not fit their parameters: torch's fused optimisers do not check sizes.

        Raises:
            ValueError: an array has another shape or dtype than its parameter.
        """
        states: Any = self.torch_optimizer.state if self.torch_optimizer is not None else {}
        names = self.optimizer.slots if self.optimizer is not None else ()
        for weight in self.leaves:
            own = states.get(weight, {})
            for slot in names:
                array = own.get(slot, weight)
                if array.shape != weight.shape or array.dtype != weight.dtype:
                    name = dict(zip(map(id, self.leaves), self.trained))[id(weight)]
                    raise ValueError(
                        f"{name}.{slot} is {array.dtype} of shape {tuple(array.shape)}, its parameter {weight.dtype} "
                        f"of shape {tuple(weight.shape)}"
                    )

    def state(self) -> Dict[str, Any]:
        return {**super().state(), **({} if self.scaler is None else {"scaler": self.scaler.state()})}

    def load(self, state: Dict[str, Any]) -> None:
        super().load(state)  # which makes a new scaler
        if self.scaler is not None and state.get("scaler") is not None:
            self.scaler.load(state["scaler"])

    def run(self, inputs: Any, state: Any = None, **options: Any) -> Output:
        with torch.set_grad_enabled(in_functorch() and torch.is_grad_enabled()):  # torch.func asks for gradients
            return super().run(inputs, state, **options)

    def set_lr(self, lr: float) -> None:
        self.lr = lr
        if self.torch_optimizer is not None:
            for group, spec in zip(self.torch_optimizer.param_groups, self.specs):
                group["lr"] = self.optimizer.rate(spec, lr)  # type: ignore[union-attr]

    def slots(self) -> Dict[str, Any]:
        if self.torch_optimizer is None or self.optimizer is None:
            return {}
        arrays = {}
        for name, x in zip(self.trained, self.leaves):
            state = self.torch_optimizer.state.get(x, {})
            arrays.update({f"{name}.{slot}": state[slot] for slot in self.optimizer.slots if slot in state})
        return arrays

    def load_slots(self, slots: Dict[str, Any]) -> None:
        if self.torch_optimizer is None or self.optimizer is None:
            return
        for name, x in zip(self.trained, self.leaves):
            state = {slot: slots[f"{name}.{slot}"] for slot in self.optimizer.slots} if slots else {}
            if isinstance(self.optimizer, (Adam, RMSprop)) and state:
                state["step"] = torch.tensor(float(self.steps_done), device=x.device if FUSED else "cpu")
            if state:
                self.torch_optimizer.state[x] = state


FUSED = tuple(int(n) for n in torch.__version__.split(".")[:2]) >= (2, 4)  # fused optimisers exist for the CPU, too
KINDS = {
    Adam: torch.optim.Adam,
    AdamW: torch.optim.AdamW,
    RMSprop: torch.optim.RMSprop,
    SGD: torch.optim.SGD,
}


def _build(spec: Optional[Optimizer], groups: List[Dict[str, Any]]) -> torch.optim.Optimizer:
    """Build a torch optimiser from its description and its groups of parameters."""
    kind = KINDS.get(type(spec))  # type: ignore[arg-type]
    if kind is None:
        names = ", ".join(sorted(known.__name__ for known in KINDS))
        raise TypeError(f"optimizer={spec!r} is not one that the torch engine knows: {names}")
    options = {"fused": True} if "fused" in inspect.signature(kind).parameters and FUSED else {}
    return kind(groups, **_options(spec), **options)


def _options(spec: Any) -> Dict[str, Any]:
    """The fields of a description, which have the names of torch's arguments."""
    return {name: value for name, value in vars(spec).items() if name not in ("groups", "keep_zeros", "clip_norm")}

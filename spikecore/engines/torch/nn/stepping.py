"""One step of a large layer on the CPU as one operation: a kernel made from the neuron's ``step``.

For a small layer Python's own work costs more than the step. So a ``StepPlan`` stores what does not change from call to
call, and calls like the last one take its ``PreparedStep`` without looking again: through the kernel, or through
torch's operations where the layer is small.
"""

from __future__ import annotations

import importlib.util
import weakref
from functools import partial
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import numpy as np
import torch

from spikecore.api.core.tree import Params, State, leaves
from spikecore.engines.torch.loop import first_step
from spikecore.engines.torch.modes import compiling, in_batches, transformed
from spikecore.engines.torch.nn.engine import has_formula

LARGE = 1 << 14  # neurons of a batch from which on one kernel beats a handful of operations
PARTIAL = (
    "the gradient by {!r}, for retain_grad() or a hook, would lack what goes through the other outputs of its step: a "
    "step of 2^14 values or more is one kernel, which makes all. Set fused = False on the neuron, before the steps"
)
NUMBA = importlib.util.find_spec("numba") is not None


class StepPlan:
    """A kernel with all that stays the same from step to step.

    Args:
        kernel: a ``kernels.step_kernel.StepKernel``.
        engine: the engine of the step.
        params: the neuron's parameters; numbers among them belong to the plan, tensors are handed in.
        shape: of the input and of every state.
    """

    def __init__(self, kernel: Any, engine: Any, params: Params, shape: torch.Size) -> None:
        self.kernel, self.engine, self.shape, self.count = kernel, engine, shape, shape.numel()
        step, self.states = kernel.step, kernel.step.states
        number, states = np.dtype(step.dtype).type, step.trace.states
        given = {f"p_{i}": params[name] for i, name in zip(step.trace.params, step.params)}
        self.numbers = {name: number(value) for name, value in given.items() if type(value) is float}
        self.values = tuple(value for name, value in given.items() if name not in self.numbers)
        self.names = ("x", *(f"s_{n}" for n in states), *(name for name in given if name not in self.numbers))
        self.after = tuple(f"a_{n}" for n in states)
        self.upstream = ("g", *(f"c_{n}" for n in states))
        ops, _ = step.trace.graph.needed(step.trace.after)
        self.back_at_once = any(op.word == "spike" for op in ops)  # the states after depend on the spikes of the step
        self.ways: Dict[Any, Any] = {}

    def step_or(self, other: Any, before: Any, x: Any) -> Tuple[Any, State]:
        """Spikes and the states after, from the states before; by ``other`` where these are no plain tensors like x."""
        if not _plain(x) or any(value.shape != x.shape for value in before.values()):
            return other(before, x)
        spikes, *after = FusedStep.apply(self, x, *(before[name] for name in self.states), *self.values)
        if spikes.grad_fn is not None:
            named = zip(("spk", *self.states), (spikes, *after))
            spikes.grad_fn.watched = [(name, weakref.ref(tensor)) for name, tensor in named]
        return spikes, State(zip(self.states, after))

    def arrays(self, names: Tuple[str, ...], tensors: Any) -> Dict[str, Any]:
        """The arguments of a kernel: arrays that share the tensors' memory where they can, and numbers."""
        arguments = dict(self.numbers)
        for name, tensor in zip(names, tensors):
            if name[:2] == "p_":
                if name[2:] not in self.kernel.step.rows:
                    arguments[name] = np.dtype(self.kernel.step.dtype).type(tensor.item())
                    continue
                tensor = tensor.expand(self.shape)
            arguments[name] = tensor.detach().resolve_neg().numpy().reshape(-1)
        return arguments

    def way_back(self, needed: Tuple[bool, ...]) -> Any:
        """The names of the gradients asked for, and of the tensors to keep for them with their places."""
        if needed not in self.ways:
            wanted = tuple(name for name, asked in zip(self.names, needed) if asked)
            known = (*self.names, *self.after)
            kept = tuple(name for name in self.kernel.reads(wanted) if name in known) if wanted else ()
            self.ways[needed] = wanted, kept, tuple(known.index(name) for name in kept)
        return self.ways[needed]


class PreparedStep(NamedTuple):
    """A step with all that stays the same while only the data change: same neuron, parameters, input type."""

    run: Any  # spikes and the states after, from the states before and the input
    neuron: Any
    engine: Any
    params: Params
    fused: bool  # whether the module may take kernels
    like: Any  # dtype, device and shape of the input
    numbers: Optional[Tuple[float, ...]]  # what ``params`` was made of; None: each call is prepared by itself

    def fits(self, module: Any, x: Any) -> bool:
        """Whether a module can make its step for the input ``x`` by this prepared one."""
        if not (isinstance(x, torch.Tensor) and (x.dtype, x.device, x.shape) == self.like):
            return False
        same = module._neuron is self.neuron and module.fused == self.fused
        return same and numbers_of(module) == self.numbers


def prepared_step(module: Any, engine: Any, params: Params, x: Any, repeats: bool) -> PreparedStep:
    """The prepared step of a module: through a kernel, or through torch's operations.

    Args:
        module: a spiking module.
        engine, params, x: of a call, prepared and projected; numbers among the parameters stay numbers.
        repeats: whether later calls may take it, if the module's parameters are constants and its states plain
            attributes.
    """
    neuron, like = module._neuron, (x.dtype, x.device, x.shape)
    numbers = _lasting_numbers(module, params, x) if repeats else None
    step = partial(first_step, engine, neuron) if numbers is None else partial(neuron.step, engine)
    run = partial(step, params)
    plan = _plan(engine, neuron, params, x) if module.fused else None
    if plan is not None:
        run = partial(plan.step_or, run)
    return PreparedStep(run, neuron, engine, params, module.fused, like, numbers)


def _lasting_numbers(module: Any, params: Params, x: Any) -> Optional[Tuple[float, ...]]:
    numbers = numbers_of(module)
    if numbers is None or not x.numel() or any(name not in module.__dict__ for name in module.states):
        return None
    if any(hasattr(type(module), name) for name in module.tensors):  # a property: the buffer is not what counts
        return None
    if any(isinstance(value, torch.Tensor) and value.is_inference() for _, value in leaves(params)):
        return None  # made in inference mode, they are of no use to a call that is differentiated
    return numbers


def numbers_of(module: Any) -> Optional[Tuple[float, ...]]:
    """The values of a module's parameters where all are constants that can be read; None otherwise."""
    buffers, numbers = module._buffers, []
    if transformed():
        return None
    for name in module.tensors:
        tensor = buffers.get(name)
        if tensor is None or tensor.ndim or tensor.requires_grad or not tensor.is_cpu:
            return None
        numbers.append(tensor.item())
    return tuple(numbers)


def _plan(engine: Any, neuron: Any, params: Params, x: Any) -> Optional[StepPlan]:
    if x.numel() < LARGE or not NUMBA or engine.device != "cpu" or not _plain(x):
        return None
    kinds = _kinds(params, tuple(x.shape))
    if kinds is None or not has_formula(neuron):
        return None
    from spikecore.kernels.step_kernel import step_kernel

    kernel = step_kernel(neuron, *kinds, engine.dtype)
    return None if kernel is None else StepPlan(kernel, engine, params, x.shape)


def _plain(x: Any) -> bool:
    """Whether tensors are just tensors here: nothing compiles, traces or transforms the call."""
    return type(x) is torch.Tensor and not (compiling() or torch.jit.is_tracing() or transformed())


def _kinds(params: Params, shape: Tuple[int, ...]) -> Any:
    """The kinds of parameters that a kernel depends on: 1, or one value per neuron; None if there can be no kernel."""
    constants: List[Tuple[str, Any]] = []
    rows: List[str] = []
    for name, value in params.items():
        if isinstance(value, Params):
            return None
        number = type(value) is float
        constants.append((name, 1.0 if number and value == 1.0 else None))
        if not number and value.numel() != 1:
            wide = tuple(value.shape)
            if len(wide) > len(shape) or any(n not in (1, m) for n, m in zip(wide[::-1], shape[::-1])):
                return None
            rows.append(name)
    return tuple(constants), tuple(rows)


class FusedStep(torch.autograd.Function):
    """A step; keeps only what its kernel reads on the way back."""

    @staticmethod
    def forward(ctx: Any, plan: StepPlan, *values: Any) -> Any:
        arrays = plan.kernel.forward(plan.arrays(plan.names, values), plan.count, _threads())
        outputs = tuple(
            torch.from_numpy(a.reshape(plan.shape)) for a in arrays
        )  # no views: they may be edited in place
        wanted, kept, places = plan.way_back(ctx.needs_input_grad[1:])
        if wanted:
            known = (*values, *outputs[1:])
            ctx.set_materialize_grads(False)
            ctx.plan, ctx.wanted, ctx.kept = plan, wanted, kept
            ctx.shapes = tuple(value.shape for value in values)
            ctx.save_for_backward(*(known[place] for place in places))
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        plan, kernel, wanted = ctx.plan, ctx.plan.kernel, ctx.wanted
        for place, (name, ref) in enumerate(ctx.watched):
            tensor, others = ref(), any(g is not None for g in (*grads[:place], *grads[place + 1 :]))
            looked_at = tensor is not None and (tensor.retains_grad or tensor._backward_hooks)
            if looked_at and others and (place or plan.back_at_once):
                raise RuntimeError(PARTIAL.format(name))
        zero = None
        if any(g is None for g in grads):
            zero = torch.zeros(plan.shape, dtype=getattr(torch, kernel.step.dtype))
        names = (*ctx.kept, *plan.upstream)
        given = (*ctx.saved_tensors, *(zero if g is None else g for g in grads))
        if torch.is_grad_enabled() or any(map(in_batches, given)):  # to be differentiated, or many at once
            by_name = {**dict(zip(names, given)), **{name: float(value) for name, value in plan.numbers.items()}}
            gradients = kernel.derivative(plan.engine, by_name, wanted)
            by = [
                None if gradients.get(n) is None else gradients[n].sum_to_size(s)
                for n, s in zip(plan.names, ctx.shapes)
            ]
            return (None, *by)
        gradients = kernel.backward(plan.arrays(names, given), plan.count, _threads(), wanted)
        return (None, *(_gradient(plan, name, gradients.get(name), like) for name, like in zip(plan.names, ctx.shapes)))


def _gradient(plan: StepPlan, name: str, a: Any, like: Any) -> Any:
    """A gradient per neuron as a tensor like its input."""
    if a is None:
        return None
    return torch.from_numpy(plan.kernel.summed(a, tuple(plan.shape), tuple(like)) if name[:2] == "p_" else a).view(like)


def _threads() -> bool:
    """Whether a kernel may use several threads; then as many as torch."""
    count = torch.get_num_threads()
    if count > 1:
        from spikecore.kernels.runtime.openmp import use_threads

        use_threads(count)
    return count > 1

"""Compiled kernels in place of the loop, as one autograd function over tensors, without copies."""

from __future__ import annotations

import math
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

import torch

from spikecore.api.core.tree import Params, State, flatten, leaves
from spikecore.api.neurons.stepper import Drawing, Stepper
from spikecore.engines.torch.layout import are_last, from_last, param_to_last, to_last
from spikecore.engines.torch.memory import KEPT
from spikecore.engines.torch.modes import casting, compiling, has_data, transformed
from spikecore.engines.torch.once import all_first_order, one_gradient
from spikecore.engines.torch.operators import number_of, overlap, run, run_back
from spikecore.engines.torch.product import multiply
from spikecore.kernels.base import Product, Wanted
from spikecore.kernels.readout import BIAS, WEIGHT, bias_fits
from spikecore.kernels.runtime.openmp import use_threads
from spikecore.kernels.select import Terms, choose
from spikecore.kernels.sizes import MAPS, least_neuron_steps
from spikecore.kernels.sparse.product import keeping, kept_weights


def may_run_under_dynamo(stepper: Any) -> bool:
    """Whether a neuron may run in kernels while Dynamo traces: torch is 2.7 or newer, the neuron not made per call."""
    recent = hasattr(torch._dynamo, "nonstrict_trace")  # 2.7
    return recent and isinstance(stepper, Stepper) and not isinstance(stepper, Drawing)


class ScanOptions(NamedTuple):
    """The options of a run over time, as ``Engine.scan`` takes them."""

    steps: int
    record: Tuple[str, ...] = ()
    window: Optional[int] = None
    repeating: bool = False


def fused_scan(
    engine: Any,
    stepper: Any,
    params: Params,
    state: State,
    inputs: Any,
    time: ScanOptions,
    behind: Any = None,
    apply: Optional[Callable[..., Any]] = None,
) -> Optional[Tuple[Any, State, State]]:
    """``Engine.scan`` through kernels; with ``behind``, weight and bias or None, ``Engine.readout_scan``. None
    where something else is to run. ``apply`` is called instead of ``FusedScanFunction.apply``.

    Raises:
        RuntimeError: the engine was made with ``fused=True`` and there can be no kernel.
    """
    target = inputs.device.type
    if target not in ("cpu", "cuda"):
        if engine.fused is True:
            raise RuntimeError(f"fused=True, but there are no kernels for {inputs.device}")
        return None
    if transformed():
        if engine.fused is True:
            raise RuntimeError("fused=True, but torch.func and forward mode cannot look into kernels: use fused='auto'")
        return None

    steps, record, window, repeating = time
    any_size = target == "cpu" and engine.any_size(repeating)
    flat = flatten(params)
    how = engine.fused, engine.dtype, least_neuron_steps(repeating, target), target
    terms = Terms(*how, PRODUCT, any_size, engine.sparse_backward)
    weight, bias = behind or (None, None)
    wide = () if weight is None else tuple(weight.shape)
    constant, shape = inputs.shape[0] == 1 < steps, (steps, *inputs.shape[1:])
    wanted = wanted_of(inputs, flat, state, weight, bias) if any_size else None
    kernels = choose(terms, stepper, flat, flatten(state), shape, record, wide, wanted, constant)
    if kernels is None:
        return None
    if weight is not None:
        flat.update({WEIGHT: weight, BIAS: weight.new_zeros(len(weight)) if bias is None else bias})
    given, last = [flat[name] for name in kernels.params], are_last(inputs)
    if engine.fused is not True and math.prod(shape) < least_neuron_steps(repeating, target, MAPS):
        last = False  # spikes of small maps lie as the loop stacks them
    first = [state[name] for name in kernels.states]
    if last:
        inputs, first, given = to_last(inputs, 2), [to_last(x, 1) for x in first], [param_to_last(x) for x in given]
    if target == "cpu" and not (inputs.is_contiguous() or inputs[0].is_contiguous()):
        inputs = inputs.contiguous()  # once, by all threads, for both ways
    results = (apply or FusedScanFunction.apply)(kernels, steps, window or 0, inputs, *first, *given)
    if last:
        results = [from_last(x, x.ndim - 3) for x in results]
    out, rest, count = results[0], results[1:], len(kernels.record)
    return out, State(zip(kernels.record, rest[:count])), State(zip(kernels.states, rest[count:]))


def wanted_of(inputs: Any, params: Dict[str, Any], state: State, weight: Any, bias: Any) -> Optional[Wanted]:
    """The gradients that torch will ask for; None if there will be no run backwards."""
    if not torch.is_grad_enabled():
        return None
    operands = {**params, **({} if weight is None else {WEIGHT: weight, BIAS: bias})}
    names = tuple(name for name, x in operands.items() if isinstance(x, torch.Tensor) and x.requires_grad)
    if not (inputs.requires_grad or names or any(x.requires_grad for _, x in leaves(state))):
        return None
    return Wanted(inputs.requires_grad, names)


def _matrices(a: Any) -> Any:
    return torch.from_numpy(a).unbind(0)


PRODUCT = Product(_matrices, multiply)


def may_multiply_in_kernel(inputs: Any, weight: Any, bias: Any) -> bool:
    """Whether a kernel may compute the product of a Linear with a neuron's spikes: plain CPU tensors, no tracing."""
    if not bias_fits(weight, bias):
        return False
    parts = [inputs, weight, *([] if bias is None else [bias])]
    plain = all(has_data(x) and x.is_cpu and x.layout is torch.strided and not x.is_neg() for x in parts)
    plain = plain and inputs.dtype in KEPT and all(x.dtype == inputs.dtype for x in parts)
    return plain and not (compiling() or torch.jit.is_tracing() or casting("cpu"))


class FusedScanFunction(torch.autograd.Function):
    """A whole run over time; what it saves is its inputs and, for a dense recurrence, the states."""

    @staticmethod
    def forward(ctx: Any, kernels: Any, steps: int, window: int, inputs: Any, *operands: Any) -> Any:
        keep = any(ctx.needs_input_grad)
        if has_data(inputs):
            use_threads(torch.get_num_threads())
            tensors = run(kernels, inputs, operands, steps, keep)
        else:
            tensors = torch.ops.spikecore.scan(inputs, list(operands), number_of(kernels), steps, keep)
        count = 1 + len(kernels.record) + len(kernels.states)
        ctx.kernels, ctx.steps, ctx.window, ctx.count = kernels, steps, window, len(operands)
        ctx.kept = kept_weights()
        saved, shared = tensors[count:], []
        if kernels.shares and has_data(inputs):  # what is saved and given out is saved as both: torch sees its edits
            shared = [x for x in tensors[:count] if any(overlap(x, own) for own in saved)]
        ctx.saved = len(saved)
        first, params = operands[: len(kernels.states)], zip(kernels.params, operands[len(kernels.states) :])
        unread = kernels.unread if has_data(inputs) else ()  # without data, the operator reads shapes of all
        needed = (None if name in unread else x for name, x in params)
        ctx.save_for_backward(inputs, *first, *needed, *saved, *shared)
        ctx.set_materialize_grads(False)
        return tuple(tensors[:count])

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        one_gradient(grads)
        kernels, (inputs, *others), wanted = ctx.kernels, ctx.saved_tensors, ctx.needs_input_grad
        operands, saved = others[: ctx.count], others[ctx.count : ctx.count + ctx.saved]
        before = 4 + len(kernels.states)
        by_params = [i for i in range(len(kernels.params)) if wanted[before + i]]
        options = ctx.steps, wanted[3], by_params, ctx.window
        with torch.no_grad(), keeping(ctx.kept):
            if has_data(inputs):
                use_threads(torch.get_num_threads())
                gradients = run_back(kernels, inputs, operands, saved, grads, *options)
            else:
                key = number_of(kernels)
                gradients = torch.ops.spikecore.scan_back(inputs, operands, saved, list(grads), key, *options)
        rest = iter(all_first_order(gradients, (*grads, inputs, *operands)))
        by_x = next(rest) if wanted[3] else None
        states = [next(rest) for _ in kernels.states]
        return (
            None,
            None,
            None,
            by_x,
            *states,
            *(next(rest) if i in by_params else None for i in range(len(kernels.params))),
        )

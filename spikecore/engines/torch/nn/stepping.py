"""One step of a large layer on the CPU as one operation: a kernel made of the neuron's ``step``."""

from __future__ import annotations

import importlib.util
from typing import Any, Dict, List, Optional, Tuple

import numpy as np
import torch

from spikecore.api.tree import Params, State
from spikecore.engines.torch.nn.engine import has_formula

LARGE = 1 << 14  # neurons of a batch from which on one kernel beats a handful of operations
NUMBA = importlib.util.find_spec("numba") is not None


def fused_step(engine: Any, neuron: Any, params: Params, state: State, x: Any) -> Optional[Tuple[Any, State]]:
    """``neuron.step`` through a kernel; None where torch's operations are to run.

    Args:
        engine, neuron, params, state, x: as in ``step``; numbers among the parameters stay numbers.
    """
    if x.numel() < LARGE or not NUMBA or engine.device != "cpu" or not _plain(x):
        return None
    kinds = _kinds(params, tuple(x.shape))
    if kinds is None or not has_formula(neuron) or any(value.shape != x.shape for value in state.values()):
        return None
    from spikecore.kernels.single import single

    kernel = single(neuron, *kinds, engine.dtype)
    if kernel is None:
        return None
    held = {"x": x, **{f"s_{n}": state[n] for n in kernel.trace.states}}
    held.update({f"p_{n}": params[n] for n in kernel.trace.params})
    spikes, *after = FusedStep.apply(kernel, engine, tuple(held), *held.values())
    return spikes, State(zip(kernel.trace.states, after))


def _plain(x: Any) -> bool:
    """Whether tensors are just tensors here: nothing compiles or traces the call."""
    return not _compiling() and type(x) is torch.Tensor and not torch.jit.is_tracing()


_compiling = getattr(getattr(torch, "compiler", None), "is_compiling", lambda: False)


def _kinds(params: Params, shape: Tuple[int, ...]) -> Any:
    """What a kernel depends on: which parameters are 1, which have one value per neuron; None if there can be none."""
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
    def forward(ctx: Any, kernel: Any, engine: Any, names: Tuple[str, ...], *values: Any) -> Any:
        shape = values[0].shape
        wanted = tuple(name for name, needed in zip(names, ctx.needs_input_grad[3:]) if needed)
        made = kernel.forward(_flat(kernel, dict(zip(names, values)), shape), shape.numel(), _threads())
        outputs = tuple(torch.from_numpy(a.reshape(shape)) for a in made)  # no views: they may be edited in place
        if wanted:
            ctx.set_materialize_grads(False)
            ctx.kernel, ctx.engine, ctx.names, ctx.wanted = kernel, engine, names, wanted
            ctx.shapes = tuple(getattr(value, "shape", ()) for value in values)
            known = dict(zip((*names, *(f"a_{s}" for s in kernel.trace.states)), (*values, *outputs[1:])))
            read = {name: known[name] for name in kernel.reads(wanted) if name in known}
            ctx.numbers = {name: value for name, value in read.items() if type(value) is float}
            kept = {name: value for name, value in read.items() if name not in ctx.numbers}
            ctx.kept = tuple(kept)
            ctx.save_for_backward(*kept.values())
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        kernel, shape = ctx.kernel, ctx.shapes[0]
        given = {**dict(zip(ctx.kept, ctx.saved_tensors)), **ctx.numbers}
        for name, g in zip(("g", *(f"c_{s}" for s in kernel.trace.states)), grads):
            given[name] = torch.zeros(shape, dtype=getattr(torch, kernel.dtype)) if g is None else g
        if torch.is_grad_enabled():  # the gradient is to be differentiated
            found = kernel.derivative(ctx.engine, given, ctx.wanted)
            by = [None if found.get(n) is None else found[n].sum_to_size(s) for n, s in zip(ctx.names, ctx.shapes)]
            return (None, None, None, *by)
        made = kernel.backward(_flat(kernel, given, shape), shape.numel(), _threads(), ctx.wanted)
        return (None, None, None, *(_gradient(kernel, n, made.get(n), shape, s) for n, s in zip(ctx.names, ctx.shapes)))


def _gradient(kernel: Any, name: str, a: Any, shape: Any, like: Any) -> Any:
    """A gradient per neuron as a tensor like its input."""
    if a is None:
        return None
    return torch.from_numpy(kernel.summed(a, tuple(shape), tuple(like)) if name[:2] == "p_" else a).view(like)


def _flat(kernel: Any, values: Dict[str, Any], shape: Any) -> Dict[str, Any]:
    """Arrays that share the tensors' memory where they can: one value per neuron, or a number of the kernel's type."""
    found, number = {}, np.dtype(kernel.dtype).type
    for name, value in values.items():
        if name[:2] == "p_" and name[2:] not in kernel.rows:
            found[name] = number(value if type(value) is float else value.item())
        else:
            found[name] = (value.expand(shape) if name[:2] == "p_" else value).detach().contiguous().view(-1).numpy()
    return found


def _threads() -> bool:
    """Whether a kernel may use several threads; then as many as torch."""
    count = torch.get_num_threads()
    if count > 1:
        from spikecore.kernels.cache import use_threads

        use_threads(count)
    return count > 1

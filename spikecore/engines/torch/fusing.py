"""Compiled kernels in place of the loop, as one autograd function over CPU tensors, without copies."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import torch

from spikecore.api.tree import Params, State, flatten


def fused_scan(
    engine: Any,
    stepper: Any,
    params: Params,
    state: State,
    inputs: Any,
    steps: int,
    record: Tuple[str, ...],
    window: Optional[int],
) -> Optional[Tuple[Any, State, State]]:
    """``Engine.scan`` through kernels; None where the loop is to run.

    Raises:
        RuntimeError: the engine was made with ``fused=True`` and there can be no kernel.
    """
    if inputs.device.type != "cpu" or _compiling():
        if engine.fused is True:
            raise RuntimeError(f"fused=True, but there are no kernels for {inputs.device} or inside torch.compile")
        return None
    from spikecore.kernels.cache import use_threads
    from spikecore.kernels.fused import choose

    flat = flatten(params)
    kernels = choose(engine.fused, stepper, flat, flatten(state), (steps, *inputs.shape[1:]), record, engine.dtype)
    if kernels is None:
        return None
    use_threads(torch.get_num_threads())
    names = kernels.trace.params
    first = [state[name] for name in kernels.trace.states]
    made = FusedScan.apply(kernels, steps, window, inputs, *first, *(flat[name] for name in names))
    out, rest, count = made[0], made[1:], len(kernels.record)
    return out, State(zip(kernels.record, rest[:count])), State(zip(kernels.trace.states, rest[count:]))


def _compiling() -> bool:
    return hasattr(torch, "compiler") and hasattr(torch.compiler, "is_compiling") and torch.compiler.is_compiling()


class FusedScan(torch.autograd.Function):
    """A whole run over time; saves its inputs only and computes the states again on the way back."""

    @staticmethod
    def forward(ctx: Any, kernels: Any, steps: int, window: Any, inputs: Any, *operands: Any) -> Any:
        ctx.kernels, ctx.steps, ctx.window = kernels, steps, window
        ctx.save_for_backward(inputs, *operands)
        ctx.set_materialize_grads(False)
        x, state, params = _on_host(kernels, inputs, operands)
        out, recorded, final = kernels.forward(x, state, params, steps)
        return tuple(torch.from_numpy(a) for a in (out, *recorded, *final))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:
        kernels, (inputs, *operands) = ctx.kernels, ctx.saved_tensors
        x, state, params = _on_host(kernels, inputs, operands)
        shape = tuple(inputs.shape[1:])
        zero = torch.zeros((), dtype=inputs.dtype)
        shapes = [(ctx.steps, *shape)] * (1 + len(kernels.record)) + [shape] * len(kernels.trace.states)
        g, *rest = ((zero.expand(s) if one is None else one).numpy() for one, s in zip(grads, shapes))
        count, offset = len(kernels.record), 4 + len(kernels.trace.states)
        wanted = tuple(p for i, p in enumerate(kernels.trace.params) if ctx.needs_input_grad[offset + i])
        made = kernels.backward(
            x, state, params, g, rest[:count], rest[count:], ctx.needs_input_grad[3], wanted, ctx.window
        )
        gx = None if made.x is None else torch.from_numpy(made.x)
        by_params = (_tensor(made.params.get(p)) for p in kernels.trace.params)
        return None, None, None, gx, *(torch.from_numpy(s) for s in made.state), *by_params


def _on_host(kernels: Any, inputs: Any, operands: Any) -> Any:
    """Arrays that share the tensors' memory."""
    count = len(kernels.trace.states)
    arrays = [x.detach().numpy() for x in operands]
    return inputs.detach().numpy(), arrays[:count], dict(zip(kernels.trace.params, arrays[count:]))


def _tensor(a: Any) -> Any:
    return None if a is None else torch.from_numpy(a)

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
    from spikecore.kernels.choose import choose
    from spikecore.kernels.dense import Product

    flat = flatten(params)
    shape, product = (steps, *inputs.shape[1:]), Product(_matrices, _multiply)
    kernels = choose(engine.fused, stepper, flat, flatten(state), shape, record, engine.dtype, product)
    if kernels is None:
        return None
    use_threads(torch.get_num_threads())
    names = kernels.params
    first = [state[name] for name in kernels.states]
    made = FusedScan.apply(kernels, steps, window, inputs, *first, *(flat[name] for name in names))
    out, rest, count = made[0], made[1:], len(kernels.record)
    return out, State(zip(kernels.record, rest[:count])), State(zip(kernels.states, rest[count:]))


def _matrices(a: Any) -> Any:
    return torch.from_numpy(a).unbind(0)


def _multiply(a: Any, b: Any, out: Any) -> None:
    torch.mm(a, b, out=out)


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
        made = kernels.forward(x, state, params, steps, keep=any(ctx.needs_input_grad))
        ctx.saved = made.saved
        return tuple(torch.from_numpy(a) for a in (made.outputs, *made.recorded, *made.final))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Any) -> Any:
        kernels, (inputs, *operands) = ctx.kernels, ctx.saved_tensors
        x, state, params = _on_host(kernels, inputs, operands)
        shape = tuple(inputs.shape[1:])
        zero = torch.zeros((), dtype=inputs.dtype)
        shapes = [(ctx.steps, *shape)] * (1 + len(kernels.record)) + [shape] * len(kernels.states)
        g, *rest = ((zero.expand(s) if one is None else one).numpy() for one, s in zip(grads, shapes))
        count, offset = len(kernels.record), 4 + len(kernels.states)
        wanted = tuple(p for i, p in enumerate(kernels.params) if ctx.needs_input_grad[offset + i])
        made = kernels.backward(
            x, state, params, g, rest[:count], rest[count:], ctx.needs_input_grad[3], wanted, ctx.window, ctx.saved
        )
        gx = None if made.x is None else torch.from_numpy(made.x)
        by_params = (_tensor(made.params.get(p)) for p in kernels.params)
        return None, None, None, gx, *(torch.from_numpy(s) for s in made.state), *by_params


def _on_host(kernels: Any, inputs: Any, operands: Any) -> Any:
    """Arrays that share the tensors' memory."""
    count = len(kernels.states)
    arrays = [x.detach().numpy() for x in operands]
    return inputs.detach().numpy(), arrays[:count], dict(zip(kernels.params, arrays[count:]))


def _tensor(a: Any) -> Any:
    return None if a is None else torch.from_numpy(a)

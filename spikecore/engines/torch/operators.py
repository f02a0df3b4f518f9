"""Kernel runs over time as functions of tensors, and as PyTorch operators with fake tensors.

Eagerly the functions are called as they are; under a compiler, whose tensors have no data, the operators stand for
them. An operator takes no objects, so kernels have numbers, and for ``compiling.py`` neurons have. Needs torch 2.4 for
the operators, nothing for the rest.
"""

from __future__ import annotations

from typing import Any, Dict, List, Sequence

import torch

from spikecore.engines.torch.memory import fresh
from spikecore.kernels.base import Kernels, Request, Upstream, Wanted

_NUMBERED: List[Any] = []
_NUMBERS: Dict[Any, int] = {}


def number_of(thing: Any) -> int:
    """The number of kernels or of a neuron: the same for equal ones."""
    if thing not in _NUMBERS:
        _NUMBERS[thing] = len(_NUMBERED)
        _NUMBERED.append(thing)
    return _NUMBERS[thing]


def of_number(number: int) -> Any:
    """The kernels or the neuron of this number."""
    return _NUMBERED[number]


def run(kernels: Kernels, inputs: Any, operands: Sequence[Any], steps: int, keep: bool) -> List[Any]:
    """Outputs, recorded states, final states and what is saved, in this order, as one list."""
    results = kernels.forward(_request(kernels, inputs, operands, steps), keep)
    return [_tensor(a) for a in (results.outputs, *results.recorded, *results.final, *results.saved)]


def run_back(
    kernels: Kernels,
    inputs: Any,
    operands: Any,
    saved: Any,
    grads: Any,
    steps: int,
    by_x: bool,
    by_params: Any,
    window: int,
) -> List[Any]:
    """Gradients by the input if asked for, by the first states, and by the parameters numbered in ``by_params``."""
    request, count = _request(kernels, inputs, operands, steps), 1 + len(kernels.record)
    state = tuple(operands[0].shape) if kernels.states else ()
    shapes = kernels.out_shape(request.shape), *(state for _ in kernels.record)
    g, *rest = (_over_time(g, (steps, *wide), inputs) for g, wide in zip(grads, shapes))
    final = [g if g is None else _array(g) for g in grads[count:]]
    wanted = Wanted(by_x, tuple(kernels.params[i] for i in by_params), window)
    gradients = kernels.backward(request, Upstream(g, rest, final, tuple(map(_array, saved))), wanted)
    by_x_first = *([gradients.inputs] if by_x else []), *gradients.state
    return [_tensor(a) for a in (*by_x_first, *(gradients.params[name] for name in wanted.params))]


def _request(kernels: Kernels, inputs: Any, operands: Any, steps: int) -> Request:
    count = len(kernels.states)
    arrays = [None if x is None else _array(x) for x in operands]  # None is not needed
    return Request(_array(inputs), arrays[:count], dict(zip(kernels.params, arrays[count:])), steps)


def _array(x: Any) -> Any:
    """The argument of kernels: on the CPU a NumPy array that shares the tensor's memory."""
    return x.numpy(force=True) if x.is_cpu else x.detach()


def _over_time(g: Any, shape: Any, like: Any) -> Any:
    return _array(like.new_zeros(shape[1:]).expand(shape) if g is None else in_rows(g, shape))


def in_rows(x: Any, shape: Any) -> Any:
    """A gradient as kernels read it on the CPU: each step's values side by side, copied by all threads if need be."""
    if x.is_contiguous() or not x.is_cpu or not x.numel():
        return x
    row = x[0]
    if row.is_contiguous():
        return x
    if x.stride(0) == 0:
        return row.contiguous().expand(shape)
    return fresh(shape, x.dtype).copy_(x)


def _tensor(a: Any) -> Any:
    return a if isinstance(a, torch.Tensor) else torch.from_numpy(a)


def _apart(tensors: List[Any]) -> List[Any]:
    """Results with copies in place of views: tensors that an operator returns must not share memory, and begin where
    their memory does, as the fake ones do.
    """
    apart: List[Any] = []
    for x in tensors:
        apart.append(x.clone() if x.storage_offset() or any(overlap(x, other) for other in apart) else x)
    return apart


def overlap(a: Any, b: Any) -> bool:
    """Whether the memory of two tensors overlaps; tensors made from NumPy views have storages of their own."""
    (first, size), (second, other) = ((x.untyped_storage().data_ptr(), x.untyped_storage().nbytes()) for x in (a, b))
    return first < second + other and second < first + size


def _define() -> None:
    library = torch.library

    @library.custom_op(
        "spikecore::scan", mutates_args=(),
        schema="(Tensor inputs, Tensor[] operands, int kernels, SymInt steps, bool keep) -> Tensor[]",
    )  # fmt: skip
    def scan(inputs: Any, operands: Any, kernels: int, steps: int, keep: bool) -> Any:
        return _apart(run(of_number(kernels), inputs, operands, steps, keep))

    @scan.register_fake
    def _(inputs: Any, operands: Any, kernels: int, steps: int, keep: bool) -> Any:
        own, shape, like = of_number(kernels), tuple(inputs.shape[1:]), operands[0] if operands else inputs
        state = tuple(operands[0].shape) if own.states else shape
        shapes = [(steps, *state)] * len(own.record) + [state] * len(own.states)
        saved = own.saved_shapes(steps, shape) if keep else ()
        return [inputs.new_empty((steps, *own.out_shape(shape))), *(like.new_empty(s) for s in (*shapes, *saved))]

    @library.custom_op(
        "spikecore::scan_back", mutates_args=(),
        schema="(Tensor inputs, Tensor[] operands, Tensor[] saved, Tensor?[] grads, int kernels, SymInt steps, "
        "bool by_x, int[] by_params, int window) -> Tensor[]",
    )  # fmt: skip
    def scan_back(
        inputs: Any, operands: Any, saved: Any, grads: Any, kernels: int, steps: int, by_x: bool, by_params: Any,
        window: int,
    ) -> Any:  # fmt: skip
        gradients = run_back(of_number(kernels), inputs, operands, saved, grads, steps, by_x, by_params, window)
        return _apart(gradients)

    @scan_back.register_fake
    def _(
        inputs: Any, operands: Any, saved: Any, grads: Any, kernels: int, steps: int, by_x: bool, by_params: Any,
        window: int,
    ) -> Any:  # fmt: skip
        count = len(of_number(kernels).states)
        like = [*([inputs] if by_x else []), *operands[:count], *(operands[count + i] for i in by_params)]
        return [torch.empty_like(x) for x in like]


if hasattr(torch.library, "custom_op"):
    _define()

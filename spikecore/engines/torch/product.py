"""Matrix products that are fast with spikes and pruned weights, and whose backward pass frees the left operand early.

autograd's node for a @ b computes both gradients and then frees what it saved; a sequence of spikes and the gradient by
it, equally large, are alive together. Here they are two nodes: the first to run backwards, ``ByRight``, gives the
gradient by b and frees a; the second, ``ByLeft``, needs b alone. On the CPU results lie in memory that is used again.
"""

from __future__ import annotations

from typing import Any, Optional, Tuple

import torch
import torch.nn.functional as F

from spikecore.engines.torch.memory import KEPT, fresh
from spikecore.engines.torch.modes import casting, compiling, has_data, in_batches, read_by_dynamo, transformed
from spikecore.engines.torch.once import first_order, way_to
from spikecore.engines.torch.threads import alone, mkl_threads
from spikecore.kernels.runtime.blas import PART
from spikecore.kernels.runtime.openmp import use_threads
from spikecore.kernels.sparse import product as sparse

LARGE = 1 << 20  # elements of a from which on it matters
DENSE = 1 << 23  # multiplications from which on oneDNN may be worth two functions of Python


def multiply(a: Any, b: Any, out: Any) -> None:
    """Write the product a @ b of matrices to ``out``, on one thread if it is small, see ``kernels/runtime/blas.py``."""
    limit = mkl_threads() if out.numel() * a.shape[1] < 2 * PART else None
    if limit is None:
        _dense(a, b, out=out)
        return
    if _by_onednn(a, b):
        with alone():
            _dense(a, b, out=out)
        return
    before = limit(1)
    try:
        torch.mm(a, b, out=out)
    finally:
        limit(before)


def _by_onednn(a: Any, b: Any) -> bool:
    """Whether oneDNN multiplies matrices faster than MKL."""
    if a.shape[0] * b.numel() < DENSE:
        return False
    from spikecore.engines.torch.dense import faster  # smaller networks do not need it

    return faster(a, b)


def _dense(a: Any, b: Any, bias: Any = None, out: Any = None) -> Any:
    """Give a @ b + bias of matrices, without a record for autograd; in ``out``, if it is given."""
    if not _by_onednn(a, b):
        return torch.mm(a, b, out=out) if bias is None else torch.addmm(bias, a, b, out=out)
    from spikecore.engines.torch.dense import product

    return product(a, b, bias, out)


def matmul(a: Any, b: Any, look: bool = True) -> Any:
    """The product a @ b of tensors; ``look`` says whether lists may be used, of spikes in a or of a pruned b."""
    if look and a.ndim > 2 and in_our_hands():
        from spikecore.engines.torch import stacks  # few networks have them

        if stacks.fits(a, b):
            return stacks.ByteProduct.apply(a, b)
    how = _how(a, b, None, look)
    return torch.matmul(a, b) if how is None else _product(a, b, None, *how)


def linear(x: Any, weight: Any, bias: Any = None, look: bool = True) -> Any:
    """Give x W^T + b for x (rows, features); ``look`` as in ``matmul``."""
    how = _how(x, weight.t(), bias, look)
    return F.linear(x, weight, bias) if how is None else _product(x, weight.t(), bias, *how)


def _product(a: Any, b: Any, bias: Any, spikes: Any, listed: bool) -> Any:
    return ByRight.apply(ByLeft.apply(a, b, bias, spikes, listed), a, b, spikes)


def _how(a: Any, b: Any, bias: Any, look: bool) -> Optional[Tuple[Any, bool]]:
    """The spikes of a, if lists of them take less time, and whether b may be pruned; None where torch's own product is
    as good as ``_product``.
    """
    work = a.shape[0] * b.numel() if a.ndim == b.ndim == 2 and a.shape[1] == b.shape[0] else 0
    plain = (work >= DENSE or sparse.is_worth(work)) and _is_plain(a, b, bias)
    listed = look and plain and sparse.is_worth(work)
    spikes = sparse.spikes_of(a.detach().numpy(), b.shape[1]) if listed else None
    ours = spikes is not None or plain and _by_onednn(a, b) or listed and _pruned(a, b) or _matters(a, b)
    return (spikes, listed) if ours else None


def _matters(a: Any, b: Any) -> bool:
    """Whether the left operand is large, and both have gradients."""
    if not (a.ndim == b.ndim == 2 and a.numel() >= LARGE and a.requires_grad and b.requires_grad):
        return False
    return type(a) is torch.Tensor and in_our_hands() and torch.is_grad_enabled() and not casting(a.device.type)


def in_our_hands() -> bool:
    """Whether torch records or transforms nothing but gradients."""
    return not (torch.jit.is_tracing() or read_by_dynamo() or compiling() or transformed())


def _is_plain(a: Any, b: Any, bias: Any = None) -> bool:
    """Whether matrices, and a bias, lie on the CPU, and nothing is recorded but gradients."""
    if bias is not None and bias.shape != b.shape[1:]:
        return False
    parts = (a, b) if bias is None else (a, b, bias)
    if not all(has_data(x) and x.is_cpu and x.dtype == a.dtype and x.layout is torch.strided for x in parts):
        return False
    return a.dtype in KEPT and in_our_hands() and not casting("cpu") and not any(x.is_neg() for x in parts)


def _pruned(a: Any, b: Any) -> bool:
    """Whether the right operand seems to have so few entries that these alone make the product faster."""
    from spikecore.kernels.sparse.weights import time_if_pruned  # small products do not need it

    return time_if_pruned(b.detach().numpy(), len(a)) <= sparse.GUESSED


def _by_entries(a: Any, b: Any, bias: Any = None) -> Any:
    """The product by the entries of the right operand; None where a dense one is faster."""
    from spikecore.kernels.sparse.weights import times_pruned

    use_threads(torch.get_num_threads())
    start = None if bias is None else bias.detach().numpy()
    product = times_pruned(a.numpy(force=True), b.detach().numpy(), start)
    return None if product is None else torch.from_numpy(product)


def _multiplied(a: Any, b: Any) -> Any:
    return a @ b if torch.is_grad_enabled() or in_batches(a) else _dense(a, b, out=_room(a, b))


def _room(a: Any, b: Any) -> Any:
    """The memory for the product of two matrices; None leaves it to torch."""
    return fresh((a.shape[0], b.shape[1]), a.dtype) if a.device.type == "cpu" and a.dtype in KEPT else None


class ByLeft(torch.autograd.Function):
    """The product plus a bias, if any; differentiated by all but its right operand."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any, bias: Any, spikes: Any, listed: bool) -> Any:
        ctx.listed = listed
        ctx.save_for_backward(b)
        if spikes is not None:
            from spikecore.kernels.sparse.weights import times_spikes

            use_threads(torch.get_num_threads())
            start = None if bias is None else bias.detach().numpy()
            return torch.from_numpy(times_spikes(spikes, a.detach().numpy(), b.detach().numpy(), start))
        by_entries = _by_entries(a, b, bias) if listed else None
        if by_entries is not None:
            return by_entries
        return _multiplied(a, b) if bias is None else _dense(a, b, bias, _room(a, b))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (b,) = ctx.saved_tensors
        by_a = None
        if ctx.needs_input_grad[0]:
            if ctx.listed and not (torch.is_grad_enabled() or transformed() or in_batches(g)):
                by_a = _by_entries(g, b.T)
            by_a = _multiplied(g, b.T) if by_a is None else by_a
        return by_a, None, g.sum(0) if ctx.needs_input_grad[2] else None, None, None


class ByRight(torch.autograd.Function):
    """A product that is given, differentiated by its right operand only. Of spikes that are all one it keeps a bit
    each.
    """

    @staticmethod
    def forward(ctx: Any, product: Any, a: Any, b: Any, spikes: Any) -> Any:
        ctx.left, ctx.kept = spikes is None or spikes.values is not None, sparse.kept_weights()
        ctx.spikes, ctx.way = spikes, None if ctx.left or not ctx.needs_input_grad[1] else way_to(a)
        ctx.save_for_backward(*([a] if ctx.left else []), *([b] if ctx.kept else []))
        ctx.by_columns = b.stride(0) == 1 and b.stride(1) == b.shape[0]  # a transposed weight
        ctx.mark_dirty(product)  # the same tensor, which may be edited in place, as a view may not
        return product

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        if not ctx.needs_input_grad[2]:
            return g, None, None, None
        saved = ctx.saved_tensors  # in any case: torch finds out here if they were edited
        first = not (torch.is_grad_enabled() or transformed() or in_batches(g))
        if ctx.kept and ctx.by_columns and first:
            from spikecore.kernels.sparse.kept import by_kept_weight

            use_threads(torch.get_num_threads())
            x = saved[0].detach().numpy() if ctx.left else None
            with sparse.keeping(ctx.kept):
                by_entries = by_kept_weight(saved[-1].detach().numpy().T, g.numpy(force=True), x, ctx.spikes)
            if by_entries is not None:
                return g, None, torch.from_numpy(by_entries).t(), None
        if ctx.spikes is not None and first:
            use_threads(torch.get_num_threads())
            sums = ctx.spikes.transposed_times(g.numpy(force=True))
            if sums is not None:
                by_b = torch.from_numpy(sums)
                return g, None, by_b.t().contiguous().t() if ctx.by_columns else by_b, None
        a = saved[0] if ctx.left else torch.from_numpy(ctx.spikes.dense(str(g.dtype)[6:]))
        multiplied = _dense if first else torch.matmul
        by_b = multiplied(g.T, a).T if ctx.by_columns else multiplied(a.T, g)  # lies as b does, as autograd's would
        if ctx.way is not None:  # the second derivative by the spikes would be missing
            by_b = first_order(by_b, ctx.way)
        return g, None, by_b, None

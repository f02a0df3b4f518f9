"""Batch normalisation on long rows.

On the CPU torch's own takes the channels of one pixel at a time where they lie next to each other, and is slow with a
few of them. Here a row of pixels is one row, or a whole sample where each channel lies by itself. Sums run along such
rows, and only their result, one row per step, is reduced to channels.
"""

from __future__ import annotations

import math
from typing import Any, List, Optional, Tuple

import torch
import torch.nn.functional as F

from spikecore.engines.torch.memory import KEPT, LARGE, fresh
from spikecore.engines.torch.modes import casting, compiling, has_data, in_batches, transformed
from spikecore.kernels.runtime.openmp import use_threads
from spikecore.kernels.sizes import has_numba

PARTS = 8  # of all rows, at least, that kernels sum by themselves
PIECE = 1 << 19  # elements that stay in the cache from one operation to the next


def moments(x: Any, axis: Tuple[int, ...]) -> Any:
    """The word ``moments`` on torch; see ``api/core/words.py``."""
    if by_rows(x, axis):
        return RowMoments.apply(*_rows(x), 0 in axis)
    var, mean = torch.var_mean(x, dim=axis, correction=0)
    return torch.stack((mean, var))


def batch_norm(x: Any, moments: Any, weight: Any, bias: Any, axis: Tuple[int, ...], eps: float) -> Any:
    """The word ``batch_norm`` on torch; see ``api/core/words.py``."""
    if fits_rows(x, weight, bias, axis):
        return normalized(x, None if moments is None else moments.detach(), weight, bias, axis, eps)[0]
    if tuple(axis) == (0, 1, *range(3, x.ndim)):
        return F.batch_norm(x.flatten(0, 1), None, None, weight, bias, True, 0.0, eps).view(x.shape)
    if weight is None and bias is None and tuple(axis) == tuple(range(axis[0], x.ndim)):  # of each sample by itself
        return F.layer_norm(x, x.shape[axis[0] :], None, None, eps)
    return in_words(x, weight, bias, axis, eps)


def fits_rows(x: Any, weight: Any, bias: Any, axis: Tuple[int, ...]) -> bool:
    """Whether ``normalized`` takes these operands."""
    kept = tuple(n for i, n in enumerate(x.shape) if i not in axis)
    return all(v is None or v.shape == kept for v in (weight, bias)) and by_rows(x, axis)


def in_words(x: Any, weight: Any, bias: Any, axis: Tuple[int, ...], eps: float) -> Any:
    """Batch normalisation in torch's elementary operations, which have derivatives of any order."""
    centred = x - x.mean(dim=axis, keepdim=True)
    y = centred * (1.0 / torch.sqrt((centred * centred).mean(dim=axis, keepdim=True) + eps))

    def along(values: Any) -> Any:
        values = values.expand(*y.shape[: y.ndim - len(axis) - values.ndim], *values.shape)
        for place in sorted(axis):
            values = values.unsqueeze(place)
        return values

    y = y if weight is None else y * along(weight)
    return y if bias is None else y + along(bias)


def by_rows(x: Any, axis: Tuple[int, ...]) -> bool:
    """Whether ``axis`` are batch and space, perhaps time, of a sequence whose memory can be looked at."""
    if x.ndim < 3 or tuple(axis) not in ((0, 1, *range(3, x.ndim)), (1, *range(3, x.ndim))):
        return False
    plain = x.is_cpu and x.dtype in KEPT and has_data(x) and x.layout is torch.strided and x.numel() > 0
    return plain and not (compiling() or torch.jit.is_tracing() or transformed() or casting("cpu"))


def normalized(
    x: Any,
    moments: Any,
    weight: Any,
    bias: Any,
    axis: Tuple[int, ...],
    eps: float,
    others: Optional[Tuple[Any, int]] = None,
) -> Tuple[Any, Any]:
    """The result of ``batch_norm``, and the moments; None makes them. For sequences that ``by_rows`` takes.

    ``others``: where x is a part of what the moments are of, the ranks that have the other parts, and over how many
    values of all parts a moment is.
    """
    rows, order = _rows(x)
    y, found = BatchNorm.apply(rows, weight, bias, moments, order, 0 in axis, eps, others)
    return order.restored(y), found


class Order:
    """The place of the channels of a sample.

    Args:
        shape: (time, batch, channels, *space).
        last: whether they are next to each other, the last axis in memory, and a row is one of space; else the first
            axis of a sample is theirs, and a sample is a row.

    Attributes:
        places: how often a row has each channel.
    """

    def __init__(self, shape: Tuple[int, ...], last: bool) -> None:
        self.shape, self.last, self.places = shape, last, shape[-1] if last else math.prod(shape[3:])

    def row(self, values: Any) -> Any:
        """One value per channel, ([time,] channels), as rows ([time, 1,] row)."""
        values = values if values.ndim == 1 else values[:, None]
        wide = values[..., None, :] if self.last else values[..., None]
        shape = (self.places, self.shape[2]) if self.last else (self.shape[2], self.places)
        return wide.expand(*values.shape[:-1], *shape).reshape(*values.shape[:-1], math.prod(shape))

    def sums(self, rows: Any) -> Any:
        """The sum of each channel in rows (time, row)."""
        if self.places == 1:
            return rows
        split = (self.places, self.shape[2]) if self.last else (self.shape[2], self.places)
        return rows.unflatten(-1, split).sum(-2 if self.last else -1)

    def restored(self, rows: Any) -> Any:
        """The sequence that rows are of."""
        if not self.last:
            return rows.view(self.shape)
        return rows.view(*self.shape[:2], *self.shape[3:], self.shape[2]).movedim(-1, 2)


def _rows(x: Any) -> Tuple[Any, Order]:
    """A sequence as rows (time, rows, row): a view where memory allows."""
    moved = x.movedim(2, -1)
    last = x.ndim > 3 and not x.is_contiguous() and moved.is_contiguous()
    if last:
        return moved.reshape(len(x), -1, x.shape[2] * x.shape[-1]), Order(tuple(x.shape), last)
    return x.reshape(*x.shape[:2], -1), Order(tuple(x.shape), last)


def _pieces(rows: Any) -> List[slice]:
    """Slices of steps that fit into the cache, ``PIECE`` elements at most."""
    steps = max(1, PIECE // rows[0].numel())
    return [slice(t, t + steps) for t in range(0, len(rows), steps)]


def _room(rows: Any) -> Any:
    """Memory for the result of one piece, see ``_pieces``."""
    return fresh((min(len(rows), _pieces(rows)[0].stop), *rows.shape[1:]), rows.dtype)


def _at(row: Any, part: slice) -> Any:
    """The entries for some steps, of a row for each step or of one for all."""
    return row if row.ndim == 1 else row[part]


def _has_kernels(*rows: Any) -> bool:
    """Whether kernels read these rows (time, rows, row): they are large and without gaps."""
    return has_numba() and all(x.numel() >= LARGE and x.is_contiguous() and not x.is_neg() for x in rows)


def _by_parts(rows: Any) -> int:
    """Into how many parts kernels divide all rows: some for each step."""
    return len(rows) * min(rows.shape[1], -(-PARTS // len(rows)))


def _moments_by_kernels(rows: Any, order: Order, all_steps: bool) -> Any:
    """``_moments``, in one pass over memory: see ``kernels/moments.py``."""
    from spikecore.kernels.moments import moments, of_parts

    use_threads(torch.get_num_threads())
    found = moments(rows.detach().flatten(0, 1).numpy(), _by_parts(rows))
    count, mean, squares = (torch.from_numpy(a).double().unflatten(0, (len(rows), -1)) for a in found)
    whole = rows.shape[1] * order.places

    def average(values: Any) -> Any:
        each = order.sums(values.sum(1)) / whole
        return each.mean(0) if all_steps else each

    return torch.stack(of_parts(count, mean, squares, average, order.row)).to(rows.dtype)


def _moments(rows: Any, order: Order, all_steps: bool) -> Any:
    """Mean and biased variance (2, [time,] channels) of rows (time, rows, row)."""
    if _has_kernels(rows):
        return _moments_by_kernels(rows, order, all_steps)
    room, count = _room(rows), rows.shape[1] * order.places

    def mean(sums: Any) -> Any:
        each = order.sums(sums) / count
        return each.mean(0) if all_steps else each

    def squares(part: slice) -> Any:
        centred = torch.sub(rows[part], _at(centre, part), out=room[: len(rows[part])])
        return centred.mul_(centred).sum(1)

    first = mean(rows.sum(1))
    centre = order.row(first)
    return torch.stack((first, mean(torch.cat([squares(part) for part in _pieces(rows)]))))


class RowMoments(torch.autograd.Function):
    """Mean and biased variance of rows (time, rows, row), as a function that autograd differentiates."""

    @staticmethod
    def forward(ctx: Any, rows: Any, order: Order, all_steps: bool) -> Any:
        out = _moments(rows, order, all_steps)
        ctx.save_for_backward(rows, out)
        ctx.order, ctx.count = order, rows.shape[1] * order.places * (len(rows) if all_steps else 1)
        return out

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        rows, (mean, _) = ctx.saved_tensors
        slope, constant = _by_rows(g, mean, ctx.count, ctx.order)
        return constant + rows * slope, None, None


def _by_rows(g: Any, mean: Any, count: int, order: Order) -> Tuple[Any, Any]:
    """The derivative of moments of ``count`` values by rows is slope * rows + constant: slope and constant, as rows."""
    slope = g[1] * (2.0 / count)
    return order.row(slope), order.row(g[0] / count - slope * mean)


class BatchNorm(torch.autograd.Function):
    """Rows (time, rows, row) normalised by their own moments; see ``normalized``."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Any,
        weight: Any,
        bias: Any,
        moments: Any,
        order: Order,
        all_steps: bool,
        eps: float,
        others: Any = None,
    ) -> Any:
        mean, var = moments = _moments(rows, order, all_steps) if moments is None else moments
        scale = 1.0 / torch.sqrt(var + eps)
        scale = scale if weight is None else scale * weight
        shift = -mean * scale if bias is None else bias - mean * scale
        y = torch.addcmul(order.row(shift), rows, order.row(scale), out=fresh(rows.shape, rows.dtype))
        ctx.save_for_backward(rows, weight, bias, moments)
        ctx.order, ctx.all_steps, ctx.eps, ctx.others = order, all_steps, eps, others
        ctx.mark_non_differentiable(moments)
        return y, moments

    @staticmethod
    def backward(ctx: Any, g: Any, _: Any) -> Any:
        wanted = ctx.needs_input_grad[:3]
        again = (torch.is_grad_enabled() or in_batches(g)) and ctx.others is None
        found = _again(ctx, g, wanted) if again else _gradients(ctx, g, wanted[0])
        return *(x if own else None for x, own in zip(found, wanted)), *(None,) * 5


def _gradients(ctx: Any, g: Any, by_rows: bool) -> Tuple[Any, Any, Any]:
    """The gradients by rows, if wanted, weight and bias. With n for the normalised rows and means over what the moments
    are of, that by rows is scale (g - mean(g) - n mean(g n)).
    """
    rows, weight, bias, (mean, var) = ctx.saved_tensors
    order, inverse, kernels = ctx.order, 1.0 / torch.sqrt(var + ctx.eps), _has_kernels(rows, g)
    total, weighted = map(order.sums, (_sums_by_kernels if kernels else _sums)(rows, g))
    if ctx.all_steps:
        total, weighted = total.sum(0), weighted.sum(0)
    weighted, out = (weighted - mean * total) * inverse, None
    if by_rows:
        scale = inverse if weight is None else inverse * weight
        both, count = (total, weighted), rows.shape[1] * order.places * (len(rows) if ctx.all_steps else 1)
        if ctx.others is not None:
            ranks, count = ctx.others
            both = ranks.sum(torch.stack(both))
        line = map(order.row, (*through_moments(*both, mean, inverse, scale, count), scale))
        out = (_lines_by_kernels if kernels else _lines)(rows, g, *line)
    shared = ((weighted, weight), (total, bias))
    return out, *(x if like is None or like.ndim == x.ndim else x.sum(0) for x, like in shared)


def _sums(rows: Any, g: Any) -> Tuple[Any, Any]:
    """The sums of g and of g times rows, over the rows of each step."""
    room = _room(rows)
    products = [torch.mul(g[part], rows[part], out=room[: len(rows[part])]).sum(1) for part in _pieces(rows)]
    return g.sum(1), torch.cat(products)


def _sums_by_kernels(rows: Any, g: Any) -> Any:
    """``_sums``, in one pass over memory."""
    from spikecore.kernels.moments import sums

    use_threads(torch.get_num_threads())
    found = sums(rows.detach().flatten(0, 1).numpy(), g.detach().flatten(0, 1).numpy(), _by_parts(rows))
    return (torch.from_numpy(a).unflatten(0, (len(rows), -1)).sum(1) for a in found)


def _lines(rows: Any, g: Any, constant: Any, slope: Any, scale: Any) -> Any:
    """The lines constant + slope rows + scale g; the factors are a row for each step, or one for all."""
    out = fresh(rows.shape, rows.dtype)
    for part in _pieces(rows):
        torch.addcmul(_at(constant, part), rows[part], _at(slope, part), out=out[part])
        out[part].addcmul_(g[part], _at(scale, part))
    return out


def _lines_by_kernels(rows: Any, g: Any, constant: Any, slope: Any, scale: Any) -> Any:
    """``_lines``, in one pass over memory."""
    from spikecore.kernels.moments import lines

    flat = (x.detach().flatten(0, 1).numpy() for x in (rows, g))
    line = (x.detach().reshape(-1, rows.shape[2]).contiguous().numpy() for x in (slope, constant, scale))
    return torch.from_numpy(lines(*flat, *line)).view(rows.shape)


def through_moments(total: Any, weighted: Any, mean: Any, inverse: Any, scale: Any, count: int) -> Tuple[Any, Any]:
    """The gradient of scale (x - mean) by x through the moments, as constant + slope x: constant and slope.

    Args:
        total, weighted: the sums of g, the gradient by the result, and of g n, with n for the normalised x.
        mean, inverse: of the ``count`` values of x, and 1 / sqrt(var + eps).
        scale: inverse, times the weight if there is one.
        count: of how many values the moments are.
    """
    slope = -scale * inverse * weighted / count
    return -scale * total / count - mean * slope, slope


def _again(ctx: Any, g: Any, wanted: Tuple[bool, ...]) -> Tuple[Any, ...]:
    """The gradients of ``BatchNorm`` by torch's autograd: slower, but they can be differentiated once more, and many at
    once.
    """
    rows, weight, bias, _ = ctx.saved_tensors
    axis, further = (1, *range(3, len(ctx.order.shape))), torch.is_grad_enabled()
    with torch.enable_grad():
        y = in_words(ctx.order.restored(rows), weight, bias, (0, *axis) if ctx.all_steps else axis, ctx.eps)
    inputs = [x for x, own in zip((rows, weight, bias), wanted) if own]
    found = iter(torch.autograd.grad(y, inputs, ctx.order.restored(g), create_graph=further))
    return tuple(next(found) if own else None for own in wanted)

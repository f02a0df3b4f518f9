"""Calls of torch that PopTorch lowers to something else: here they silently give the device's wrong results.

PopTorch computes constants before it handles slices, so writes into parts of them are lost. Changes of a view do not
reach the tensor it was taken from. ``.data`` is the tensor itself. At a tie every maximum gets the whole gradient. Some
options are ignored or misread.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, List

import torch
import torch.nn.functional as F

from spikecore.api.core.windows import window_slices
from spikecore.engines.ipu.simulation.ops import Error

CONSTANTS = frozenset(
    "zeros ones full empty eye arange linspace tensor scalar_tensor zeros_like ones_like full_like "
    "empty_like new_zeros new_ones new_full new_empty new_tensor".split()
)
DATA: Any = torch.Tensor.data  # the descriptor
SET_ITEM: Any = torch.Tensor.__setitem__  # torch 2.0 shows only some calls of these two to a mode
GET_ITEM: Any = torch.Tensor.__getitem__
KEPT = frozenset(("requires_grad_", "detach_"))  # names with a final underscore that change no value
#: Writes that reach through a chain of slices, and the functions such a chain is made of.
COPIES = frozenset("copy_ normal_ uniform_ random_ exponential_".split())
CUTS = frozenset("__getitem__ select narrow view reshape unsqueeze squeeze".split())


def lowered(function: Callable[..., Any], args: Any, kwargs: Dict[str, Any]) -> Any:
    """The result that a call of torch has on the device."""
    name = getattr(function, "__name__", "")
    if function == DATA.__get__:
        return args[0]  # the same value, so the gradient flows
    if function == DATA.__set__:
        return None  # the new value is lost, in this pass and after it
    if _in_place(name) and isinstance(args[0], torch.Tensor) and not (name in COPIES and _reaches(args[0])):
        args = (args[0].clone() if args[0]._is_view() else args[0], *args[1:])
    result = CHANGED[name](function, *args, **kwargs) if name in CHANGED else function(*args, **kwargs)
    _note_constant(name, result, [*args, *kwargs.values()])
    if name in CUTS:
        _note_cut(result, args[0])
    return result


def get_item(x: Any, index: Any) -> Any:
    """``x[index]``, which a copy into it reaches through if it is a slice."""
    result = GET_ITEM(x, index)
    _note_constant("", result, [x])
    _note_cut(result, x)
    return result


def set_item(x: Any, index: Any, value: Any) -> None:
    """``x[index] = value``; with slices the value is lost if x is a constant, or a view that is no slice of a slice."""
    if _by_slices(index) and not _reaches(x):
        return
    SET_ITEM(x, index, value)
    _note_constant("", x, [x, value])


def _in_place(name: str) -> bool:
    if name.startswith("__"):
        return name.startswith("__i") and name not in ("__invert__", "__index__", "__int__", "__init__")
    return name.endswith("_") and name not in KEPT


def _by_slices(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is ... or isinstance(part, (int, slice)) for part in parts)


def _reaches(x: Any) -> bool:
    """Whether a copy into parts of x is kept, also in what x is a slice of."""
    return not _is_constant(x) and (not x._is_view() or getattr(x, "_cut", False))


def _note_cut(result: Any, x: Any) -> None:
    if isinstance(result, torch.Tensor) and result._is_view():
        result._cut = _reaches(x)  # type: ignore[attr-defined]


def _is_constant(x: Any) -> bool:
    return getattr(x, "_constant", False)


def _note_constant(name: str, found: Any, given: List[Any]) -> None:
    """Mark results made of constants alone: PopTorch computes them before anything else."""
    if isinstance(found, torch.Tensor):
        listed = [x for part in given for x in (part if isinstance(part, (list, tuple)) else (part,))]
        tensors = [x for x in listed if isinstance(x, torch.Tensor)]
        constant = name in CONSTANTS or (len(tensors) > 0 and all(map(_is_constant, tensors)))
        if constant or _is_constant(found):
            found._constant = constant  # type: ignore[attr-defined]


# ---- ties -----------------------------------------------------------------------------------------------------------


def _extreme(best: Any, x: Any, dim: Any, keepdim: bool) -> Any:
    """The extreme of x; every entry that reaches it gets the whole gradient."""
    top = best(x.detach(), dim, True)
    extreme = top + torch.where(x == top, x - x.detach(), torch.zeros_like(x)).sum(dim, keepdim=True)
    dims = [i % x.ndim for i in ((dim,) if isinstance(dim, int) else dim)]
    return extreme if keepdim else extreme.reshape([n for i, n in enumerate(x.shape) if i not in dims])


def _reduced(best: Any, function: Any, x: Any, dim: Any = (), keepdim: bool = False, **numpys: Any) -> Any:
    """``amax`` and ``amin``, which also take NumPy's names ``axis`` and ``keepdims``."""
    dim, keepdim = numpys.get("axis", dim), numpys.get("keepdims", keepdim)
    if not x.is_floating_point():
        return function(x, dim, keepdim)
    return _extreme(best, x, tuple(range(x.ndim)) if dim is None or dim == () else dim, keepdim)


def _larger(best: Any, function: Any, a: Any, b: Any, **options: Any) -> Any:
    """``maximum`` and ``minimum``."""
    top = function(a.detach(), b.detach())
    live = [torch.where(x == top, x - x.detach(), torch.zeros_like(x)) for x in (a, b)]
    return top + live[0] + live[1] if top.is_floating_point() else top


def _max(best: Any, function: Any, x: Any, *more: Any, **options: Any) -> Any:
    """``max`` and ``min``: of all entries, of two tensors, or along an axis, where one index gets the gradient."""
    if not more and not options and x.is_floating_point():
        return _reduced(best, function, x)
    if more and isinstance(more[0], torch.Tensor) and x.is_floating_point():
        return _larger(best, function, x, more[0])
    return function(x, *more, **options)


def _max_pooled(function: Any, x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0, dilation: Any = 1,
                ceil_mode: bool = False, return_indices: bool = False) -> Any:  # fmt: skip
    if return_indices:
        raise Error("PopTorch has no max pooling with return_indices")
    space = int(function.__name__[8])
    kernel, stride, padding, dilation = _spread(space, kernel_size, stride or kernel_size, padding, dilation)
    batched = x if x.ndim == space + 2 else x[None]
    if ceil_mode:
        more = [_beyond(*sizes) for sizes in zip(batched.shape[2:], kernel, stride, padding, dilation)]
        batched = F.pad(batched, [m for n in reversed(more) for m in (0, n)], value=-float("inf"))
    padded = F.pad(batched, [p for n in reversed(padding) for p in (n, n)], value=-float("inf"))
    windows = [padded[place] for place in window_slices(batched.shape[2:], kernel, stride, padding, dilation)]
    maxima = _extreme(torch.amax, torch.stack(windows), 0, False)
    return maxima if x.ndim == space + 2 else maxima[0]


def _beyond(extent: int, kernel: int, stride: int, padding: int, dilation: int) -> int:
    """Number of entries that a last window needs behind the end, if it begins before it (``ceil_mode``)."""
    more = -(extent + 2 * padding - dilation * (kernel - 1) - 1) % stride
    return more if padding + more <= dilation * (kernel - 1) else 0


def _spread(space: int, *sizes: Any) -> List[Any]:
    return [[size] * space if isinstance(size, int) else [*size] * (space if len(size) == 1 else 1) for size in sizes]


# ---- options that are ignored or misread ----------------------------------------------------------------------------


def _average_pooled(function: Any, x: Any, kernel_size: Any, stride: Any = None, padding: Any = 0,
                    ceil_mode: bool = False, count_include_pad: bool = True, divisor_override: Any = None
                    ) -> Any:  # fmt: skip
    """Average pooling. Padding that counts goes, axis by axis, to an operator that reads it border by border from the
    last axis. One dimension is pooled as the second of two. ``divisor_override`` is ignored.
    """
    space = int(function.__name__[8])
    kernel, stride, padding = _spread(space, kernel_size, stride or kernel_size, padding)
    if space == 1:
        kernel, stride, padding, x = [1, *kernel], [1, *stride], [0, *padding], x.unsqueeze(-2)
    if count_include_pad:
        x, padding = F.pad(x, [*padding, *padding]), 0
    pool = F.avg_pool3d if space == 3 else F.avg_pool2d
    averages = pool(x, kernel, stride, padding, ceil_mode, count_include_pad)
    return averages.squeeze(-2) if space == 1 else averages


def _padded(function: Any, x: Any, pad: Any, mode: str = "constant", value: Any = None) -> Any:
    """Padding. Circular padding is lost, because torch writes slices into a constant for it."""
    padded = function(x, pad, mode, value)
    return torch.zeros_like(padded) if mode == "circular" else padded


def _divided(function: Any, a: Any, b: Any, *, rounding_mode: Any = None) -> Any:
    return function(a, b, rounding_mode=None if rounding_mode == "floor" else rounding_mode)


CHANGED: Dict[str, Callable[..., Any]] = {
    "amax": partial(_reduced, torch.amax),
    "amin": partial(_reduced, torch.amin),
    "maximum": partial(_larger, torch.amax),
    "minimum": partial(_larger, torch.amin),
    "max": partial(_max, torch.amax),
    "min": partial(_max, torch.amin),
    **{f"max_pool{n}d{how}": _max_pooled for n in (1, 2, 3) for how in ("", "_with_indices")},
    **{f"avg_pool{n}d": _average_pooled for n in (1, 2, 3)},
    "pad": _padded,
    "div": _divided,
    "round": lambda function, x, **options: function(x),
}

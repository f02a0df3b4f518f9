"""Convolution and pooling on NumPy, a few samples at a time, on several threads.

A convolution lists all windows of its maps, which takes as much memory as there are positions in the kernel. For a few
samples the list stays in the cache, and its memory is used again for the next ones. The arithmetic is that of
``convolution.py`` and of ``api/core/rules.py``; they get some samples instead of all.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any, Callable, Dict, List, Sequence, Tuple

import numpy as np
from numpy.lib.stride_tricks import as_strided

from spikecore.api.core.windows import Sizes, window_counts
from spikecore.engines.numpy.convolution import padded
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.blas import share
from spikecore.kernels.sparse.product import keeps_zeros

BYTES = 1 << 20  # of windows, which stay in the cache
#: Words of maps, sample by sample; all their other arguments are shared.
SPLIT = ("conv", "conv_transpose", "max_pool", "avg_pool")


def patches(x: Any, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes, fill: float = 0.0) -> Any:
    """The word ``patches`` as one copy."""
    counts = window_counts(x.shape[2:], kernel, stride, padding, dilation)
    maps = padded(np, x, tuple(padding), fill)
    over, space = maps.strides[:2], maps.strides[2:]
    steps = (*over, *(s * d for s, d in zip(space, dilation)), *(s * n for s, n in zip(space, stride)))
    windows = as_strided(maps, (*x.shape[:2], *kernel, *counts), steps, writeable=False)
    return allocator.copy(windows, windows.shape, x.dtype).reshape(*x.shape[:2], math.prod(kernel), *counts)


def words(raw: Dict[str, Callable[..., Any]]) -> Dict[str, Callable[..., Any]]:
    """``raw``, with words of maps that take some samples at a time."""

    def split(word: str) -> Callable[..., Any]:
        def function(x: Any, *options: Any, **named: Any) -> Any:
            parts = _parts(word, x, options, named)
            if len(parts) == 1:
                return raw[word](x, *options, **named)
            return _joined([partial(raw[word], x[part], *options, **named) for part in parts], parts, len(x))

        return function

    return {**raw, **{word: split(word) for word in SPLIT}}


def products(word: str, rules: Tuple[Callable[..., Any], ...]) -> Tuple[Callable[..., Any], ...]:
    """The rules of a word as rules that take some samples at a time."""
    if word == "linear" and keeps_zeros():
        from spikecore.kernels.sparse import kept

        return kept.rules(rules)
    if word not in SPLIT:
        return rules

    def split(rule: Callable[..., Any], by_maps: bool) -> Callable[..., Any]:
        def product(xp: Any, g: Any, out: Any, x: Any, *options: Any, **named: Any) -> Any:
            parts = _parts(word, x, options, named)
            if len(parts) == 1:
                return rule(xp, g, out, x, *options, **named)
            tasks = [partial(rule, xp, g[part], out[part], x[part], *options, **named) for part in parts]
            return _joined(tasks, parts, len(x)) if by_maps else _summed(tasks)

        return product

    return (split(rules[0], by_maps=True), *(split(rule, by_maps=False) for rule in rules[1:]))


def _parts(word: str, x: Any, options: Tuple[Any, ...], named: Dict[str, Any]) -> List[slice]:
    """Slices of samples whose windows take up to so many bytes."""
    first, values = options[0] if options else named["kernel"], math.prod(x.shape[1:])
    kernel = first.shape[2:] if word in ("conv", "conv_transpose") else first
    if word == "conv_transpose":  # a window for each position of x, of as many channels as the result has
        values = values // len(first) * first.shape[1] * (named["groups"] if "groups" in named else options[-1])
    samples = max(1, BYTES // max(1, values * math.prod(kernel) * x.dtype.itemsize))
    return [slice(i, min(i + samples, len(x))) for i in range(0, max(1, len(x)), samples)]


def _joined(tasks: Sequence[Callable[[], Any]], parts: Sequence[slice], count: int) -> Any:
    """The results of the tasks for their samples, as one array."""
    first = tasks[0]()
    out = allocator.empty((count, *first.shape[1:]), first.dtype)
    out[parts[0]] = first

    def put(task: Callable[[], Any], part: slice) -> None:
        out[part] = task()

    share([partial(put, task, part) for task, part in zip(tasks[1:], parts[1:])])
    return out


def _summed(tasks: Sequence[Callable[[], Any]]) -> Any:
    """The sum of what the tasks make, always in the same order."""
    results: List[Any] = [None] * len(tasks)

    def put(i: int) -> None:
        results[i] = tasks[i]()

    share([partial(put, i) for i in range(len(tasks))])
    return sum(results[1:], results[0])

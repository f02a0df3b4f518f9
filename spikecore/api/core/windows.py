"""Index arithmetic of windows over maps, shared by layers and engines."""

from __future__ import annotations

import itertools
from typing import Any, Iterator, Sequence, Tuple

Sizes = Sequence[int]


def window_counts(space: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes) -> Tuple[int, ...]:
    """Number of windows along each axis: (n + 2 padding - dilation (kernel - 1) - 1) // stride + 1."""
    sizes = zip(space, kernel, stride, padding, dilation)
    return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)


def placed_size(
    space: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, output_padding: Sizes, dilation: Sizes
) -> Tuple[int, ...]:
    """The size of the map whose windows a map of size ``space`` lists: the inverse of ``window_counts``.

    (n - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1
    """
    sizes = zip(space, kernel, stride, padding, output_padding, dilation)
    return tuple((n - 1) * s - 2 * p + d * (k - 1) + extra + 1 for n, k, s, p, extra, d in sizes)


def is_whole_map(space: Sizes, kernel: Sizes, padding: Sizes) -> bool:
    """Whether there is one window, which is the map."""
    return tuple(kernel) == tuple(space) and not any(padding)


def window_slices(
    space: Sizes, kernel: Sizes, stride: Sizes, padding: Sizes, dilation: Sizes
) -> Iterator[Tuple[Any, ...]]:
    """An index for each position in the kernel, in row-major order: it selects this position of every window.

    The index applies to a map (batch, channels, *space) that is already padded.
    """
    counts = window_counts(space, kernel, stride, padding, dilation)
    for place in itertools.product(*(range(k) for k in kernel)):
        starts = [i * d for i, d in zip(place, dilation)]
        selection = (slice(a, a + s * (m - 1) + 1, s) for a, s, m in zip(starts, stride, counts))
        yield (slice(None), slice(None), *selection)

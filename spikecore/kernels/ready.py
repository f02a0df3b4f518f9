"""Recipes of kernels that belong to no neuron, for programs that compile ahead."""

from __future__ import annotations

from typing import Iterator, Tuple

from spikecore.kernels import large, moments, pooling, small_numbers
from spikecore.kernels.runtime.build import KernelRecipe
from spikecore.kernels.sparse import (
    bits,
    convolution,
    dots,
    feedback,
    gather,
    kept,
    kept_taps,
    lists,
    packed,
    pruned,
    scatter,
)


def recipes(dtype: str) -> Iterator[Tuple[str, KernelRecipe]]:
    """Recipes of all products with spikes, and what each is for. Nothing in them depends on sizes."""
    for name in ("pack", "unpack", "count"):
        yield "bits of spikes", bits.recipe(name, dtype)
    for name in ("by_rows", "by_columns"):
        for counts in (True, False):
            yield "lists of spikes" + (", counted" if counts else ""), lists.recipe(name, dtype, counts)
    for weighted in (False, True):
        kind = "graded spikes" if weighted else "spikes"
        yield f"products with {kind}", gather.recipe(dtype, weighted)
        yield f"gradients by weights whose zeros are kept, from {kind}", kept.recipe(dtype, weighted)
        for name in ("convolve", "by_weight"):
            yield f"convolutions of {kind}", convolution.recipe(name, dtype, weighted)
    for counts in (True, False):
        yield (
            "long lists of spikes" + (", counted" if counts else ""),
            lists.recipe("by_columns", dtype, counts, kept.ROWS),
        )
    for name in ("scatter", "gather"):
        yield "convolutions of few spikes", scatter.recipe(name, dtype)
    yield "spikes on their way from a neuron to a Linear", packed.recipe(dtype)
    yield "gradients where they are read", dots.recipe(dtype)
    yield "dense recurrence of spikes", feedback.recipe(dtype)
    yield "products with pruned weights", pruned.recipe(dtype)
    for name in ("fetch", "stream"):
        yield "runs larger than the cache", large.recipe(name, dtype)
    yield "gradients by filters whose zeros are kept", kept_taps.recipe(dtype)


def recipes_of_maps(dtype: str) -> Iterator[Tuple[str, KernelRecipe]]:
    """Recipes of pooling, for common windows, and of batch normalisation, and what each is for."""
    for name in ("maxima", "back"):
        for size in (2, 3):
            yield f"maximum pooling in windows of {size} x {size}", pooling.recipe(name, (size, size), dtype)
    for name in moments.SOURCES:
        yield "batch normalisation", moments.recipe(name, dtype)
    yield "spikes that wait for the way back", small_numbers.recipe(dtype)

"""Recipes of all products with spikes, for programs that compile ahead."""

from __future__ import annotations

from typing import Iterator, Tuple

from spikecore.kernels.runtime.build import KernelRecipe
from spikecore.kernels.sparse import bits, convolution, dots, feedback, gather, lists, packed, pruned


def recipes(dtype: str) -> Iterator[Tuple[str, KernelRecipe]]:
    """Recipes, and what each is for. Nothing in them depends on a neuron or on sizes."""
    for name in ("pack", "unpack", "count"):
        yield "bits of spikes", bits.recipe(name, dtype)
    for name in ("by_rows", "by_columns"):
        for counts in (True, False):
            yield "lists of spikes" + (", counted" if counts else ""), lists.recipe(name, dtype, counts)
    for weighted in (False, True):
        kind = "graded spikes" if weighted else "spikes"
        yield f"products with {kind}", gather.recipe(dtype, weighted)
        for name in ("convolve", "by_weight"):
            yield f"convolutions of {kind}", convolution.recipe(name, dtype, weighted)
    yield "spikes on their way from a neuron to a Linear", packed.recipe(dtype)
    yield "gradients where they are read", dots.recipe(dtype)
    yield "dense recurrence of spikes", feedback.recipe(dtype)
    yield "products with pruned weights", pruned.recipe(dtype)

"""The order of samples: permutations, weighted draws, and samples of similar length in one batch."""

from __future__ import annotations

from typing import Any, Optional, Tuple, Union

import numpy as np

from spikecore.samples.errors import DataError, integer

BATCHES, DRAWS = 1, 2  # what an epoch draws besides the order of its samples


def permutation(count: int, *key: int) -> np.ndarray:
    """A permutation of range(count) that depends on the key alone.

    NumPy guarantees the same raw bits of a bit generator in all versions and on all machines, but not the same result
    of `Generator.permutation`. The permutation is therefore a stable sort of raw bits.
    """
    return np.argsort(_bits(count, *key), kind="stable")


def drawn(weights: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """Indices of rows, as many as weights, each drawn in proportion to its weight, with replacement."""
    sums = np.cumsum(weights)
    places = (_bits(len(weights), seed, epoch, DRAWS) >> np.uint64(11)) * 2.0**-53 * sums[-1]
    last = int(np.flatnonzero(weights)[-1])  # a product may round up to the whole sum
    return np.minimum(np.searchsorted(sums, places, side="right"), last)


def bucketed(
    order: np.ndarray, lengths: np.ndarray, batch_size: int, batches: int, seed: int, epoch: int
) -> np.ndarray:
    """The rows in another order, in which samples of similar length share a batch.

    The samples of each `batches` batches are sorted by length; then the batches are put into a new order. Samples that
    fill no batch stay at the end, so that a short batch, or none, holds samples of any length.

    Args:
        order: rows in the order of the epoch.
        lengths: number of steps of each row of the data.
        batch_size: number of samples in a batch.
        batches: number of batches that are sorted together.
        seed: of the order of the batches.
        epoch: number of the epoch.
    """
    whole = len(order) // batch_size * batch_size
    pools = [order[start : min(start + batches * batch_size, whole)] for start in range(0, whole, batches * batch_size)]
    by_length = [pool[np.argsort(lengths[pool], kind="stable")] for pool in pools]
    rows = np.concatenate([order[:0], *by_length]).reshape(-1, batch_size)
    return np.concatenate([rows[permutation(len(rows), seed, epoch, BATCHES)].ravel(), order[whole:]])


def weights_of(given: Any, targets: Optional[np.ndarray], samples: int) -> np.ndarray:
    """Weights of the samples, float64 (samples,), checked.

    Args:
        given: one number per sample; "balanced" for weights with which all classes are drawn equally often.
        targets: the targets of all samples.
        samples: number of samples.

    Raises:
        DataError: numbers are negative, not finite, all zero or not one per sample; or "balanced" without classes.
    """
    if isinstance(given, str):
        if given != "balanced":
            raise DataError(f"weights={given!r}: need one number per sample, or 'balanced'")
        if targets is None or targets.ndim != 1 or targets.dtype.kind not in "iub":
            have = "no targets" if targets is None else f"targets of shape {targets.shape} and dtype {targets.dtype}"
            raise DataError(f"weights='balanced' needs one class index per sample; the data have {have}")
        _, number, count = np.unique(targets, return_inverse=True, return_counts=True)
        return 1.0 / count[number.reshape(-1)]
    weights = np.asarray(given, np.float64)
    if weights.shape != (samples,):
        raise DataError(f"weights have shape {weights.shape}, expected ({samples},): one per sample")
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(bad):
        raise DataError(f"weights[{bad[0]}] = {weights[bad[0]]}: must be finite and >= 0")
    total = weights.sum()
    if not 0 < total < np.inf:
        raise DataError(f"weights: their sum is {total}; it must be finite and above 0")
    return weights


def halves(samples: int, at: Union[int, float], seed: Optional[int]) -> Tuple[Any, Any]:
    """Indices of the two parts of Dataset.split; slices if nothing is shuffled, so that the parts are views."""
    count = round(at * samples) if isinstance(at, (float, np.floating)) else at
    if not 0 < count < samples:
        raise DataError(f"at={at!r} leaves one part of {samples} samples empty: use a count or fraction between")
    if seed is None:
        return slice(count), slice(count, None)
    order = permutation(samples, integer("seed", seed, at_least=0))
    return order[:count], order[count:]


def _bits(count: int, *key: int) -> np.ndarray:
    return np.random.Philox(np.random.SeedSequence(key)).random_raw(count)

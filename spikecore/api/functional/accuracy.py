"""Metrics."""

from __future__ import annotations

from typing import Any

from spikecore.api.engine import engine_of
from spikecore.api.functional.targets import check_sequence, pool_population


def accuracy_rate(spikes: Any, targets: Any, population_code: bool = False, num_classes: int = 0) -> float:
    """The fraction of samples whose most active class is the right one. Ties go to the lowest class.

    Args:
        spikes: (time, batch, classes), an array of any engine, or an ``Output``.
        targets: class labels (batch,).
        population_code: whether several neurons stand for one class (contiguous blocks).
        num_classes: number of classes of a population code.

    Returns:
        A number in [0, 1].
    """
    spikes = getattr(spikes, "spikes", spikes)
    engine = engine_of(spikes)
    check_sequence("spikes", spikes)
    if population_code:
        spikes = pool_population(engine, spikes, num_classes)
    guesses = engine.xp.argmax(engine.xp.sum(spikes, axis=0), axis=1)
    hits = engine.to_numpy(guesses) == engine.to_numpy(engine.asarray(targets, dtype="int64"))
    return float(hits.mean())

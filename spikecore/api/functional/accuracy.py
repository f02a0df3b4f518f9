"""Accuracies: the fraction of samples that are classified correctly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, Optional, Union

from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import ShapeError
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import as_numbers, pool_population, read_sequence, targets_on
from spikecore.arguments import ArrayLike, Count, checked

if TYPE_CHECKING:
    from spikecore.api.layers.network import Output


@checked
def accuracy_rate(
    spikes: Union[ArrayLike, Output],
    targets: ArrayLike,
    population_code: bool = False,
    num_classes: Count = 0,
    lengths: Optional[ArrayLike] = None,
) -> float:
    """The fraction of samples whose most active class is the right one. Ties go to the lowest class.

    Args:
        spikes: (time, batch, classes), an array of any engine, or an ``Output``.
        targets: class labels (batch,).
        population_code: whether several neurons represent one class (contiguous blocks); default False.
        num_classes: number of classes of a population code.
        lengths: how many steps of each sample count (batch,); None, the default: all.

    Returns:
        A number in [0, 1].
    """
    engine, spikes = read_sequence("spikes", spikes)
    fired = as_numbers(engine, spikes)
    if population_code:
        fired = pool_population(engine, fired, num_classes)
    return hit_rate(engine, Steps(engine, fired, lengths).sum(fired), targets)


@checked
def accuracy_temporal(
    spikes: Union[ArrayLike, Output], targets: ArrayLike, lengths: Optional[ArrayLike] = None
) -> float:
    """The fraction of samples whose first class to fire is the right one. Ties go to the lowest class.

    A class that does not fire counts as firing at the last step.

    Args:
        spikes: (time, batch, classes), an array of any engine, or an ``Output``.
        targets: class labels (batch,).
        lengths: how many steps of each sample count (batch,); None, the default: all.

    Returns:
        A number in [0, 1].
    """
    engine, spikes = read_sequence("spikes", spikes)
    from spikecore.api.functional.spike_time import spike_times

    spikes = as_numbers(engine, spikes)
    return hit_rate(engine, -spike_times(engine, spikes, lengths=lengths)[0, ...], targets)


@checked
def accuracy_membrane(
    membrane: Union[ArrayLike, Output],
    targets: ArrayLike,
    population_code: bool = False,
    num_classes: Count = 0,
    lengths: Optional[ArrayLike] = None,
    over_time: Literal["max", "mean"] = "max",
) -> float:
    """The fraction of samples for which the membrane of the right class is the highest. Ties go to the lowest class.

    Args:
        membrane: (time, batch, classes), an array of any engine, or an ``Output``.
        targets: class labels (batch,).
        population_code: whether several neurons represent one class (contiguous blocks), whose membranes are added;
            default False.
        num_classes: number of classes of a population code.
        lengths: how many steps of each sample count (batch,); None, the default: all.
        over_time: "max" (the default): the highest potential over time; "mean": the mean over time.

    Returns:
        A number in [0, 1].

    Raises:
        TypeError: ``over_time`` is something else.
    """
    if over_time not in ("max", "mean"):
        raise TypeError(f"accuracy_membrane: over_time={over_time!r} must be 'max' or 'mean'")
    engine, membrane = read_sequence("membrane", membrane)
    if population_code:
        membrane = pool_population(engine, membrane, num_classes)
    return hit_rate(engine, getattr(Steps(engine, membrane, lengths), over_time)(membrane), targets)


def hit_rate(engine: Engine, scores: Any, targets: Any) -> float:
    """The fraction of samples whose highest score is that of the right class, from scores (batch, classes)."""
    predicted = engine.to_numpy(engine.xp.argmax(scores, axis=1))
    labels = engine.to_numpy(targets_on(engine, targets))
    if labels.shape != predicted.shape:
        raise ShapeError(
            f"targets have shape {tuple(labels.shape)}, expected {tuple(predicted.shape)}: one class index per sample; "
            "spikes are (time, batch, classes)"
        )
    hits = predicted == labels
    return hits.mean()  # type: ignore[no-any-return]  # a NumPy float, so that callers can use .item()

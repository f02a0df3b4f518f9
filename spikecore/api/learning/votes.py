"""Labels for neurons that have learned without: each stands for the class to which it fires most, and all vote."""

from __future__ import annotations

from typing import Any, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.layer import ShapeError
from spikecore.api.functional.targets import one_hot, targets_on
from spikecore.arguments import ArrayLike, Size, checked

NEVER = -1.0  # votes for a class that no neuron stands for: fewer than any number of spikes


@checked
def neuron_labels(counts: ArrayLike, targets: ArrayLike, num_classes: Size) -> Any:
    """The class that each neuron stands for: the one to whose samples it fires most on average.

    Args:
        counts: spikes of each neuron for each sample, (samples, neurons), e.g. ``model(x).spikes.sum(axis=0)``.
        targets: classes of the samples as integers, (samples,).
        num_classes: number of classes.

    Returns:
        Labels (neurons,), int64, an array of the engine of ``counts``. A neuron that never fires gets the
        first class that has samples.

    Raises:
        ShapeError: there is not one target per sample.
        ValueError: a target is no class, or counts are not finite.

    Source: Diehl & Cook, Unsupervised learning of digit recognition using spike-timing-dependent plasticity, 2015.
    """
    engine, fired = _counts("neuron_labels", counts)
    code = _code(engine, "targets", targets, int(fired.shape[0]), num_classes)
    return engine.xp.argmax(_mean_by_class(engine, fired, code), axis=1)


@checked
def vote(counts: ArrayLike, labels: ArrayLike, num_classes: Size) -> Any:
    """The class of each sample: the one whose neurons fire most on average.

    Args:
        counts: spikes of each neuron for each sample, (samples, neurons).
        labels: the class that each neuron stands for, (neurons,), as from ``neuron_labels``.
        num_classes: number of classes. A class that no neuron stands for gets no votes.

    Returns:
        Classes (samples,), int64, an array of the engine of ``counts``.

    Raises:
        ShapeError: there is not one label per neuron.
        ValueError: a label is no class, or counts are not finite.
    """
    engine, fired = _counts("vote", counts)
    code = _code(engine, "labels", labels, int(fired.shape[1]), num_classes)
    return engine.xp.argmax(_mean_by_class(engine, engine.xp.permute_dims(fired, (1, 0)), code), axis=1)


@checked
def neuron_shares(counts: ArrayLike, targets: ArrayLike, num_classes: Size) -> Any:
    """Share of each class in each neuron's spikes: its mean number for the class, divided by the sum over classes.

    Args:
        counts: spikes of each neuron for each sample, (samples, neurons).
        targets: classes of the samples as integers, (samples,).
        num_classes: number of classes.

    Returns:
        Shares (neurons, classes), an array of the engine of ``counts``; the sum over the classes is 1, or 0 for a
        neuron that never fires. Classes without samples have 0.

    Raises:
        ShapeError: there is not one target per sample.
        ValueError: a target is no class, or counts are not finite.

    Source: Hazan et al., BindsNET: a machine learning-oriented spiking neural networks library in Python, Frontiers in
    Neuroinformatics 12, 2018 (proportion weighting).
    """
    engine, fired = _counts("neuron_shares", counts)
    xp = engine.xp
    code = _code(engine, "targets", targets, int(fired.shape[0]), num_classes)
    means = _mean_by_class(engine, fired, code)
    means = xp.maximum(means, xp.zeros_like(means))
    total = xp.sum(means, axis=1, keepdims=True)
    return means / xp.where(total > 0.0, total, xp.ones_like(total))


@checked
def weighted_vote(counts: ArrayLike, shares: ArrayLike) -> Any:
    """The class of each sample, for which each spike votes in proportion to the shares of its neuron.

    Neurons that fire for one class alone count more than those that fire for several, so that it is a little more
    accurate than ``vote``.

    Args:
        counts: spikes of each neuron for each sample, (samples, neurons).
        shares: (neurons, classes), as from ``neuron_shares``.

    Returns:
        Classes (samples,), int64, an array of the engine of ``counts``.

    Raises:
        ShapeError: shares are not one row per neuron.
        ValueError: counts are not finite.
    """
    engine, fired = _counts("weighted_vote", counts)
    held = engine.asarray(shares)
    if held.ndim != 2 or held.shape[0] != fired.shape[1]:
        raise ShapeError(f"shares of shape {tuple(held.shape)}, expected ({fired.shape[1]}, classes), a row per neuron")
    return engine.xp.argmax(fired @ held, axis=1)


def _counts(owner: str, counts: Any) -> Tuple[Engine, Any]:
    engine = engine_of(counts)
    counts = engine.asarray(counts)
    if counts.ndim != 2:
        raise ShapeError(f"{owner}: counts of shape {tuple(counts.shape)}, expected (samples, neurons)")
    if not engine.to_numpy(engine.xp.all(engine.xp.isfinite(counts))):
        raise ValueError(f"{owner}: counts hold NaN or infinity, which are no numbers of spikes")
    return engine, counts


def _code(engine: Engine, name: str, classes: Any, count: int, num_classes: int) -> Any:
    held = targets_on(engine, classes)
    if tuple(held.shape) != (count,):
        one = "sample" if name == "targets" else "neuron"
        raise ShapeError(f"{name} of shape {tuple(held.shape)}, expected ({count},), one for each {one} of counts")
    host = engine.to_numpy(held)
    if host.dtype.kind not in "iu":
        raise ValueError(f"{name} have dtype {host.dtype}, expected classes as integers")
    for i, label in enumerate(host.tolist()):
        if not 0 <= label < num_classes:
            raise ValueError(f"{name}[{i}] = {label} must be in [0, {num_classes}): num_classes={num_classes}")
    return one_hot(engine, held, num_classes)


def _mean_by_class(engine: Engine, counts: Any, code: Any) -> Any:
    """Means of counts (rows, columns) over the rows of each class: (columns, classes)."""
    xp, members = engine.xp, engine.xp.sum(code, axis=0)
    sums = xp.permute_dims(counts, (1, 0)) @ code
    return xp.where(members > 0.0, sums / xp.maximum(members, xp.ones_like(members)), xp.zeros_like(sums) + NEVER)

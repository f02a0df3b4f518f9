"""Class labels as one-hot codes, and back."""

from __future__ import annotations

from typing import Any

from spikecore.api.core.engine import engine_of
from spikecore.api.functional.targets import check_labels, one_hot
from spikecore.api.spikegen.checks import whole
from spikecore.arguments import ArrayLike, checked


@checked
def to_one_hot(targets: ArrayLike, num_classes: int) -> Any:
    """Labels as rows of zeros with a one at the class (snnTorch ``to_one_hot``).

    Args:
        targets: labels (batch,): integers, or floats that are whole numbers.
        num_classes: number of classes, >= 1.

    Returns:
        (batch, num_classes), floating point.

    Raises:
        ShapeError: not one label per sample. ValueError: a label out of range, or not an integer.
    """
    whole("num_classes", "to_one_hot", num_classes, 1)
    engine = engine_of(targets)
    labels: Any = targets if hasattr(targets, "dtype") else engine.asarray(targets, dtype="float64")
    if "float" in str(labels.dtype) and bool(engine.xp.all(labels == engine.xp.round(labels))):
        labels = engine.asarray(labels, dtype="int64")  # whole numbers, as snnTorch takes them
    check_labels(engine, labels, labels.shape[0] if labels.ndim else 1, num_classes)
    return one_hot(engine, engine.asarray(labels, dtype="int64"), num_classes)


@checked
def to_one_hot_inverse(one_hot_targets: ArrayLike) -> Any:
    """Ones where there are zeros, zeros elsewhere (snnTorch ``to_one_hot_inverse``); same shape."""
    engine = engine_of(one_hot_targets)
    return engine.xp.astype(engine.asarray(one_hot_targets) == 0.0, engine.dtype)


@checked
def from_one_hot(one_hot_label: ArrayLike) -> Any:
    """The classes of one-hot rows: the inverse of ``to_one_hot``.

    Args:
        one_hot_label: (..., classes), exactly one 1 in each row and zeros elsewhere.

    Returns:
        int64 labels (...).

    Raises:
        ValueError: a row is no one-hot code.
    """
    engine = engine_of(one_hot_label)
    x, xp = engine.asarray(one_hot_label), engine.xp
    if not x.ndim or not bool(xp.all((x == 0.0) | (x == 1.0))) or not bool(xp.all(xp.sum(x, axis=-1) == 1.0)):
        raise ValueError("from_one_hot: one_hot_label must hold exactly one 1 in each row, and zeros elsewhere")
    return xp.argmax(x, axis=-1)

"""One-hot codes of class labels, and labels from one-hot codes."""

from __future__ import annotations

from typing import Any

from spikecore.api.core.engines import engine_of
from spikecore.api.functional.targets import check_labels, one_hot
from spikecore.api.spikegen.checks import whole
from spikecore.arguments import ArrayLike, checked


@checked
def to_one_hot(targets: ArrayLike, num_classes: int) -> Any:
    """Converts labels to rows of zeros with a one at the class (snnTorch ``to_one_hot``).

    Args:
        targets: labels (batch,): integers, or floats that are whole numbers.
        num_classes: number of classes, >= 1.

    Returns:
        (batch, num_classes), floating point.

    Raises:
        ShapeError: there is not one label per sample.
        ValueError: a label is out of range, or not an integer.
    """
    whole("num_classes", "to_one_hot", num_classes, 1)
    engine = engine_of(targets)
    labels: Any = targets if hasattr(targets, "dtype") else engine.asarray(targets, dtype="float64")
    if "float" in str(labels.dtype) and engine.to_numpy(engine.xp.all(labels == engine.xp.round(labels))):
        labels = engine.asarray(labels, dtype="int64")  # snnTorch, too, accepts floats that are whole numbers
    check_labels(engine, labels, (labels.shape[0] if labels.ndim else 1,), num_classes)
    return one_hot(engine, engine.asarray(labels, dtype="int64"), num_classes)


@checked
def to_one_hot_inverse(one_hot_targets: ArrayLike) -> Any:
    """Exchanges zeros and ones (snnTorch ``to_one_hot_inverse``).

    Args:
        one_hot_targets: one-hot codes of any shape.

    Returns:
        1 where ``one_hot_targets`` is 0, else 0; the same shape, floating point.
    """
    engine = engine_of(one_hot_targets)
    return engine.xp.astype(engine.asarray(one_hot_targets) == 0.0, engine.dtype)


@checked
def from_one_hot(one_hot_label: ArrayLike) -> Any:
    """Converts one-hot rows to class labels: the inverse of ``to_one_hot``.

    Args:
        one_hot_label: (..., classes), exactly one 1 in each row and zeros elsewhere.

    Returns:
        int64 labels (...).

    Raises:
        ValueError: a row is not a one-hot code.
    """
    engine = engine_of(one_hot_label)
    x, xp = engine.asarray(one_hot_label), engine.xp
    digits = xp.all((x == 0.0) | (x == 1.0))
    if not x.ndim or not engine.to_numpy(xp.logical_and(digits, xp.all(xp.sum(x, axis=-1) == 1.0))):
        raise ValueError("from_one_hot: one_hot_label must hold exactly one 1 in each row, and zeros elsewhere")
    return xp.argmax(x, axis=-1)

"""Sequences of unequal length: which steps of a padded batch count."""

from __future__ import annotations

import math
from typing import Any, List, NamedTuple, Union

from spikecore.api.core.engine import Engine
from spikecore.api.core.extras import TrainingOptions, extra
from spikecore.api.core.layer import ShapeError
from spikecore.api.core.words import Array

THIRD = "; of a batch (inputs, targets, lengths) these are the third entry: leave it out if it is something else"


class CheckedLengths(NamedTuple):
    """Lengths that ``checked_lengths`` has accepted, as an array (batch,) of the engine in its dtype.

    An engine that compiles a training step passes them to the loss: their values are not known while it traces.
    """

    array: Any


class Steps:
    """The steps of each sample that count: all, or the first ``lengths[i]`` of sample i.

    Args:
        engine: the engine of ``values``.
        values: (time, batch, ...).
        lengths: one whole number in [1, time] per sample (list or array); None, the default: all steps count. An engine
            passes ``CheckedLengths``, which are not checked again.

    Raises:
        ShapeError: there is not one length per sample.
        ValueError: a length is out of range, or not a whole number.
    """

    def __init__(self, engine: Any, values: Any, lengths: Any = None) -> None:
        self.engine, self.total = engine, int(values.shape[0])
        self.lengths: Union[None, List[int], CheckedLengths] = None
        if isinstance(lengths, CheckedLengths):
            self.lengths = lengths
        elif lengths is not None:
            self.lengths = checked_lengths(engine, lengths, self.total, values.shape[1])

    def counts(self, axes: int) -> Any:
        """The number of steps that count: one number, or an array (batch, 1, ..., 1) with ``axes`` axes."""
        if self.lengths is None:
            return float(self.total)
        array = self.lengths.array if isinstance(self.lengths, CheckedLengths) else self.engine.asarray(self.lengths)
        return self.engine.xp.reshape(array, (-1,) + (1,) * (axes - 1))

    def whole(self, rate: float) -> Any:
        """int(rate * number of steps): one number, or an array with one per sample, (batch, 1)."""
        if self.lengths is None:
            return int(self.total * rate)
        if isinstance(self.lengths, CheckedLengths):
            xp = self.engine.xp
            exact = xp.floor(xp.astype(self.lengths.array, "float64") * rate)  # rounded as the integers below
            return xp.expand_dims(xp.astype(exact, self.engine.dtype), axis=1)
        return self.engine.asarray([[int(n * rate)] for n in self.lengths])

    def counting(self, axes: int) -> Any:
        """Whether each step counts, a bool array (time, batch, 1, ..., 1) with ``axes`` axes; needs lengths."""
        ticks = self.engine.asarray(list(range(self.total)))
        xp = self.engine.xp
        return xp.reshape(ticks, (-1,) + (1,) * (axes - 1)) < xp.expand_dims(self.counts(axes - 1), axis=0)

    def kept(self, x: Array, other: float = 0.0) -> Any:
        """The values (time, batch, ...), with ``other`` at the steps that do not count."""
        if self.lengths is None:
            return x
        xp = self.engine.xp
        return xp.where(self.counting(x.ndim), x, xp.zeros_like(x) + other)

    def sum(self, x: Array) -> Any:
        """Sum over the steps that count."""
        return self.engine.xp.sum(self.kept(x), axis=0)

    def mean(self, x: Array) -> Any:
        """Mean over the steps that count."""
        if self.lengths is None:
            return self.engine.xp.mean(x, axis=0)
        return self.sum(x) / self.counts(x.ndim - 1)

    def last(self, x: Array) -> Any:
        """The last of the steps that count."""
        if self.lengths is None:
            return x[-1, ...]
        xp = self.engine.xp
        counting = xp.astype(self.counting(x.ndim), self.engine.dtype)
        following = xp.concat([counting[1:, ...], xp.zeros_like(counting[:1, ...])], axis=0)
        return xp.sum(xp.where(counting > following, x, xp.zeros_like(x)), axis=0)

    def max(self, x: Array) -> Any:
        """Maximum over the steps that count."""
        return self.engine.xp.max(self.kept(x, -math.inf), axis=0)


def checked_lengths(engine: Engine, lengths: Any, steps: int, batch: int) -> List[int]:
    """The lengths as a list, one for each of ``batch`` samples, in [1, ``steps``]; raises the errors of ``Steps``."""
    near = extra(engine, TrainingOptions).near(engine)
    array = near.to_numpy(near.asarray(lengths, dtype="float64") if isinstance(lengths, (list, tuple)) else lengths)
    if tuple(array.shape) != (batch,):
        hint = "; pass time_axis=1 if the inputs are (batch, time, *features)" if tuple(array.shape) == (steps,) else ""
        raise ShapeError(f"lengths have shape {tuple(array.shape)}, expected ({batch},): one per sample{hint}")
    values = array.tolist()
    for i, n in enumerate(values):
        if not 1 <= n <= steps or int(n) != n:
            raise ValueError(
                f"lengths[{i}] = {n} must be a whole number in [1, {steps}], the number of time steps{THIRD}"
            )
    return [int(n) for n in values]

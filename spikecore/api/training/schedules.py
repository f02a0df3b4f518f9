"""Learning-rate schedules: callables ``(epoch, epochs) -> factor`` of the optimiser's rate. Any function can be one.

A schedule counts the epochs of one ``fit``, from 0: each ``fit`` begins it anew, with a pretrained network, too, and
one that resumes another counts on. It changes the rate once per epoch, or with ``each = "step"`` before each update of
the weights: then ``epoch`` is a number such as 2.25, a quarter of the way through the third epoch. A schedule whose
``reads_history`` is True is called as ``(epoch, epochs, history)`` with the rows of the epochs that this ``fit`` has
done; its ``check_row`` looks at each new one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Mapping, Sequence

from spikecore.api.training.history import rises
from spikecore.arguments import Checked, Count
from spikecore.printing import Concise

Each = Literal["epoch", "step"]


class _Schedule(Concise, Checked):
    """Base of the schedules: checks, and the warm-up that all of them have."""

    each: Each = "epoch"
    warmup: int = 0

    def _require(self, fits: bool, text: str) -> None:
        """Refuse arguments; ``text`` says which and what they must be."""
        if self.each not in ("epoch", "step"):
            raise TypeError(f"{type(self).__name__}: each={self.each!r} must be 'epoch' or 'step'")
        if not fits:
            raise ValueError(f"{type(self).__name__}: {text}")

    def __call__(self, epoch: float, epochs: int) -> float:
        if epoch < self.warmup:
            return (epoch + 1) / (self.warmup + 1)
        return self.after_warmup(epoch - self.warmup, epochs - self.warmup)

    def after_warmup(self, epoch: float, epochs: int) -> float:
        """The factor in an epoch, counted from the end of the warm-up."""
        raise NotImplementedError


@dataclass(frozen=True)
class constant(_Schedule):
    """A constant learning rate: the factor is 1, after a linear warm-up in the ``fit``'s first epochs, if there is one.

    Args:
        warmup: epochs of linear warm-up, >= 0; default 0.
        each: when the rate changes: before each "epoch", the default, or each "step", an update of the weights.

    Raises:
        ValueError: an argument is out of range.
    """

    warmup: Count = 0
    each: Each = "epoch"

    def __post_init__(self) -> None:
        self._require(True, "")

    def after_warmup(self, epoch: float, epochs: int) -> float:
        return 1.0


@dataclass(frozen=True)
class step(_Schedule):
    """A step schedule: multiplies the learning rate by ``factor`` every ``every`` epochs of the ``fit``.

    Args:
        every: number of epochs, >= 1.
        factor: > 0; default 0.1.
        warmup: epochs of linear warm-up before, >= 0; default 0.
        each: when the rate changes: before each "epoch", the default, or each "step", an update of the weights. It
            matters for the warm-up alone.

    Raises:
        ValueError: an argument is out of range.
    """

    every: int
    factor: float = 0.1
    warmup: Count = 0
    each: Each = "epoch"

    def __post_init__(self) -> None:
        good = self.every >= 1 and self.factor > 0
        self._require(good, f"every={self.every!r} must be >= 1 and factor={self.factor!r} > 0")

    def after_warmup(self, epoch: float, epochs: int) -> float:
        return self.factor ** int(epoch // self.every)


@dataclass(frozen=True)
class exponential(_Schedule):
    """Exponential decay: factor ** epoch, counted from 0 in each ``fit``.

    Args:
        factor: of the learning rate from one epoch to the next, > 0; default 0.9.
        warmup: epochs of linear warm-up before, >= 0; default 0.
        each: when the rate changes: before each "epoch", the default, or each "step", an update of the weights.

    Raises:
        ValueError: an argument is out of range.
    """

    factor: float = 0.9
    warmup: Count = 0
    each: Each = "epoch"

    def __post_init__(self) -> None:
        self._require(self.factor > 0, f"factor={self.factor!r} must be > 0")

    def after_warmup(self, epoch: float, epochs: int) -> float:
        return float(self.factor**epoch)


@dataclass(frozen=True)
class cosine(_Schedule):
    """Cosine annealing: after a linear warm-up, half a cosine from 1 down to ``floor``, reached after the last epoch.

    The epochs are those of the ``fit``, so that each begins with the warm-up.

    Args:
        floor: last factor, in [0, 1]; default 0.
        warmup: epochs of linear warm-up, >= 0; default 0.
        each: when the rate changes: before each "epoch", the default, or each "step", an update of the weights.

    Raises:
        ValueError: an argument is out of range.

    Source: Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, ICLR 2017 (here without).
    """

    floor: float = 0.0
    warmup: int = 0
    each: Each = "epoch"

    def __post_init__(self) -> None:
        good = 0.0 <= self.floor <= 1.0 and self.warmup >= 0
        self._require(good, f"floor={self.floor!r} must be in [0, 1] and warmup={self.warmup!r} >= 0")

    def after_warmup(self, epoch: float, epochs: int) -> float:
        return _between(1.0, self.floor, epoch / max(1, epochs))


@dataclass(frozen=True)
class one_cycle(_Schedule):
    """One cycle in the epochs of the ``fit``: half a cosine from ``start`` up to 1, then half a cosine down to ``end``.

    The optimiser's learning rate is the highest. torch's ``OneCycleLR`` also changes the momentum; this does not.

    Args:
        peak: when the rate is highest, as a fraction of all epochs, in (0, 1); default 0.3.
        start: first factor, in [0, 1]; default 0.04.
        end: last factor, in [0, 1]; default 4e-6.
        each: when the rate changes: before each "step", an update of the weights, the default, or each "epoch".

    Raises:
        ValueError: an argument is out of range.

    Source: Smith and Topin, Super-convergence: very fast training of neural networks using large learning rates, 2018.
    """

    peak: float = 0.3
    start: float = 0.04
    end: float = 4e-6
    each: Each = "step"

    def __post_init__(self) -> None:
        good = 0.0 < self.peak < 1.0 and 0.0 <= self.start <= 1.0 and 0.0 <= self.end <= 1.0
        given = f"peak={self.peak!r} must be in (0, 1), start={self.start!r} and end={self.end!r}"
        self._require(good, f"{given} in [0, 1]")

    def after_warmup(self, epoch: float, epochs: int) -> float:
        progress = epoch / max(1, epochs)
        if progress < self.peak:
            return _between(self.start, 1.0, progress / self.peak)
        return _between(1.0, self.end, (progress - self.peak) / (1.0 - self.peak))


@dataclass(frozen=True)
class reduce_on_plateau(_Schedule):
    """Multiplies the learning rate by ``factor`` when a column of the history has not improved for some epochs.

    It is torch's ``ReduceLROnPlateau``. It reads the history of this ``fit``, of which one that resumes another is a
    part; where pruning has made the network sparser, it begins anew. It keeps nothing itself, so that a run which is
    interrupted and resumed continues as it would have.

    Args:
        factor: in (0, 1); default 0.1.
        patience: how many epochs without improvement are borne, >= 0; the next one reduces the rate. Default 10.
        monitor: a column of the history; default "val_loss".
        mode: "min" if the column should fall, "max" if it should rise; "auto", the default, means "min" for losses and
            "max" for accuracies.
        min_delta: smallest change that counts as an improvement, >= 0; default 0.
        cooldown: epochs after a reduction in which a lack of improvement does not count, >= 0; default 0.
        floor: smallest factor, in [0, 1]; default 0.

    Raises:
        KeyError: after the first epoch of a ``fit``: the history has no such column.
        ValueError: an argument is out of range, or ``mode`` is "auto" for a column that is neither.
    """

    factor: float = 0.1
    patience: Count = 10
    monitor: str = "val_loss"
    mode: Literal["min", "max", "auto"] = "auto"
    min_delta: float = 0.0
    cooldown: Count = 0
    floor: float = 0.0

    reads_history: ClassVar[bool] = True

    def __post_init__(self) -> None:
        good = 0.0 < self.factor < 1.0 and self.min_delta >= 0.0 and 0.0 <= self.floor <= 1.0
        given = f"factor={self.factor!r} must be in (0, 1), min_delta={self.min_delta!r} >= 0"
        self._require(good, f"{given} and floor={self.floor!r} in [0, 1]")
        rises("reduce_on_plateau", self.monitor, self.mode)

    def check_row(self, row: Mapping[str, Any]) -> None:
        """Refuse an epoch that lacks the column.

        Raises:
            KeyError: says what to do.
        """
        if row.get(self.monitor) is None:
            names = ", ".join(row)
            raise KeyError(f"reduce_on_plateau: no {self.monitor!r} in the history ({names}); pass validation=...")

    def __call__(self, epoch: float, epochs: int, history: Sequence[Mapping[str, Any]] = ()) -> float:
        sign = 1.0 if rises("reduce_on_plateau", self.monitor, self.mode) else -1.0
        best, waited, resting, reductions, sparsity = -math.inf, 0, 0, 0, 0.0
        for row in history:
            if row.get(self.monitor) is None:
                continue  # of the part before one that resumes; ``check_row`` looks at those of this call
            value, before, sparsity = sign * row[self.monitor], sparsity, row.get("sparsity", 0.0)
            best = -math.inf if sparsity > before else best  # fewer connections: what was before does not count
            best, waited = (value, 0) if value > best + self.min_delta else (best, waited + 1)
            if resting:
                resting, waited = resting - 1, 0
            if waited > self.patience:
                reductions, waited, resting = reductions + 1, 0, self.cooldown
        return float(max(self.floor, self.factor**reductions))


def _between(first: float, last: float, progress: float) -> float:
    """Half a cosine from ``first`` to ``last``."""
    return last + (first - last) * 0.5 * (1.0 + math.cos(math.pi * progress))

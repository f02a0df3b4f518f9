"""Callbacks, which ``fit`` calls after each epoch or step: any function of model and row, and ``EarlyStopping``."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Dict, Literal, Optional, Protocol, Tuple, Union

from spikecore.api.training.history import Row, rises
from spikecore.arguments import Checked, Size
from spikecore.printing import Concise

if TYPE_CHECKING:
    from spikecore.api.training.model import Model


class Schedule(Protocol):
    """The learning rate's factor in an epoch of a ``fit``, of all its epochs; see ``schedules.py``."""

    def __call__(self, epoch: Any, epochs: int, /) -> float: ...


class Callback(Protocol):
    """A function that ``fit`` calls after each epoch with the model and the epoch's row; True stops training.

    A callback with a method ``begin(model)`` is also told before the first epoch.
    """

    def __call__(self, model: Model, row: Row, /) -> Optional[bool]: ...


@dataclass(frozen=True)
class Step(Concise):
    """The report of ``fit`` on one update of the weights.

    Attributes:
        epoch: number of the epoch, from 1, as in the history.
        batch: how many batches of this epoch have been trained on, this one included.
        samples: how many samples of this epoch have been trained on.
        loss: mean loss of the batch, or of all batches that made the update; NaN where there is none, as with
            plasticity.
        metrics: means of the metrics, by column of the history.
        lr: the learning rate of the update.
        update: number of the update in its epoch, from 1.
    """

    epoch: int
    batch: int
    samples: int
    loss: float
    metrics: Dict[str, float]
    lr: float
    update: int


class StepCallback(Protocol):
    """A callback with a method that is called after each update of the weights; True stops training there."""

    def after_step(self, model: Model, step: Step, /) -> Optional[bool]: ...


Callbacks = Tuple[Union[Callback, StepCallback], ...]


@dataclass
class EarlyStopping(Concise, Checked):
    """Callback that ends training when a column of the history has not improved for ``patience`` epochs.

    It begins again with each ``fit`` that does not resume another. It also begins again if an epoch does not follow the
    last one (e.g. in a loop of your own with another model), or if the network has become sparser, as with ``Pruning``.
    Earlier weights are then not restored.

    Args:
        patience: epochs without improvement, >= 1; default 5.
        monitor: a column of the history; default "val_loss".
        min_delta: smallest change that counts as an improvement; default 0.
        restore_best: whether to restore the weights of the best epoch at the end; default True.
        mode: "min" if the column should fall, "max" if it should rise; "auto", the default, means "min" for losses and
            "max" for accuracies.

    Raises:
        KeyError: the history has no such column.
        ValueError: ``mode`` is something else, or "auto" for a column that is neither a loss nor an accuracy.
    """

    patience: Size = 5
    monitor: str = "val_loss"
    min_delta: float = 0.0
    restore_best: bool = True
    mode: Literal["min", "max", "auto"] = "auto"
    _best: Tuple[float, Any] = field(default=(float("-inf"), None), repr=False)
    _waited: int = field(default=0, repr=False)
    _epoch: int = field(default=0, repr=False)
    _sparsity: float = field(default=0.0, repr=False)

    def __post_init__(self) -> None:
        if self.mode != "auto":
            rises("EarlyStopping", self.monitor, self.mode)

    def begin(self, model: Model) -> None:
        """Forget what an earlier ``fit`` has seen; ``fit`` calls this before its first epoch."""
        if model.epochs_done == model.trainer.start.epochs:
            self._best, self._waited = (float("-inf"), None), 0

    def __call__(self, model: Model, row: Row) -> Optional[bool]:
        from spikecore.api.core.foreign import refuse_module

        refuse_module("EarlyStopping", model)
        if row.get(self.monitor) is None:
            raise KeyError(f"EarlyStopping: no {self.monitor!r} in the history ({', '.join(row)}); pass validation=...")
        following = self._epoch + 1
        self._epoch = row.get("epoch", following)
        before, self._sparsity = self._sparsity, row.get("sparsity", 0.0)
        if self._epoch != following or self._sparsity > before:
            self._best, self._waited = (float("-inf"), None), 0
        value = row[self.monitor] if rises("EarlyStopping", self.monitor, self.mode) else -row[self.monitor]
        if value > self._best[0] + self.min_delta:
            self._best, self._waited = (value, model.state() if self.restore_best else None), 0
            return None
        self._waited += 1
        if self._waited < self.patience:
            return None
        if self.restore_best and self._best[1] is None:
            message = f"EarlyStopping: {self.monitor} was never a number, so there are no best weights"
            warnings.warn(message, stacklevel=2)
        elif self.restore_best:
            model.load_state(self._best[1])
        return True

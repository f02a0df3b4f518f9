"""``Trainer``: what a model keeps of its training, between one call and the next."""

from __future__ import annotations

import functools
import threading
from contextlib import contextmanager
from copy import copy
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Callable, Dict, Iterator, Optional, Tuple, TypeVar, cast

from spikecore.api.core.executor import Executor
from spikecore.api.functional.loss import ce_rate_loss
from spikecore.api.learning.learning import Learning
from spikecore.api.training.evaluate import Average
from spikecore.api.training.executor import executor_from
from spikecore.api.training.optimizers import Adam, Optimizer
from spikecore.api.training.resuming import FitStart, check_resume, keeps_moments

if TYPE_CHECKING:
    from spikecore.api.training.model import Model


Function = TypeVar("Function", bound=Callable[..., Any])
_THREADS: Dict[int, int] = {}  # which thread trains which model now, both by their ``id``


def alone(function: Function) -> Function:
    """Decorator of a model's method: ``Trainer.alone``."""

    @functools.wraps(function)
    def inside(model: Model, *arguments: Any, **options: Any) -> Any:
        with model.trainer.alone():
            return function(model, *arguments, **options)

    return cast(Function, inside)


def settled() -> None:
    """Add nothing: no figures wait."""


@dataclass
class Trainer:
    """The last training of a model: its options, its progress, and the compiled executor.

    Attributes:
        optimizer, loss, metric, learning, time_axis: those of the last training; None, and the time axis 0, before it.
        sequence: steps of the first sequences that it saw; 0: there were none.
        unfinished: the epoch that was interrupted; None: there is none.
        settle: adds the figures to it that wait. Data may save or copy the model between two batches.
        start: what the model had done when its last ``fit`` began that did not resume another.
        compiled: the options with which the executor is compiled; None: not for training.
        held: the executor, which has the weights; None: there are none yet.
    """

    optimizer: Optional[Optimizer] = None
    loss: Any = None
    metric: Any = None
    learning: Optional[Learning] = None
    time_axis: int = 0
    sequence: int = 0
    unfinished: Optional[Average] = None
    settle: Callable[[], None] = field(default=settled, repr=False, compare=False)
    start: FitStart = FitStart()
    compiled: Optional[Dict[str, Any]] = None
    held: Optional[Executor] = field(default=None, repr=False, compare=False)

    @property
    def executor(self) -> Executor:
        """The executor, which has the weights.

        Raises:
            RuntimeError: there are no weights yet, since the shape of a sample is not known.
        """
        if self.held is None:
            raise RuntimeError("the model has no weights yet: pass input_shape=(...) to Model, or call it on data once")
        return self.held

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A context in which this thread alone may train the model.

        Raises:
            RuntimeError: another thread trains it already.
        """
        me = threading.get_ident()
        inner = _THREADS.get(id(self)) == me  # a callback trains the model that called it
        if _THREADS.setdefault(id(self), me) != me:  # in one go, even if two threads begin together
            raise RuntimeError("another thread trains this model: wait for it, or train a copy, copy.deepcopy(model)")
        try:
            yield
        finally:
            if not inner:
                del _THREADS[id(self)]

    def change(self, executor: Executor) -> None:
        """Train and run from now on by another executor, which has the weights."""
        self.executor.close()
        self.held = executor

    def copied(self, held: Optional[Executor] = None) -> Trainer:
        """A copy for another model with the executor ``held``, which is not compiled for training yet."""
        self.settle()
        unfinished = copy(self.unfinished)
        return replace(self, unfinished=unfinished, settle=settled, learning=None, compiled=None, held=held)

    def last_loss(self) -> Any:
        """The loss of the last update, before the first one ``ce_rate_loss()``."""
        return ce_rate_loss() if self.loss is None else self.loss

    def with_defaults(self, loss: Any, optimizer: Optional[Optimizer]) -> Tuple[Any, Optimizer]:
        """Loss and optimiser; instead of None those of the last update.

        Raises:
            TypeError: the loss is something else.
        """
        loss = self.last_loss() if loss is None else loss
        if not callable(loss) or isinstance(loss, type):
            raise TypeError(
                f"loss={loss!r} must be a callable (out, targets), e.g. spikecore.functional.ce_rate_loss()"
            )
        if optimizer is None:
            optimizer = Adam(lr=5e-4) if self.optimizer is None else self.optimizer
        return loss, optimizer

    def compile(self, model: Model, loss: Any, optimizer: Optimizer, resume: Optional[bool], **options: Any) -> None:
        """Compile the model's executor for a training.

        Args:
            model: the model, which has weights.
            loss, optimizer, resume: as for ``fit``.
            **options: further ones of the executor.

        Raises:
            ValueError: the training cannot be resumed, or an option is wrong.
        """
        state = self.executor.state()
        if resume:
            check_resume(self.unfinished, self.optimizer, optimizer)
        else:
            self.unfinished, state["lr"] = None, optimizer.lr
        if resume is False or not keeps_moments(self.optimizer, optimizer, state["params"]):
            state.update(optimizer={}, step=0, scaler=None)
            self.start = self.start._replace(updates=0)
        trained = optimizer.by_name(state["params"])
        frozen = [name for name, spec in trained.items() if spec is None]
        slots = {name: x for name, x in state["optimizer"].items() if name.rpartition(".")[0] not in frozen}
        state["optimizer"] = slots
        shape: Any = model.input_shape  # not None, since there are weights
        executor, _ = executor_from(model.network, model.engine, shape, state, loss, optimizer, **options)
        self.change(executor)
        self.optimizer, self.loss = optimizer, loss
        self.compiled = {"record": (), **options, "loss": loss, "optimizer": optimizer}

    def ready(self, model: Model, loss: Any, optimizer: Optimizer, **options: Any) -> Any:
        """The executor, compiled again only if an option has changed; options that are not given stay as they were."""
        before = {"window": None, "record": (), **(self.compiled or {})}
        wanted = {**before, "loss": loss, "optimizer": optimizer, **options}
        if self.compiled is None or not _same(before, wanted):
            unfinished = self.unfinished  # an update ends an interrupted epoch, a gradient does not
            rest = {name: value for name, value in wanted.items() if name not in ("loss", "optimizer")}
            self.compile(model, loss, optimizer, None, **rest)
            self.unfinished = unfinished
        self.optimizer = optimizer
        return self.executor


def _same(before: Dict[str, Any], wanted: Dict[str, Any]) -> bool:
    """Whether an executor compiled with the options ``before`` serves for ``wanted``: only the rate may differ."""
    if before.keys() != wanted.keys():
        return False
    a, b = before["optimizer"], wanted["optimizer"]
    if not (a is b or (type(a) is type(b) and {**vars(a), "lr": 0} == {**vars(b), "lr": 0} and not a.groups) or a == b):
        return False
    return all(before[name] is wanted[name] or before[name] == wanted[name] for name in wanted if name != "optimizer")

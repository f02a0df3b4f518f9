"""``Tracker``, the base of callbacks that log a training."""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence

from spikecore.api.core.extras import Processes, extra
from spikecore.api.core.foreign import refuse_module
from spikecore.api.training.history import Row
from spikecore.arguments import checked
from spikecore.files import json_text
from spikecore.installing import to_install
from spikecore.tracking.rows import numbers_of
from spikecore.tracking.sample import Sample, Seen

if TYPE_CHECKING:
    from spikecore import Model
    from spikecore.api.verification.report import Report


def writes(model: Model) -> bool:
    """Whether this process logs: of several processes that train one model together, only the first does."""
    return extra(model.engine, Processes).ranks().rank == 0 and os.environ.get("RANK", "0") == "0"


class Tracker:
    """Base of callbacks that log a training: pass them to ``Model.fit`` as ``callbacks``.

    It logs each row of the history; with a ``Sample`` firing rates and pictures; once the settings and the network's
    summary; the report of ``verify`` if you ask for it. A subclass sends the data to its place: it must define
    ``scalars``, and may define the methods after it. After each epoch all data are on the disk, or sent.

    A fit that continues an earlier one (``resume=True``, a model that was loaded) continues the log: missing rows are
    added, and none is written twice. A callback that saves the model should stand before the trackers. Of
    several processes that train one model, only the first logs: rank 0, by the engine and by ``$RANK``.

    A tracker is also a context manager, which closes the log at the end. Otherwise ``close`` does.

    Args:
        sample: samples whose rates and pictures are logged; None, the default: only the history.
        config: settings by name, which may nest, such as those of a run file; default: engine, seed, loss and
            optimiser of the model.

    Raises:
        TypeError: an argument is of another kind, or ``config`` holds what JSON has no word for.
    """

    @checked
    def __init__(self, *, sample: Optional[Sample] = None, config: Optional[Mapping[str, Any]] = None) -> None:
        try:
            json_text(config)
        except TypeError as error:  # not only when training begins
            raise TypeError(f"{type(self).__name__}: config {error}; it takes numbers, text, lists and dicts") from None
        self.sample, self.config = sample, config
        self._model: Optional[Model] = None  # whose log is open
        self._past: Sequence[Row] = ()  # rows that the log lacks
        self._rates: Dict[int, Row] = {}  # firing rates of the last of them
        self._last = 0  # the last epoch that is logged

    # ---- what a subclass writes ----

    def start(self, model: Model, past: Sequence[Row]) -> int:
        """Open the log. Called before the first row of a fit.

        Args:
            model: the model that is trained.
            past: the rows of the epochs that it has done before.

        Returns:
            how many rows of ``past``, from the first, are in the log; the others are then written. Default: all.
        """
        return len(past)

    def scalars(self, step: int, row: Row) -> None:
        """Log numbers.

        Args:
            step: the epoch, from 1.
            row: numbers by column: the history's, and firing rates.
        """
        raise NotImplementedError(f"{type(self).__name__} must write scalars(step, row)")

    def picture(self, step: int, name: str, png: bytes) -> None:
        """Log a picture; default: nothing.

        Args:
            step: the epoch.
            name: "raster" or "membranes".
            png: a PNG file.
        """

    def text(self, name: str, text: str) -> None:
        """Log a text; default: nothing.

        Args:
            name: "summary", "config" or "verify", or your own.
            text: lines for a font of fixed width.
        """

    def settings(self, config: Mapping[str, Any]) -> None:
        """Log the settings; default: the text "config", as JSON."""
        self.text("config", json_text(config, indent=2))

    def flush(self) -> None:
        """Write all logged data to its place, so that a killed process loses nothing; called after each epoch."""

    def stop(self, failed: bool) -> None:
        """Close the log.

        Args:
            failed: whether an exception ended the training.
        """

    # ---- what all have in common ----

    def begin(self, model: Model) -> None:
        """Open the log of a model; ``fit`` calls this before its first epoch.

        Raises:
            FileExistsError: the log is that of another training.
        """
        past = list(model.history)
        self._open(model, past)
        if self._past and self.sample is not None and model.trainer.executor.divided is None and writes(model):
            self._rates = {past[-1]["epoch"]: self.sample.seen(model, past[-1]).rates}  # the weights are those after it

    def __call__(self, model: Model, row: Row) -> Optional[bool]:
        """Log an epoch; ``fit`` calls this after each, and so may a loop of your own.

        Args:
            model: the model.
            row: numbers by column, such as a row of the history; "epoch" counts from 1.
        """
        refuse_module(type(self).__name__, model)
        together = model.trainer.executor.divided is not None  # divided weights take all ranks
        looks = self.sample is not None and (writes(model) or together)
        seen = self.sample.seen(model, row) if self.sample is not None and looks else Seen({}, {})
        if not writes(model):
            return None
        self._open(model, [before for before in model.history if before["epoch"] < row["epoch"]], row["epoch"])
        for before in self._past:
            self.scalars(before["epoch"], {**numbers_of(before), **self._rates.get(before["epoch"], {})})
        self.scalars(row["epoch"], {**numbers_of(row), **seen.rates})
        for name, png in seen.pictures.items():
            self.picture(row["epoch"], name, png)
        self._past, self._last = (), row["epoch"]
        self.flush()
        return None

    def report(self, model: Model, report: Report) -> None:
        """Log the report of ``verify``, with its table, as the text "verify".

        Args:
            model: the model that was verified.
            report: what ``verify`` returned.
        """
        if writes(model):
            if self._model is not model:
                self._open(model, list(model.history))
            self.text("verify", f"{report}\n\n{report.table()}\n")
            self.flush()

    def close(self) -> None:
        """Close the log. A later ``fit`` of the same model opens it again."""
        self._close(failed=False)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._close(failed=kind is not None)

    def _open(self, model: Model, past: Sequence[Row], epoch: Optional[int] = None) -> None:
        """Open the log, unless it is open, and ``epoch`` follows on what it has; default: the one after ``past``."""
        last = past[-1]["epoch"] if past else 0
        if not writes(model) or (self._model is model and last <= self._last < (epoch or last + 1)):
            return
        self._close(failed=False)
        held = self.start(model, past)
        self._model, self._past, self._last = model, past[held:], last
        if not held:
            self.settings(settings_of(model) if self.config is None else self.config)
            self.text("summary", model.summary())
            self.flush()

    def _close(self, failed: bool) -> None:
        if self._model is not None:
            self._model = None
            self.stop(failed)


def needed(tracker: str, module: str, extra: str) -> Any:
    """The module of a package that a tracker needs.

    Args:
        tracker: name of the tracker.
        module: dotted name of the module.
        extra: the extra of this package that brings it.

    Raises:
        ImportError: it is missing; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(f"tracking.{tracker} needs the package {package}: {to_install(extra)} ({error})") from error


def settings_of(model: Model) -> Dict[str, Any]:
    """Engine, seed, loss and optimiser of a model, as text and numbers."""
    said = {"engine": model.engine, "loss": model.trainer.loss, "optimizer": model.trainer.optimizer}
    return {"seed": model.seed, **{name: repr(value) for name, value in said.items()}}

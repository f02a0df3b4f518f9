"""``MLflow``: a run in an MLflow tracking store."""

from __future__ import annotations

import hashlib
import io
import math
import sqlite3
import sys
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any, Dict, Iterator, List, Mapping, Optional, Sequence, Tuple

from spikecore.arguments import PathLike, checked
from spikecore.files import json_text, make_once
from spikecore.tracking.rows import continued
from spikecore.tracking.sample import RATE, Sample
from spikecore.tracking.tracker import Tracker, needed

if TYPE_CHECKING:
    from spikecore import Model
    from spikecore.api.training.history import Row

FIRST_EPOCH = "spikecore.first_epoch"  # a tag of the run: the digest of its first row, by which a resumed fit finds it
SQLITE = "sqlite:///"
MOST_PARAMS, LONGEST_PARAM = 100, 6000  # in one request, and in characters: limits of MLflow


class MLflow(Tracker):
    """Tracker that writes a run into an MLflow store.

    Every column of the history is a metric of that name, in 64-bit floats, with the epoch as its step. Settings are
    parameters with dotted names. Texts and pictures are artifacts. A fit that continues an earlier one continues in the
    run of that fit, which it finds in the experiment by the first epoch. Needs the extra ``mlflow``.

    Args:
        experiment: name of the experiment, which is made if there is none; default "spikecore".
        uri: the store, e.g. "sqlite:///mlflow.db" or the address of a server. None, the default: MLflow's own choice,
            for which it reads ``$MLFLOW_TRACKING_URI``.
        artifacts: address of the folder for texts and pictures of an experiment that is made; None, the default:
            MLflow's own choice.
        name: of the run; None, the default, lets MLflow draw one.
        run_id: a run that your program has started, to write into; None, the default, makes one.
        sample: as in ``Tracker``.
        config: as in ``Tracker``.

    Raises:
        ImportError: the package mlflow is missing.
        FileExistsError: when training begins: ``run_id`` is the run of another training.
        OSError: when training begins: the database in a file is half made.
    """

    @checked
    def __init__(
        self,
        experiment: str = "spikecore",
        uri: Optional[str] = None,
        *,
        artifacts: Optional[PathLike] = None,
        name: Optional[str] = None,
        run_id: Optional[str] = None,
        sample: Optional[Sample] = None,
        config: Optional[Mapping[str, Any]] = None,
    ) -> None:
        super().__init__(sample=sample, config=config)
        needed("MLflow", "mlflow", "mlflow")
        self.experiment, self.uri, self.artifacts, self.name, self.run_id = experiment, uri, artifacts, name, run_id
        self._client: Any = None
        self._run = ""  # the id of the run
        self._new = False  # whether the run has no rows yet

    def __repr__(self) -> str:
        return f"MLflow({self.experiment!r}, {self.uri!r})"

    def start(self, model: Model, past: Sequence[Row]) -> int:
        from mlflow import MlflowClient, get_tracking_uri

        uri = get_tracking_uri() if self.uri is None else self.uri
        file = file_of(uri)
        if file is not None:
            make_once(file, lambda draft: _make(uri.replace(file, str(draft), 1)))  # MLflow takes seconds to do so
        try:
            self._client = MlflowClient(tracking_uri=uri)
            self._run, count = self._found(past)
        except Exception as error:
            if file is None or not half_made(file):
                raise
            raise OSError(
                f"{file}: its tables are incomplete: a process was killed while MLflow made them, so there are no runs "
                "in it. Delete the file and go on in a new process, which makes it anew and logs all epochs"
            ) from error
        self._new = not count
        if self.run_id is None:
            self._client.update_run(self._run, status="RUNNING")
        return count

    def _found(self, past: Sequence[Row]) -> Tuple[str, int]:
        """The id of the run to write into, and how many rows of ``past`` it has."""
        if self.run_id is not None:
            count = continued(self._held(self.run_id), past, finite)
            if count is None:
                raise FileExistsError(f"run_id={self.run_id!r} has epochs of another training: give another run")
            return self.run_id, count
        number = self._number()
        tagged = f"tags.`{FIRST_EPOCH}` = '{digest(past[0])}'" if past else ""
        for run in self._client.search_runs([number], tagged) if past else ():
            held = self._held(run.info.run_id)
            count = continued(held, past, finite)
            if count and not set(held) - {row["epoch"] for row in past}:  # a metric that was logged stays
                return run.info.run_id, count
        return self._client.create_run(number, run_name=self.name).info.run_id, 0

    def _number(self) -> str:
        """The experiment's number; it is made if there is none."""
        from mlflow.exceptions import MlflowException

        found = self._client.get_experiment_by_name(self.experiment)
        if found is None:
            place = None if self.artifacts is None else str(self.artifacts)
            try:
                return str(self._client.create_experiment(self.experiment, artifact_location=place))
            except MlflowException:
                found = self._client.get_experiment_by_name(self.experiment)
                if found is None:  # another process has not made it in the meantime
                    raise
        return str(found.experiment_id)

    def _held(self, run: str) -> Dict[int, Row]:
        """The metrics of a run, by epoch."""
        rows: Dict[int, Row] = {}
        for name in self._client.get_run(run).data.metrics:
            for metric in self._client.get_metric_history(run, name):
                rows.setdefault(metric.step, {})[name] = metric.value
        return rows

    def settings(self, config: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)[:LONGEST_PARAM]) for name, value in flat(config)]
        for first in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(self._run, params=params[first : first + MOST_PARAMS])
        super().settings(config)

    def scalars(self, step: int, row: Row) -> None:
        from mlflow.entities import Metric

        if self._new:
            self._client.set_tag(self._run, FIRST_EPOCH, digest(row))
            self._new = False
        now = int(1000 * time.time())
        self._client.log_batch(self._run, metrics=[Metric(name, value, now, step) for name, value in row.items()])

    def picture(self, step: int, name: str, png: bytes) -> None:
        from PIL import Image  # which matplotlib brings

        self._client.log_image(self._run, Image.open(io.BytesIO(png)), f"{name}/{step:04d}.png")

    def text(self, name: str, text: str) -> None:
        self._client.log_text(self._run, text, f"{name}.txt")

    def stop(self, failed: bool) -> None:
        if self.run_id is None:
            self._client.set_terminated(self._run, "FAILED" if failed else "FINISHED")


def file_of(uri: str) -> Optional[str]:
    """The file of an SQLite database; None if the store is something else."""
    file = uri[len(SQLITE) :].partition("?")[0]
    return file if uri.startswith(SQLITE) and file not in ("", ":memory:") else None


def _make(uri: str) -> None:
    """Have MLflow make its tables in an SQLite file."""
    from mlflow import MlflowClient

    MlflowClient(tracking_uri=uri).search_experiments()


def half_made(file: str) -> bool:
    """Whether an SQLite database has no experiment: MLflow makes the first one when all tables are there."""
    with closing(sqlite3.connect(file)) as database:
        try:
            return database.execute("SELECT count(*) FROM experiments").fetchone() == (0,)
        except sqlite3.OperationalError:
            return True


def finite(value: float) -> float:
    """A number as MLflow keeps it in a database."""
    return value if math.isnan(value) else max(-sys.float_info.max, min(sys.float_info.max, value))


def digest(row: Row) -> str:
    """A short text that tells a row of a history from others; it has the times in it."""
    own = {name: value for name, value in row.items() if isinstance(value, (int, float)) and not name.startswith(RATE)}
    return hashlib.sha256(json_text(own).encode()).hexdigest()[:32]


def flat(config: Any, path: str = "") -> Iterator[Tuple[str, Any]]:
    """The single values in nested dicts and lists, with dotted names."""
    parts: List[Tuple[Any, Any]] = []
    if isinstance(config, Mapping):
        parts = list(config.items())
    elif isinstance(config, (list, tuple)):
        parts = list(enumerate(config))
    else:
        yield path, config
    for name, value in parts:
        yield from flat(value, f"{path}.{name}" if path else str(name))

"""Sweeps whose trials are in a database that ``--storage`` names. tests/hosts does it with a server, and kills it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)
pytest.importorskip("optuna", reason="Optuna is not installed (extra sweep)")

from spikecore.cli import sweep_database  # noqa: E402
from spikecore.cli.exit_codes import USAGE  # noqa: E402
from tests.cli.sweep_files import written  # noqa: E402


def test_a_sweep_in_a_database_of_its_own(spikecore, tmp_path):
    """The directory says where the trials are, and that sweep is continued and joined there, and nowhere else."""
    import optuna

    url = f"sqlite:///{tmp_path}/elsewhere.db"
    files = written(tmp_path)
    code, _, error = spikecore("sweep", *files, "-n", 2, "--out", "out", "--storage", url)
    assert code == 0, error
    assert not Path("out", sweep_database.DATABASE).exists()
    where = json.loads(Path("out", sweep_database.WHERE).read_text())
    assert where["url"] == url
    study = optuna.load_study(study_name=where["study"], storage=url)
    assert [trial.number for trial in study.trials] == [0, 1]
    code, _, error = spikecore("sweep", "out", "--resume", "-n", 3)
    assert code == 0, error
    assert len(optuna.load_study(study_name=where["study"], storage=url).trials) == 3
    other = f"sqlite:///{tmp_path}/other.db"
    code, _, error = spikecore("sweep", *files, "-n", 3, "--out", "out", "--join", "--storage", other)
    assert code == USAGE
    assert f"--storage {other}: out began with {url}" in " ".join(error.split())
    code, _, error = spikecore("sweep", *files, "-n", 2, "--out", "second", "--storage", url)
    assert code == 0, error  # one database holds many sweeps
    assert json.loads(Path("second", sweep_database.WHERE).read_text())["study"] != where["study"]


@pytest.mark.parametrize(
    "url", ["postgresql://me:hush1@host/name", "postgresql://me@host/name?password=hush1", "me:hush1@host"]
)
def test_a_password_in_a_url_is_refused_and_not_repeated(spikecore, tmp_path, url):
    code, said, error = spikecore("sweep", *written(tmp_path), "--out", "out", "--storage", url)
    assert code == USAGE
    assert "--storage: " in error
    assert "hush1" not in said + error
    assert not Path("out").exists()
    assert "PGPASSWORD" in error or "postgresql://user@host/name" in error


WHERE = sweep_database.Database("postgresql://me@host/name", "study")


class Server:
    """A function of a database that is away for some calls."""

    def __init__(self, *errors):
        self.errors = list(errors)

    def __call__(self):
        if self.errors:
            raise self.errors.pop(0)
        return "answer"


def internal(text="server closed the connection", kind="OperationalError"):
    """What Optuna raises for an error of the driver."""
    import sqlalchemy.exc
    from optuna.exceptions import StorageInternalError

    error = StorageInternalError("An exception is raised during the commit.")
    error.__cause__ = getattr(sqlalchemy.exc, kind)("select 1", {}, RuntimeError(text))
    return error


def test_what_a_restarted_server_could_not_do_is_done_again(monkeypatch):
    from optuna.exceptions import UpdateFinishedTrialError
    from sqlalchemy.exc import PendingRollbackError

    monkeypatch.setattr(sweep_database, "PAUSE", 0.0)
    assert sweep_database.patient(Server(internal(), internal().__cause__, internal()), WHERE)() == "answer"
    half = internal()
    half.__cause__ = PendingRollbackError("a transaction was cut off")
    assert sweep_database.patient(Server(half, half.__cause__), WHERE)() == "answer"
    told = sweep_database.patient(Server(internal(), UpdateFinishedTrialError()), WHERE)
    assert told() is True  # it had been stored, and the answer was lost
    with pytest.raises(UpdateFinishedTrialError):
        sweep_database.patient(Server(UpdateFinishedTrialError()), WHERE)()


@pytest.mark.parametrize(
    ("error", "away"),
    [(internal(), 0.0), (internal("password authentication failed"), 60.0), (internal("too long", "DataError"), 60.0)],
    ids=["away for too long", "refused", "another error"],
)
def test_what_waiting_does_not_help_ends_at_once(monkeypatch, error, away):
    monkeypatch.setattr(sweep_database, "AWAY", away)
    monkeypatch.setattr(sweep_database, "PAUSE", 0.01)
    why = str(error.__cause__.orig)
    with pytest.raises(ConnectionError, match=f"postgresql://me@host/name of the sweep: {why}"):
        sweep_database.patient(Server(*[error] * 100), WHERE)()

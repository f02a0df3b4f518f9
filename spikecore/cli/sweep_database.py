"""Where Optuna stores the trials of a sweep: a file in the directory of the sweep, or a database server.

A server may be restarted, and a connection to it may break. What was to be done is then done again, for a minute. No
password is ever written: the database's own library takes it from the environment.
"""

from __future__ import annotations

import functools
import json
import secrets
import time
from pathlib import Path
from typing import Any, Callable, NamedTuple, Optional

from spikecore.cli.messages import ConfigError
from spikecore.files import json_text, write_atomically

DATABASE, WHERE, STUDY = "sweep.db", "storage.json", "sweep"
AWAY = 60.0  # seconds that a server may be away
PAUSE = 0.5  # seconds between two attempts
#: Methods without a public name that Optuna's cache calls.
CACHED = "_create_new_trial _get_trials _set_trial_param _get_best_trial_id".split()
#: What psycopg is to do about a server whose machine vanishes: notice it in half a minute.
VANISHING = {"connect_timeout": 10, "keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 5}


class Database(NamedTuple):
    """A database, by the URL that Optuna takes, and the name of the sweep's study in it."""

    url: str
    study: str


def database_in(directory: Path) -> Database:
    """The database of the sweep in a directory."""
    path = directory / WHERE
    if path.exists():
        return Database(**json.loads(path.read_text(encoding="utf-8")))
    return Database(f"sqlite:///{(directory / DATABASE).absolute()}", STUDY)


def choose(directory: Path, url: Optional[str]) -> None:
    """Write down that a new sweep stores its trials at ``url``; None: in its directory."""
    if url is None:
        (directory / WHERE).unlink(missing_ok=True)
        return
    where = Database(url, f"{directory.name}-{secrets.token_hex(4)}")  # one server may have many sweeps
    write_atomically(directory / WHERE, (json_text(where._asdict(), indent=2) + "\n").encode())


def check_url(url: Optional[str]) -> None:
    """Refuse a URL with a password, and one that names no database.

    Raises:
        ConfigError: says where the password belongs.
    """
    if url is None:
        return
    from sqlalchemy.engine import make_url  # a requirement of Optuna
    from sqlalchemy.exc import ArgumentError

    try:
        parts = make_url(url)
    except ArgumentError:  # its message would show what may be a password
        raise ConfigError(["--storage: is no URL of a database, such as postgresql://user@host/name"]) from None
    if parts.password is not None or "password" in parts.query:
        raise ConfigError(
            [
                "--storage: a password in a URL can be read by others in the list of processes. Leave it out, "
                f"{parts.set(password=None, query={}).render_as_string()}, and set PGPASSWORD or PGPASSFILE in the "
                "environment"
            ]
        )


def connected(where: Database) -> Any:
    """Optuna's storage in a database.

    Raises:
        ConfigError: the Python package that speaks to this database is missing.
        ConnectionError: it cannot be reached.
    """
    from optuna.storages import RDBStorage
    from sqlalchemy.engine import make_url

    url = make_url(where.url)
    if url.get_backend_name() == "sqlite":  # a file is never away
        return RDBStorage(where.url, engine_kwargs={"connect_args": {"timeout": 2 * AWAY}})

    class PatientStorage(RDBStorage):
        """The same storage, each of whose methods waits until the server is back."""

    for name, method in vars(RDBStorage).items():
        if callable(method) and (name in CACHED or not name.startswith("_")):
            setattr(PatientStorage, name, patient(method, where))
    options: Any = {"pool_pre_ping": True}
    if url.get_driver_name() in ("psycopg", "psycopg2"):
        options["connect_args"] = {**VANISHING, "tcp_user_timeout": 30000}
    try:
        return patient(PatientStorage, where)(where.url, engine_kwargs=options)
    except ImportError:
        driver = url.get_driver_name()
        package = {"psycopg": '"psycopg[binary]"', "psycopg2": "psycopg2-binary"}.get(driver, driver)
        raise ConfigError([f"--storage {where.url}: needs {driver}, which is missing: pip install {package}"]) from None


def patient(function: Callable[..., Any], where: Database) -> Callable[..., Any]:
    """A function that is called again as long as the database does not answer, for at most ``AWAY`` seconds.

    Raises:
        ConnectionError: in place of what Optuna raises, after that time.
    """
    from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
    from optuna.storages import RDBStorage
    from sqlalchemy.exc import SQLAlchemyError

    @functools.wraps(function, updated=())
    def call(*arguments: Any, **options: Any) -> Any:
        end, again = time.monotonic() + AWAY, False
        while True:
            try:
                return function(*arguments, **options)
            except UpdateFinishedTrialError:
                if again:  # the first attempt has stored it, and the answer was lost
                    return True
                raise
            except (StorageInternalError, SQLAlchemyError) as error:
                cause = error.__cause__ if isinstance(error, StorageInternalError) else error
                if time.monotonic() > end or not _lost(cause):
                    why = str(getattr(cause, "orig", None) or cause).strip().splitlines()[0]
                    raise ConnectionError(f"the database {where.url} of the sweep: {why}") from None
                again = True
                for storage in (one for one in arguments[:1] if isinstance(one, RDBStorage)):
                    RDBStorage.remove_session(storage)  # it may hold a transaction that was cut off
                time.sleep(PAUSE)

    return call


def _lost(cause: Any) -> bool:
    """Whether an error of SQLAlchemy is one of the connection, or of a server that starts or ends."""
    from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError

    kinds = (OperationalError, InterfaceError, PendingRollbackError)
    lost = isinstance(cause, kinds) or getattr(cause, "connection_invalidated", False)
    return lost and not ("password" in str(cause) or "does not exist" in str(cause))  # waiting does not help there

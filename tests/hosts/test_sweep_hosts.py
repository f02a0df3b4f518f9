"""A sweep of eight workers on two hosts, with its trials on a PostgreSQL server; workers and server are killed."""

from __future__ import annotations

import os
import random
import signal
import sys

import pytest

from tests import ROOT

for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)
pytest.importorskip("optuna", reason="Optuna is not installed (extra sweep)")
pytest.importorskip("psycopg", reason="PostgreSQL's driver is not installed: pip install 'psycopg[binary]'")

from tests.cli.sweep_files import SPACE, written  # noqa: E402
from tests.cli.test_sweep import table  # noqa: E402
from tests.hosts.database import PASSWORD, programs, server  # noqa: E402
from tests.hosts.network import absent, gone, network, waited  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.hosts]
PATH = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
TRIALS, WORKERS, KILLS, RESTARTS = 100, 8, 5, 2


@pytest.fixture(autouse=True)
def _hosts_and_database():
    why = absent() or ("" if programs() else "no PostgreSQL: install postgresql")
    if why:
        pytest.skip(why)


def finished(folder):
    path = folder / "big" / "trials.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def worker(host, url, folder, name):
    """One process of the sweep, as srun starts it."""
    words = "-m spikecore sweep run.toml space.toml --join --out big --trials".split()
    environment = {"PYTHONPATH": PATH, "OMP_NUM_THREADS": 1, "SPIKECORE_BACKGROUND": 0, "PGPASSWORD": PASSWORD}
    command = [sys.executable, *words, str(TRIALS), "--storage", url]
    return host.start(command, folder / f"{name}.txt", folder, **environment)


def test_hundred_trials_while_workers_and_the_database_are_killed(tmp_path):
    """100 are finished, none twice, none failed; the password is in no file and in nothing that was printed."""
    written(tmp_path, SPACE)
    draw = random.Random(3)
    with network(2, "1gbit") as hosts, server(hosts[0]) as database:
        workers = [(hosts[n % 2], worker(hosts[n % 2], database.url, tmp_path, f"worker{n}")) for n in range(WORKERS)]

        def said():
            return [path.read_text() for path in sorted(tmp_path.glob("worker*.txt"))] + [database.log.read_text()]

        def any_ended():
            return any(process.poll() is not None for _, process in workers)

        def replace(host, process):
            workers.remove((host, process))
            workers.append((host, worker(host, database.url, tmp_path, f"worker{WORKERS + kills}")))

        kills, restarts = 0, 0
        steps = [12 * (n + 1) for n in range(KILLS + RESTARTS)]
        for number, count in enumerate(steps):
            waited(lambda count=count: finished(tmp_path) >= count or any_ended(), 400, said)
            assert not any_ended(), said()
            if number in (2, 5):
                database.end((signal.SIGQUIT, signal.SIGINT)[restarts])
                assert not any_ended(), said()
                restarts += 1
                database.start()
            else:
                host, process = draw.choice(workers)
                process.kill()  # ip and unshare have become the command, which is one process
                process.wait()
                kills += 1
                replace(host, process)
        for _, process in workers:
            process.wait(400)
        assert (kills, restarts) == (KILLS, RESTARTS)
        assert {process.returncode for _, process in workers} == {0}, said()
        states = database.query("select state, count(*) from trials group by state")
        numbers = database.query("select number from trials order by number")
        everything = "\n".join(said())
        assert gone([hosts[1]], 10) is not None
    assert states == [f"COMPLETE|{TRIALS}"], states
    assert numbers == [str(number) for number in range(TRIALS)]
    rows = table(tmp_path / "big")
    assert [row["trial"] for row in rows] == numbers
    assert {row["state"] for row in rows} == {"complete"}
    assert {row["epochs"] for row in rows} == {"2"}  # a trial that was killed went on, and did not begin anew
    assert (tmp_path / "big" / "best.toml").exists()
    files = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(PASSWORD.encode() in content for content in files)
    assert PASSWORD not in everything

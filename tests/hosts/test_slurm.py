"""``spikecore submit`` on a SLURM cluster of two nodes: jobs are pushed out, their time is over, users end them."""

from __future__ import annotations

import json
import sys

import pytest

pytest.importorskip("torch")
for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)

import numpy as np  # noqa: E402

from tests.cli.test_parallel import weights  # noqa: E402
from tests.hosts.network import absent, network, waited  # noqa: E402
from tests.hosts.slurm import absent_slurm, cluster  # noqa: E402
from tests.hosts.training import RUN, environment  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.hosts]
#: A slow link makes a training of so many epochs last a minute, and takes no core: SLURM looks every 30 s at the times.
EPOCHS, RATE = 45, "1mbit"
START, END = 600, 600  # seconds until a job has saved an epoch, and from there to its end
#: A folder whose name a shell must quote.
PLACE = "my runs"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder that all nodes share, with a run file."""
    why = absent() or absent_slurm()
    if why:
        pytest.skip(why)
    where = tmp_path_factory.mktemp("shared")
    (where / "run.toml").write_text(RUN)
    return where


@pytest.fixture(scope="module")
def slurm(folder):
    """The cluster; its first run is one that nothing disturbs."""
    with network(2, RATE) as hosts, cluster(hosts) as one:
        yield one


def submitted(slurm, folder, run, *options, time="10"):
    """Submit a run to both nodes; returns the job's number."""
    words = [sys.executable, "-m", "spikecore", "submit", run, "--nodes", 2, "--time", time, "--json", *options]
    return json.loads(slurm.call(*words, cwd=folder, **environment()))["job"]


def begun(slurm, folder, name, *options, **more):
    """A job that has saved its first epoch."""
    changes = ("--set", f"train.epochs={EPOCHS}", "--out", f"{PLACE}/{name}")
    job = submitted(slurm, folder, "run.toml", *changes, *options, **more)
    waited(lambda: epochs(folder, name), START, lambda: said(slurm, folder, name))
    return job


def epochs(folder, name):
    history = folder / PLACE / name / "history.jsonl"
    return len(history.read_text().splitlines()) if history.exists() else 0


def said(slurm, folder, name):
    log = folder / PLACE / f"{name}.txt"
    return (log.read_text() if log.exists() else "") + slurm.said()


def ended(slurm, job, state, seconds, what):
    waited(lambda: slurm.state(job)[0] == state, seconds, what)


@pytest.fixture(scope="module")
def undisturbed(slurm, folder):
    """The weights of a job that nothing disturbs."""
    job = begun(slurm, folder, "whole")
    ended(slurm, job, "COMPLETED", END, lambda: said(slurm, folder, "whole"))
    assert slurm.state(job) == ("COMPLETED", 0)
    return weights(folder / PLACE / "whole" / "model.safetensors")


def same(folder, name, undisturbed):
    found = weights(folder / PLACE / name / "model.safetensors")
    assert epochs(folder, name) == EPOCHS
    return all(np.array_equal(found[key], x) for key, x in undisturbed.items())


def test_a_job_that_is_pushed_out_continues_and_ends_with_the_same_bits(slurm, folder, undisturbed):
    """A job of higher priority takes both nodes; the first one saves within the time of grace, and begins again."""
    job = begun(slurm, folder, "pushed")
    urgent = slurm.call("sbatch", "--parsable", "-p", "high", "-N", 2, "--wrap", "srun hostname", cwd=folder).strip()
    ended(slurm, urgent, "COMPLETED", END, lambda: said(slurm, folder, "pushed"))
    done = epochs(folder, "pushed")
    assert done < EPOCHS
    ended(slurm, job, "COMPLETED", END + START, lambda: said(slurm, folder, "pushed"))
    print(f"\npushed out after {done} of {EPOCHS} epochs")
    assert slurm.state(job) == ("COMPLETED", 1)
    assert "are saved. To continue" in said(slurm, folder, "pushed")
    assert same(folder, "pushed", undisturbed)


def test_a_job_whose_time_ends_begins_again(slurm, folder, undisturbed):
    """SLURM sends SIGTERM before the end of the time; the job saves, and queues itself again."""
    job = begun(slurm, folder, "late")
    slurm.call("scontrol", "update", f"JobId={job}", "TimeLimit=1")
    waited(lambda: slurm.state(job)[1] == 1, END, lambda: said(slurm, folder, "late"))
    slurm.call("scontrol", "update", f"JobId={job}", "TimeLimit=10")
    done = epochs(folder, "late")
    assert done < EPOCHS
    ended(slurm, job, "COMPLETED", END + START, lambda: said(slurm, folder, "late"))
    print(f"\ntime over after {done} of {EPOCHS} epochs")
    assert same(folder, "late", undisturbed)


def test_a_job_that_its_user_ends_stays_ended_and_can_be_submitted_again(slurm, folder, undisturbed):
    job = begun(slurm, folder, "ended")
    slurm.call("scancel", job)
    ended(slurm, job, "CANCELLED", END, lambda: said(slurm, folder, "ended"))
    assert slurm.call("squeue", "--noheader") == ""
    assert epochs(folder, "ended") < EPOCHS
    again = submitted(slurm, folder, f"{PLACE}/ended")
    ended(slurm, again, "COMPLETED", END + START, lambda: said(slurm, folder, "ended"))
    assert same(folder, "ended", undisturbed)

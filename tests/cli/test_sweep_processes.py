"""Sweeps in several processes, killed ones among them: real signals to real processes."""

from __future__ import annotations

import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)
pytest.importorskip("optuna", reason="Optuna is not installed (extra sweep)")
if os.name == "nt":
    pytest.skip("signals as POSIX has them", allow_module_level=True)

from tests import ROOT  # noqa: E402
from tests.cli.sweep_files import SPACE, written  # noqa: E402
from tests.cli.test_sweep import begun, table  # noqa: E402

pytestmark = pytest.mark.slow
PRUNING = SPACE.replace('"none"', '"median"').replace("epochs = 2", "epochs = 4")


def started(*words, cwd):
    """The command line in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environment.pop("SPIKECORE_ENGINE", None)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cli.without_pictures", *map(str, words)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a shell's background jobs ignore SIGINT, and their children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def finished(directory):
    path = Path(directory) / "trials.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def waited(ready, seconds=120):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end, "this takes too long"
        time.sleep(0.02)


def ended(process):
    said, error = process.communicate(timeout=240)
    return process.returncode, said, error


def alive(directory):
    """The processes of Linux that work in the sweep."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(directory).encode() in path.read_bytes():
                found.append(int(path.parent.name))
        except OSError:
            continue
    return found


def whole(directory, trials):
    """Nothing is lost, and nothing is there twice."""
    rows = table(directory)
    assert [row["trial"] for row in rows] == [str(number) for number in range(trials)]
    assert {row["state"] for row in rows} <= {"complete", "pruned"}
    assert len({row["train.optimizer.lr"] for row in rows}) == trials
    assert sorted(path.name for path in Path(directory).glob("trials/*")) == [f"{n:03d}" for n in range(trials)]
    return rows


def test_a_sweep_that_is_killed_at_trial_7_and_resumed(tmp_path):
    """Its 20 trials are those of a sweep that nobody kills, pruned ones included."""
    written(tmp_path, PRUNING)
    options = ("sweep", "run.toml", "space.toml", "-n", 20, "--out")
    assert ended(started(*options, "whole", cwd=tmp_path))[0] == 0
    process = started(*options, "killed", cwd=tmp_path)
    history = tmp_path / "killed" / "trials" / "007" / "history.jsonl"
    waited(lambda: history.exists() or process.poll() is not None)
    process.kill()
    assert ended(process)[0] == -signal.SIGKILL
    done = finished(tmp_path / "killed")
    assert done in (7, 8)  # trial 7 may have ended in the meantime
    code, said, error = ended(started(*options, "killed", "--resume", cwd=tmp_path))
    assert code == 0, error
    assert [int(number) for number in re.findall(r"trial (\d+):", said)] == list(range(done, 20))
    assert whole(tmp_path / "killed", 20) == table(tmp_path / "whole")
    assert any(row["state"] == "pruned" for row in table(tmp_path / "killed"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_says_how_to_continue_and_that_works(tmp_path, number):
    written(tmp_path)
    process = started("sweep", "run.toml", "space.toml", "-n", 6, "--jobs", 2, "--out", "a sweep", cwd=tmp_path)
    waited(lambda: finished(tmp_path / "a sweep") >= 1 or process.poll() is not None)
    process.send_signal(number)
    code, _, error = ended(process)
    assert code == 130, error
    assert "Traceback" not in error
    found = re.search(r"interrupted: (\d) of 6 trials are done. To continue: spikecore sweep 'a sweep' --resume", error)
    assert found, error
    assert int(found[1]) < 6
    assert ended(started("sweep", "a sweep", "--resume", "--jobs", 2, cwd=tmp_path))[0] == 0
    whole(tmp_path / "a sweep", 6)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="processes are found in /proc")
def test_workers_end_with_the_process_that_started_them(tmp_path):
    written(tmp_path)
    out = tmp_path / "out"
    process = started("sweep", "run.toml", "space.toml", "-n", 40, "--jobs", 2, "--out", out, cwd=tmp_path)
    waited(lambda: finished(out) >= 2 or process.poll() is not None)
    assert len(alive(out)) == 3
    process.kill()
    process.stdout.close()
    process.stderr.close()
    process.wait()
    waited(lambda: not alive(out), 30)
    assert finished(out) < 40
    code, said, error = ended(started("sweep", out, "--resume", "-n", finished(out) + 4, cwd=tmp_path))
    assert code == 0, error
    whole(out, len(table(out)))


def test_a_worker_that_is_killed_is_reported_and_its_trial_done(tmp_path):
    written(tmp_path)
    out = tmp_path / "out"
    process = started("sweep", "run.toml", "space.toml", "-n", 8, "--jobs", 2, "--out", out, cwd=tmp_path)
    waited(lambda: finished(out) >= 1 or process.poll() is not None)
    worker = next(each for each in alive(out) if each != process.pid)
    os.kill(worker, signal.SIGKILL)
    code, _, error = ended(process)
    if code != 0:  # the other had ended before it could take the trial over
        assert "1 of 2 processes have ended before their trials (exit code -9). To go on: spikecore sweep" in error
        assert ended(started("sweep", out, "--resume", cwd=tmp_path))[0] == 0
    whole(out, 8)


def test_the_same_command_twice_shares_the_trials(tmp_path):
    written(tmp_path)
    command = ("sweep", "run.toml", "space.toml", "-n", 10, "--out", "out", "--join")
    both = [started(*command, cwd=tmp_path) for _ in range(2)]
    ends = [ended(process) for process in both]
    assert [code for code, _, _ in ends] == [0, 0], ends
    trials = [re.findall(r"trial (\d+):", said) for _, said, _ in ends]
    assert sorted(map(int, trials[0] + trials[1])) == list(range(10))
    assert all(trials)
    whole(tmp_path / "out", 10)
    assert (tmp_path / "out" / "best.toml").exists()


HARD_RUN = """
engine = "numpy"
data = { name = "digits", validation = 0.2 }
encoder = { num_steps = 5 }
network = { layers = [
    { kind = "Linear", in_features = 64, out_features = 32 }, { kind = "Leaky", beta = 0.9 },
    { kind = "Linear", in_features = 32, out_features = 10 }, { kind = "Leaky", beta = 0.9 },
] }
train = { epochs = 3, optimizer = { kind = "Adam", lr = 4e-3 } }
"""
HARD = """
["train.optimizer.lr"]
low = 1e-5
high = 1.0
log = true

["network.layers.1.beta"]
low = 0.0
high = 1.0

["network.layers.1.threshold"]
low = 0.05
high = 20.0
log = true

["network.layers.3.threshold"]
low = 0.05
high = 20.0
log = true
"""


def test_tpe_is_better_than_the_median_of_random_search(tmp_path):
    """20 trials each, five seeds; tpe trains fewer epochs than random search, since bad trials end early."""
    best, epochs = {}, {}
    for sampler, pruner in (("random", "none"), ("tpe", "median")):
        for seed in range(5):
            space = f"[sweep]\nsampler = {sampler!r}\npruner = {pruner!r}\nseed = {seed}\n{HARD}"
            ours = begun(tmp_path, 20, space, HARD_RUN, name=f"{sampler}-{seed}")
            ours.work(lambda line: None)
            best.setdefault(sampler, []).append(round(ours.storage.best().value, 4))
            epochs.setdefault(sampler, []).append(sum(int(row["epochs"]) for row in table(ours.directory)))
    print("best of 20 trials, by seed:", best, "epochs trained:", epochs)
    assert min(best["tpe"]) > statistics.median(best["random"])
    assert sum(epochs["tpe"]) < sum(epochs["random"]) == 5 * 20 * 3

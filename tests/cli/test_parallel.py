"""``torchrun -m spikecore train``: one process writes and speaks, and an end in between loses no step."""

from __future__ import annotations

import importlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import ROOT

torch = pytest.importorskip("torch")
for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)
if os.name == "nt" or not torch.distributed.is_available():
    pytest.skip("processes as POSIX has them, and torch.distributed", allow_module_level=True)

import numpy as np  # noqa: E402

import spikecore as sc  # noqa: E402
from spikecore.cli.exit_codes import DATA, RUNTIME, TERMINATED, USAGE  # noqa: E402
from spikecore.cli.messages import ConfigError  # noqa: E402
from spikecore.cli.processes import joined  # noqa: E402
from spikecore.engines.torch.ranks import can_divide  # noqa: E402
from tests.training.parallel_rig import finished, nursery, world  # noqa: E402

RUN_FILE = ROOT / "spikecore" / "cli" / "demo.toml"
SMALL = (
    "dtype=float64",
    "train.epochs=2",
    "encoder.num_steps=3",
    "data.batch_size=128",
    "network.layers.0.out_features=8",
    "network.layers.2.in_features=8",
)


#: The weights divided among processes, early stopping and its file included.
DIVIDED = ("-s", "train.compute.parallel=fsdp", "-s", "train.early_stopping.monitor=loss")


def train(out, *more, **patches):
    """What a rank calls: the command line, without pictures, which take longer than this training."""

    def run():
        from tests.cli.without_pictures import main

        for patch in patches.values():
            patch()
        sets = [word for one in SMALL for word in ("-s", one)]
        source = [out, "--resume"] if "--resume" in more else [str(RUN_FILE), *(["--out", out] if out else []), *sets]
        main(["train", *source, *(word for word in more if word != "--resume")])

    return run


def differing():
    rank = os.environ["RANK"]
    train("differing", "-s", f"seed={rank}", "-s", f"train.epochs={2 + int(rank)}")()


def full_disk():
    """Rank 0 cannot write the model."""
    from spikecore.cli import run_directory

    def save(self, model):
        if self.writes:
            raise OSError(28, "No space left on device", "full/model.safetensors")

    run_directory.TrainingRun._keep = save


def slow_step():
    """A training step that takes a minute."""
    from spikecore.engines.torch.executor import TorchExecutor

    def update(self):
        Path("begun").touch()
        time.sleep(60)

    TorchExecutor.update = update


def evaluate():
    from spikecore.cli.command import main

    main(["evaluate", "two"])


def joined_only():
    """A group that ends, in a process into which torch's own module of collectives comes late, as in a fresh one."""
    from spikecore.cli.processes import joined

    for name in ("torch.distributed.nn.functional", "torch.distributed.nn"):
        sys.modules.pop(name, None)
    before = len(os.listdir("/proc/self/task"))
    with joined() as ranks:
        importlib.import_module("torch.distributed.nn.functional")
        ranks.sums([1.0])
        during = len(os.listdir("/proc/self/task"))
    print(f"threads: {before} {during} {len(os.listdir('/proc/self/task'))}")


def stopped_by_sigterm(size, folder, name):
    """A world that has been asked to end within its second epoch or later."""
    history = Path(folder, name, "history.jsonl")
    stopped = world(size, train(name, "-s", "train.epochs=200"), folder, name)
    stopped.wait(60, until=history.exists)
    for rank in reversed(range(size)):
        stopped.kill(rank, signal.SIGTERM)
    assert stopped.wait(60), stopped.said
    return stopped, sc.load(f"{name}/model.safetensors", engine="torch").epochs_done + 2


def scenarios(folder):
    """In the nursery: every world, one after the other; what came of them as JSON."""
    os.chdir(folder)
    with pytest.raises(SystemExit, match="0"):
        train("one")()  # in this process, so that the forks have all that it imports
    if can_divide():
        import spikecore.engines.torch.divided_executor  # noqa: F401
    runs = {
        "two": train("two"),
        "differing": differing,
        "numpy": train("numpy", "-e", "numpy"),
        "full": train("full", patch=full_disk),
    }
    if can_divide():
        runs["divided"] = train("divided", *DIVIDED, "-s", "track.jsonl=true", "-s", "track.pictures_every=0")
    worlds = {name: finished(2, run, folder, name) for name, run in runs.items()}
    worlds["restarts"] = finished(2, train(None), folder, "restarts", TORCHELASTIC_MAX_RESTARTS=3)
    worlds["evaluate"] = finished(2, evaluate, folder, "evaluate")
    if sys.platform.startswith("linux"):
        worlds["joined"] = finished(2, joined_only, folder, "joined")

    # SIGTERM to both, as torchrun passes it on; then what torchrun starts again, which continues
    worlds["stopped"], epochs = stopped_by_sigterm(2, folder, "stopped")
    again = train("stopped", "-s", f"train.epochs={epochs}")
    worlds["again"] = finished(2, again, folder, "again", TORCHELASTIC_RESTART_COUNT=1)
    worlds["whole"] = finished(2, train("whole", "-s", f"train.epochs={epochs}"), folder, "whole")

    # one of two is killed
    killed = world(2, train("killed", "-s", "train.epochs=200"), folder, "killed")
    killed.wait(60, until=Path(folder, "killed", "history.jsonl").exists)
    when = killed.kill(1)
    killed.wait(60)
    worlds["killed"], gone = killed, max(killed.ends.values()) - when

    if can_divide():
        lost = world(2, train("lost", "-s", "train.compute.parallel=fsdp", "-s", "train.epochs=200"), folder, "lost")
        lost.wait(60, until=Path(folder, "lost", "history.jsonl").exists)
        lost.kill(1)
        lost.wait(60)
        worlds["lost"] = lost

    # one process alone, continued by two; and one whose step takes longer than it has
    worlds["alone"], epochs = stopped_by_sigterm(1, folder, "alone")
    worlds["by two"] = finished(2, train("alone", "--resume", "-s", f"train.epochs={epochs}"), folder, "by two")
    worlds["never stopped"] = finished(1, train("never", "-s", f"train.epochs={epochs}"), folder, "never")
    late = world(1, train("late", "-s", "train.save_within=0.5", patch=slow_step), folder, "late")
    late.wait(60, until=Path("begun").exists)
    when = late.kill(0, signal.SIGTERM)
    late.wait(60)
    worlds["late"] = late
    found = {name: {"codes": one.by_rank(), "said": one.said} for name, one in worlds.items()}
    print(json.dumps({**found, "seconds": late.ends[0] - when, "gone": gone}))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cli")
    return folder, json.loads(nursery(__name__, "scenarios", folder).splitlines()[-1])


def weights(path):
    state = sc.load(path, engine="torch").state()
    return {f"{part}/{name}": x for part in ("params", "buffers", "optimizer") for name, x in state[part].items()}


def lines(folder):
    return (folder / "history.jsonl").read_text().splitlines()


def test_one_process_writes_and_speaks(done):
    """The run is that of one process: the same losses, the same weights."""
    folder, found = done
    assert found["two"]["codes"] == [0, 0]
    first, second = found["two"]["said"]
    assert "2 processes together" in first
    assert first.count("epoch ") == 2
    assert not second
    one, two = (weights(folder / name / "model.safetensors") for name in ("one", "two"))
    assert max(np.abs(one[name] - two[name]).max() for name in one) <= 1e-10
    rows = [[json.loads(line) for line in lines(folder / name)] for name in ("one", "two")]
    for pair in zip(*rows):
        first, second = ([row[k] for k in ("loss", "accuracy", "val_loss")] for row in pair)
        assert first == pytest.approx(second, abs=1e-10)
    results = [json.loads((folder / name / "result.json").read_text()) for name in ("one", "two")]
    assert results[0]["test_loss"] == pytest.approx(results[1]["test_loss"], abs=1e-10)


@pytest.mark.skipif(not can_divide(), reason="torch 2.6 divides weights")
def test_divided_weights_are_saved_as_a_whole(done):
    """One process writes the run, all look at the tracked samples, and what is saved is the model of one process."""
    folder, found = done
    assert found["divided"]["codes"] == [0, 0]
    assert not found["divided"]["said"][1]
    one, two = (weights(folder / name / "model.safetensors") for name in ("one", "divided"))
    assert max(np.abs(one[name] - two[name]).max() for name in one) <= 1e-10
    assert (folder / "divided" / "best.safetensors").exists()
    rows = [json.loads(line) for line in (folder / "divided" / "track" / "log.jsonl").read_text().splitlines()]
    assert len(rows) == 2
    assert all(row["rate/1"] > 0 for row in rows)


@pytest.mark.skipif(not can_divide(), reason="torch 2.6 divides weights")
def test_a_killed_process_takes_its_part_of_the_weights_with_it(done):
    """What is left is the last whole epoch."""
    folder, found = done
    assert found["lost"]["codes"] == [RUNTIME, -signal.SIGKILL]
    assert " of 200 epochs are saved. To continue: torchrun" in found["lost"]["said"][0].splitlines()[-1]
    assert sc.load(folder / "lost" / "model.safetensors", engine="torch").trainer.unfinished is None


def test_other_run_files_are_refused_before_there_is_a_directory(done):
    folder, found = done
    assert found["differing"]["codes"] == [USAGE, USAGE]
    said, silent = found["differing"]["said"]
    assert "seed is 1 on rank 1, 0 on rank 0; " in said
    assert "train.epochs is 3 on rank 1, 2 on rank 0" in said
    assert not silent
    assert not (folder / "differing").exists()


def test_an_engine_of_one_process_is_refused(done):
    folder, found = done
    assert found["numpy"]["codes"] == [USAGE, USAGE]
    assert "use engine 'torch' (--engine torch)" in found["numpy"]["said"][0]
    assert not (folder / "numpy").exists()


def test_a_torch_without_processes_is_named(monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.distributed, "is_available", lambda: False)  # as torch says it where it is so built
    said = (
        f"2 processes .*: this torch {re.escape(torch.__version__)} is built without it: install one of https://pytorch"
    )
    with pytest.raises(ConfigError, match=said), joined():
        pass


def test_a_full_disk_ends_all(done):
    _, found = done
    assert found["full"]["codes"] == [DATA, RUNTIME]
    said, silent = found["full"]["said"]
    last = said.splitlines()[-1]
    assert last.startswith("full/model.safetensors: No space left on device: ")
    assert last.endswith("To continue: torchrun --nproc-per-node 2 -m spikecore train full --resume")
    assert not silent


def test_restarts_need_a_directory(done):
    _, found = done
    assert found["restarts"]["codes"] == [USAGE, RUNTIME]
    assert "torchrun --max-restarts: add --out DIR" in found["restarts"]["said"][0]


def test_rank_0_evaluates_alone(done):
    _, found = done
    assert found["evaluate"]["codes"] == [0, 0]
    assert "test_loss" in found["evaluate"]["said"][0]
    assert not found["evaluate"]["said"][1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux lists the threads of a process")
def test_no_thread_outlives_the_group(done):
    """One that does can end the process by SIGABRT after a finished training."""
    found = done[1]["joined"]
    assert found["codes"] == [0, 0]
    for said in found["said"]:
        before, during, after = (int(n) for n in said.split("threads: ")[1].split())
        assert before == after < during


def test_sigterm_saves_after_the_step_and_a_restart_continues(done):
    folder, found = done
    assert found["stopped"]["codes"] == [TERMINATED, TERMINATED]
    said, silent = found["stopped"]["said"]
    assert "terminated: " in said
    assert "To continue: torchrun --nproc-per-node 2 -m spikecore train stopped --resume" in said
    assert not silent
    assert found["again"]["codes"] == found["whole"]["codes"] == [0, 0]
    resumed, whole = weights(folder / "stopped" / "model.safetensors"), weights(folder / "whole" / "model.safetensors")
    assert all(np.array_equal(resumed[name], x) for name, x in whole.items())


def test_one_process_that_was_terminated_is_continued_by_two(done):
    folder, found = done
    assert found["alone"]["codes"] == [TERMINATED]
    assert "terminated: " in found["alone"]["said"][0]
    assert "To continue: spikecore train alone --resume" in found["alone"]["said"][0]
    assert found["by two"]["codes"] == [0, 0]
    rows = [lines(folder / name) for name in ("alone", "never")]
    assert len(rows[0]) == len(rows[1])
    for one, two in zip(*rows):
        assert json.loads(one)["loss"] == pytest.approx(json.loads(two)["loss"], abs=1e-6)


def test_a_step_that_takes_longer_than_save_within_is_cut(done):
    _, found = done
    assert found["late"]["codes"] == [TERMINATED]
    assert found["seconds"] < 10
    assert "terminated 0.5 s after SIGTERM, within a step: the first epoch was not finished" in found["late"]["said"][0]


def test_a_killed_process_ends_the_other(done):
    """What the other one has learned since the last epoch is saved. ``make faults`` does this fifty times."""
    folder, found = done
    assert found["killed"]["codes"] == [RUNTIME, -signal.SIGKILL]
    assert found["gone"] < 30
    said = found["killed"]["said"][0].splitlines()[-1]
    assert said.startswith(f"rank 1 on {socket.gethostname()} has ended, or does not answer (")
    assert said.endswith("To continue: torchrun --nproc-per-node 2 -m spikecore train killed --resume")
    assert sc.load(folder / "killed" / "model.safetensors", engine="torch").epochs_done >= 1


RESTARTED = """
import os, signal, sys, threading, time
sys.path.insert(0, {root!r})
from tests.cli.test_parallel import train

def die():
    while not os.path.exists("again/history.jsonl"):
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)

if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and os.environ["RANK"] == "1":
    threading.Thread(target=die, daemon=True).start()
train("again", "-s", "train.epochs=30")()
"""


@pytest.mark.slow
def test_torchrun_starts_again_what_was_killed(tmp_path):
    (tmp_path / "ranks.py").write_text(RESTARTED.format(root=str(ROOT)))
    command = "-m torch.distributed.run --nproc-per-node 2 --max-restarts 1 --master-port 29541 ranks.py".split()
    env = {**os.environ, "PYTHONPATH": str(RUN_FILE.parents[2]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "local_rank: 1" in done.stderr  # torchrun names the rank
    assert "has ended, or does not answer" in done.stderr
    assert len(lines(tmp_path / "again")) == 30
    epochs = [json.loads(line)["epoch"] for line in lines(tmp_path / "again")]
    assert epochs == list(range(1, 31))

"""``spikecore submit``: what it writes, what bash makes of that, and what it refuses. tests/hosts has a cluster."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)

from spikecore.cli import command_submit  # noqa: E402
from spikecore.cli.exit_codes import USAGE  # noqa: E402
from tests.cli.sweep_files import written  # noqa: E402

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SLURM's machines have Linux")
NODES = ("--nodes", 2, "--time", "4:00:00", "--engine", "torch")


def program(folder, name, text):
    """A program of the test's own, before all others."""
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/bash\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with a run file; programs in bin/ come first."""
    written(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("SPIKECORE_ENGINE", raising=False)
    return tmp_path


def test_a_dry_run_shows_the_script_and_writes_nothing(place, spikecore):
    before = sorted(place.rglob("*"))
    gpus = ("--gpus", 4, "--cpus", 32, "--sbatch", "--partition=long", "--sbatch", "--account=me")
    code, said, error = spikecore("submit", "run.toml", *NODES, *gpus, "--set", "train.epochs=3", "--dry-run")
    assert code == 0, error
    lines = said.splitlines()
    assert lines[0] == "#!/bin/bash"
    asked = [line[len("#SBATCH ") :] for line in lines if line.startswith("#SBATCH ")]
    assert asked == [
        "--job-name=run-001",
        "--nodes=2 --ntasks-per-node=1 --cpus-per-task=32 --gpus-per-node=4",
        "--time=4:00:00 --signal=TERM@120 --requeue",
        "--output=runs/run-001.txt --open-mode=append",
        "--partition=long",
        "--account=me",
    ]
    assert "srun --cpus-per-task=32 --wait=60 " in said
    assert "--nnodes 2 --nproc-per-node 4 " in said
    words = "run.toml --engine torch --set train.epochs=3 --set device=cuda --out runs/run-001"
    assert f"else set -- {words}" in lines
    assert "then set -- runs/run-001 --resume" in lines
    assert "Nothing was sent" in said
    assert sorted(place.rglob("*")) == before


class Node:
    """Runs a script as SLURM does, with a training of the test's own that notes its words."""

    def __init__(self, place, monkeypatch, training):
        self.place = place
        program(place, "srun", 'while [ "$1" != bash ]; do shift; done; "$@"')
        program(
            place,
            "scontrol",
            f"""case "$1 $2" in
            requeue*) echo "$2" >> {place}/requeued;;
            "show hostnames") printf "n1\\nn2\\n";;
            "show job") echo "   PreemptEligibleTime=2026-12-01T05:00:00 PreemptTime=$PREEMPTED";;
        esac""",
        )
        monkeypatch.setattr(
            sys, "executable", str(program(place, "my python", f"echo $* >> {place}/words\n{training}"))
        )

    def run(self, script, restarts=0, preempted="None"):
        """The exit code, the words of the training, and which jobs were queued again."""
        variables = {"SLURM_JOB_ID": "12345", "SLURM_JOB_NODELIST": "n[1-2]", "SLURM_RESTART_COUNT": str(restarts)}
        variables["PREEMPTED"] = preempted
        for name in ("words", "requeued"):
            (self.place / name).unlink(missing_ok=True)
        code = subprocess.run(["bash", script], env={**os.environ, **variables}, cwd=self.place).returncode
        found = [path.read_text().splitlines() if path.exists() else [] for path in map(self.place.joinpath, NOTED)]
        return (code, *found)


NOTED = ("words", "requeued")
FAILS = "exit 4"
#: SLURM signals the shell around torchrun, which returns 1 when the processes have ended.
TOLD = "trap 'sleep 0.2; exit 1' TERM; kill -TERM $PPID; sleep 5 & wait; exit 9"


def script_of(spikecore, *words):
    code, said, error = spikecore("submit", *words, "--dry-run", "--json")
    assert code == 0, error
    Path("script.sh").write_text(json.loads(said)["text"])
    return "script.sh"


@pytest.mark.parametrize(
    ("training", "restarts", "code", "requeued"),
    [
        ("exit 0", 0, 0, []),
        (FAILS, 0, 4, []),
        (TOLD, 0, 143, ["12345"]),
        (TOLD, 9, 143, ["12345"]),
        (TOLD, 10, 143, []),
    ],
)
def test_only_a_job_that_sigterm_has_ended_begins_again(
    place, monkeypatch, spikecore, training, restarts, code, requeued
):
    node = Node(place, monkeypatch, training)
    script = script_of(spikecore, "run.toml", *NODES, "--out", "my runs/50%")
    ended, words, again = node.run(script, restarts)
    assert (ended, again) == (code, requeued)
    assert len(words) == 1
    assert (
        "--rdzv-id 12345 --rdzv-endpoint n1:22345 -m spikecore train run.toml --engine torch --out my runs/50%"
        in words[0]
    )
    assert "#SBATCH --output='my runs/50%%.txt'" in Path(script).read_text()


def test_a_job_whose_nodes_are_taken_leaves_the_queue_to_slurm(place, monkeypatch, spikecore):
    node = Node(place, monkeypatch, TOLD)
    script = script_of(spikecore, "run.toml", *NODES, "--out", "out")
    code, words, again = node.run(script, preempted="2026-12-01T06:00:00")
    assert (code, len(words), again) == (143, 1, [])


def test_a_job_continues_the_run_that_has_begun(place, monkeypatch, spikecore):
    node = Node(place, monkeypatch, "exit 0")
    script = script_of(spikecore, "run.toml", *NODES, "--out", "out")
    (place / "out").mkdir()
    shutil.copy("run.toml", "out/run.toml")
    assert node.run(script)[1][0].endswith("-m spikecore train out --resume")
    script = script_of(spikecore, "out", *NODES[:-2], "--set", "engine=torch", "--set", "train.epochs=9")
    assert node.run(script)[1][0].endswith("train out --resume --set engine=torch --set train.epochs=9")


def test_one_process_needs_no_torchrun(place, monkeypatch, spikecore):
    node = Node(place, monkeypatch, "exit 0")
    script = script_of(spikecore, "run.toml", "--time", "90", "--engine", "numpy", "--out", "out")
    assert node.run(script)[1] == ["-m spikecore train run.toml --engine numpy --out out"]


def test_what_is_sent_stands_beside_the_run_directory(place, spikecore):
    program(place, "sbatch", f'cp "${{@: -1}}" {place}/got && echo "$((++n + 6));cluster"')
    code, said, error = spikecore("submit", "run.toml", *NODES)
    assert code == 0, error
    script = Path("runs/run-001.sh").read_text()
    assert Path("got").read_text() == script
    assert said.startswith(script)  # shown
    assert "job 7 -> runs/run-001; what it prints is in runs/run-001.txt" in said
    code, said, error = spikecore("submit", "run.toml", *NODES, "--json")
    assert code == 0, error
    found = json.loads(said)
    assert (found["job"], found["directory"]) == (
        "7",
        "runs/run-002",
    )  # the first one is taken, though nothing has begun


def test_what_sbatch_refuses_leaves_no_run_directory(place, spikecore):
    program(place, "sbatch", 'echo "sbatch: error: invalid partition specified: lonng" >&2; exit 1')
    code, _, error = spikecore("submit", "run.toml", *NODES, "--sbatch", "--partition=lonng")
    assert code == USAGE
    assert "invalid partition specified: lonng" in error
    assert not list(Path("runs").iterdir())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--time", "2h"), "--time 2h: must be MINUTES, H:MM:SS or DAYS-HOURS"),
        (("--time", "2:99"), "--time 2:99: must be MINUTES"),
        (("--time", "3", "--notice", "150"), "a minute longer than --notice, which is 150 s"),
        (("--time", "9", "--nodes", "2", "--engine", "numpy"), "trains in one process: add --engine torch"),
        (("--time", "9", "--nodes", "200", "--engine", "torch"), "200 processes divide each batch"),
        (("--time", "9", "--set", "train.epoch=3"), "did you mean 'epochs'?"),
        (("--time", "9", "--out", "full"), "--out full already exists"),
        (("--time", "9", "--sbatch", "partition=long"), "--sbatch partition=long: must begin with -"),
    ],
)
def test_mistakes_are_named_before_a_job_waits_in_a_queue(place, spikecore, words, said):
    (place / "full").mkdir()
    (place / "full" / "file").write_text("")
    code, _, error = spikecore("submit", "run.toml", *words, "--dry-run")
    assert code == USAGE
    assert said in " ".join(error.split())


def test_without_slurm_the_message_says_where_to_go(place, spikecore, monkeypatch):
    monkeypatch.setattr(command_submit.shutil, "which", lambda name: None)
    code, _, error = spikecore("submit", "run.toml", *NODES)
    assert code == USAGE
    assert "sbatch is not here: run this on a machine of a SLURM cluster" in error
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("time", "seconds"),
    [("90", 5400), ("90:30", 5430), ("4:00:00", 14400), ("1-12", 129600), ("1-12:30", 131400), ("0-0:3:1", 181)],
)
def test_times_are_read_as_slurm_reads_them(time, seconds):
    assert command_submit.seconds_of(time) == seconds

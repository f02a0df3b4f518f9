"""Ctrl-C in a terminal: a real SIGINT to a real process."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time

import pytest

from tests import ROOT

for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)
if os.name == "nt":
    pytest.skip("signals as POSIX has them", allow_module_level=True)

import numpy as np  # noqa: E402

import spikecore as sc  # noqa: E402
from spikecore.cli.exit_codes import INTERRUPTED  # noqa: E402

RUN_FILE = ROOT / "spikecore" / "cli" / "demo.toml"
EPOCHS = 12  # the second is over long before the last begins
SETS = "-e numpy -s encoder.num_steps=2 -s network.layers.0.out_features=8 -s network.layers.2.in_features=8".split()


def started(*arguments, cwd):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    environment.pop("SPIKECORE_ENGINE", None)
    # a shell's background jobs ignore SIGINT, and their children inherit that
    return subprocess.Popen(
        [sys.executable, "-m", "tests.cli.without_pictures", *map(str, arguments)],
        cwd=cwd,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def interrupted_when(process, ready):
    """Send SIGINT as soon as ``ready`` is true; returns exit code, stdout, stderr."""
    end = time.monotonic() + 120
    while not ready() and time.monotonic() < end and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    said, error = process.communicate(timeout=120)
    return process.returncode, said, error


@pytest.mark.parametrize("folder", ["a folder with spaces", pytest.param("run", marks=pytest.mark.slow)])
def test_ctrl_c_says_how_to_resume_and_that_works(spikecore, tmp_path, folder):
    """The run that is interrupted and resumed by the command in the message ends as one that is not."""
    train = "train", RUN_FILE, *SETS, "--no-progress", "-s", f"train.epochs={EPOCHS}", "--out"
    assert spikecore(*train, "whole")[0] == 0
    process = started(*train, folder, cwd=tmp_path)
    history = tmp_path / folder / "history.jsonl"
    code, _, error = interrupted_when(process, lambda: history.exists() and history.read_text().count("\n") >= 2)
    assert code == INTERRUPTED, error
    assert "Traceback" not in error
    found = re.fullmatch(
        rf"\ninterrupted: (\d+) of {EPOCHS} epochs(?: and \d+ batch(?:es)? of the next one)? are saved. "
        r"To continue: (spikecore train .* --resume)\n",
        error,
    )
    assert found, error
    assert int(found[1]) == history.read_text().count("\n") < EPOCHS
    again = started(*shlex.split(found[2])[1:], "--no-progress", cwd=tmp_path)
    assert again.wait(timeout=240) == 0, again.stderr.read()
    again.communicate()
    a, b = (sc.load(tmp_path / name / "model.safetensors", engine="numpy").params() for name in ("whole", folder))
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_before_the_first_epoch_ends_its_batches_are_saved_if_there_are_any(tmp_path):
    process = started(
        "train", RUN_FILE, *SETS, "-s", "data.batch_size=1", "--out", "run", "--no-progress", cwd=tmp_path
    )
    code, _, error = interrupted_when(process, lambda: (tmp_path / "run" / "run.toml").exists())
    assert code == INTERRUPTED, error
    found = re.search(
        r"interrupted: (the first epoch was not finished|0 of \d+ epochs and \d+ batch(es)? of the next one are saved)"
        r"\. To continue: spikecore train run --resume",
        error,
    )
    assert found, error


def test_other_commands_say_that_they_were_interrupted(tmp_path):
    """A command that trains nothing has nothing to resume."""
    late = "import os, signal, spikecore.cli.command as c\n"
    late += "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    late += "from spikecore.cli import command_machine as m\n"
    late += "m.known_engines = lambda: os.kill(os.getpid(), signal.SIGINT)\nc.main(['engines'])\n"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", late], capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (INTERRUPTED, "", "\ninterrupted\n")

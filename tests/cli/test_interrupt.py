"""Ctrl-C in a terminal: a real SIGINT to a real process."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
from pathlib import Path

import pytest

from tests import ROOT

for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)
if os.name == "nt":
    pytest.skip("signals as POSIX has them", allow_module_level=True)

import numpy as np  # noqa: E402

import spikecore as sc  # noqa: E402
from spikecore.cli.exit_codes import INTERRUPTED  # noqa: E402
from tests.training.parallel_rig import ended, forked, nursery  # noqa: E402

RUN_FILE = ROOT / "spikecore" / "cli" / "demo.toml"
EPOCHS = 12  # the second is over long before the last begins
SETS = "-e numpy -s encoder.num_steps=2 -s network.layers.0.out_features=8 -s network.layers.2.in_features=8".split()
TRAIN = "train", RUN_FILE, *SETS, "--no-progress", "-s", f"train.epochs={EPOCHS}", "--out"
FOLDER = "a folder with spaces"


def command(*words, errors=None):
    """The command line in this process, which the caller has forked.

    Args:
        words: of the command.
        errors: the file that gets what it says on stderr.
    """

    def run():
        from tests.cli.without_pictures import main

        if errors is not None:
            os.dup2(os.open(errors, os.O_CREAT | os.O_WRONLY), 2)
        main([*map(str, words)])

    return run


def told(process):
    """The exit code of a command that has ended, and what it said on stderr."""
    return {"code": ended(process).codes[0], "error": Path(f"{process.name}.err").read_text()}


def interrupted_when(ready, words, folder, name):
    """Send SIGINT to a command as soon as ``ready`` is true."""
    process = forked([command(*words, errors=f"{name}.err")], folder, name)
    process.wait(120, until=ready)
    process.kill(0, signal.SIGINT)
    return told(process)


def scenarios(folder):
    """In the nursery: an unharmed run; one that is interrupted, and what its message says; one in its first epoch."""
    os.chdir(folder)
    with pytest.raises(SystemExit, match="0"):
        command(*TRAIN, "whole")()  # in this process, so that the forks have all that it imports
    history = Path(folder, FOLDER, "history.jsonl")

    def two_epochs():
        return history.exists() and history.read_text().count("\n") >= 2

    found = {"late": interrupted_when(two_epochs, (*TRAIN, FOLDER), folder, "late")}
    found["saved"] = history.read_text().count("\n")
    again = re.search(r"To continue: spikecore (train .* --resume)\n", found["late"]["error"])
    words = shlex.split(again[1]) if again else ["train"]
    found["again"] = told(forked([command(*words, "--no-progress", errors="again.err")], folder, "again"))
    early = "train", RUN_FILE, *SETS, "-s", "data.batch_size=1", "--out", "run", "--no-progress"
    found["early"] = interrupted_when(Path(folder, "run", "run.toml").exists, early, folder, "early")
    print(json.dumps(found))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("interrupted")
    return folder, json.loads(nursery(__name__, "scenarios", folder).splitlines()[-1])


def test_ctrl_c_says_how_to_resume_and_that_works(done):
    """The run that is interrupted and resumed by the command in the message ends as one that is not."""
    folder, found = done
    error = found["late"]["error"]
    assert found["late"]["code"] == INTERRUPTED, error
    assert "Traceback" not in error
    message = re.fullmatch(
        rf"\ninterrupted: (\d+) of {EPOCHS} epochs(?: and \d+ batch(?:es)? of the next one)? are saved. "
        r"To continue: (spikecore train .* --resume)\n",
        error,
    )
    assert message, error
    assert int(message[1]) == found["saved"] < EPOCHS
    assert found["again"]["code"] == 0, found["again"]["error"]
    a, b = (sc.load(folder / name / "model.safetensors", engine="numpy").params() for name in ("whole", FOLDER))
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_before_the_first_epoch_ends_its_batches_are_saved_if_there_are_any(done):
    error = done[1]["early"]["error"]
    assert done[1]["early"]["code"] == INTERRUPTED, error
    message = re.search(
        r"interrupted: (the first epoch was not finished|0 of \d+ epochs and \d+ batch(es)? of the next one are saved)"
        r"\. To continue: spikecore train run --resume",
        error,
    )
    assert message, error


def test_other_commands_say_that_they_were_interrupted(spikecore, monkeypatch):
    """A command that trains nothing has nothing to resume."""
    from spikecore.cli import command_machine

    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(command_machine, "known_engines", lambda: os.kill(os.getpid(), signal.SIGINT))
    try:
        assert spikecore("engines") == (INTERRUPTED, "", "\ninterrupted\n")
    finally:
        signal.signal(signal.SIGINT, before)

"""What a newcomer types wrong into a terminal or a run file: each is told what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import ROOT

for package in ("typer", "pydantic", "tomli_w", "sklearn"):
    pytest.importorskip(package)

from spikecore.cli import command as cli  # noqa: E402

TEXT = (ROOT / "spikecore" / "cli" / "demo.toml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def files(elsewhere):
    Path("run.toml").write_text(TEXT, encoding="utf-8")
    Path("my.csv").write_text("a,b,c\n1,2,x\n2,3,y\n1,1,x\n", encoding="utf-8")
    for kind, ending in (("birds", "wav"), ("cells", "png")):
        Path(kind, "one").mkdir(parents=True)
        Path(kind, "one", f"a.{ending}").write_bytes(b"")


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        (["init", "my.csv"], "write spikecore init csv --path my.csv"),
        (["init", "csv", "my.csv"], "spikecore init csv --path FILE.csv"),
        (["init", "--path", "my.csv"], "spikecore init csv --path my.csv"),
        (["init", "arrays.npz"], "write spikecore init npz --path arrays.npz"),
        (["init", "birds"], "write spikecore init wav_folder --path birds"),
        (["init", "cells"], "write spikecore init image_folder --path cells"),
        (["run", "run.toml"], "unknown command 'run'. Known: bench, check"),
        (["evalute", "run.toml"], "did you mean 'evaluate'?"),
        (["train", "run.toml", "--set", "train.epochs", "3"], "one word: --set KEY=VALUE"),
        (["train", "run.toml", "--dry-run", "--set", "epochs=3"], "Write train.epochs"),
        (["train", "my.csv"], "text stands in quotes"),
        (["evaluate", "run.toml"], "not a run directory: it holds no run.toml. `spikecore train` makes one"),
        (["train", "nothere.toml"], "no such run file; here are run.toml"),
    ],
)
def test_words_of_a_command(words, remedy, spikecore):
    code, _, error = spikecore(*words)
    assert code == cli.USAGE or words[0] == "evaluate"
    assert code
    assert remedy in error


@pytest.mark.parametrize(
    ("right", "wrong", "remedy"),
    [
        ('name = "digits"', "name = digits", "(at line 7, column 8): name = digits # the test samples"),
        ("seed = 0", "seed = None", "seed = None; text stands in quotes"),
        ('"Linear", in_features = 64', '"Linear" in_features = 64', "commas stand between entries"),
        ('kind = "Leaky"', 'kind = "Leeky"', "unknown kind 'Leeky'; did you mean 'Leaky'?"),
        ("epochs = 20", 'epochs = "many"', "train.epochs = 'many': must be a valid integer"),
        ("in_features = 128", "in_features = 100", "expected (100,); write Linear(128, 10)"),
        ("out_features = 10 ", "out_features = 5 ", "for 10 classes the last layer has as many outputs"),
        ('engine = "torch"', 'engine = "pytorch"', "did you mean 'torch'?"),
    ],
)
def test_lines_of_a_run_file(right, wrong, remedy, spikecore):
    assert right in TEXT
    Path("run.toml").write_text(TEXT.replace(right, wrong), encoding="utf-8")
    engine = [] if "engine" in right else ["--engine", "numpy"]
    code, _, error = spikecore("train", "run.toml", "--dry-run", *engine)
    assert code == cli.USAGE
    assert remedy in error

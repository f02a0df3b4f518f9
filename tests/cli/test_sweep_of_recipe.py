"""A sweep that begins from what ``spikecore init`` wrote: two commands, and no space file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

for package in ("typer", "pydantic", "tomli_w", "optuna"):
    pytest.importorskip(package)

from spikecore.cli.command import main  # noqa: E402


def carried_out(*arguments):
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments)])
    return end.value.code


@pytest.mark.parametrize("numbers", [False, True])
def test_init_and_sweep_are_two_commands(capsys, numbers):
    """The rates of the recipe's optimiser vary around it; classes are judged by accuracy, numbers by the loss."""
    x = np.random.default_rng(0).normal(size=(48, 3)).round(3)
    y = 500.0 + 10.0 * x[:, 0] if numbers else (x[:, 0] > 0) * 1
    rows = [",".join(map(str, [*row, target])) for row, target in zip(x, y)]
    Path("table.csv").write_text("\n".join(["a,b,c,y", *rows]), encoding="utf-8")
    assert carried_out("init", "csv", "--path", "table.csv") == 0
    sets = ("--set", "data.validation=0.25", "--set", "train.epochs=2", "--engine", "numpy")
    assert carried_out("sweep", "csv.toml", "--trials", 3, *sets, "--out", "found", "--json") == 0
    capsys.readouterr()
    result = json.loads(Path("found/result.json").read_text(encoding="utf-8"))
    space = Path("found/space.toml").read_text(encoding="utf-8")
    assert f'metric = "val_{"loss" if numbers else "accuracy"}"' in space
    assert '["train.optimizer.lr"]\nlow = 0.0003\nhigh = 0.03\nlog = true' in space
    assert '["train.optimizer.weight_decay"]' in space
    assert carried_out("train", "found/best.toml", "--out", "best", "--no-progress") == 0
    assert result["test_mae" if numbers else "test_accuracy"] >= 0.0


def test_without_a_learning_rate_a_space_has_to_be_given(capsys):
    pytest.importorskip("sklearn")
    assert carried_out("init", "digits", "--plasticity") == 0
    assert carried_out("sweep", "digits.toml", "--set", "data.validation=0.25") == 2
    assert "SPACE is missing: digits.toml has no learning rate to vary" in capsys.readouterr().err

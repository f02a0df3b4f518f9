"""Metrics of run files; reading a run file draws no random numbers."""

from __future__ import annotations

import json

import numpy as np
import pytest

from spikecore import functional as SF


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("", {"accuracy"}),
        ("metric = 'accuracy_temporal'\n", {"accuracy_temporal"}),
        (
            "metric = ['accuracy', {kind = 'accuracy_membrane', over_time = 'mean'}]\n",
            {"accuracy", "accuracy_membrane"},
        ),
    ],
)
def test_metrics_in_run_files(tmp_path, text, columns):
    """D3: they reach the history, early stopping and result.json."""
    config, runs = pytest.importorskip("spikecore.cli.run_file"), pytest.importorskip("spikecore.cli.run_directory")
    name = min(columns)
    (tmp_path / "run.toml").write_text(
        "[data]\nbatch_size = 512\n[network]\nlayers = [{kind='Linear', in_features=64, out_features=10}, 'LI']\n"
        f"[encoder]\nnum_steps = 2\n[train]\nepochs = 2\nloss = {{kind = 'ce_max_membrane_loss'}}\n{text}"
        f"early_stopping = {{monitor = 'val_{name}'}}\n"
    )
    run = runs.TrainingRun(config.read(tmp_path / "run.toml"), tmp_path / "out")
    said = []
    with run.start() as model:
        run.train(model, said.append)
    result = run.evaluate(model)
    again = runs.opened(tmp_path / "out")
    assert again.config == run.config
    for column in columns:
        assert result[f"test_{column}"] == pytest.approx(model.history[-1][f"val_{column}"])
        assert column in said[-1]
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == result
    if "accuracy_membrane" not in columns:
        return
    out = model(run.test_set.inputs, 2)
    assert result["test_accuracy_membrane"] == pytest.approx(
        SF.accuracy_membrane(out, run.test_set.targets, over_time="mean")
    )


def test_bad_metrics_in_run_files(tmp_path):
    """D3"""
    config = pytest.importorskip("spikecore.cli.run_file")
    for text, message in {
        "metric = 'acuracy'": "did you mean 'accuracy'",
        "metric = {kind = 'accuracy_membrane', over_time = 'median'}": "over_time='median'",
        "early_stopping = {monitor = 'val_accuracy_temporal'}": "unknown column 'val_accuracy_temporal'",
    }.items():
        (tmp_path / "run.toml").write_text(f"[network]\nlayers = ['LI']\n[train]\n{text}\n")
        with pytest.raises(config.ConfigError, match=message):
            config.read(tmp_path / "run.toml")


def test_reading_a_run_file_does_not_move_the_generator(tmp_path):
    """B2: the encoder's arguments are checked by a call."""
    config = pytest.importorskip("spikecore.cli.run_file")
    path = tmp_path / "run.toml"
    path.write_text(
        "[encoder]\nkind = 'rate'\nnum_steps = 4\n"
        "[network]\nlayers = [{kind = 'Linear', in_features = 64, out_features = 10}, {kind = 'Leaky'}]\n"
    )
    np.random.seed(1)  # noqa: NPY002
    before = np.random.get_state()[1:3]  # noqa: NPY002
    config.read(path)
    after = np.random.get_state()[1:3]  # noqa: NPY002
    np.testing.assert_array_equal(before[0], after[0])
    assert before[1] == after[1]

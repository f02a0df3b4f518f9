"""Run files for values, several labels, a label at every step and forecasts: equal losses on all engines."""

from __future__ import annotations

import importlib.util
import json

import numpy as np
import pytest

for package in ("typer", "pydantic", "tomli_w"):
    pytest.importorskip(package, reason="the command line is an extra")

from spikecore.cli.command import main  # noqa: E402

LAYERS = """
[network]
layers = [
    {{ kind = "Linear", in_features = {features}, out_features = 12 }},
    {{ kind = "Leaky", beta = 0.8, threshold = 0.5 }},
    {{ kind = "Linear", in_features = 12, out_features = {outputs} }},
    {{ kind = "LI", beta = 0.7 }},
]
"""
RUN = """
engine = "numpy"

[data]
{data}
batch_size = 16

[encoder]
{encoder}
{layers}
[train]
epochs = 3
optimizer = {{ kind = "Adam", lr = 0.01 }}
loss = {loss}
metric = {metric}
"""
CONSTANT, SEQUENCE = 'kind = "constant"\nnum_steps = 8', 'kind = "sequence"\ntime_axis = 1'
VALUES = '{ kind = "mse_value_loss", mean = [3.0, 2.0], deviation = 0.5 }'
# data, features, outputs, encoder, loss, metrics
RUNS = {
    "values": ("npz", 6, 2, CONSTANT, VALUES, '["mae", "r2"]'),
    "quantiles": ("npz", 6, 6, CONSTANT, '{ kind = "quantile_value_loss", quantiles = [0.1, 0.5, 0.9] }', '"mae"'),
    "labels": ("npz", 6, 3, CONSTANT, '{ kind = "bce_value_loss", weight = [1.0, 2.0, 1.0] }', '["accuracy", "f1"]'),
    "steps": ("npz", 3, 3, SEQUENCE, '{ kind = "ce_step_loss", ignore_index = -1 }', '["accuracy_step", "f1"]'),
    "curves": ("npz", 3, 1, SEQUENCE, '{ kind = "mse_membrane_loss", time_var_targets = true }', '"mae"'),
    "forecasts": ("csv", 2, 6, SEQUENCE, '{ kind = "huber_value_loss", over_time = "last" }', '["mse", "r2"]'),
}


def data_of(folder, name):
    """Write the data of a run; returns the table [data]."""
    rng = np.random.default_rng(1)
    if RUNS[name][0] == "csv":
        rows = np.stack([np.sin(0.3 * np.arange(90)), np.cos(0.2 * np.arange(90))], axis=1) + rng.normal(
            0, 0.1, (90, 2)
        )
        lines = [f"{i},{a:.5f},{b:.5f}" for i, (a, b) in enumerate(rows)]
        (folder / "series.csv").write_text("\n".join(["hour,load,price", *lines]), encoding="utf-8")
        where = (folder / "series.csv").as_posix()
        return f'name = "series"\npath = "{where}"\nlook_back = 10\nhorizon = 3\nstride = 2\nleave_out = ["hour"]'
    x = rng.normal(size=(60, 6))
    y, lengths = np.stack([3.0 + np.sin(x[:, 0]), 2.0 + x[:, 1] * x[:, 2]], axis=1), ""
    if name == "labels":
        y = (x[:, :3] > 0.3).astype(int)
    if name in ("steps", "curves"):
        y = np.repeat(rng.integers(0, 3, (60, 4)), 3, axis=1)
        x = np.eye(3)[y] + 0.3 * rng.normal(size=(60, 12, 3))
        y = np.where(np.arange(12) < 2, -1, y) if name == "steps" else np.cumsum(x[:, :, :1], axis=1) / 10
    x, y = x.astype(np.float32), y.astype(np.float32) if y.dtype.kind == "f" else y
    arrays = {"x_train": x[:40], "y_train": y[:40], "x_test": x[40:], "y_test": y[40:]}
    if name == "steps":  # some sequences are padded, and some steps masked
        n, lengths = 12 - np.arange(60) % 4, 'lengths = "n_{part}"'
        arrays.update(n_train=n[:40], n_test=n[40:])
    np.savez(folder / "data.npz", **arrays)
    return f'name = "npz"\npath = "{(folder / "data.npz").as_posix()}"\n{lengths}'


def history(folder, name, engine, *options):
    """Train a run file; returns the rows of its history, and the result on the test samples."""
    _, features, outputs, encoder, loss, metric = RUNS[name]
    layers = LAYERS.format(features=features, outputs=outputs)
    text = RUN.format(data=data_of(folder, name), encoder=encoder, layers=layers, loss=loss, metric=metric)
    (folder / "run.toml").write_text(text, encoding="utf-8")
    out = folder / engine
    given = ["train", str(folder / "run.toml"), "--engine", engine, "--out", str(out), "--no-progress"]
    with pytest.raises(SystemExit) as end:
        main([*given, *options])
    assert end.value.code == 0
    rows = [json.loads(line) for line in (out / "history.jsonl").read_text(encoding="utf-8").splitlines()]
    return rows, json.loads((out / "result.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("engine", ["torch", "jax"])
@pytest.mark.parametrize("name", RUNS)
def test_losses_of_a_run_file_are_equal_on_all_engines(tmp_path, name, engine):
    """Of training and validation, in each epoch, to 1e-6; so are the metrics, which say what was predicted."""
    if engine == "jax" and importlib.util.find_spec("spikecore_jax") is None:
        pytest.skip("the package spikecore-jax is not installed")
    (rows, result), (expected, wanted) = (history(tmp_path, name, one) for one in (engine, "numpy"))
    assert len(rows) == 3
    assert rows[-1]["loss"] < rows[0]["loss"]
    for row, other in zip([*rows, result], [*expected, wanted]):
        columns = [key for key in other if key.startswith(("loss", "val_", "test_")) or key in RUNS[name][5]]
        assert len(columns) >= 2
        for key in columns:
            assert row[key] == pytest.approx(other[key], rel=1e-6, abs=1e-6), key

"""A notebook, executed: figures below the cells that draw them, one bar for a fit, tables for what a cell returns."""

from __future__ import annotations

import re

import pytest

nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
pytest.importorskip("ipykernel")
pytest.importorskip("matplotlib")
pytest.importorskip("tqdm")

CELLS = {
    "start": """
        import numpy as np
        import spikecore as sc
        from spikecore import spikeplot
        rng = np.random.default_rng(0)
        x, y = rng.random((60, 8), dtype=np.float32), rng.integers(0, 3, 60)
        model = sc.Model(sc.Sequential(sc.Linear(8, 3), sc.Leaky(beta=0.9, threshold=0.1)), engine="numpy", seed=0)
        batches = [(x[:20], y[:20]), (x[20:40], y[20:40]), (x[40:], y[40:])]
    """,
    "bar": "rows = model.fit(batches, num_steps=5, epochs=3, validation=batches[:1])",
    "no bar": "rows = model.fit(batches, num_steps=5, progress=False)",
    "history": "model.history",
    "model": "model",
    "output": "out = model(x, 10, record=True); out",
    "layer": "sc.Leaky(beta=0.9)",
    "engine": "model.engine",
    "drawn": "marks = spikeplot.raster(out.spikes, batch_index=0)",
    "last value is the artist": "spikeplot.raster(out.spikes, batch_index=0)",
    "last value is the figure": "spikeplot.raster(out.spikes, batch_index=0).figure",
    "last value is the axes": "spikeplot.raster(out.spikes, batch_index=0).axes",
    "two figures": "spikeplot.raster(out.spikes, batch_index=0); t = spikeplot.training_curves(model.history)",
    "kept": "kept = marks.figure",
    "shown again": "kept",
    "pyplot": """
        import matplotlib.pyplot as plt
        plt.figure(figsize=(3, 2))
        spikeplot.raster(out.spikes, batch_index=0)
        plt.title("mine")
        plt.show()
    """,
    "nothing is left": "len(plt.get_fignums())",
    "given axes": """
        figure, axes = plt.subplots(1, 2)
        for ax in axes:
            spikeplot.raster(out.spikes, ax, batch_index=0)
    """,
    "animation": "spikeplot.animator(rng.random((3, 4, 4)))",
    "animation, kept": "moving = spikeplot.animator(rng.random((3, 4, 4)))",
}


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """What each cell shows, by the cell's name."""
    import textwrap

    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(textwrap.dedent(source).strip()) for source in CELLS.values()]
    nbclient.NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path_factory.mktemp("nb"))}},
    ).execute()
    return dict(zip(CELLS, (cell.outputs for cell in notebook.cells)))


def pictures(cell):
    return sum("image/png" in output.get("data", {}) for output in cell)


def text(cell, stream="stderr"):
    return "".join(output["text"] for output in cell if output.get("name") == stream)


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("drawn", 1),
        ("last value is the artist", 1),
        ("last value is the figure", 1),
        ("last value is the axes", 1),
        ("two figures", 2),
        ("shown again", 1),
        ("pyplot", 1),
        ("given axes", 1),
        ("animation, kept", 0),
    ],
)
def test_a_cell_shows_each_of_its_figures_once(outputs, name, number):
    """Nobody imported pyplot before the cells that draw: figures used to be invisible, or to be shown twice."""
    assert pictures(outputs[name]) == number


def test_figures_are_closed_when_they_have_been_shown(outputs):
    assert outputs["nothing is left"][0]["data"]["text/plain"] == "0"


def test_an_animation_plays(outputs):
    (shown,) = outputs["animation"]
    assert "<script" in shown["data"]["text/html"]


def test_fit_shows_one_bar_with_loss_accuracy_and_validation(outputs):
    shown = text(outputs["bar"])
    assert "Warning" not in shown
    last = [part for part in re.split(r"[\r\n]", shown) if "%" in part][-1]
    assert last.startswith("epoch 3/3: 100%")
    assert re.search(r"9/9 .*loss=\d.*accuracy=\d.*val_loss=\d.*val_accuracy=\d", last), last
    assert shown.count("\n") <= 1
    assert outputs["no bar"] == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("history", ["epoch", "val_accuracy", "seconds"]),
        ("model", ["27 parameters", "Linear", "Leaky"]),
        ("output", ["float32 (10, 60, 3)", "spikes per neuron and step"]),
        ("layer", ["beta", "0.9", "reset_mechanism"]),
        ("engine", ["NumpyEngine", "float32"]),
    ],
)
def test_what_a_cell_returns_is_a_table(outputs, name, words):
    (shown,) = outputs[name]
    page, plain = shown["data"]["text/html"], shown["data"]["text/plain"]
    assert "<table" in page
    for word in words:
        assert word in page
    assert "array([" not in plain
    assert len(plain) < 800

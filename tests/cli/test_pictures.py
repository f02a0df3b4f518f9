"""The pictures of a run show what its layers do: spikes where they spike, membranes, and every metric."""

from __future__ import annotations

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
Figure = pytest.importorskip("matplotlib.figure").Figure
pytest.importorskip("pydantic", reason="runs need the extra 'cli'")

import spikecore as sc  # noqa: E402
from spikecore import spikeplot  # noqa: E402
from spikecore.cli import pictures  # noqa: E402

X = np.random.default_rng(0).random((4, 6)).astype("float32")
FEEDING = {"num_steps": 8, "encoder": None, "time_axis": 0}
READOUTS = {
    "LI": sc.LI(beta=0.9),
    "a recurrent readout": sc.Recurrent(sc.LI(beta=0.5), sc.Linear(3, 3)),
    "Leaky": sc.Leaky(beta=0.9),
}


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """The figures that ``draw`` makes of a network, by the names of their files."""

    def draw(*layers, history=()):
        figures = {}
        save = pictures.save
        monkeypatch.setattr(
            pictures, "save", lambda figure, path: (figures.update({path.name: figure}), save(figure, path))[1]
        )
        model = sc.Model(sc.Sequential(sc.Linear(6, 3), *layers), seed=0)
        model(X, 8)
        model.history = list(history)
        made = pictures.draw(tmp_path, model, X[:1], FEEDING, "title")
        assert sorted(path.name for path in made) == sorted(figures)
        return figures

    return draw


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("layer", READOUTS.values(), ids=list(READOUTS))
def test_a_readout_has_neither_spikes_nor_threshold(drawn, layer):
    """D5: an ``LI`` had "800 spikes" and a threshold."""
    figures = drawn(sc.Leaky(beta=0.8), sc.Linear(3, 3), layer)
    titles = [ax.get_title() for ax in figures["raster.png"].axes]
    assert len(titles) == 1 + layer.spiking
    assert "layer 1 (Leaky)" in titles[0]
    panels = [ax for ax in figures["traces.png"].axes if "layer 3" in ax.get_title()]
    assert {len(ax.lines) for ax in panels} == {3 if layer.spiking else 1}
    assert legend(figures["traces.png"]) == ["threshold", "membrane", "spike"], "of the layers that spike"


def test_readouts_alone_have_no_raster(drawn):
    """D5"""
    figures = drawn(sc.LI(beta=0.9))
    assert "raster.png" not in figures
    assert legend(figures["traces.png"]) == ["membrane"]
    (mem,) = figures["traces.png"].axes[0].lines
    assert len(mem.get_xdata()) == 8


def test_curves_show_every_metric_and_leave_pyplot_alone(drawn):
    """D3: one panel for each metric. B3: a run's pictures are its own."""
    with matplotlib.rc_context():
        import matplotlib.pyplot as plt

        plt.switch_backend("agg")
        prepared = plt.figure()
        rows = [{"epoch": n, "loss": 1.0 / n, "f1": 0.1 * n, "val_loss": 2.0, "val_f1": 0.2, "lr": 0.1} for n in (1, 2)]
        figures = drawn(sc.Leaky(), history=rows)
        assert [ax.get_ylabel() for ax in figures["curves.png"].axes] == ["loss", "f1"]
        assert plt.get_fignums() == [prepared.number]
        assert not prepared.axes
        lines = spikeplot.training_curves(rows)
        assert set(lines) == {"loss", "val_loss", "f1", "val_f1"}
        assert lines["f1"].get_ydata().tolist() == [0.1, 0.2]

"""Pictures as tutorials make them: options of scatter, and pyplot's current figure."""

from __future__ import annotations

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")

from spikecore import spikeplot  # noqa: E402
from tests.spikeplot.spikeplot_rig import pixels  # noqa: E402

SPIKES = (np.random.default_rng(0).random((60, 12)) < 0.2).astype(float)
MEM = np.random.default_rng(1).random((60, 12))


@pytest.fixture
def plt():
    with matplotlib.rc_context():
        import matplotlib.pyplot as plt

        plt.switch_backend("agg")
        plt.close("all")
        yield plt
        plt.close("all")


def ink(spikes, **options):
    """The pixels of a raster, as numbers from black to white."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4))
    ax = figure.subplots()
    ax.set_title("the same")
    spikeplot.raster(spikes, ax, **options)
    return pixels(figure).astype(int)


def marked(**options):
    """How many pixels the spikes darken well."""
    return int((ink(0 * SPIKES, **options) - ink(SPIKES, **options) > 60).any(axis=2).sum())


@pytest.mark.parametrize(
    "options",
    [
        {"s": 400, "c": "black", "marker": "|"},  # tutorials 2 and 3
        {"s": 1.5, "c": "black"},  # tutorial 1
        {"marker": "_", "s": 40},
        {"marker": "x"},
        {"marker": "+", "s": 9, "color": "k"},
        {"marker": "|"},
        {"marker": matplotlib.markers.TICKUP, "s": 50},
        {"marker": "$S$", "s": 50, "c": "k"},
        {"facecolors": "none", "edgecolors": "black", "s": 30},
        {"facecolor": "none", "edgecolor": "black"},
        {"marker": "s", "s": 9},
        {"lw": 1},
        {},
    ],
    ids=str,
)
def test_every_spike_leaves_a_mark(options):
    """B3: marks that are nothing but an outline had none."""
    assert marked(**options) >= SPIKES.sum()


def test_a_mark_set_for_all_of_matplotlib_is_seen():
    """B3"""
    with matplotlib.rc_context({"scatter.marker": "|"}):
        assert marked(s=40) >= SPIKES.sum()


OWN = {
    "traces": lambda: spikeplot.traces(MEM, spk=SPIKES),
    "traces, dim": lambda: spikeplot.traces(MEM, spk=SPIKES, dim=(3, 3), spk_height=5),
    "raster": lambda: spikeplot.raster(SPIKES),
    "spike_count": lambda: spikeplot.spike_count(SPIKES),
    "animator": lambda: spikeplot.animator(SPIKES.reshape(60, 3, 4)),
    "activity_map": lambda: spikeplot.activity_map({"0": SPIKES}),
    "weights": lambda: spikeplot.weights(MEM[:, :4]),
    "training_curves": lambda: spikeplot.training_curves([{"loss": 1.0}, {"loss": 0.5}]),
    "surrogate_curves": lambda: spikeplot.surrogate_curves({"one": (MEM[:, 0], MEM[:, 1])}),
    "event_frames": lambda: spikeplot.event_frames(np.ones((2, 2, 4, 4))),
}


@pytest.mark.filterwarnings("ignore:Animation was deleted")
@pytest.mark.parametrize("draw", OWN.values(), ids=list(OWN))
def test_what_pyplot_shows_is_the_picture(plt, draw, tmp_path):
    """B3: ``traces(...)`` and then ``plt.gcf()``, ``plt.savefig`` or ``plt.show`` gave an empty figure."""
    kept = draw()
    assert plt.get_fignums() == [1]
    assert plt.gcf().axes
    assert len(np.unique(pixels(plt.gcf()).reshape(-1, 3), axis=0)) > 2
    plt.savefig(tmp_path / "shown.png")
    picture = plt.imread(tmp_path / "shown.png")
    assert picture.min() < picture.max()
    del kept


def test_an_empty_current_figure_is_drawn_on_and_a_full_one_is_left_alone(plt):
    """B3: ``plt.figure(figsize=...)`` before the picture."""
    prepared = plt.figure(figsize=(3, 2))
    drawn = spikeplot.traces(MEM, SPIKES)
    assert drawn.mem[0].figure is prepared
    assert tuple(prepared.get_size_inches()) == (3, 2)
    panels = len(prepared.axes)
    other = spikeplot.raster(SPIKES).figure
    assert plt.gcf() is other is not prepared
    assert len(prepared.axes) == panels


def test_pictures_on_given_axes_make_no_figure(plt):
    """B3"""
    figure, ax = plt.subplots()
    spikeplot.raster(SPIKES, ax)
    spikeplot.spike_count(SPIKES, figure, figure.add_subplot())
    assert plt.get_fignums() == [figure.number]

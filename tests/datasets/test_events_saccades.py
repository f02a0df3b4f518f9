"""Simulated saccades: the contrast threshold holds, seeds decide, and nobody takes them for recordings."""

from __future__ import annotations

import numpy as np
import pytest

from spikecore.datasets import DataError, saccades
from spikecore.datasets.saccades import Camera, _crossings
from spikecore.datasets.transforms import CountImage

BAR = np.zeros((2, 8, 8))
BAR[0, :, 3:5] = 1.0
BAR[1, 3:5, :] = 1.0
QUIET = {"noise": 0.0, "mismatch": 0.0, "jitter": 0.0}


def test_the_events_are_labelled_simulated():
    dataset = saccades(BAR, [0, 1], name="bars")
    assert dataset.name == "bars, simulated saccades"
    assert dataset[0][0].origin == "simulated saccades"
    assert "simulat" in saccades.__doc__.lower()


def test_three_saccades_of_100_ms_on_34_by_34_pixels():
    events = saccades(BAR, [0, 1])[0][0]
    assert events.sensor == (34, 34)
    assert 0 <= events.t[0] < 20_000
    assert 280_000 < events.t[-1] < 300_000
    assert 0.3 < events.p.mean() < 0.7
    per_saccade = np.histogram(events.t, [0, 100_000, 200_000, 300_000])[0]
    assert per_saccade.min() > 200


def test_the_image_moves_as_in_nmnist():
    """There the digit goes down, then up, meanwhile to the right, and back to the left; row 0 is the top."""
    events = saccades(BAR.max(0, keepdims=True), [0], **QUIET)[0][0]
    eighth = np.minimum(events.t * 8 // 300_000, 7)
    row, column = (np.array([place[eighth == part].mean() for part in range(8)]) for place in (events.y, events.x))
    assert row[2] > row[[0, 6, 7]].max() + 2
    assert abs(row[0] - row[7]) < 2
    assert (np.diff(column[:5]) > 0).all()
    assert column[5] > column[[0, 7]].max() + 2


@pytest.mark.parametrize(("negative", "side"), [(True, 1), (False, -1)])
def test_the_edge_behind_is_on_if_the_screen_shows_the_negative(negative, side):
    """As in N-MNIST; a bright bar on a dark screen has its ON events in front."""
    ways = [(0, "y", 20_000, 80_000, 1), (1, "y", 120_000, 180_000, -1), (0, "x", 225_000, 275_000, -1)]
    for sample, axis, start, end, direction in ways:
        events = saccades(BAR[[1 - sample if axis == "y" else sample]], [0], negative=negative, **QUIET)[0][0]
        place, now = getattr(events, axis).astype(float), (events.t >= start) & (events.t < end)
        ahead = place[now & (events.p == 1)].mean() - place[now & (events.p == 0)].mean()
        assert ahead * direction * side < -2, (sample, axis)


def test_the_image_rests_between_saccades():
    events = saccades(BAR.max(0, keepdims=True), [0], **QUIET)[0][0]
    rate = np.histogram(events.t, np.arange(0, 300_001, 25_000))[0].reshape(3, 4)
    assert (rate[:, 1] > 2 * rate[:, 0]).all()
    assert (rate[:, 1] > 2 * rate[:, 3]).all()


def test_each_recording_has_its_place():
    """By jitter alone; without it, and without noise and mismatch, all recordings of an image are one."""
    one, other = (saccades(BAR[[0, 0]], [0, 0], **QUIET)[i][0] for i in range(2))
    assert one == other
    moved = saccades(BAR[[0] * 20], [0] * 20, **{**QUIET, "jitter": 1.0})
    assert 0.6 < np.std([moved[i][0].x.mean() for i in range(20)]) < 1.5


def test_each_pixel_ends_within_a_threshold_of_what_it_sees():
    """The law of such a camera: reference + threshold · (ON − OFF) follows the log intensity."""
    camera = Camera(**QUIET)
    levels = np.log(camera.views(BAR[0]) + camera.floor)
    events = camera.record(BAR[0], 0)
    net = np.zeros(34 * 34)
    np.add.at(net, events.with_arrays(p=None).place, 2.0 * events.p - 1)
    rest = levels[-1] - levels[0] - camera.threshold * net
    assert np.abs(rest).max() <= camera.threshold * (1 + 1e-12)
    seen, reference = levels - levels[0], camera.threshold * net
    assert ((seen.min(0) - 1e-9 <= reference) & (reference <= seen.max(0) + 1e-9)).all()
    assert len(events) > 1000


def test_crossings_are_interpolated_in_time():
    levels = np.array([[0.0, 0.0], [1.0, -0.5], [1.0, -2.0]])
    t, pixel, p = _crossings(levels, np.array([0.4, 0.5]))
    np.testing.assert_allclose(np.sort(t[pixel == 0]), [0.4, 0.8])
    np.testing.assert_allclose(np.sort(t[pixel == 1]), [1, 1 + 1 / 3, 1 + 2 / 3, 2], atol=1e-5)
    assert p[pixel == 0].all()
    assert not p[pixel == 1].any()


def test_an_image_without_edges_gives_noise_alone():
    grey = np.full((1, 8, 8), 0.0)
    assert len(saccades(grey, [0], **QUIET)[0][0]) == 0
    noise = saccades(grey, [0], noise=5.0)[0][0]
    assert 1500 < len(noise) < 2000  # 5 per second and pixel: 1734
    assert abs(noise.p.mean() - 0.8) < 0.05


def test_seed_and_sample_decide():
    one, two = saccades(BAR, [0, 1], seed=3), saccades(BAR, [0, 1], seed=3)
    assert one[1][0] == two[1][0]
    two[0]
    assert one[0][0] == two[0][0]
    assert saccades(BAR, [0, 1], seed=4)[0][0] != one[0][0]
    assert saccades(BAR[[0, 0]], [0, 1])[0][0] != saccades(BAR[[0, 0]], [0, 1])[1][0]
    assert one.source.identity(0) != one.source.identity(1)
    assert one.source.identity(0) == two.source.identity(0)


def test_the_options_of_the_camera_do_what_they_say():
    normal = saccades(BAR, [0, 1], **QUIET)[0][0]
    assert len(saccades(BAR, [0, 1], threshold=0.6, **QUIET)[0][0]) < 0.6 * len(normal)
    small = saccades(BAR[:, None], [0, 1], sensor=(20, 16), saccade=50_000)[0][0]
    assert (small.sensor, small.t[-1] < 150_000) == ((20, 16), True)
    upright, flat = (CountImage()(saccades(BAR, [0, 1], **QUIET)[i][0]).sum(0) for i in range(2))
    assert upright[:, :4].sum() == flat[:4].sum() == 0  # the bar, and where it moves to
    assert min(upright[:, 12:20].sum(), flat[12:20].sum()) > 500


@pytest.mark.parametrize(
    ("images", "camera", "message"),
    [
        (np.zeros((8, 8)), {}, r"images: need \(samples, height, width\).*not \(8, 8\)"),
        (2 * BAR, {}, r"images: intensities from 0\.0 to 2\.0"),
        (BAR * np.nan, {}, r"images: intensities from nan"),
        (BAR, {"threshold": 0}, r"threshold=0: need a number above 0"),
        (BAR, {"noise": -1}, r"noise=-1: need a number of at least 0"),
        (BAR, {"jitter": -1}, r"jitter=-1: need a number of at least 0"),
        (BAR, {"negative": "no"}, r"negative='no': need True or False"),
        (BAR, {"amplitude": 20}, r"amplitude=20: leaves no room"),
        (BAR, {"sensor": (700,)}, r"sensor=\(700,\): need \(width, height\)"),
        (BAR, {"zoom": 2}, r"saccades: .*zoom"),
    ],
)
def test_what_cannot_be_is_refused(images, camera, message):
    with pytest.raises(DataError, match=message):
        saccades(images, [0, 1], **camera)

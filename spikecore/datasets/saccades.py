"""Events simulated from still images, for examples and tests: a simulation of the apparatus that recorded N-MNIST."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Tuple

import numpy as np

from spikecore.arguments import ArrayLike
from spikecore.datasets.errors import DataError, checked
from spikecore.datasets.event_dataset import EventDataset, Source
from spikecore.datasets.events import Events, check_sensor
from spikecore.datasets.fingerprint import fingerprint
from spikecore.datasets.transforms.base import Draws

ORIGIN = "simulated saccades"
# Where the image is, in amplitudes right of and below the middle, four times in each saccade; fitted to 150 recordings
# of N-MNIST. From the left it goes down, then up, meanwhile slowly to the right, and back; all lies a pixel too low.
PATH_X = np.array([-0.75, -0.73, -0.7, -0.22, -0.1, 0.08, 0.45, 0.77, 1.03, 0.97, 0.27, -0.35, -0.43])
PATH_Y = np.array([-0.4, -0.23, 0.47, 1.18, 1.15, 1.08, 0.3, -0.35, -0.37, -0.43, -0.5, -0.53, -0.52])
ON_NOISE = 0.8  # share of ON among random events, as at the border of N-MNIST's sensor
STEP = 4000  # µs, about, between two views of the image


@dataclass(frozen=True)
class Camera:
    """A simulated event camera. Its fields are the arguments of `saccades` with the same names."""

    sensor: Tuple[int, int] = (34, 34)
    amplitude: float = 3.0
    saccade: int = 100_000
    threshold: float = 0.35
    floor: float = 0.15
    mismatch: float = 0.2
    noise: float = 0.5
    jitter: float = 0.45
    negative: bool = True
    seed: int = 0

    def __post_init__(self):
        if len(check_sensor(self.sensor)) != 2:
            raise DataError(f"sensor={self.sensor}: need (width, height)")
        positive = ("amplitude", "saccade", "threshold", "floor")
        for name in (*positive, "mismatch", "noise", "jitter", "seed"):
            value = getattr(self, name)
            if not 0 <= value < 1e9 or (name in positive and not value):
                raise DataError(f"{name}={value!r}: need a number {'above' if name in positive else 'of at least'} 0")
        if not isinstance(self.negative, bool):
            raise DataError(f"negative={self.negative!r}: need True or False")
        if min(self.sensor) <= 2 * self.amplitude:
            raise DataError(f"amplitude={self.amplitude}: leaves no room for the image on a sensor of {self.sensor}")

    def record(self, image: np.ndarray, index: int) -> Events:
        """The events of one image (height, width); `index` is its number, for the random numbers."""
        draws = Draws(self.seed, index)
        levels = np.log(self.views(image, self.jitter * draws.normal(2)) + self.floor)
        steps, pixels = len(levels) - 1, levels.shape[1]
        step = 3 * self.saccade / steps
        mismatch = 1 + self.mismatch * draws.normal(pixels)
        t, pixel, p = _crossings(levels, self.threshold * np.maximum(mismatch, 0.2))
        hits = np.flatnonzero(draws.uniform(steps * pixels) < self.noise * step * 1e-6)
        t = np.concatenate([t, hits // pixels + draws.uniform(len(hits))])
        pixel = np.concatenate([pixel, hits % pixels])
        p = np.concatenate([p, draws.uniform(len(hits)) < ON_NOISE])
        width = self.sensor[0]
        time = np.floor(t * step).astype(np.int64)
        return Events.from_unsorted(time, pixel % width, pixel // width, p, sensor=self.sensor, origin=ORIGIN)

    def views(self, image: np.ndarray, place: ArrayLike = (0.0, 0.0)) -> np.ndarray:
        """Intensities at the pixels, (steps + 1, pixels), of the image, scaled, moved by `place` and along the path."""
        (width, height), (rows, columns) = self.sensor, image.shape
        scale = min((width - 2 * self.amplitude) / columns, (height - 2 * self.amplitude) / rows)
        progress = np.linspace(0, 3, 1 + 3 * max(1, round(self.saccade / STEP)))  # in saccades
        moves = [
            start + self.amplitude * np.interp(progress, np.arange(13) / 4, path)
            for start, path in zip(np.asarray(place), (PATH_X, PATH_Y))
        ]
        x, y = (
            (np.arange(extent) - (extent - 1) / 2 - move[:, None]) / scale + (size - 1) / 2
            for extent, move, size in zip((width, height), moves, (columns, rows))
        )
        views = _weights(y, rows) @ image @ _weights(x, columns).swapaxes(1, 2)  # (steps + 1, height, width)
        views = views.reshape(len(progress), -1)
        return 1 - views if self.negative else views


@checked
def saccades(
    images: ArrayLike, targets: ArrayLike, *, classes: Tuple[str, ...] = (), name: str = "", **camera: Any
) -> EventDataset:
    """Simulate events from still images, with three saccades along a triangle, like those of N-MNIST.

    Its defaults were fitted to recordings of N-MNIST: the way of the image, its speed, thresholds and noise. As there,
    the ON events of a bright digit are at the edge behind, so the screen shows the negative of the image.

    A pixel fires when the logarithm of its intensity has changed by its threshold since its last event:

        |log(I + floor) − reference| ≥ threshold      reference ← reference ± threshold

    An event is ON if the pixel became brighter, OFF if darker. Times within a step are interpolated linearly. The
    simulation has no shot noise, no limited bandwidth and no screen. When you publish numbers, say that the events are
    simulated; the data set's name says so, too.

    Args:
        images: (samples, height, width) or (samples, 1, height, width), intensities in [0, 1].
        targets: one class index per image.
        classes: the classes' names, in the order of their indices.
        name: of the images.
        sensor: (width, height) in pixels. The image is scaled to the sensor, less room for the moves. Default (34, 34).
        amplitude: how far the image moves from the middle, about, in pixels, > 0. Default 3.
        saccade: duration of each of the three saccades in µs, > 0. Default 100,000.
        threshold: change of the log intensity that causes an event, > 0. Default 0.35.
        floor: intensity added before the logarithm is taken, > 0. Default 0.15.
        mismatch: relative standard deviation of the pixels' thresholds, ≥ 0. Default 0.2.
        noise: random events per second and pixel, ≥ 0, four of five ON. Default 0.5.
        jitter: standard deviation of the image's place, in pixels, drawn for each recording, ≥ 0. Default 0.45.
        negative: whether the screen shows 1 − image. Default True; with False ON events are at the edge in front.
        seed: of mismatch, noise and jitter. Sample i depends only on `seed` and i. Default 0.

    Source: G. Orchard, A. Jayawant, G. K. Cohen, N. Thakor, Converting Static Image Datasets to Spiking Neuromorphic
    Datasets Using Saccades, Frontiers in Neuroscience 9:437 (2015). The threshold is that of P. Lichtsteiner,
    C. Posch, T. Delbruck, IEEE J. Solid-State Circuits 43 (2008).

    Raises:
        DataError: the images have another shape or range, or an argument of the camera is unknown or out of range.
    """
    pixels = np.asarray(images, np.float64)
    if pixels.ndim == 4 and pixels.shape[1] == 1:
        pixels = pixels[:, 0]
    if pixels.ndim != 3 or not pixels.size:
        raise DataError(f"images: need (samples, height, width) or (samples, 1, height, width), not {pixels.shape}")
    if not (pixels.min() >= 0 and pixels.max() <= 1):
        raise DataError(f"images: intensities from {pixels.min()} to {pixels.max()}: need them in [0, 1]")
    try:
        source = Simulated(pixels, Camera(**camera))
    except TypeError as error:
        raise DataError(f"saccades: {error}: help(saccades) lists the arguments of the camera") from error
    return EventDataset(source, targets, f"{name or 'images'}, {ORIGIN}", tuple(classes))


class Simulated(Source):
    """Recordings of images by a simulated camera."""

    def __init__(self, images: np.ndarray, camera: Camera):
        self.images, self.camera = images, camera

    def __len__(self) -> int:
        return len(self.images)

    def read(self, row: int) -> Events:
        return self.camera.record(self.images[row], row)

    def identity(self, row: int) -> Tuple:
        return (row, fingerprint(self.camera, self.images[row]))


def _weights(position: np.ndarray, size: int) -> np.ndarray:
    """Bilinear weights (steps, pixels, size) of an image's rows or columns; outside the image the intensity is 0."""
    return np.maximum(0, 1 - np.abs(position[..., None] - np.arange(size)))


def _crossings(levels: np.ndarray, threshold: np.ndarray) -> Tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times (in steps), pixels and polarities of all events of levels (steps + 1, pixels)."""
    heights = (levels - levels[0]) / threshold  # in units of thresholds: references are integers, without rounding
    reference = np.zeros(levels.shape[1], np.int64)
    events = [(np.zeros(0), np.zeros(0, np.int64), np.zeros(0, bool))]
    for step in range(1, len(levels)):
        before, after = heights[step - 1], heights[step]
        crossed = np.trunc(after - reference).astype(np.int64)
        count = np.abs(crossed)
        pixel = np.repeat(np.arange(len(count)), count)
        nth = np.arange(1, len(pixel) + 1) - np.repeat(np.cumsum(count) - count, count)  # 1, 2, ... of each pixel
        height = reference[pixel] + np.sign(crossed[pixel]) * nth
        within = (height - before[pixel]) / (after[pixel] - before[pixel])
        events.append((step - 1 + np.clip(within, 0, 1 - 2**-20), pixel, crossed[pixel] > 0))
        reference += crossed
    t, pixel, p = (np.concatenate(column) for column in zip(*events))
    return t, pixel, p

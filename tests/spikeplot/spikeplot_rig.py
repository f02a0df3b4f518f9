"""What the tests of pictures share: pixels, texts that overlap, and a watch on matplotlib's global settings."""

from __future__ import annotations

import numpy as np
import pytest

matplotlib = pytest.importorskip("matplotlib")
from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: E402


@pytest.fixture(autouse=True)
def nothing_global_changes():
    before = dict(matplotlib.rcParams)
    yield
    assert dict(matplotlib.rcParams) == before


def pixels(figure):
    """(height, width, 3) of the drawn figure, as a saved PNG would show it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def shown_texts(figure):
    """The texts that are drawn: matplotlib also keeps tick labels outside the view, and those of axes without any."""
    yield from (text for legend in figure.legends for text in legend.get_texts())
    for ax in figure.axes:
        yield ax.title
        for axis in (ax.xaxis, ax.yaxis) if ax.axison else ():
            yield axis.label
            low, high = sorted(axis.get_view_interval())
            yield from (text for at, text in zip(axis.get_ticklocs(), axis.get_ticklabels()) if low <= at <= high)


def overlapping_texts(figure):
    pixels(figure)  # lays the figure out
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown_texts(figure) if text.get_text()]
    pairs = ((first, second) for number, first in enumerate(boxes) for second in boxes[:number])
    return [(a, b) for (a, a_box), (b, b_box) in pairs if a_box.overlaps(b_box)]


def cut_texts(figure):
    """Texts that stick out of the figure, which a saved picture would cut."""
    pixels(figure)
    boxes = [(text.get_text(), text.get_window_extent()) for text in shown_texts(figure) if text.get_text()]
    width, height = figure.canvas.get_width_height()
    return [text for text, box in boxes if box.x0 < 0 or box.y0 < 0 or box.x1 > width or box.y1 > height]


def colour_at(ax, x, y, image=None):
    """(red, green, blue) of the pixel at a place in data coordinates, each 0 to 255."""
    image = pixels(ax.figure) if image is None else image
    column, up = (int(round(value)) for value in ax.transData.transform((x, y)))
    return image[image.shape[0] - 1 - up, column].astype(int)  # display coordinates run upwards


def is_blue(colour):
    red, _, blue = colour
    return blue > red + 40


def is_orange(colour):
    red, _, blue = colour
    return red > blue + 40


class OnDevice:
    """What CuPy shows of its arrays."""

    __cuda_array_interface__: dict = {}

    def __init__(self, values):
        self.values = values

    def get(self):
        return self.values


def frames_of(animation, path):
    """The pictures of a saved animation, each (height, width, 3)."""
    from PIL import Image

    animation.save(path, writer="pillow", dpi=60)
    with Image.open(path) as saved:
        return [np.asarray(_at(saved, number)) for number in range(saved.n_frames)]


def _at(saved, number):
    saved.seek(number)
    return saved.convert("RGB")

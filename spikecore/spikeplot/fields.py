"""The weights of each neuron of a layer, as an image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Optional, Sequence, Tuple, Union

import numpy as np

from spikecore.arguments import ArrayLike, checked
from spikecore.spikeplot.data import host
from spikecore.spikeplot.style import ORANGE, colour_bar, figure_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.image import AxesImage

GAP = (0.5, 0.5, 0.5, 0.4)  # between two images: see-through, so that it is visible on any background


@checked
def weights(
    weight: ArrayLike,
    ax: Optional[Axes] = None,
    *,
    shape: Optional[Tuple[int, int]] = None,
    labels: Optional[Sequence[Any]] = None,
    columns: Optional[int] = None,
    cmap: Union[str, Colormap, None] = None,
    colorbar: bool = True,
) -> AxesImage:
    """Draw the weights of each neuron as an image, all side by side: their receptive fields, the filters of a
    convolution.

    All neurons share one scale. Weights of both signs are drawn from blue (negative) over white (zero) to red.

    Args:
        weight: (neurons, inputs), (neurons, height, width), or of a convolution (filters, channels, height, width), of
            which a filter's channels are drawn side by side.
        ax: axes to draw on; the colour bar takes room from them. Default: axes of a new figure.
        shape: height and width of the image that the inputs are. None, the default: a square.
        labels: a text for each neuron, e.g. the class that it stands for, in the corner of its image.
        columns: how many neurons a row has; default: as many as there are rows.
        cmap: colour map of matplotlib. None, the default: "Greys" for weights of one sign, else "RdBu_r".
        colorbar: whether to draw the colour bar.

    Returns:
        The image; its array has all images with gaps of NaN between them.

    Raises:
        ValueError: shapes do not fit, or there is not one label per neuron.
    """
    images = _images(host(weight).astype(float), shape)
    count, height, width = images.shape
    if labels is not None and len(labels) != count:
        raise ValueError(f"labels has {len(labels)} entries: need one for each of {count} neurons")
    if columns is not None and columns < 1:
        raise ValueError(f"columns={columns} must be at least 1, or None")
    columns = min(count, columns or math.ceil(math.sqrt(count * height / width)))
    rows = -(-count // columns)
    whole = np.full((rows * (height + 1) - 1, columns * (width + 1) - 1), np.nan)
    places = [(i // columns * (height + 1), i % columns * (width + 1)) for i in range(count)]
    for (top, left), image in zip(places, images):
        whole[top : top + height, left : left + width] = image
    if ax is None:
        side = min(0.9, 9.0 / columns)  # inches of one image
        ax = figure_of(columns * side + 0.9 * colorbar + 0.2, rows * side * height / width + 0.3).subplots()
    low, high = min(0.0, float(images.min())), max(0.0, float(images.max()))
    both = low < 0.0 < high
    edge = max(-low, high) or 1.0
    span: Any = {"vmin": -edge, "vmax": edge} if both else {"vmin": low, "vmax": high if high > low else low + 1.0}
    picture = ax.imshow(whole, cmap=cmap or ("RdBu_r" if both else "Greys"), interpolation="nearest", **span)
    picture.set_cmap(picture.get_cmap().with_extremes(bad=GAP))
    for text, (top, left) in zip(labels if labels is not None else (), places):
        ax.text(left, top, str(text), fontsize=6, va="top", ha="left", color=ORANGE)
    ax.set_axis_off()
    if not ax.get_title():
        ax.set_title(f"weights of {count} neurons" if count > 1 else "weights of one neuron", fontsize=11)
    if colorbar:
        colour_bar(ax, picture, "weight", shrink=0.6)
    return picture


def _images(weight: np.ndarray, shape: Optional[Tuple[int, int]]) -> np.ndarray:
    """One image for each neuron: (neurons, height, width)."""
    if weight.size and weight.ndim == 4 and shape is None:
        return weight.transpose(0, 2, 1, 3).reshape(len(weight), weight.shape[2], -1)
    if weight.size and weight.ndim == 3 and shape is None:
        return weight
    if weight.size and weight.ndim == 2:
        side = math.isqrt(weight.shape[1])
        height, width = (side, side) if shape is None else shape
        if height * width == weight.shape[1]:
            return weight.reshape(len(weight), height, width)
        hint = "pass shape=(height, width)" if shape is None else f"shape={shape} has {height * width} pixels"
        raise ValueError(f"weight has shape {weight.shape}: {weight.shape[1]} inputs are no such image; {hint}")
    raise ValueError(
        f"weight has shape {weight.shape}: need (neurons, inputs), or without shape=... (neurons, height, width) or "
        "(filters, channels, height, width), not empty"
    )

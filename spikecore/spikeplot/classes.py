"""Confusion matrices: how often each class is taken for each other one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, Optional, Sequence, Tuple, Union

import numpy as np

from spikecore.arguments import ArrayLike, checked, shown
from spikecore.spikeplot.data import host
from spikecore.spikeplot.style import FAINT, artists_text, counted, figure_of, percent, size_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.image import AxesImage
    from matplotlib.text import Text

MOST = 1000


class Confusion(NamedTuple):
    """The artists of `confusion`: the image, whose array is the matrix, and the numbers in its cells."""

    image: AxesImage
    numbers: Sequence[Text]

    def __repr__(self) -> str:
        return artists_text(self)


@checked
def confusion(
    targets: ArrayLike,
    predicted: ArrayLike,
    ax: Optional[Axes] = None,
    *,
    labels: Optional[Sequence[Any]] = None,
    shares: bool = False,
    cmap: Union[str, Colormap] = "Blues",
) -> Confusion:
    """Draw a confusion matrix: a row per true class, a column per predicted class.

        M[i, j] = number of samples of class i that are predicted as class j
        with shares: M[i, j] / sum_k M[i, k]; the diagonal is then the recall of each class

    Right predictions are on the diagonal. Cells of zero have no number; neither have cells too small for one. Precision
    and recall of each class are `image.get_array()` divided by the sums of its columns and of its rows.

    Args:
        targets: indices of the true classes, (samples,), 0 to 999.
        predicted: indices of the predicted classes, (samples,), such as `model.predict(x)`.
        ax: axes to draw on. Default: axes of a new figure.
        labels: names of the classes by index; there is a row for each. Default: the indices, up to the largest.
        shares: whether to show shares of a row's samples, in percent, instead of numbers of samples. Default False. For
            classes of different size.
        cmap: colour map of matplotlib, from zero to the largest cell.

    Returns:
        The artists: `image`, whose array is M, and `numbers`.

    Raises:
        ValueError: shapes differ, there is no sample, or a class is no whole number from 0 to 999 or has no name.
    """
    true, guess = (_classes(*each) for each in (("targets", targets), ("predicted", predicted)))
    if len(true) != len(guess):
        raise ValueError(f"targets has {len(true)} samples and predicted {len(guess)}: need the same samples in both")
    largest = int(max(true.max(), guess.max()))
    names = [str(name) for name in (range(largest + 1) if labels is None else labels)]
    if largest >= len(names):
        raise ValueError(f"labels has {len(names)} names, and there is a class {largest}: need a name for each class")
    count = len(names)
    matrix = np.bincount(true * count + guess, minlength=count * count).reshape(count, count)
    if shares:
        matrix = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    if ax is None:
        side = min(9.0, max(2.2, 0.45 * count))
        ax = figure_of(side + 1.0, side + 1.2).subplots()
    image = ax.imshow(matrix, cmap=cmap, vmin=0.0, vmax=float(matrix.max()), interpolation="nearest")
    right = percent(round(float((true == guess).mean()), 3))
    _dress(ax, names, f"{right} of {counted(len(true), 'sample')} right")
    return Confusion(image, _numbers(ax, image, matrix, shares))


def _classes(name: str, values: Any) -> np.ndarray:
    classes = host(values)
    if classes.ndim != 1 or not classes.size:
        hint = "; of outputs (samples, classes) give the largest, argmax(-1)" if classes.ndim == 2 else ""
        raise ValueError(f"{name} has shape {classes.shape}: need a class index for each sample, (samples,){hint}")
    wrong = classes[~((classes >= 0) & (classes < MOST) & (classes == np.floor(classes)))]
    if wrong.size:
        raise ValueError(f"{name} has {shown(wrong[0].item())}: need class indices, whole numbers from 0 to {MOST - 1}")
    return classes.astype(np.int64)


def _dress(ax: Axes, names: Sequence[str], title: str) -> None:
    """Labels, faint lines between cells, and as many names as there is room for."""
    cell = min(size_of(ax)) / len(names)
    every = max(1, int(np.ceil(10 / cell)))
    places, size = range(0, len(names), every), max(min(0.5 * cell * every, 9.0), 5.0)
    upright = max(map(len, names)) * 0.6 * size > cell * every
    ax.set_yticks(places, names[::every], fontsize=size)
    ax.set_xticks(places, names[::every], fontsize=size, rotation=90 if upright else 0)
    for set_label, given, label in (
        (ax.set_xlabel, ax.get_xlabel(), "predicted class"),
        (ax.set_ylabel, ax.get_ylabel(), "true class"),
        (lambda text: ax.set_title(text, fontsize=11), ax.get_title(), title),
    ):
        if not given:
            set_label(label)
    ax.grid(visible=False)
    if every == 1:
        for ticks in (ax.set_xticks, ax.set_yticks):
            ticks(np.arange(0.5, len(names) - 1), minor=True)
        ax.grid(visible=True, which="minor", color=FAINT, linewidth=0.6)
    ax.spines[:].set_visible(False)
    ax.tick_params(which="both", length=0)


def _numbers(ax: Axes, image: AxesImage, matrix: np.ndarray, shares: bool) -> Tuple[Text, ...]:
    """The number of each cell that is not zero, black on light cells and white on dark ones; none without room."""
    texts = [[(f"{100 * value:.0f}" if shares else f"{value:g}") if value else "" for value in row] for row in matrix]
    longest = max(len(text) for row in texts for text in row)
    size = min(9.0, 0.8 * min(size_of(ax)) / len(matrix) / (0.6 * max(longest, 2)))
    if size < 4.0:
        return ()
    colours: Any = image.cmap(np.asarray(image.norm(matrix)))
    bright = np.asarray(colours)[..., :3] @ np.array([0.299, 0.587, 0.114])
    style: Any = {"ha": "center", "va": "center", "fontsize": size, "in_layout": False}  # hundreds, all inside
    return tuple(
        ax.text(column, row, texts[row][column], color="black" if bright[row, column] > 0.5 else "white", **style)
        for row, column in np.argwhere(matrix)
    )

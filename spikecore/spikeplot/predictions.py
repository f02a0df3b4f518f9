"""Samples with what a network predicts of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, List, Optional, Sequence, Union

import numpy as np

from spikecore.arguments import ArrayLike, checked
from spikecore.spikeplot.data import host
from spikecore.spikeplot.style import BLUE, ORANGE, grid_of, panels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST, COLUMNS = 64, 8


@checked
def predictions(
    inputs: ArrayLike,
    targets: ArrayLike,
    predicted: ArrayLike,
    axes: Union[Axes, Sequence[Axes], None] = None,
    *,
    labels: Optional[Sequence[Any]] = None,
) -> List[Axes]:
    """Draw samples with their predicted classes; of a wrong one the title also names the true class, in orange.

    Args:
        inputs: images (samples, height, width), (samples, 1, height, width) or (samples, 3, height, width); or series
            (samples, time), drawn as lines; at most 64 samples.
        targets: indices of the true classes, (samples,).
        predicted: indices of the predicted classes, (samples,).
        axes: axes to draw on, one per sample, in any nesting. Default: a new figure.
        labels: names of the classes by index. Default: their indices.

    Returns:
        The axes, one per sample.

    Raises:
        ValueError: shapes do not fit, there are more than 64 samples, or a class has no name.
    """
    samples, true, guess = host(inputs), host(targets), host(predicted)
    if samples.ndim == 4 and samples.shape[1] in (1, 3):
        samples = samples[:, 0] if samples.shape[1] == 1 else np.moveaxis(samples, 1, -1)
    if samples.ndim not in (2, 3) and not (samples.ndim == 4 and samples.shape[-1] == 3):
        raise ValueError(
            f"inputs has shape {host(inputs).shape}: need images (samples, height, width) or (samples, 1 or 3, height, "
            "width), or series (samples, time)"
        )
    if not 1 <= len(samples) <= MOST or true.shape != (len(samples),) or guess.shape != (len(samples),):
        raise ValueError(
            f"inputs, targets and predicted have shapes {samples.shape}, {true.shape} and {guess.shape}: need 1 to "
            f"{MOST} samples, and one class index for each"
        )
    names = [_name(labels, index) for index in true], [_name(labels, index) for index in guess]
    columns = -(-len(samples) // -(-len(samples) // COLUMNS))  # rows of the same length, if possible
    side = 1.15 if samples.ndim > 2 else 1.9
    panels = panels_of(axes, len(samples)) if axes is not None else grid_of(len(samples), columns, side, side + 0.1)
    for ax, sample, aim, said in zip(panels, samples, *names):
        if sample.ndim == 1:
            ax.plot(sample, color=BLUE, linewidth=1.0)
        else:
            span = {"vmin": samples.min(), "vmax": samples.max()} if sample.ndim == 2 else {}
            ax.imshow(sample, cmap="gray", interpolation="nearest", **span)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(visible=False)
        wrong: Any = {"color": ORANGE, "weight": "bold"} if aim != said else {}
        ax.set_title(said if aim == said else f"{said}, not {aim}", fontsize=9, **wrong)
    return panels


def _name(labels: Optional[Sequence[Any]], index: Any) -> str:
    number = int(index)
    if labels is None:
        return str(number)
    if not 0 <= number < len(labels):
        raise ValueError(f"labels has {len(labels)} names, and there is a class {number}: need a name for each class")
    return str(labels[number])

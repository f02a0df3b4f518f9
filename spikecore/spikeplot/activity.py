"""The firing rate of each layer at each time step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Optional, Union

import numpy as np

from spikecore.arguments import checked
from spikecore.spikeplot.data import fired, host
from spikecore.spikeplot.style import colour_bar, dress, figure_of, whole_numbers

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.image import AxesImage


@checked
def activity_map(
    spikes: Mapping[str, Any],
    ax: Optional[Axes] = None,
    *,
    cmap: Union[str, Colormap] = "Blues",
    colorbar: bool = True,
    graded: bool = False,
) -> AxesImage:
    """Draw firing rates as a heat map: a row per layer, the input at the top, and a column per time step.

    The rate is the fraction of a layer's neurons that fire at a step, averaged over the batch: spikes per neuron and
    step. The label of a row has its mean rate. White means no spikes. The map shows layers that never fire, bursts at
    the start, and layers that always fire.

    Args:
        spikes: spikes by name of the layer, (time, batch, *features) or any shape with time first; 0 is no spike, 1 and
            -1 are one.
        ax: axes to draw on; the colour bar takes room from them. Default: axes of a new figure.
        cmap: colour map of matplotlib.
        colorbar: whether to draw the colour bar.
        graded: whether spikes may have other values; each that is not zero counts as one spike. Default False.

    Returns:
        The image; its array is (layer, time).

    Raises:
        ValueError: there is no layer, or the arrays are empty, differ in their number of time steps, or have values
            that are no spikes.
    """
    rates = _rates(spikes, graded)
    if ax is None:
        ax = figure_of(7.0, 1.4 + 0.45 * len(rates)).subplots()
    top = float(rates.max())
    image = ax.imshow(rates, cmap=cmap, vmin=0.0, vmax=top if top > 0 else 1.0, aspect="auto", interpolation="nearest")
    names = [f"{name}  ({rate:.2g})" for name, rate in zip(spikes, rates.mean(axis=1))]
    ax.set_yticks(range(len(names)), names)
    dress(ax, "time step", "layer (mean rate)", "Firing rate by layer")
    ax.grid(visible=False)
    ax.tick_params(axis="y", length=0)
    ax.set_yticks(np.arange(0.5, len(names) - 1), minor=True)  # a gap between two rows
    ax.grid(visible=True, which="minor", axis="y", color=ax.get_facecolor(), linewidth=2.5)
    ax.tick_params(axis="y", which="minor", length=0)
    whole_numbers(ax.xaxis)
    if colorbar:
        colour_bar(ax, image, "spikes per\nneuron and step")  # two lines: few rows give a short bar
    return image


def _rates(spikes: Mapping[str, Any], graded: bool) -> np.ndarray:
    """Mean firing rates (layer, time)."""
    if not hasattr(spikes, "items") or not spikes:
        raise ValueError("spikes: need arrays (time, ...) by the name of their layer, at least one")
    spiking = {name: fired(f"spikes[{name!r}]", host(values), graded) for name, values in spikes.items()}
    shapes = {name: values.shape for name, values in spiking.items()}
    if not all(values.size for values in spiking.values()) or len({shape[:1] for shape in shapes.values()}) != 1:
        raise ValueError(f"spikes has shapes {shapes}: need arrays with the same number of time steps, not empty")
    return np.stack([values.reshape(len(values), -1).mean(axis=1) for values in spiking.values()])

"""Animations of one sample over time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Callable, Optional, Union

from spikecore.arguments import ArrayLike, checked
from spikecore.spikeplot.data import first_steps, host
from spikecore.spikeplot.style import canvas_of

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure


@checked
def animator(
    data: ArrayLike,
    fig: Optional[Figure] = None,
    ax: Optional[Axes] = None,
    num_steps: Union[int, bool] = False,
    interval: float = 40,
    cmap: Union[str, Colormap] = "plasma",
) -> FuncAnimation:
    """Show one sample as an image that changes from time step to time step.

    Save the animation by `animator(sample).save("sample.gif", writer="pillow")`. A notebook plays it if it is the value
    of the cell's last line. Keep a reference to it while it plays in a window. All steps have the same colour scale.

    Args:
        data: (time, height, width), or (time, 1, height, width).
        fig: figure to draw on. Default: that of `ax`, or a new one.
        ax: axes to draw on. Default: new axes on `fig`.
        num_steps: number of steps to show, from the first. Default: all.
        interval: milliseconds per step, > 0. Default 40.
        cmap: colour map of matplotlib.

    Raises:
        ValueError: `data` has another shape, or `num_steps` or `interval` is out of range.
    """
    images = host(data)
    if images.ndim == 4 and images.shape[1] == 1:
        images = images[:, 0]
    if images.ndim != 3:
        raise ValueError(
            f"data has shape {images.shape}: need (time, height, width) of one sample, such as data[:, sample, channel]"
        )
    images = first_steps(images, num_steps)
    own = fig is None and ax is None
    figure, ax = canvas_of(fig, ax, 3.6, 3.8, moving=True)
    image = ax.imshow(images[0], cmap=cmap, vmin=images.min(), vmax=images.max())
    ax.set_axis_off()
    return play(figure, ax, lambda step: image.set_data(images[step]), len(images), interval, own=own)


def play(
    figure: Any, ax: Any, show: Callable[[int], None], steps: int, interval: float, per_step: int = 1, *, own: bool
) -> FuncAnimation:
    """Make an animation of `steps · per_step` pictures, each drawn by `show` and shown for `interval` milliseconds.

    If the axes have no title, their title is the time step. The layout of an `own` figure, which spikeplot made, is
    computed only once: positions stay the same from picture to picture, and drawing takes half the time.
    """
    if not interval > 0:
        raise ValueError(f"interval={interval!r}: need milliseconds per picture, more than 0")
    from matplotlib.animation import FuncAnimation

    class Played(FuncAnimation):
        """An animation that a notebook plays if it is the value of a cell."""

        def _repr_html_(self) -> str:
            return self.to_jshtml()

    counting = not ax.get_title()

    def update(picture: int) -> Any:
        show(picture)
        if counting:
            ax.set_title(f"time step {picture // per_step}", fontsize=10)
        return ax.get_children()

    update(0)
    if own:
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
    return Played(figure, update, frames=steps * per_step, interval=interval, cache_frame_data=False)

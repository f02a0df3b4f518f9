"""Figures in notebooks: shown below the cell that draws them, and only once."""

from __future__ import annotations

from functools import partial
from typing import Any

from spikecore.printing import in_notebook


def shows_inline() -> bool:
    """Whether a notebook draws pyplot's figures below a cell when the cell has run."""
    import matplotlib

    return in_notebook() and matplotlib.get_backend().rpartition(".")[2] in ("backend_inline", "inline")


def show_once(figure: Any) -> None:
    """Keep a notebook from showing one of pyplot's figures twice.

    It shows all of them after the cell, and the value of the cell's last line as well, which may be the same figure.
    """
    if shows_inline():
        figure._ipython_display_ = partial(_display, figure)


def _display(figure: Any) -> None:
    """What a notebook calls to show a figure that is the value of a cell."""
    from matplotlib._pylab_helpers import Gcf

    if not any(manager.canvas.figure is figure for manager in Gcf.get_all_fig_managers()):
        raise NotImplementedError  # an earlier cell has shown and closed it, so the notebook shows it in its usual way

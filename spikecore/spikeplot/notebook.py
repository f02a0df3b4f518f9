"""Figures in notebooks: shown below the cell that draws them, and only once."""

from __future__ import annotations

import sys
from functools import partial
from typing import Any

from spikecore.printing import in_notebook


def shows_inline() -> bool:
    """Whether a notebook draws pyplot's figures below a cell when the cell has run."""
    import matplotlib

    return in_notebook() and matplotlib.get_backend().rpartition(".")[2] in ("backend_inline", "inline")


def show_once(figure: Any) -> None:
    """Keep a notebook from showing one of pyplot's figures twice.

    It shows all of them after the cell, and before that the value of the cell's last line, which may be one of them.
    """
    if shows_inline():
        figure._ipython_display_ = partial(_display, figure)


def _display(figure: Any) -> None:
    """A function for IPython before it shows a figure: pyplot drops the figure, so it is not shown once more."""
    from matplotlib_inline.config import InlineBackend

    if InlineBackend.instance().close_figures:  # else the user wants figures to stay open
        sys.modules["matplotlib.pyplot"].close(figure)
    raise NotImplementedError  # IPython shows it in its usual way

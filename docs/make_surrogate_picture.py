"""Draws every surrogate, curve and derivative, into docs/images: ``python docs/make_surrogate_picture.py``.

Needs the extra plot.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Tuple

import numpy as np
from matplotlib.figure import Figure

import spikecore as sc
from spikecore import surrogate

IMAGES = Path(__file__).parent / "images"
U = np.linspace(-2.0, 2.0, 801)
COLUMNS = 4
CURVE, DERIVATIVE = "#8a8a8a", "#0b6fa4"
SHOWN: List[Tuple[str, Any]] = [
    ("atan()", surrogate.atan()),
    ("fast_sigmoid()", surrogate.fast_sigmoid()),
    ("superspike()", surrogate.superspike()),
    ("sigmoid()", surrogate.sigmoid()),
    ("gaussian()", surrogate.gaussian()),
    ("multi_gaussian()", surrogate.multi_gaussian()),
    ("erf()", surrogate.erf()),
    ("piecewise_exponential()", surrogate.piecewise_exponential()),
    ("piecewise_quadratic()", surrogate.piecewise_quadratic()),
    ("triangular()", surrogate.triangular()),
    ("straight_through_estimator()", surrogate.straight_through_estimator()),
    ("heaviside()", surrogate.heaviside()),
    ("LSO()", surrogate.LSO()),
    ("spike_rate_escape()", surrogate.spike_rate_escape()),
    ("SFS(slope=5, B=-0.3)", surrogate.SFS(slope=5.0, B=-0.3)),
    ("SSO(), one draw", surrogate.SSO()),
]


def values(one: Any) -> Tuple[Any, Any]:
    """Curve and derivative over ``U``; the curve starts at zero."""
    engine = sc.get_engine("numpy", dtype="float64")
    if one.stochastic:
        noise = engine.uniform((0, "noise"), U.shape)
        _, _, slope = engine.value_and_grad(lambda u: (engine.xp.sum(one.fire(engine, u, noise)), ()), U)
        return np.cumsum(slope) * (U[1] - U[0]), slope
    curve = one.antiderivative(engine.xp, U)
    return curve - curve[0], one.derivative(engine.xp, U)


def draw() -> Figure:
    """One panel for each surrogate."""
    rows = -(-len(SHOWN) // COLUMNS)
    figure = Figure(figsize=(11.0, 2.05 * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, COLUMNS, sharex=True)
    for ax, (name, one) in zip(axes.flat, SHOWN):
        curve, slope = values(one)
        ax.axvline(0.0, color="#dddddd", linewidth=1.0, zorder=0)
        lines = [
            ax.plot(U, curve, color=CURVE, linewidth=1.4, linestyle=(0, (5, 2)))[0],
            ax.plot(U, slope, color=DERIVATIVE, linewidth=1.6)[0],
        ]
        ax.set_title(name, fontsize=10, family="monospace")
        ax.tick_params(labelsize=8)
        ax.spines[["top", "right"]].set_visible(False)
        ax.set_xlim(U[0], U[-1])
    for ax in axes[-1]:
        ax.set_xlabel("u = U − θ", fontsize=9)
    labels = ["antiderivative, from 0 at the left", "derivative: what the backward pass uses"]
    figure.legend(lines, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=10)
    return figure


def main() -> None:
    """Draw and write."""
    IMAGES.mkdir(exist_ok=True)
    draw().savefig(IMAGES / "surrogates.png", dpi=100, pil_kwargs={"optimize": True})


if __name__ == "__main__":
    main()

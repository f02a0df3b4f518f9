"""Draws the pictures of the documentation from a short, seeded training run: ``python docs/make_images.py``.

Needs the extras torch, data and plot.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

import spikecore as sc
from spikecore import spikegen, spikeplot
from spikecore.datasets import Loader, digits

IMAGES = Path(__file__).parent / "images"
STEPS = 40
SAMPLE = 7  # of the test set
RATES = (0.15, 0.35)  # the traces are those of the hidden neurons that fire about this often


def trained() -> sc.Model:
    """A two-layer network, trained on rate-coded digits for ten epochs."""
    train, test = digits()
    network = sc.Sequential(sc.Linear(64, 60), sc.Leaky(beta=0.9), sc.Linear(60, 10), sc.Leaky(beta=0.9))
    model = sc.Model(network, engine="torch", seed=0)
    model.fit(
        Loader(train, batch_size=64, seed=0),
        optimizer=sc.Adam(lr=3e-3),
        epochs=10,
        num_steps=STEPS,
        encoder=spikegen.rate,
        validation=Loader(test, batch_size=450, shuffle=False),
        progress=False,
    )
    return model


def draw(model: sc.Model, digit: Any) -> Figure:
    """A sample, its rate code, spikes and membranes of the hidden layer, and the training curve."""
    spikes = spikegen.rate(digit[None], STEPS, seed=1)
    hidden = model(spikes, record=True).states["1"]
    fired = hidden.spikes[:, 0].mean(0)

    figure = Figure(figsize=(10.0, 6.2))  # margins by hand: dots on an axis's edge upset the layout engines
    grid = [["digit", "coded", "trace 0"], ["digit", "coded", "trace 1"], ["raster", "raster", "curve"]]
    axes = figure.subplot_mosaic(grid, width_ratios=[1, 1.9, 3.2], height_ratios=[1, 1, 1.7])
    figure.subplots_adjust(left=0.06, right=0.985, top=0.945, bottom=0.085, wspace=0.32, hspace=0.56)
    axes["digit"].imshow(digit.reshape(8, 8), cmap="gray_r")
    axes["digit"].set(xticks=[], yticks=[])
    axes["digit"].set_title("one sample", fontsize=11)
    axes["coded"].set_title("input, rate code", fontsize=11)
    axes["coded"].set_ylabel("pixel")
    spikeplot.raster(spikes, axes["coded"], batch_index=0)
    axes["raster"].set_title("spikes of the hidden layer", fontsize=11)
    spikeplot.raster(hidden.spikes, axes["raster"], batch_index=0)

    for i, rate in enumerate(RATES):
        ax, neuron = axes[f"trace {i}"], int(abs(fired - rate).argmin())
        ax.set_title(f"membrane of hidden neuron {neuron}", fontsize=11)
        ax.set_ylabel("U")
        drawn = spikeplot.traces(hidden.mem, hidden.spikes, ax, threshold=1.0, neurons=[neuron], batch_index=0)
    axes["trace 0"].set_xlabel("")
    axes["trace 0"].tick_params(labelbottom=False)
    handles, labels = (drawn.mem[0], drawn.threshold[0], drawn.spikes[0]), ("membrane", "threshold", "spike")
    between = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.02)}
    axes["trace 0"].legend(handles, labels, **between, ncols=3, frameon=False, fontsize=9)

    axes["curve"].set_title("accuracy; validation on writers not seen in training", fontsize=11)
    history = [{key: row[key] for key in ("epoch", "accuracy", "val_accuracy")} for row in model.history]
    spikeplot.training_curves(history, axes["curve"])
    return figure


def main() -> None:
    """Train, draw, write."""
    _, test = digits()
    IMAGES.mkdir(exist_ok=True)
    draw(trained(), test[SAMPLE][0]).savefig(IMAGES / "digits.png", dpi=110)


if __name__ == "__main__":
    main()

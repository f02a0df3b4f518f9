"""Draws the committed pictures of the documentation, into docs/images: ``python docs/make_images.py``.

A training run, every surrogate, a sound, and the sweep of ``sweeps.md``. Needs the extras torch, data, plot and sweep.
Pictures that the code of pages draws are in docs/pictures (``make pictures``).
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, Dict, Tuple

import numpy as np
from matplotlib.figure import Figure

import spikecore as sc
from spikecore import spikegen, spikeplot, surrogate
from spikecore.datasets import Loader, Sound, digits
from spikecore.datasets.transforms import LogMel

IMAGES = Path(__file__).parent / "images"
STEPS = 40
SAMPLE = 7  # of the test set
RATES = (0.15, 0.35)  # the traces are those of the hidden neurons that fire about this often
U = np.linspace(-2.0, 2.0, 801)
SURROGATES: Dict[str, Any] = {
    "atan()": surrogate.atan(),
    "fast_sigmoid()": surrogate.fast_sigmoid(),
    "superspike()": surrogate.superspike(),
    "sigmoid()": surrogate.sigmoid(),
    "gaussian()": surrogate.gaussian(),
    "multi_gaussian()": surrogate.multi_gaussian(),
    "erf()": surrogate.erf(),
    "piecewise_exponential()": surrogate.piecewise_exponential(),
    "piecewise_quadratic()": surrogate.piecewise_quadratic(),
    "rectangular()": surrogate.rectangular(),
    "triangular()": surrogate.triangular(),
    "straight_through_estimator()": surrogate.straight_through_estimator(),
    "heaviside()": surrogate.heaviside(),
    "LSO()": surrogate.LSO(),
    "spike_rate_escape()": surrogate.spike_rate_escape(),
    "SFS(slope=5, B=-0.3)": surrogate.SFS(slope=5.0, B=-0.3),
    "SSO(), one draw": surrogate.SSO(),
}


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


def curves(one: Any) -> Tuple[Any, Any, Any]:
    """(u, derivative, antiderivative); of a stochastic surrogate for one draw of its noise."""
    engine = sc.get_engine("numpy", dtype="float64")
    if one.stochastic:
        noise = engine.uniform((0, "noise"), U.shape)
        _, _, slope = engine.value_and_grad(lambda u: (engine.xp.sum(one.fire(engine, u, noise)), ()), U)
        return U, slope, np.cumsum(slope) * (U[1] - U[0])
    return U, one.derivative(engine.xp, U), one.antiderivative(engine.xp, U)


def surrogates() -> Figure:
    """One panel for each surrogate."""
    lines = spikeplot.surrogate_curves({name: curves(one) for name, one in SURROGATES.items()})
    return lines["atan()"].derivative.figure


def sweep(picture: Path) -> None:
    """Run the commands of ``sweeps.md`` in a folder of their own; its picture of the keys, in fewer colours."""
    from PIL import Image

    from spikecore.cli.command import app

    space = (Path(__file__).parent / "sweeps.md").read_text(encoding="utf-8").split("```toml\n")[1].split("```")[0]
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        Path("space.toml").write_text(space, encoding="utf-8")
        app(["init", "digits"], standalone_mode=False)
        app("sweep digits.toml space.toml --trials 30 --set data.validation=0.2".split(), standalone_mode=False)
        with Image.open("sweeps/digits-001/slices.png") as drawn:
            drawn.convert("RGB").quantize(32).save(picture, optimize=True)
        os.chdir(picture.parent)


def sound() -> Figure:
    """A chirp as a spectrogram, as spikes at changes and as spikes when levels are passed."""
    time = np.arange(8000) / 8000
    chirp = Sound(np.sin(np.pi * time) * np.sin(2 * np.pi * (200 * time + 900 * time**2)), rate=8000)
    current = LogMel(mels=20)(chirp)
    figure = Figure(figsize=(10.0, 3.0), layout="constrained")
    left, middle, right = figure.subplots(1, 3)
    left.imshow(current.T, origin="lower", aspect="auto", cmap="gray_r")
    left.set(title="LogMel(mels=20)", xlabel="time step", ylabel="band", yticks=[0, 5, 10, 15])
    spikeplot.raster(spikegen.on_off(spikegen.level_crossing(current, 0.1)), middle)
    middle.set(title="on_off(level_crossing(x, 0.1))", ylabel="ON and OFF of each band")
    spikeplot.raster(spikegen.on_off(spikegen.threshold_crossing(current, 4)), right)
    right.set(title="on_off(threshold_crossing(x, 4))", ylabel="ON and OFF of each level")
    return figure


def main() -> None:
    """Train, draw, write."""
    sweep(IMAGES.resolve() / "sweep.png")
    _, test = digits()
    IMAGES.mkdir(exist_ok=True)
    sound().savefig(IMAGES / "sound.png", dpi=90, pil_kwargs={"optimize": True})
    surrogates().savefig(IMAGES / "surrogates.png", dpi=100, pil_kwargs={"optimize": True})
    draw(trained(), test[SAMPLE][0]).savefig(IMAGES / "digits.png", dpi=110)


if __name__ == "__main__":
    main()

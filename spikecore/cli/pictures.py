"""The pictures of a run: training curves, predictions, and spikes and membranes of the layers for one sample."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Set

import numpy as np

from spikecore import spikeplot
from spikecore.api.core.files import write_atomically
from spikecore.api.core.layer import Key
from spikecore.api.core.parameters import Learn, values_of
from spikecore.api.functional.base import LossFunction
from spikecore.api.layers.containers import Sequential
from spikecore.api.training.batching import Feed
from spikecore.api.training.model import Model
from spikecore.spikeplot.training import curve_names

CURVES, PREDICTIONS, RASTER, TRACES = "curves.png", "predictions.png", "raster.png", "traces.png"
MOST_PANELS, MOST_TRACES, MOST_SAMPLES, DPI = 4, 4, 24, 130

Spikes = Dict[str, np.ndarray]  # outputs (time, 1, *features) by layer


def draw(
    directory: Path,
    model: Model,
    inputs: Any,
    feeding: Dict[str, Any],
    title: str,
    targets: Optional[Any] = None,
    classes: Sequence[str] = (),
    loss: Optional[LossFunction] = None,
) -> List[Path]:
    """Draw training curves and predictions, and spikes and membranes of the first sample, as far as there are any.

    Args:
        directory: folder of the pictures.
        model: the trained model.
        inputs: a batch of samples; of more than 24, the first 24 are drawn with their predictions.
        feeding: num_steps, encoder and time_axis, as keywords for ``Feed``.
        title: names the first sample.
        targets: class indices of the samples; None, the default, draws no predictions.
        classes: names of the classes; default: their indices.
        loss: by whose decoder the predictions are made; default: that of the model.

    Returns:
        the files written.

    Raises:
        ImportError: matplotlib is missing.
    """
    figures: List[Any] = []
    if model.history:
        figures.append((_curves(model.history), CURVES))
    if targets is not None:
        figures.append((_predictions(model, inputs, feeding, targets, classes, loss), PREDICTIONS))
    layers = _neuron_layers(model)
    if layers:
        feed = Feed(**feeding)
        x, steps = feed(model.engine, inputs[:1], model.input_shape, Key((model.seed, "evaluate", "encoder")))
        spikes = {name: _run_up_to(model, name, x, steps) for name in layers}
        figures.append((_raster(spikes, model, title, classes), RASTER))
        figures.append((_traces(spikes, model, x, steps, title), TRACES))
    figures = [(figure, name) for figure, name in figures if figure is not None]
    for figure, name in figures:
        save(figure, directory / name)
    return [directory / name for _, name in figures]


def _curves(history: Any) -> Any:
    names = curve_names(history)
    figure = blank(3.8 * len(names), 3.2)
    spikeplot.training_curves(history, figure.subplots(1, len(names), squeeze=False))
    return figure


def _predictions(
    model: Model,
    inputs: Any,
    feeding: Dict[str, Any],
    targets: Any,
    classes: Sequence[str],
    loss: Optional[LossFunction],
) -> Any:
    """A figure with samples and what the model says of them; None if a sample is neither an image nor a series."""
    samples = _drawable(np.asarray(inputs)[:MOST_SAMPLES], feeding)
    if samples is None:
        return None
    count = len(samples)
    predicted = model.predict(inputs[:count], loss=loss, **feeding)
    columns = min(count, 8)
    rows = -(-count // columns)
    figure = _figure(
        1.0 + (1.25 if samples.ndim > 2 else 1.0) * rows, f"Predictions for the first {count} test samples"
    )
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for ax in panels[count:]:
        ax.remove()
    spikeplot.predictions(samples, targets[:count], predicted, panels[:count], labels=classes or None)
    return figure


def _drawable(inputs: np.ndarray, feeding: Dict[str, Any]) -> Optional[np.ndarray]:
    """Samples as images (samples, height, width) or series (samples, values); None for what is neither.

    A vector of 8 x 8 values or of a larger square is drawn as an image: data sets of images come as vectors.
    """
    if feeding.get("num_steps") is None:  # with a time axis of their own
        flat = inputs.reshape(*inputs.shape[:2], -1) if inputs.ndim > 1 else inputs[:, None]
        return flat[:, :, 0] if flat.shape[-1] == 1 and feeding.get("time_axis") == 1 else None
    side = math.isqrt(inputs[0].size)
    if inputs.ndim == 2 and side >= 8 and side**2 == inputs[0].size:
        return inputs.reshape(-1, side, side)
    if inputs.ndim in (2, 3) or (inputs.ndim == 4 and inputs.shape[1] in (1, 3)):
        return inputs
    return None


def compare(path: Path, histories: Dict[str, Any], title: str) -> None:
    """Draw the training losses of several runs in one picture.

    Args:
        path: the file to write.
        histories: ``Model.history`` by label.
        title: of the picture.
    """
    figure = _figure(3.6, title)
    ax = figure.subplots()
    for number, (label, history) in enumerate(histories.items()):
        line = spikeplot.training_curves([{"epoch": row["epoch"], "loss": row["loss"]} for row in history], ax)["loss"]
        line.set(label=label, color=f"C{number}", linestyle="-" if number % 2 == 0 else "--")
    ax.legend(frameon=False, fontsize=9)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a figure to a PNG file in a single step."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI)
    write_atomically(path, buffer.getvalue())


def _neuron_layers(model: Model) -> List[str]:
    """Names of the last layers with a state, at most ``MOST_PANELS``. Layers inside other containers are left out."""
    if not isinstance(model.network, Sequential):
        return []
    return [name for name, layer in model.network.children() if layer.state][-MOST_PANELS:]


def _run_up_to(model: Model, name: str, x: Any, steps: Any) -> np.ndarray:
    """Outputs of one layer, computed by a network that ends with this layer and has the same weights."""
    network = Sequential(*model.network.layers[: int(name) + 1])  # type: ignore[attr-defined]
    part = Model(network, model.engine, model.seed, input_shape=model.input_shape)
    state, whole = part.state(), model.state()
    for kind in ("params", "buffers"):
        state[kind] = {key: whole[kind][key] for key in state[kind]}
    part.load_state(state)
    return model.engine.to_numpy(part.executor.run(x, steps=steps).spikes)


def _last(model: Model) -> str:
    """Name of the last layer."""
    return str(len(model.network.layers) - 1)  # type: ignore[attr-defined]


def _spiking(model: Model, name: str) -> bool:
    return bool(getattr(model.network.layers[int(name)], "spiking", True))  # type: ignore[attr-defined]


def _raster(spikes: Spikes, model: Model, title: str, classes: Sequence[str]) -> Any:
    """A figure with the spikes of each layer, those of an output layer by the names of the classes; None if no layer
    spikes.
    """
    spikes = {name: values for name, values in spikes.items() if _spiking(model, name)}
    if not spikes:
        return None
    heights = [min(3.2, 1.1 + 0.018 * s[0, 0].size) for s in spikes.values()]
    figure = _figure(1.0 + sum(heights), title)
    panels = figure.subplots(len(spikes), 1, sharex=True, squeeze=False, height_ratios=heights).flat
    for ax, (name, values) in zip(panels, spikes.items()):
        own = name == _last(model) and len(classes) == values[0, 0].size
        spikeplot.raster(values, ax, batch_index=0, labels=classes if own else None)
        ax.set_title(f"layer {name} ({_kind(model, name)}): {ax.get_title()}", fontsize=10)
        ax.label_outer()
    return figure


def _traces(spikes: Spikes, model: Model, x: Any, steps: Any, title: str) -> Any:
    """A figure with the membranes of the most active neurons of each layer with a ``mem``; None if no layer has one.

    Layers that spike are drawn with their thresholds and spikes. A readout such as ``LI`` has neither.
    """
    states = model.executor.run(x, steps=steps, record=True).states
    names = [name for name in spikes if "mem" in states.get(name, {})]
    if not names:
        return None
    mems = {name: model.engine.to_numpy(states[name]["mem"]) for name in names}
    spikes = {name: spikes[name] if _spiking(model, name) else 0.0 * spikes[name] for name in names}
    shown = [
        (name, neuron) for name in names for neuron in _most_active(spikes[name], mems[name], MOST_TRACES // len(names))
    ]
    figure = _figure(1.0 + 1.35 * len(shown), title)
    panels = figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0]
    handles: Dict[str, Any] = {}
    titled: Set[str] = set()
    for ax, (name, neuron) in zip(panels, shown):
        if name not in titled:  # once for all neurons of a layer
            ax.set_title(f"layer {name} ({_kind(model, name)})", fontsize=10)
        titled.add(name)
        marks = {"threshold": _threshold(model, name), "spikes": spikes[name]} if _spiking(model, name) else {}
        artists = spikeplot.traces(mems[name], axes=ax, neurons=[neuron], batch_index=0, **marks)
        ax.label_outer()
        for label, lines in (("threshold", artists.threshold), ("membrane", artists.mem), ("spike", artists.spikes)):
            handles.update((label, line) for line in lines)
    figure.legend(handles.values(), handles, frameon=False, fontsize=9, loc="outside lower center", ncols=3)
    return figure


def _most_active(spikes: np.ndarray, mem: np.ndarray, count: int) -> List[int]:
    """The ``count`` neurons that start to fire most often; among equals those with the highest membrane."""
    fired = (spikes[:, 0] != 0).reshape(len(spikes), -1)
    onsets = fired[0] + (fired[1:] & ~fired[:-1]).sum(axis=0)
    peaks = mem[:, 0].reshape(len(mem), -1).max(axis=0)
    return sorted(np.lexsort((-peaks, -onsets))[:count].tolist())


def _figure(height: float, title: str) -> Any:
    figure = blank(7.0, height)
    figure.suptitle(title, fontsize=11)
    return figure


def blank(width: float, height: float) -> Any:
    """An empty figure of this size, in inches, that pyplot does not know.

    Raises:
        ImportError: matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('pictures need matplotlib: pip install "spikecore[plot]"') from error
    return Figure(figsize=(width, height), layout="constrained", dpi=DPI)


def _threshold(model: Model, name: str) -> Any:
    field = getattr(model.network.layers[int(name)], "threshold", None)  # type: ignore[attr-defined]
    if isinstance(field, Learn):
        return model.params()[f"{name}.threshold"]
    return None if field is None else values_of(field)


def _kind(model: Model, name: str) -> str:
    return type(model.network.layers[int(name)]).__name__  # type: ignore[attr-defined]

"""The pictures of a run: training curves, predictions, and spikes and membranes of the layers for one sample."""

from __future__ import annotations

import io
import math
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np

from spikecore import Model, spikeplot
from spikecore.api.functional.base import LossFunction
from spikecore.api.functional.loss import decoder_of
from spikecore.api.functional.tasks import CLASS, CLASS_BY_STEP
from spikecore.api.training.batching import Feed
from spikecore.api.training.data import batches
from spikecore.files import write_atomically
from spikecore.spikeplot.training import curve_names
from spikecore.tracking.layers import DPI, blank_figure, recorded, titled_figure

CURVES, PREDICTIONS, RASTER, TRACES = "curves.png", "predictions.png", "raster.png", "traces.png"
CONFUSION = "confusion.png"
ENDINGS = ("png", "pdf", "svg")
MOST_SAMPLES = 24
MOST_SEQUENCES = 4  # with a label at each step


def draw(
    directory: Path,
    model: Model,
    inputs: Any,
    feeding: Dict[str, Any],
    title: str,
    targets: Optional[Any] = None,
    classes: Sequence[str] = (),
    loss: Optional[LossFunction] = None,
    lengths: Optional[Any] = None,
    ending: str = "png",
) -> List[Path]:
    """Draw training curves and predictions, and spikes and membranes of the first sample, as far as there are any.

    Args:
        directory: folder of the pictures.
        model: the trained model.
        inputs: a batch of samples; of more than 24, the first 24 are drawn with their predictions.
        feeding: num_steps, encoder and time_axis, as keywords for ``Feed``.
        title: names the first sample.
        targets: of the samples, see ``drawn_of``; None, the default, draws no predictions.
        classes: names of the classes; default: their indices.
        loss: by whose decoder the predictions are made; default: that of the model.
        lengths: number of steps of each sample that count; None, the default: all.
        ending: of the files' names, one of ENDINGS; default "png".

    Returns:
        the files written.

    Raises:
        ImportError: matplotlib is missing.
    """
    figures: List[Any] = []
    if model.history:
        figures.append((_curves(model.history), CURVES))
    if targets is not None:
        figures.append((_predictions(model, inputs, feeding, targets, classes, loss, lengths), PREDICTIONS))
    feed = Feed(**feeding)
    first = np.take(np.asarray(inputs), [0], 1 if not feed.static and feed.time_axis == 0 else 0)
    neurons = recorded(model, first, feed, None if lengths is None else lengths[:1])
    figures += [(neurons.raster(title, classes), RASTER), (neurons.membranes(title), TRACES)]
    figures = [(figure, name) for figure, name in figures if figure is not None]
    paths = [(directory / name).with_suffix(f".{ending}") for _, name in figures]
    for (figure, _), path in zip(figures, paths):
        save(figure, path)
    return paths


def confused(
    directory: Path,
    model: Model,
    data: Iterable[Any],
    feeding: Dict[str, Any],
    classes: Sequence[str] = (),
    loss: Optional[LossFunction] = None,
    ending: str = "png",
) -> Path:
    """Draw which classes the model takes for which; returns the path. ``data`` are batches.

    Other arguments as for ``draw``.
    """
    targets, predicted = answers(model, data, feeding, loss)
    count = len(classes) or int(max(targets.max(), predicted.max())) + 1
    figure = blank_figure(min(10.0, 2.6 + 0.45 * count), min(10.0, 2.4 + 0.45 * count))
    spikeplot.confusion(targets, predicted, figure.subplots(), labels=classes or None)
    path = (directory / CONFUSION).with_suffix(f".{ending}")
    save(figure, path)
    return path


def answers(model: Model, data: Iterable[Any], feeding: Dict[str, Any], loss: Any) -> Tuple[np.ndarray, np.ndarray]:
    """The targets of all batches and what the model predicts, sample by sample."""
    found = [(y, model.predict(x, loss=loss, lengths=lengths, **feeding)) for x, y, lengths in batches(data, loss)]
    targets, predicted = (np.concatenate([np.asarray(each) for each in part]) for part in zip(*found))
    return targets, predicted


def of_classes(loss: Any) -> bool:
    """Whether a loss compares samples with classes, so that it can be drawn which is taken for which."""
    decoder = decoder_of(loss)
    return decoder is not None and decoder.task == CLASS


def drawn_of(loss: Any, targets: Any) -> bool:
    """Whether predictions can be drawn beside targets: classes of samples or of steps, and values."""
    decoder = decoder_of(loss)
    if decoder is None or decoder.task is None or decoder.task.kind == "labels":
        return False
    return bool(targets.ndim == 1 or decoder.task != CLASS)


def _curves(history: Any) -> Any:
    names = curve_names(history)
    figure = blank_figure(3.8 * len(names), 3.2)
    spikeplot.training_curves(history, list(figure.subplots(1, len(names), squeeze=False).flat))
    return figure


def _predictions(
    model: Model,
    inputs: Any,
    feeding: Dict[str, Any],
    targets: Any,
    classes: Sequence[str],
    loss: Optional[LossFunction],
    lengths: Optional[Any],
) -> Any:
    """A figure with what the model predicts; None of classes if a sample is neither an image nor a series."""
    decoder = decoder_of(model.trainer.last_loss() if loss is None else loss)
    task = CLASS if decoder is None else decoder.task
    if task != CLASS:
        by_step = task == CLASS_BY_STEP
        if lengths is not None and by_step:
            targets = np.where(np.arange(targets.shape[1]) < np.asarray(lengths)[:, None], targets, -1)
        predicted = model.predict(inputs, loss=loss, lengths=lengths, **feeding)
        figure = titled_figure(
            1.2 + 0.45 * MOST_SEQUENCES if by_step else 4.2, "Predictions for the first test samples"
        )
        if by_step:
            some, ignored = slice(MOST_SEQUENCES), {"ignore_index": decoder.ignore_index}  # type: ignore[union-attr]
            names = classes or None
            spikeplot.labels_over_time(targets[some], predicted[some], figure.subplots(), labels=names, **ignored)
        else:
            aims, said = np.asarray(targets), np.asarray(predicted)
            middle = said if said.size == aims.size else said[..., said.shape[-1] // 2]  # of quantiles
            spikeplot.fitted_values(aims, middle.reshape(aims.shape), figure.subplots())
        return figure
    samples = _drawable(np.asarray(inputs)[:MOST_SAMPLES], feeding)
    if samples is None:
        return None
    count = len(samples)
    counts = None if lengths is None else lengths[:count]
    predicted = model.predict(inputs[:count], loss=loss, lengths=counts, **feeding)
    columns = min(count, 8)
    rows = -(-count // columns)
    figure = titled_figure(
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
    figure = titled_figure(3.6, title)
    ax = figure.subplots()
    for number, (label, history) in enumerate(histories.items()):
        line = spikeplot.training_curves([{"epoch": row["epoch"], "loss": row["loss"]} for row in history], ax)["loss"]
        line.set(label=label, color=f"C{number}", linestyle="-" if number % 2 == 0 else "--")
    ax.legend(frameon=False, fontsize=9)
    save(figure, path)


def save(figure: Any, path: Path) -> None:
    """Write a figure to a file in a single step, in the format that its name ends with."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI, format=path.suffix[1:])
    write_atomically(path, buffer.getvalue())

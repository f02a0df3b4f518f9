"""Predictions of a model, decoded as its loss decodes: classes, labels or values, for each sample or each step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Iterator, Optional, Tuple

from spikecore.api.core.host import host, to_numpy
from spikecore.api.core.isolation import isolated
from spikecore.api.core.layer import Key, ShapeError
from spikecore.api.core.messages import warn
from spikecore.api.functional.base import LossFunction
from spikecore.api.functional.loss import decoder_of
from spikecore.api.functional.targets import as_numbers, check_sequence
from spikecore.api.training.batching import Encoder, Feed, Input, check_numbers
from spikecore.api.training.data import lengths_of
from spikecore.arguments import ArrayLike, NumpyArray, Size, checked, shown

if TYPE_CHECKING:
    from spikecore.api.training.model import Model


@checked
@isolated
def predict(
    self: Model,
    x: Input,
    num_steps: Optional[Size] = None,
    encoder: Optional[Encoder] = None,
    time_axis: int = 0,
    *,
    loss: Optional[LossFunction] = None,
    lengths: Optional[ArrayLike] = None,
    batch_size: Size = 256,
) -> NumpyArray:
    """The model's prediction for each sample: its class, or labels or values, as the loss has targets.

    It is decoded as the loss decodes. A class is the one for which the loss would be smallest: the class with most
    spikes for losses of rates, the highest membrane for losses of membranes, the first spike for temporal losses.
    Values (``mse_value_loss``, ...) are read as the loss reads them, labels (``bce_value_loss``) are 0 or 1. With a
    target at each step (``ce_step_loss``, ``mse_membrane_loss(time_var_targets=True)``) there is a prediction for each
    step.

    Args:
        x: the samples, as for a call or ``fit``: (batch, *features) with ``num_steps`` or an encoder, else (time,
            batch, *features); with time_axis=1 also a list of sequences (time, *features) of unequal length.
        num_steps, encoder, time_axis: as in ``fit``.
        loss: by whose decoder; default: the loss of the last ``fit``, else ``functional.ce_rate_loss()``. Files do
            not hold a loss, so a loaded model needs it unless it counts spikes.
        lengths: how many steps of each sample count, (batch,); None, the default: all.
        batch_size: how many samples to compute at a time, which bounds the memory; default 256.

    Returns:
        A NumPy array in the shape of the targets, of int64 for classes and labels: (batch,), labels (batch, classes),
        values (batch,) or (batch, outputs), quantiles (batch, quantiles). Predictions for each step are (time, batch,
        ...), or have their time axis where ``time_axis`` says; for a list of sequences of unequal length they are a
        list.

    Raises:
        TypeError: outputs decide nothing for this loss, such as ``ctc_loss``; the message says what to read instead.
        ShapeError, ValueError: bad input, as in ``fit``.

    Warns:
        TrainingWarning: ``fit`` was given a ``time_axis``, and here it is left out.

    Example:
        >>> model.predict(x, num_steps=25)   # x (4, 64)
        array([3, 1, 0, 7])
    """
    loss = self.trainer.last_loss() if loss is None else loss
    return predictions(self, x, loss, Feed(num_steps, encoder, time_axis), lengths, batch_size)


def predictions(model: Any, data: Any, loss: Any, feed: Feed, lengths: Any, batch_size: int, before: int = 0) -> Any:
    """The predictions as a NumPy array, computed ``batch_size`` samples at a time; ``before`` samples came earlier.

    Raises:
        TypeError: the loss has no task, so that there is nothing to decode by.
    """
    decoder = decoder_of(loss)
    if decoder is None or decoder.task is None:
        raise TypeError(
            f"predict gives what the loss compares with targets, but loss={shown(loss)} does not say how to read it. "
            "Read the output, out = model(x, num_steps=...), then out.membrane or out.spikes; or say by which loss to "
            "decode, e.g. for classes predict(x, loss=spikecore.functional.ce_rate_loss()), for values mse_value_loss()"
        )
    if lengths is None and _are_sequences(data):
        return _of_sequences(model, data, loss, feed, batch_size)
    _say_of_axes(model, data, feed)
    engine, found = model.engine, []
    for start, (x, steps) in _pieces(model, data, feed, batch_size):
        part = slice(start, start + batch_size)
        model.build(tuple(x.shape[2:]))
        count = lengths_of(engine, None if lengths is None else lengths[part], x, steps)
        values = decoder.read(model.trainer.executor.run(x, steps=steps, record="last", first=before + start))
        check_sequence(decoder.reads, values)
        decided = decoder.decide(engine, decoder.scores(engine, as_numbers(engine, values), count))
        if decoder.task.kind == "value":
            found.append(engine.to_numpy(decided))
        else:
            found.append(host().asarray(engine.to_numpy(decided), dtype="int64"))
    if not decoder.task.by_step:
        return host().xp.concat(found, axis=0)
    whole = host().xp.concat(found, axis=1)
    axes = [*range(1, whole.ndim)]
    axes.insert(feed.time_axis % whole.ndim, 0)  # where the targets have their time
    return host().xp.permute_dims(whole, tuple(axes))


def _are_sequences(data: Any) -> bool:
    """Whether the samples are a list of arrays (time, *features) of unequal length."""
    several = isinstance(data, (list, tuple)) and all(len(getattr(one, "shape", ())) for one in data)
    return several and len({one.shape[0] for one in data}) > 1


def _of_sequences(model: Any, data: Any, loss: Any, feed: Feed, batch_size: int) -> Any:
    """The predictions for sequences of unequal length, which are padded batch by batch as in ``fit``."""
    if feed.static or feed.time_axis != 1:
        raise ShapeError(
            "predict: a list of sequences of unequal length is padded to (batch, time, ...): pass time_axis=1"
        )
    from spikecore.samples import Loader  # NumPy, which `import spikecore` does not load

    padded: Any = Loader(data, shuffle=False, batch_size=batch_size)
    found: Any = []
    for x, _, counts in padded:
        before = len(found) * batch_size
        found.append((predictions(model, x, loss, feed, counts, batch_size, before), counts))
    if decoder_of(loss).task.by_step:  # type: ignore[union-attr]
        return [row[:count] for rows, counts in found for row, count in zip(rows, counts.tolist())]
    return host().xp.concat([rows for rows, _ in found], axis=0)


def _say_of_axes(model: Any, data: Any, feed: Feed) -> None:
    """Warn if the samples came first in ``fit``, and an array of samples would now be read as time first."""
    if not feed.static and not feed.time_axis and _samples_first(model, data):
        warn(
            f"predict: the input of shape {tuple(data.shape)} is read as {data.shape[0]} time steps of "
            f"{data.shape[1]} samples, while fit was given time_axis=1: pass time_axis=1 if it is laid out as in fit"
        )


def say_of_call(model: Any, data: Any) -> None:
    """Warn if samples of the length that ``fit`` saw come first in a call, whose first axis is time."""
    if _samples_first(model, data):
        (time, steps), shape = data.shape[:2], tuple(data.shape)
        warn(
            f"model(x): the input of shape {shape} is read as {time} time steps of {steps} samples, while fit saw "
            f"{steps} steps along time_axis=1: write model(np.moveaxis(x, 1, 0)) if it is laid out as in fit"
        )


def _samples_first(model: Any, data: Any) -> bool:
    """Whether axis 1 of an array, and not axis 0, has as many steps as the sequences of ``fit`` had along theirs."""
    steps, shape = model.trainer.sequence, tuple(getattr(data, "shape", ()))
    return model.trainer.time_axis == 1 and len(shape) > 1 and shape[1] == steps != shape[0]


def _pieces(model: Any, data: Any, feed: Feed, size: int) -> Iterator[Tuple[int, Tuple[Any, Optional[int]]]]:
    """The samples as sequences, ``size`` at a time, and the number of the first of each piece."""
    check_numbers(data)
    data = data if hasattr(data, "shape") else to_numpy(data)
    key = Key((model.seed, "evaluate", "encoder"))
    if feed.encoder is not None and feed.num_steps is None:  # the encoder alone knows which axis counts samples
        x, _ = feed(model.engine, data, model.input_shape, key)
        for start in range(0, x.shape[1], size):
            yield start, (x[:, start : start + size, ...], None)
        return
    axis = 1 if not feed.static and data.ndim > 1 and feed.time_axis % data.ndim == 0 else 0
    count = data.shape[axis] if data.ndim else 1
    for start in range(0, max(1, count), size):
        part = slice(start, start + size)
        some = data if count <= size else data[:, part] if axis else data[part]
        yield start, feed(model.engine, some, model.input_shape, replace(key, first=start))

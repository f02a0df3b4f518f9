"""A user's data as batches (inputs, targets, lengths): arrays, loaders, lists."""

from __future__ import annotations

import itertools
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Generator, Iterable, List, NamedTuple, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.extras import TrainingOptions, extra
from spikecore.api.core.layer import Key, Shape, ShapeError
from spikecore.api.functional.base import terms
from spikecore.api.functional.steps import checked_lengths
from spikecore.api.functional.targets import targets_on
from spikecore.api.training.batching import Feed, check_count, check_targets
from spikecore.arguments import shown

if TYPE_CHECKING:
    from spikecore.samples import Loader

Lengths = Optional[List[int]]
Batch = Tuple[Any, Any, Any]  # inputs, targets, lengths


class DeviceBatch(NamedTuple):
    """A batch, or some of its samples, on the engine, as a training step gets them."""

    x: Any
    steps: Optional[int]
    targets: Any
    lengths: Lengths
    key: Key


def batches_of(x: Any, targets: Any, feed: Feed, batch_size: Optional[int], seed: int, shuffle: bool) -> Loader:
    """The batches of samples and targets that lie along axis 0 of two arrays: a ``Loader``.

    Raises:
        ShapeError: the samples are sequences, and ``feed`` takes the samples' axis for that of time.
    """
    if not feed.static and feed.time_axis == 0:
        shape, count = tuple(getattr(x, "shape", ())), len(targets) if hasattr(targets, "__len__") else 0
        if len(shape) > 2 and shape[0] != count == shape[1]:
            raise ShapeError(
                f"x of shape {shape} has its {count} samples, as many as there are targets, along axis 1: samples come "
                "first in two arrays. Pass x.swapaxes(0, 1) and time_axis=1"
            )
        raise ShapeError(
            f"x of shape {tuple(getattr(x, 'shape', ()))} has its samples along axis 0, as its targets have, and no "
            "axis of time is named: pass num_steps=25 for samples without one, time_axis=1 for (samples, time, "
            "*features)"
        )
    from spikecore.samples import Loader  # NumPy, which `import spikecore` does not load

    options: Any = {} if batch_size is None else {"batch_size": batch_size}
    return Loader(x, targets, seed=seed, shuffle=shuffle, **options)


def batches_for(
    model: Any,
    data: Any,
    targets: Any,
    feed: Feed,
    batch_size: Optional[int],
    shuffle: bool = False,
    unlabelled: bool = False,
) -> Any:
    """The batches of ``fit`` or ``evaluate``: ``data`` as they are, or those of two arrays.

    Args:
        model: whose seed orders the samples.
        data, targets, batch_size: as for ``fit``.
        feed: how inputs become sequences.
        shuffle: whether the samples are shuffled for each epoch.
        unlabelled: whether an array of samples may come without targets.

    Raises:
        TypeError: ``batch_size`` is given for batches.
        ShapeError: a loader fills up sequences as (batch, time, *features), and ``feed`` takes axis 0 for time.
    """
    if getattr(data, "fills", False) and not feed.static and feed.time_axis == 0:
        raise ShapeError(f"{data!r} fills up sequences of unequal length as (batch, time, *features): pass time_axis=1")
    if targets is not None or unlabelled and hasattr(data, "shape"):
        return batches_of(data, targets, feed, batch_size, model.seed, shuffle)
    if batch_size is not None:
        raise TypeError(
            f"batch_size={batch_size} is for two arrays, (x, y, batch_size={batch_size}); data={shown(data)} "
            f"brings its own batches: write spikecore.datasets.Loader(x, y, batch_size={batch_size})"
        )
    return data


def are_arrays(pair: Any) -> bool:
    """Whether something is a pair (x, targets) of all samples, where x may be a list of sequences, and no batches."""
    if not isinstance(pair, tuple) or len(pair) != 2 or not hasattr(pair[1], "shape"):
        return False
    several = isinstance(pair[0], list) and len(pair[0]) > 0
    return hasattr(pair[0], "shape") or several and all(hasattr(one, "shape") for one in pair[0])


def check_batches(name: str, data: Any) -> None:
    """Refuse data that cannot be iterated over, and arrays or samples instead of batches.

    Raises:
        TypeError: the message names the argument and the value.
    """
    from spikecore.samples import Dataset, Samples  # NumPy, which `import spikecore` does not load

    if isinstance(data, (str, PurePath)):
        raise TypeError(
            f"{name}={str(data)!r} is a name: read the file first, train, test = "
            "spikecore.datasets.csv_table(path), and write fit(train.inputs, train.targets)"
        )
    if not hasattr(data, "__iter__") and not hasattr(data, "__getitem__"):
        part = "; divide the samples first: train, rest = spikecore.datasets.Dataset(x, y).split(0.8, seed=0)"
        raise TypeError(
            f"{name}={data!r} must be an iterable of batches, e.g. spikecore.datasets.Loader(inputs, targets)"
            f"{part if name == 'validation' and isinstance(data, float) else ''}"
        )
    if isinstance(data, tuple) and len(data) in (2, 3) and all(hasattr(part, "shape") for part in data):
        raise TypeError(
            f"{name} must be an iterable of batches, not a tuple of arrays: pass them apart, fit(inputs, targets), or "
            "wrap them: spikecore.datasets.Loader(inputs, targets)"
        )
    if hasattr(data, "shape") and hasattr(data, "dtype"):
        raise TypeError(
            f"{name} is an array of shape {tuple(data.shape)}, and there are no targets: pass them, too, "
            f"{'fit(x, y)' if name == 'data' else f'{name}=(x, y)'}"
        )
    if isinstance(data, (Dataset, Samples)):
        raise TypeError(f"{name}={data!r} gives samples, not batches: wrap it, spikecore.datasets.Loader(data)")


def batches(data: Iterable[Any], loss: Any = None) -> Generator[Batch, None, None]:
    """The batches of an iterable as (inputs, targets, lengths); lengths are None if a batch has none.

    Args:
        data: the iterable.
        loss: the loss that reads the targets; None, the default: it is not known. A loss without terms needs none.

    Raises:
        TypeError: ``data`` are arrays or samples instead of batches, a batch is neither a pair nor a triple, or it has
            no targets, and there is a loss.
    """
    check_batches("data", data)
    for i, batch in enumerate(data):
        if not isinstance(batch, (tuple, list)) or len(batch) not in (2, 3):
            raise TypeError(
                f"batch {i} is a {type(batch).__name__}, expected a pair (inputs, targets) or a triple (inputs, "
                f"targets, lengths){_as_pair(batch)}"
            )
        if batch[1] is None and (loss is None or terms(loss)):
            raise TypeError(
                f"batch {i} has no targets, and the loss needs them: data={shown(data)}; pass "
                "spikecore.datasets.Loader(inputs, targets)"
            )
        if batch[1] is not None and not getattr(batch[1], "ndim", hasattr(batch[1], "__len__")):
            raise TypeError(
                f"batch {i} has one target, {batch[1]!r}: data={shown(data)} gives samples, not batches; wrap it in a "
                "torch DataLoader, or pass spikecore.datasets.Loader(inputs, targets)"
            )
        yield batch[0], batch[1], batch[2] if len(batch) == 3 else None


def _as_pair(batch: Any) -> str:
    """The end of a message about a batch that is no pair: what to write."""
    if isinstance(batch, dict):
        names = "".join(f"[{name!r}], batch" for name in list(batch)[:2]).rpartition(", batch")[0]
        return f"; of batches that are dicts make pairs: pairs = [(batch{names}) for batch in data]"
    return (
        "; of a tensor of samples make pairs: torch.utils.data.TensorDataset(x, y)" if hasattr(batch, "shape") else ""
    )


def begin_epoch(data: Any, epoch: int) -> None:
    """Tell the batches, and the data set and samplers of a torch DataLoader, which epoch begins, counted from 0.

    Raises:
        ValueError: the DataLoader's workers have copies of a data set of this library, which would not hear of it.
    """
    from spikecore.samples import Samples  # NumPy, which `import spikecore` does not load

    told: List[int] = []
    waiting = [data]
    while waiting:
        part = waiting.pop()
        if part is None or id(part) in told:
            continue
        told.append(id(part))
        if hasattr(part, "set_epoch"):
            part.set_epoch(epoch)
        if isinstance(part, Samples) and getattr(data, "persistent_workers", False):
            raise ValueError(
                f"the DataLoader has persistent_workers=True: its workers keep copies of {part!r}, whose random "
                "transforms would be those of the first epoch in all epochs; use persistent_workers=False"
            )
        waiting += [getattr(part, name, None) for name in ("dataset", "sampler", "batch_sampler")]


def first_sample_shape(engine: Engine, seed: int, data: Iterable[Any], feed: Feed, loss: Any) -> Shape:
    """The shape of one sample, from the first batch.

    Raises:
        ValueError: ``data`` can be read only once, so that reading the first batch would lose it.
    """
    check_batches("data", data)
    if iter(data) is data:
        raise ValueError(
            "data can be read only once, and its first batch is needed for the shape: pass input_shape to Model"
        )
    inputs, targets, _ = next(iter(batches(data, loss)))
    x, steps = feed(engine, inputs, None, Key((seed, "shape")))
    check_count(loss, x, steps, targets)  # exchanged axes must not become the shape of a sample
    return tuple(x.shape[2:])


def behind(data: Iterable[Any], loss: Any, count: int) -> Generator[Batch, None, None]:
    """The batches after the first ``count``, with which an interrupted epoch was trained.

    Raises:
        ValueError: ``data`` have fewer batches.
    """
    given = batches(data, loss)
    seen = sum(1 for _ in itertools.islice(given, count))
    if seen < count:
        raise ValueError(
            f"resume=True continues after batch {count} of an epoch, but data has {seen}: give the data that the "
            "interrupted fit had"
        )
    return given


def lengths_of(engine: Engine, lengths: Any, x: Any, steps: Optional[int]) -> Lengths:
    """The lengths of a batch (time or 1, batch, *features), checked; None if all steps count."""
    if lengths is None:
        return None
    host = lengths.tolist() if hasattr(lengths, "tolist") else lengths
    host = list(host) if hasattr(host, "__iter__") else [host]
    return checked_lengths(engine, host, steps or int(x.shape[0]), int(x.shape[1]))


def placed(model: Any, feed: Feed, loss: Any, batch: Batch, key: Key) -> DeviceBatch:
    """A batch on the engine of the model, which it builds if need be; checked.

    Args:
        model: the model.
        feed: how inputs become sequences.
        loss: says what targets are.
        batch: inputs, targets and lengths, as a user gives them.
        key: names the draws of encoder and dropout.

    Raises:
        ShapeError, ValueError, TypeError: bad input.
    """
    inputs, targets, lengths = batch
    x, steps = feed(model.engine, inputs, model.input_shape, key if feed.encoder is None else key.child("encoder"))
    if not model.built:
        model.build(tuple(x.shape[2:]))
    targets = feed.targets(extra(model.engine, TrainingOptions).near(model.engine), loss, targets)
    counted = lengths_of(model.engine, lengths, x, steps)
    check_targets(model.engine, loss, x, steps, targets, model.classes, counted)
    return DeviceBatch(x, steps, targets_on(model.engine, targets), counted, key)

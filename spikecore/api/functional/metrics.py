"""Metrics of ``Model.fit`` and ``Model.evaluate``: accuracies and users' functions, computed batch by batch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, Literal, Mapping, Optional, Protocol, Sequence, Tuple, Union

from spikecore.api.core.engines import engine_of
from spikecore.api.core.layer import ShapeError
from spikecore.api.core.messages import unknown
from spikecore.api.functional.accuracy import accuracy_rate, accuracy_temporal
from spikecore.api.functional.base import Loss, decoder_of, lengths_option, of_arrays
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import as_numbers, check_sequence, targets_on
from spikecore.api.functional.tasks import CLASS_BY_STEP, DEFAULT, MEASURES, TOLD, Sums
from spikecore.arguments import ArrayLike, checked, shown

if TYPE_CHECKING:
    from spikecore.api.layers.network import Output

OWN = "accuracy"  # the metric that decodes as the loss does
BY_STEP = "accuracy_step"  # the same with a label at every step


def firing_rate(out: Any, targets: Any, lengths: Any = None) -> float:
    """Spikes per step of a neuron of the last layer, a mean over steps, samples and neurons; targets are not read."""
    engine = engine_of(out.spikes)
    fired = as_numbers(engine, out.spikes)
    return float(engine.to_numpy(engine.xp.mean(Steps(engine, fired, lengths).mean(fired))))


NAMED = ("accuracy_rate", "accuracy_temporal", "accuracy_membrane", "label_error_rate", "rate")
COLUMNS = ("epoch", "loss", "lr", "seconds", "samples_per_s")  # columns of the history that are not metrics
RESERVED = (*COLUMNS, "sparsity")  # names that a metric cannot have

Metrics = Dict[str, Callable[..., Any]]
Name = Literal[
    "accuracy", "f1", "mae", "mse", "r2", "accuracy_step", "accuracy_rate", "accuracy_temporal", "accuracy_membrane",
    "label_error_rate", "rate",
]  # fmt: skip
DECODED = (*MEASURES, BY_STEP)  # metrics of what a loss predicts


class MetricFunction(Protocol):
    """A function (out, targets) -> number."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


Metric = Union[Name, MetricFunction, Sequence[Union[Name, MetricFunction]], Mapping[str, MetricFunction]]


@dataclass(frozen=True)
class Decided:
    """A measure of what an output predicts, decoded as the loss decodes: the class, the labels or the values.

    The predicted class is the one for which the loss would be smallest. Ties go to the lowest class.

    Args:
        loss: a loss with a task.
        measure: a name of ``MEASURES``, for targets of this kind.
    """

    loss: Loss
    measure: str = OWN

    @property
    def reads(self) -> str:
        """The attribute of an output that is read: "spikes" or "membrane"."""
        return self.loss.reads

    def __call__(self, out: Any, targets: Any, lengths: Any = None) -> float:
        return MEASURES[self.measure].of(self.sums(out, targets, lengths))

    def sums(self, out: Any, targets: Any, lengths: Any = None) -> Sums:
        """The sums over a batch from which the measure is computed; those of several batches can be added."""
        engine = engine_of(self.loss.read(out))  # one for all: making it can take a tenth of a small step
        arrays, count = self.asked(out, targets, lengths, engine)
        return count(*map(engine.to_numpy, arrays))  # type: ignore[no-any-return]

    def asked(
        self, out: Any, targets: Any, lengths: Any = None, engine: Any = None
    ) -> Tuple[Sequence[Any], Callable[..., Any]]:
        """Arrays of the engine, that of ``out`` if None, and the function that makes ``sums`` of their host values."""
        values = self.loss.read(out)
        engine = engine or engine_of(values)
        values = as_numbers(engine, values)
        scores = self.loss.scores(engine, values, lengths)
        arrays = [self.loss.compared(engine, scores), targets_on(engine, targets)]
        if self.loss.task.by_step and lengths is not None:  # type: ignore[union-attr]
            arrays.append(Steps(engine, values, lengths).counting(2))
        return arrays, functools.partial(self._counted, int(scores.shape[-1]))

    def _counted(self, classes: int, predicted: Any, wanted: Any, inside: Any = None) -> Sums:
        """``sums`` of NumPy arrays: what is predicted, the targets, and which steps count."""
        by_step, kind = self.loss.task.by_step, self.loss.task.kind  # type: ignore[union-attr]
        if kind == "value" and wanted.size == predicted.size and wanted.shape[:1] == predicted.shape[:1]:
            wanted = wanted.reshape(predicted.shape)  # (batch, 1) and (batch,)
        if wanted.shape != predicted.shape:
            raise ShapeError(
                f"targets have shape {tuple(wanted.shape)}, expected {tuple(predicted.shape)}: one "
                f"{'class index' if kind == 'class' else 'entry'} per {'step' if by_step else 'sample'}; outputs are "
                "(time, batch, classes)"
            )
        counted = self.loss.counted(wanted)
        if inside is not None:
            counted = inside if counted is None else counted & inside
        if counted is not None:
            predicted, wanted = predicted[counted], wanted[counted]
        if kind != "class":
            predicted, wanted = (
                x.reshape(-1, predicted.shape[-1] if predicted.ndim > 1 else 1) for x in (predicted, wanted)
            )
        if kind == "value":  # sums of squares need more digits than float32 has
            predicted, wanted = predicted.astype("float64"), wanted.astype("float64")
        return MEASURES[self.measure].sums(predicted, wanted, classes)


@checked
def accuracy_step(
    membrane: Union[ArrayLike, Output],
    targets: ArrayLike,
    lengths: Optional[ArrayLike] = None,
    ignore_index: int = -1,
) -> float:
    """The fraction of steps at which the membrane of the right class is the highest. Ties go to the lowest class.

    Args:
        membrane: (time, batch, classes), an array of any engine, or an ``Output``.
        targets: class labels (time, batch).
        lengths: how many steps of each sample count (batch,); None, the default: all.
        ignore_index: label of steps that do not count; default -1.

    Returns:
        A number in [0, 1].

    Raises:
        ShapeError: there is not one label for each step and sample.
    """
    from spikecore.api.functional.step_labels import ce_step_loss

    check_sequence("membrane", getattr(membrane, "membrane", membrane))
    return Decided(ce_step_loss(ignore_index=ignore_index))(membrane, targets, lengths)


def metrics_of(metric: Any, loss: Any) -> Metrics:
    """The metrics for ``Model.fit`` and ``Model.evaluate``, by the names of their columns.

    Args:
        metric: None: what belongs to the loss's targets: "accuracy" of classes and labels, "mae" of values, decoded as
            the loss decodes, or nothing for a loss that is not decoded; a name; a function ``(out, targets) ->
            number``; a list of names and functions; or a dict of them by name.
        loss: the loss.

    Raises:
        TypeError: ``metric`` is something else, or a function has no name.
        ValueError: a name is unknown, given twice, or a column of the history that is not a metric.
    """
    if metric is None:
        own = decoder_of(loss)
        usual = "" if own is None or own.task is None else DEFAULT[own.task.kind]
        return {usual: _named(usual, loss)} if usual else {}
    given = [*metric.items()] if isinstance(metric, Mapping) else [(None, entry) for entry in _listed(metric)]
    metrics: Metrics = {}
    for name, entry in given:
        function = _named(entry, loss) if isinstance(entry, str) else _checked(entry)
        column = name or (entry if isinstance(entry, str) else _name_of(entry))
        if column in metrics or column in RESERVED or column.startswith("val_"):
            why = "comes twice" if column in metrics else "is the history's own"
            raise ValueError(f"metric={column!r} {why}: give it another name, metric={{'name': function}}")
        metrics[column] = function
    return metrics


def needs_membrane(metrics: Metrics) -> bool:
    """Whether a metric reads the membrane, or may read it."""
    return any(
        getattr(metric, "reads", "membrane") != "spikes" and _plain(metric) not in _OF_SPIKES
        for metric in metrics.values()
    )


def measured(metrics: Metrics, out: Any, targets: Any, lengths: Any = None) -> Dict[str, float]:
    """The values of the metrics for a batch, as they can be averaged; ``averaged`` makes a row of their means.

    A measure of what is predicted is no mean over samples. In its place stand the means of its sums, by the names
    "column/measure/0", "column/measure/1", ....

    Raises:
        TypeError: a metric does not return a number, lengths are given and it does not take them, or it compares with
            targets and there are none.
    """
    wanting = [name for name, metric in metrics.items() if targets is None and _compares(_plain(metric))]
    if wanting:
        raise TypeError(
            f"metric {wanting[0]!r} compares with targets, and there are none: pass targets, or leave it out"
        )
    found: Dict[str, float] = {}
    for name, metric in metrics.items():
        if isinstance(metric, Decided):
            found.update(means_of(name, metric, metric.sums(out, targets, lengths), out.spikes.shape[1]))
        else:
            found[name] = _number(name, metric(out, targets, **lengths_option("metric", metric, lengths)))
    return found


def means_of(name: str, metric: Decided, sums: Sums, samples: int) -> Dict[str, float]:
    """The entries of a measure of what is predicted in what ``measured`` returns."""
    return {f"{name}/{metric.measure}/{i}": total / samples for i, total in enumerate(sums)}


def averaged(means: Mapping[str, float]) -> Dict[str, float]:
    """A row of columns from means of what ``measured`` returns."""
    row: Dict[str, float] = {}
    sums: Dict[Tuple[str, str], Sums] = {}
    for name, mean in means.items():
        column, _, rest = name.rpartition("/")[0].rpartition("/")
        if rest not in MEASURES:
            row[name] = mean
            continue
        row.setdefault(column, 0.0)  # its place
        sums.setdefault((column, rest), []).append(mean)
    row.update({column: MEASURES[measure].of(given) for (column, measure), given in sums.items()})
    return row


_OF_SPIKES = (accuracy_rate, accuracy_temporal, firing_rate)


def _plain(metric: Any) -> Any:
    """The function inside a ``functools.partial``; any other metric unchanged."""
    return metric.func if isinstance(metric, functools.partial) else metric


def by_name(name: str) -> Callable[..., Any]:
    """The function of a name in ``NAMED``, whose file is read only now."""
    from spikecore.api import functional

    return firing_rate if name == "rate" else getattr(functional, name)  # type: ignore[no-any-return]


def _compares(metric: Any) -> bool:
    """Whether it is one of ours that reads targets."""
    name = getattr(metric, "__name__", "")
    return name in NAMED and metric is by_name(name)


def _listed(metric: Any) -> Tuple[Any, ...]:
    return tuple(metric) if isinstance(metric, (list, tuple)) else (metric,)


def _named(name: str, loss: Any) -> Callable[..., Any]:
    if name not in DECODED:
        if name not in NAMED:
            raise ValueError(unknown("metric", name, [*DECODED, *NAMED]))
        return by_name(name)
    own = decoder_of(loss)
    if name == BY_STEP:
        from spikecore.api.functional.step_labels import ce_step_loss

        return Decided(own if own is not None and own.task == CLASS_BY_STEP else ce_step_loss())
    if own is None or own.task is None:
        raise ValueError(
            f"metric={name!r} is that of the loss's own decoder, which loss={shown(loss)} does not have: say how to "
            "decide, e.g. metric={'accuracy': spikecore.functional.accuracy_rate}"
        )
    kind = own.task.kind
    if kind not in MEASURES[name].kinds:
        others = ", ".join(repr(each) for each, measure in MEASURES.items() if kind in measure.kinds)
        raise ValueError(f"metric={name!r}: the targets of loss={shown(loss)} are {TOLD[kind]}: take {others}")
    return Decided(own, name)


def _checked(metric: Any) -> Callable[..., Any]:
    if not callable(metric) or isinstance(metric, type):
        raise TypeError(
            f"metric={metric!r} must be a function (out, targets) -> number, a name such as 'accuracy_rate', a list "
            "or a dict of these"
        )
    remedy = of_arrays(metric)
    if remedy:
        raise TypeError(f"metric={shown(metric)} takes arrays, but a metric is called with (out, targets){remedy}")
    return metric  # type: ignore[no-any-return]


def _name_of(metric: Any) -> str:
    name: Optional[str] = getattr(_plain(metric), "__name__", type(metric).__name__)
    if name is None or not name.isidentifier():
        raise TypeError(f"metric={shown(metric)} has no name for its column: give one, metric={{'name': function}}")
    return name


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, RuntimeError):  # RuntimeError: torch, for a tensor of several values
        raise TypeError(f"metric {name!r} gave {shown(value)}, expected a number") from None

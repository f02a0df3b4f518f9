"""Metrics of ``Model.fit`` and ``Model.evaluate``: accuracies and users' functions, computed batch by batch."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Callable, Dict, Literal, Mapping, Optional, Protocol, Sequence, Tuple, Union

from spikecore.api.core.engines import engine_of
from spikecore.api.core.messages import unknown
from spikecore.api.functional.accuracy import accuracy_membrane, accuracy_rate, accuracy_temporal, hit_rate
from spikecore.api.functional.base import Loss, lengths_option, of_arrays, reads_labels
from spikecore.api.functional.ctc import label_error_rate
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import as_numbers
from spikecore.arguments import shown

OWN = "accuracy"  # the metric that decodes as the loss does


def firing_rate(out: Any, targets: Any, lengths: Any = None) -> float:
    """Spikes per step of a neuron of the last layer, a mean over steps, samples and neurons; targets are not read."""
    engine = engine_of(out.spikes)
    fired = as_numbers(engine, out.spikes)
    return float(engine.to_numpy(engine.xp.mean(Steps(engine, fired, lengths).mean(fired))))


NAMED = {
    "accuracy_rate": accuracy_rate,
    "accuracy_temporal": accuracy_temporal,
    "accuracy_membrane": accuracy_membrane,
    "label_error_rate": label_error_rate,
    "rate": firing_rate,
}
COLUMNS = ("epoch", "loss", "lr", "seconds", "samples_per_s")  # columns of the history that are not metrics
RESERVED = (*COLUMNS, "sparsity")  # names that a metric cannot have

Metrics = Dict[str, Callable[..., Any]]
Name = Literal["accuracy", "accuracy_rate", "accuracy_temporal", "accuracy_membrane", "label_error_rate", "rate"]


class MetricFunction(Protocol):
    """A function (out, targets) -> number."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


Metric = Union[Name, MetricFunction, Sequence[Union[Name, MetricFunction]], Mapping[str, MetricFunction]]


@dataclass(frozen=True)
class Decided:
    """Accuracy: the predicted class is the one for which the loss would be smallest. Ties go to the lowest class.

    Args:
        loss: a loss that compares with class labels.
    """

    loss: Loss

    @property
    def reads(self) -> str:
        """The attribute of an output that is read: "spikes" or "membrane"."""
        return self.loss.reads

    def __call__(self, out: Any, targets: Any, lengths: Any = None) -> float:
        values = self.loss.read(out)
        engine = engine_of(values)
        return hit_rate(engine, self.loss.scores(engine, as_numbers(engine, values), lengths), targets)


def metrics_of(metric: Any, loss: Any) -> Metrics:
    """The metrics for ``Model.fit`` and ``Model.evaluate``, by the names of their columns.

    Args:
        metric: None: "accuracy", decoded as the loss decodes, if the loss compares with class labels, else nothing; a
            name; a function ``(out, targets) -> number``; a list of names and functions; or a dict of them by name.
        loss: the loss.

    Raises:
        TypeError: ``metric`` is something else, or a function has no name.
        ValueError: a name is unknown, given twice, or a column of the history that is not a metric.
    """
    if metric is None:
        return {} if reads_labels(loss) is None else {OWN: _named(OWN, loss)}
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
    """The values of the metrics for a batch.

    Raises:
        TypeError: a metric does not return a number, lengths are given and it does not take them, or it compares with
            targets and there are none.
    """
    compare = [function for function in NAMED.values() if function is not firing_rate]
    wanting = [name for name, metric in metrics.items() if _plain(metric) in compare]
    if targets is None and wanting:
        raise TypeError(
            f"metric {wanting[0]!r} compares with targets, and there are none: pass targets, or leave it out"
        )
    return {
        name: _number(name, metric(out, targets, **lengths_option("metric", metric, lengths)))
        for name, metric in metrics.items()
    }


_OF_SPIKES = (accuracy_rate, accuracy_temporal, firing_rate)


def _plain(metric: Any) -> Any:
    """The function inside a ``functools.partial``; any other metric unchanged."""
    return metric.func if isinstance(metric, functools.partial) else metric


def _listed(metric: Any) -> Tuple[Any, ...]:
    return tuple(metric) if isinstance(metric, (list, tuple)) else (metric,)


def _named(name: str, loss: Any) -> Callable[..., Any]:
    if name != OWN:
        if name not in NAMED:
            raise ValueError(unknown("metric", name, [OWN, *NAMED]))
        return NAMED[name]  # type: ignore[return-value]
    labels = reads_labels(loss)
    if labels is None:
        raise ValueError(
            f"metric='accuracy' is that of the loss's own decoder, which loss={shown(loss)} does not have: say how to "
            "decide, e.g. metric={'accuracy': spikecore.functional.accuracy_rate}"
        )
    return Decided(labels)


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

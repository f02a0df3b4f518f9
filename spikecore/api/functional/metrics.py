"""What is reported of a network beside its loss, batch by batch: accuracies, and functions of the user's own."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Callable, Dict, Literal, Mapping, Optional, Protocol, Sequence, Tuple, Union

from spikecore.api.core.engine import engine_of
from spikecore.api.core.foreign import of_arrays, shown
from spikecore.api.core.messages import unknown
from spikecore.api.functional.accuracy import accuracy_membrane, accuracy_rate, accuracy_temporal, hit_rate
from spikecore.api.functional.base import Loss, lengths_option, reads_labels
from spikecore.api.functional.targets import as_numbers

OWN = "accuracy"  # that of the loss's own decoder
NAMED = {"accuracy_rate": accuracy_rate, "accuracy_temporal": accuracy_temporal, "accuracy_membrane": accuracy_membrane}
COLUMNS = ("epoch", "loss", "lr", "seconds", "samples_per_s")  # of the history, which are no metric's

Metrics = Dict[str, Callable[..., Any]]
Name = Literal["accuracy", "accuracy_rate", "accuracy_temporal", "accuracy_membrane"]


class MetricFunction(Protocol):
    """A function (out, targets) -> number."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


Metric = Union[Name, MetricFunction, Sequence[Union[Name, MetricFunction]], Mapping[str, MetricFunction]]


@dataclass(frozen=True)
class Decided:
    """The fraction of samples for which a loss would be smallest with the right class. Ties go to the lowest class.

    Args:
        loss: a loss that compares with class labels.
    """

    loss: Loss

    @property
    def reads(self) -> str:
        """What of an output is looked at."""
        return self.loss.reads

    def __call__(self, out: Any, targets: Any, lengths: Any = None) -> float:
        values = self.loss.read(out)
        engine = engine_of(values)
        return hit_rate(engine, self.loss.scores(engine, as_numbers(engine, values), lengths), targets)


def metrics_of(metric: Any, loss: Any) -> Metrics:
    """The metrics that ``Model.fit`` and ``Model.evaluate`` are asked for, by the names of their columns.

    Args:
        metric: None, the accuracy of the loss's own decoder if it compares with class labels; a name; a function
            ``(out, targets) -> number``, called by its name; several of these in a list; or a dict of them by name.
        loss: the loss.

    Raises:
        TypeError: none of these, or a function without a name.
        ValueError: an unknown name, one that the history has for something else, or one that comes twice.
    """
    if metric is None:
        return {} if reads_labels(loss) is None else {OWN: _named(OWN, loss)}
    given = [*metric.items()] if isinstance(metric, Mapping) else [(None, one) for one in _listed(metric)]
    found: Metrics = {}
    for name, one in given:
        made = _named(one, loss) if isinstance(one, str) else _checked(one)
        column = name or (one if isinstance(one, str) else _name_of(one))
        if column in found or column in COLUMNS or column.startswith("val_"):
            why = "comes twice" if column in found else "is the history's own"
            raise ValueError(f"metric={column!r} {why}: name it otherwise, metric={{'name': function}}")
        found[column] = made
    return found


def needs_membrane(metrics: Metrics) -> bool:
    """Whether any of them looks at the membrane, or may."""
    return any(
        getattr(one, "reads", "membrane") != "spikes" and _plain(one) not in _OF_SPIKES for one in metrics.values()
    )


def measured(metrics: Metrics, out: Any, targets: Any, lengths: Any = None) -> Dict[str, float]:
    """The values for a batch.

    Raises:
        TypeError: a metric that gives no number, or that takes no lengths where there are some.
    """
    return {
        name: _number(name, one(out, targets, **lengths_option("metric", one, lengths)))
        for name, one in metrics.items()
    }


_OF_SPIKES = (accuracy_rate, accuracy_temporal)


def _plain(metric: Any) -> Any:
    """A function without the options that ``functools.partial`` holds for it."""
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

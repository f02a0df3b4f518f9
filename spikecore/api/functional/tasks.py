"""Tasks: what the targets of a loss are, for each sample or for each step, and so what is predicted and measured.

    what a target is     for each sample                     for each step
    ------------------------------------------------------------------------------------------------------
    a class              (batch,)  ce_rate_loss, ...         (time, batch)  ce_step_loss
    several labels       (batch, classes)  bce_value_loss    --
    a value, or several  (batch,), (batch, k)                (time, batch, k)
                         mse_value_loss, ...                 mse_membrane_loss(time_var_targets=True)

A loss names its task. It reads scores from an output (``Loss.scores``), with a time axis if there is a target for each
step, and decides by them (``Loss.decide``): ``Model.predict`` returns that, and metrics compare it with the targets.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Literal, NamedTuple, Tuple

from spikecore.api.core.host import host

Kind = Literal["class", "labels", "value"]
Sums = List[float]


class TargetKind(NamedTuple):
    """Kind of the targets of a loss.

    Args:
        kind: "class", a class index; "labels", a 0 or 1 for each class; "value", numbers.
        by_step: whether there is a target for each step.
    """

    kind: Kind
    by_step: bool = False


CLASS, CLASS_BY_STEP = TargetKind("class"), TargetKind("class", by_step=True)
LABELS = TargetKind("labels")
VALUE, VALUE_BY_STEP = TargetKind("value"), TargetKind("value", by_step=True)

TOLD: Dict[Kind, str] = {"class": "class indices", "labels": "several labels", "value": "values"}
DEFAULT: Dict[Kind, str] = {"class": "accuracy", "labels": "accuracy", "value": "mae"}


@dataclass(frozen=True)
class Measure:
    """A number that compares predictions with targets. It is made of sums over samples, so that batches can be added.

    Args:
        kinds: the kinds of targets that it is for.
        sums: of predictions and targets, NumPy arrays: class indices (samples,), or (samples, outputs); and the number
            of outputs.
        of: the number, from the sums of all batches. A common factor of the sums changes nothing.
    """

    kinds: Tuple[Kind, ...]
    sums: Callable[[Any, Any, int], Sums]
    of: Callable[[Sums], float]


def ratio(part: float, whole: float) -> float:
    """``part / whole``; 0 where there is nothing to divide."""
    return part / whole if whole else 0.0


def hits(predicted: Any, wanted: Any, outputs: int) -> Sums:
    """Counts of each class as one list: times predicted rightly for all classes, then times predicted, then targets."""
    if wanted.ndim == 1:
        classes = host().to_numpy(host().xp.arange(outputs))
        predicted, wanted = (labels[:, None] == classes for labels in (predicted, wanted))
    predicted, wanted = predicted == 1, wanted == 1
    return [float(n) for mask in (predicted & wanted, predicted, wanted) for n in mask.sum(0)]


def per_class(sums: Sums) -> List[Tuple[float, float, float, float]]:
    """Precision, recall, F1 and the number of targets of each class, from ``hits``."""
    third = len(sums) // 3
    rows = zip(sums[:third], sums[third : 2 * third], sums[2 * third :])
    return [(ratio(hit, said), ratio(hit, true), ratio(2.0 * hit, said + true), true) for hit, said, true in rows]


def macro_f1(sums: Sums) -> float:
    """The mean F1 of the classes that are predicted or targets at least once."""
    third = len(sums) // 3
    found = [row[2] for row, said in zip(per_class(sums), sums[third : 2 * third]) if said or row[3]]
    return ratio(sum(found), len(found))


def _right(predicted: Any, wanted: Any, outputs: int) -> Sums:
    return [float(len((predicted == wanted).nonzero()[0])), float(wanted.size)]  # half as long as their sum


def _errors(power: int) -> Callable[[Any, Any, int], Sums]:
    return lambda predicted, wanted, outputs: [float((abs(predicted - wanted) ** power).sum()), float(wanted.size)]


def _spread(predicted: Any, wanted: Any, outputs: int) -> Sums:
    """Four sums of each output in turn: number of targets, targets, squared targets, squared errors."""
    squares = (predicted - wanted) ** 2
    columns = zip(wanted.sum(0).tolist(), (wanted**2).sum(0).tolist(), squares.sum(0).tolist())
    return [entry for column in columns for entry in (float(len(wanted)), *column)]


def _explained(sums: Sums) -> float:
    """The mean over outputs of 1 - (sum of squared errors) / (sum of squared distances of targets from their mean)."""
    found = []
    for start in range(0, len(sums), 4):
        count, total, squares, errors = sums[start : start + 4]
        spread = squares - ratio(total * total, count)
        constant = spread <= 1e-12 * squares  # what is left is rounding
        found.append(float(errors == 0.0) if constant else 1.0 - errors / spread)
    return ratio(sum(found), len(found))


MEASURES: Dict[str, Measure] = {
    "accuracy": Measure(("class", "labels"), _right, lambda sums: ratio(*sums)),
    "f1": Measure(("class", "labels"), hits, macro_f1),
    "mae": Measure(("value",), _errors(1), lambda sums: ratio(*sums)),
    "mse": Measure(("value",), _errors(2), lambda sums: ratio(*sums)),
    "r2": Measure(("value",), _spread, _explained),
}

"""Precision, recall and F1 of each class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Optional, Sequence

from spikecore.api.core.host import to_numpy
from spikecore.api.core.layer import ShapeError
from spikecore.api.functional.tasks import hits, macro_f1, per_class, ratio
from spikecore.arguments import ArrayLike, checked
from spikecore.printing import columns, table

HEAD = ("class", "precision", "recall", "f1", "samples")


@dataclass(frozen=True)
class ClassRow:
    """The report's row for one class.

    Args:
        name: its name, by default its index.
        precision: of the samples that are predicted as this class, the share that is of it.
        recall: of the samples of this class, the share that is predicted as it.
        f1: 2 precision recall / (precision + recall).
        samples: number of samples, or steps, of this class.
    """

    name: str
    precision: float
    recall: float
    f1: float
    samples: int


@dataclass(frozen=True, repr=False)
class ClassReport:
    """The result of ``class_report``, which prints as a table.

    Args:
        rows: one for each class.
        accuracy: share of right predictions; with several labels at once, of right labels.
        f1: mean F1 of the classes that are predicted or targets at least once (macro).
    """

    rows: Sequence[ClassRow]
    accuracy: float
    f1: float

    def __repr__(self) -> str:
        return f"{columns([HEAD, *self._texts()])}\n{self._summary()}"

    def _repr_html_(self) -> str:
        return table(self._summary(), self._texts(), HEAD)

    def _summary(self) -> str:
        return f"accuracy {self.accuracy:.4f}, mean f1 of the classes {self.f1:.4f}"

    def _texts(self) -> List[List[str]]:
        return [[r.name, f"{r.precision:.4f}", f"{r.recall:.4f}", f"{r.f1:.4f}", str(r.samples)] for r in self.rows]


@checked
def class_report(
    targets: ArrayLike,
    predicted: ArrayLike,
    labels: Optional[Sequence[Any]] = None,
    ignore_index: int = -1,
) -> ClassReport:
    """Precision, recall and F1 of each class, beside the matrix that ``spikeplot.confusion`` draws.

        precision = hits / predicted,   recall = hits / targets,   F1 = 2 hits / (predicted + targets)

    Where there is nothing to divide, a number is 0.

    Args:
        targets: class indices of samples or of steps, of any shape; or several labels at once, 0 or 1, of bool.
        predicted: what ``Model.predict`` returns, in the same shape.
        labels: names of the classes by index; there is a row for each. Default: the indices, up to the largest.
        ignore_index: label of steps that do not count; default -1.

    Returns:
        A ``ClassReport``: ``rows``, ``accuracy`` and ``f1``.

    Raises:
        ShapeError: shapes differ.
        ValueError: nothing counts, a class is no index, or has no name.
    """
    true, said = to_numpy(targets), to_numpy(predicted)
    if true.shape != said.shape:
        raise ShapeError(f"targets have shape {true.shape} and predicted {said.shape}: need the same samples in both")
    several = true.dtype.kind == "b"
    if several:
        true, said = (x.reshape(-1, x.shape[-1]) == 1 for x in (true, said))
        count = true.shape[-1]
    else:
        counted = true != ignore_index
        true, said = true[counted], said[counted]
        if not true.size:
            raise ValueError(f"targets: every label is ignore_index={ignore_index}, so there is nothing to report")
        low, high = min(true.min(), said.min()), max(true.max(), said.max())
        if low < 0 or true.dtype.kind not in "iu" or said.dtype.kind not in "iu":
            raise ValueError(
                f"class_report: classes must be whole numbers >= 0, and there is {low}; several labels at once are "
                "arrays of bool, targets.astype(bool)"
            )
        count = int(high) + 1 if labels is None else len(labels)
        if high >= count:
            raise ValueError(f"labels has {count} names, and there is a class {high}: need a name for each class")
    names = [str(name) for name in (range(count) if labels is None else labels)]
    sums = hits(said, true, count)
    rows = [ClassRow(name, *row[:3], int(row[3])) for name, row in zip(names, per_class(sums))]
    return ClassReport(tuple(rows), ratio(float((true == said).sum()), float(true.size)), macro_f1(sums))

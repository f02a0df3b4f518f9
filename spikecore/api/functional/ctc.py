"""Connectionist temporal classification (CTC): sequences of labels without times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, List, Optional, Tuple

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.layer import ShapeError
from spikecore.api.core.tree import Params, State
from spikecore.api.core.variants import unfused
from spikecore.api.core.words import Array
from spikecore.api.functional.base import Loss, Spikes
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import as_numbers, read_sequence
from spikecore.api.functional.tasks import TargetKind
from spikecore.arguments import ArrayLike, Count, checked

NEVER = -1e30  # the log-probability of what cannot be: infinity would give inf - inf


@dataclass(frozen=True)
class ctc_loss(Loss):
    """Negative log-likelihood of a sequence of labels, over all ways to spread it over the steps.

        p[t] = softmax(U[t])
        -log sum over paths of prod_t p[t]_path[t]

    A path names a class or the blank at every step. It stands for the labels that remain when repeated entries are
    merged and blanks are removed: with "-" for the blank, "aa-ab-" is "aab". The sum over all paths of the targets goes
    forward over the sequence "-", y_1, "-", y_2, ..., "-", of which a path may skip the blank between two different
    labels (equations 6 and 7 of the paper):

        alpha[t]_s = p[t]_l(s) (alpha[t-1]_s + alpha[t-1]_(s-1) + alpha[t-1]_(s-2) if it may skip)

    Targets are (batch, labels) integers, padded at the end with -1; a sequence may be empty. A sample needs a step for
    each label and one between equal neighbours; else its loss is infinite: calls, ``fit`` and ``evaluate`` refuse it.
    ``ctc_decode`` reads a sequence from an output, ``label_error_rate`` counts mistakes.

    Args:
        blank: index of the class that stands for no label, default 0.
        per_label: divide each sample's loss by its number of labels, as torch's "mean" does; default False.
        reduction: "mean" over the batch (the default), "sum", or "none": one loss per sample.
        population_code, num_classes: see ``Loss``.
        weight, normalise: refused: a sequence has no single class.

    Raises:
        ValueError: a class weight is given.

    Source: Graves, Fernandez, Gomez and Schmidhuber, Connectionist temporal classification: labelling unsegmented
    sequence data with recurrent neural networks, ICML 2006.
    """

    blank: Count = 0
    per_label: bool = False

    reads: ClassVar[str] = "membrane"  # type: ignore[misc]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight is not None or self.normalise:
            raise ValueError("ctc_loss: no weight and no normalise: a sequence of labels has no single class")

    @property
    def task(self) -> Optional[TargetKind]:
        """None: targets are sequences of labels; ``ctc_decode`` decodes them."""
        return None

    def check_targets(
        self,
        engine: Engine,
        targets: Array,
        batch: int,
        classes: Optional[int],
        time: Optional[int] = None,
        lengths: Optional[List[int]] = None,
    ) -> None:
        check_sequences(engine, targets, batch, self.num_classes or classes, self.blank)
        rows = labels_of(engine.to_numpy(targets).tolist())
        for i, (labels, given) in enumerate(zip(rows, lengths or ())):
            needed = len(labels) + sum(a == b for a, b in zip(labels, labels[1:]))
            if needed > given:
                raise ValueError(
                    f"targets[{i}] needs {needed} steps (one per label, and one between equal neighbours), but the "
                    f"sample has {given}"
                )

    def compute(self, engine: Engine, values: Array, targets: Array, lengths: Optional[ArrayLike] = None) -> Any:
        xp = engine.xp
        values = self._pooled(engine, values)
        if targets.ndim != 2 or targets.shape[0] != values.shape[1] or not targets.shape[1]:
            raise ShapeError(_shape(targets, values.shape[1]))
        given = targets >= 0
        blanks = xp.zeros_like(targets) + self.blank
        labels = xp.where(given, targets, blanks)
        between = xp.reshape(xp.stack([blanks, labels], axis=2), (labels.shape[0], -1))
        path = xp.concat([between, blanks[:, :1]], axis=1)  # -, y_1, -, y_2, ..., -
        count = xp.sum(xp.astype(given, engine.dtype), axis=1)
        losses = -_likelihood(engine, values, path, self.blank, count, Steps(engine, values, lengths))
        losses = xp.where(losses > -0.5 * NEVER, xp.zeros_like(losses) + float("inf"), losses)
        if self.per_label:
            losses = losses / xp.where(count > 0.0, count, xp.ones_like(count))
        return self._reduced(engine, losses, None)


def _likelihood(engine: Engine, values: Any, path: Any, blank: int, count: Any, steps: Steps) -> Any:
    """The log-likelihood of each sample, (batch,).

    Args:
        engine: the engine.
        values: logits (time, batch, classes).
        path: labels with blanks between them, (batch, places), places = 2 labels + 1.
        blank: index of the blank.
        count: the number of labels of each sample, (batch,), a float.
        steps: the steps that count.
    """
    xp, places = engine.xp, path.shape[1]
    code = xp.astype(xp.expand_dims(path, axis=1) == xp.reshape(xp.arange(values.shape[2]), (1, -1, 1)), engine.dtype)
    log_p = xp.permute_dims(xp.log_softmax(values, axis=-1), (1, 0, 2))
    at_places = xp.permute_dims(xp.matmul(log_p, code), (1, 0, 2))  # (time, batch, places)

    ahead, behind = path[:, 2:], path[:, : places - 2]
    may_skip = (ahead != blank) & (ahead != behind)
    skips = xp.where(may_skip, xp.zeros(may_skip.shape), xp.full(may_skip.shape, NEVER))
    params = Params(skips=xp.pad(skips, ((0, 0), (2, 0)), NEVER))
    start = State(alpha=xp.pad(xp.zeros((path.shape[0], 1)), ((0, 0), (0, places - 1)), NEVER))
    alphas, _, _ = unfused(engine).scan(Alignment(), params, start, at_places)
    last = alphas[-1, ...]
    if steps.lengths is not None:
        ticks = xp.reshape(engine.asarray(list(range(steps.total))), (-1, 1, 1))
        last = xp.sum(xp.where(ticks == steps.counts(2) - 1.0, alphas, xp.zeros_like(alphas)), axis=0)
    place, end = engine.asarray([list(range(places))]), 2.0 * xp.expand_dims(count, axis=1)
    ends = (end == place) | (end - 1.0 == place)  # at the last label or at the blank behind it
    return log_sum(engine, xp.where(ends, last, xp.zeros_like(last) + NEVER))


@dataclass(frozen=True)
class Alignment:
    """The forward recursion of CTC, as what ``Engine.scan`` runs over time; all in logarithms.

    alpha (batch, places) is the log-probability of all beginnings of paths that are at a place of the sequence; before
    the first step they are at place 0. ``skips`` is 0 where a path may jump over the blank before a place.
    """

    state: ClassVar[Tuple[str, ...]] = ("alpha",)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        alpha, xp = state.alpha, engine.xp
        places = alpha.shape[1]
        moved = xp.pad(alpha[:, : places - 1], ((0, 0), (1, 0)), NEVER)
        skipped = xp.pad(alpha[:, : places - 2], ((0, 0), (2, 0)), NEVER) + params.skips
        alpha = x + log_sum(engine, xp.stack([alpha, moved, skipped], axis=-1))
        return alpha, State(alpha=alpha)


def log_sum(engine: Engine, x: Any) -> Any:
    """Log sum exp over the last axis."""
    xp = engine.xp
    top = xp.max(engine.stop_gradient(x), axis=-1, keepdims=True)
    return xp.squeeze(top, axis=-1) + xp.log(xp.sum(xp.exp(x - top), axis=-1))


# ---- targets and decoding ------------------------------------------------------------------------------------------


def labels_of(rows: List[List[int]]) -> List[List[int]]:
    """The labels of each row, without the padding."""
    return [[label for label in row if label >= 0] for row in rows]


def _shape(targets: Any, batch: int) -> str:
    return (
        f"targets have shape {tuple(targets.shape)}, expected ({batch}, labels): one sequence of class indices per "
        "sample, padded at the end with -1"
    )


def check_sequences(engine: Engine, targets: Any, batch: int, classes: Optional[int], blank: int) -> None:
    """Refuse what are no sequences of labels.

    Raises:
        ShapeError: targets are not (batch, labels).
        ValueError: they are no integers; a label is out of range or the blank; padding comes before a label; or the
            blank is no class.
    """
    array = engine.to_numpy(targets)
    if array.ndim != 2 or array.shape[0] != batch or not array.shape[1]:
        raise ShapeError(_shape(array, batch))
    if array.dtype.kind not in "iu":
        raise ValueError(f"targets have dtype {array.dtype}, expected integer class indices, padded at the end with -1")
    if classes is not None and blank >= classes:
        raise ValueError(f"blank={blank} is out of range: the last layer has {classes} classes (0..{classes - 1})")
    for i, row in enumerate(array.tolist()):
        for j, label in enumerate(row):
            where = f"targets[{i}, {j}] = {label}"
            if label < -1:
                raise ValueError(f"{where} is no label: classes are counted from 0, and rows are padded with -1")
            if label < 0 and any(other >= 0 for other in row[j:]):
                raise ValueError(f"{where} is padding, but a label follows: pad at the end")
            if label == blank:
                raise ValueError(f"{where} is the blank: leave blanks out, or pass another blank={blank}")
            if classes is not None and label >= classes:
                raise ValueError(f"{where} is out of range: the last layer has {classes} classes (0..{classes - 1})")


@checked
def ctc_decode(out: Spikes, lengths: Optional[ArrayLike] = None, blank: Count = 0) -> List[List[int]]:
    """The sequence of labels of each sample, read along the best path.

    That path has the largest value at each step. Repeated entries are merged, and blanks are removed.

    Args:
        out: an ``Output``, whose membrane is read, or an array (time, batch, classes).
        lengths: how many steps of each sample count, (batch,); None, the default: all.
        blank: index of the blank, default 0.

    Returns:
        One list of labels per sample.

    Raises:
        ShapeError, ValueError: an array has a wrong shape, or a length is out of range.

    Source: best path decoding, section 3.2 of Graves et al., ICML 2006.
    """
    engine, values = read_sequence("membrane", out)
    best = engine.to_numpy(engine.xp.argmax(as_numbers(engine, values), axis=-1))
    steps = Steps(engine, values, lengths)
    ends = [steps.total] * best.shape[1] if steps.lengths is None else steps.lengths
    paths = [row[:end] for row, end in zip(best.T.tolist(), ends)]
    return [[b for a, b in zip([blank, *path], path) if b not in (a, blank)] for path in paths]


@checked
def label_error_rate(out: Spikes, targets: ArrayLike, lengths: Optional[ArrayLike] = None, blank: Count = 0) -> float:
    """The edits that turn decoded sequences into the targets, per label of the targets: 0 if all are right.

    Edits are inserted, deleted and exchanged labels (Levenshtein distance). It is a metric for ``fit``, ``evaluate``.

    Args:
        out: an ``Output``, whose membrane is read, or an array (time, batch, classes).
        targets: (batch, labels), padded at the end with -1.
        lengths: how many steps of each sample count, (batch,); None, the default: all.
        blank: index of the blank, default 0.

    Returns:
        The number of edits divided by the number of labels (or by 1, if there is none).

    Raises:
        ShapeError, ValueError: an array has a wrong shape, or a label or a length is out of range.
    """
    found = ctc_decode(out, lengths, blank)
    engine = engine_of(getattr(out, "membrane", out))
    array = engine.asarray(targets, dtype="int64")
    check_sequences(engine, array, len(found), None, blank)
    wanted = labels_of(engine.to_numpy(array).tolist())
    return sum(_edits(a, b) for a, b in zip(found, wanted)) / max(1, sum(map(len, wanted)))


def _edits(a: List[int], b: List[int]) -> int:
    """The Levenshtein distance of two sequences."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        before, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (x != y))
    return row[-1]

"""A learning rule compared with the exact gradient: of the same loss, batch, weights and surrogate, in float64."""

from __future__ import annotations

import math
from typing import Any, Dict, List, Mapping, Optional, Union

from spikecore.api.core import variants
from spikecore.api.core.engine import Engine
from spikecore.api.core.layer import shapes_of
from spikecore.api.core.tree import map_leaves, unflatten
from spikecore.api.learning.gradients import gradient_of, learned
from spikecore.api.learning.learning import Learning, LearningName
from spikecore.api.learning.learning_rules import LearningRule
from spikecore.api.learning.omissions import Omission, omissions_of, omissions_of_window
from spikecore.api.learning.steps import Targets, stepwise
from spikecore.api.training.batching import Feed
from spikecore.api.verification.agreement import ALL, Agreement, agreements
from spikecore.api.verification.gradient import LossGradient
from spikecore.api.verification.learning_report import APPROXIMATE, EXACT, ZERO, LearningReport, LearningRow
from spikecore.api.verification.report import FAIL

LIMIT = 1e-10  # largest relative difference of a gradient from which the rule leaves nothing out
NOISE = 1e-12  # a gradient below this fraction of the largest is rounding


def verify_learning(
    model: Any,
    x: Any,
    targets: Any,
    loss: Any,
    reference: Engine,
    feed: Feed,
    learning: Union[LearningName, Learning],
) -> LearningReport:
    """Compare the gradient of a rule on the model's engine with that of BPTT on another engine.

    Args:
        model: a ``Model``.
        x, targets, loss: see ``verify``.
        reference: the engine that computes the exact gradient.
        feed: num_steps, encoder and time_axis.
        learning: see ``learned``.
    """
    way = gradient_of(learning)
    rule = way if isinstance(way, LearningRule) else None
    named = f"learning={learning!r}"
    batch: Dict[str, Any] = {"num_steps": feed.num_steps, "encoder": feed.encoder, "time_axis": feed.time_axis}
    theirs, engine = model.to_engine(reference), variants.exact(model.engine)
    doubles, exact = "float64" not in engine.lacks, learned(theirs, x, targets, loss, **batch)
    ours, remarks = model.to_engine(variants.with_dtype(engine, "float64") if doubles else engine), []
    ours.build(theirs.input_shape)
    if not doubles or (rule is not None and ours.trainer.executor.gradients is None):
        lacks = "returns no gradients of single steps" if doubles else "has no float64"
        remarks.append(f"engine {engine.name!r} {lacks}: the rule was computed on {reference.name!r}")
        ours = theirs
    found = learned(ours, x, targets, loss, learning=way, **batch)
    omissions = _omissions(theirs, rule, way.window, loss, exact)
    kinds = _kinds(found.grads, exact.grads)
    rows = [_figures(row, kinds.get(row.name)) for row in agreements(found.grads, exact.grads)]
    return LearningReport(
        f"{named} on {ours.engine!r} against BPTT on {reference!r}",
        named,
        tuple(LearningRow(row, kinds.get(row.name) or _verdict(row, omissions)) for row in rows),
        tuple((tuple(name for name in exact.grads if part.affects(name)), part.what) for part in omissions),
        found.loss,
        exact.loss,
        tuple(remarks),
    )


def _kinds(found: Mapping[str, Any], exact: Mapping[str, Any]) -> Dict[str, str]:
    """The verdicts that need no comparison: FAIL of a gradient that is not finite, ZERO of one that is rounding."""
    pairs = {name: (found[name], g) for name, g in exact.items()}
    broken = {name: FAIL for name, pair in pairs.items() if not all((0.0 * g == 0.0).all() for g in pair)}
    sizes = {name: _largest(g) for name, g in exact.items() if name not in broken}
    noise = NOISE * max(sizes.values(), default=0.0)
    zeros = {name: ZERO for name, size in sizes.items() if max(size, _largest(found[name])) <= noise}
    together = FAIL if broken else ZERO if len(zeros) == len(pairs) else None
    return {**zeros, **broken, **({ALL: together} if together else {})}


def _figures(row: Agreement, kind: Optional[str]) -> Agreement:
    """Figures of two zeros for rounding, which has no direction; none for a gradient that is not finite."""
    difference = {ZERO: 0.0, FAIL: math.nan}
    return row._replace(cosine=math.nan, ratio=math.nan, difference=difference[kind]) if kind else row


def _largest(array: Any) -> float:
    return float(abs(array).max()) if array.size else 0.0


def _omissions(
    model: Any, rule: Optional[LearningRule], window: Optional[int], loss: Any, exact: LossGradient
) -> List[Omission]:
    """The parts that the rule leaves out; ``model`` is on an engine of words that computes Jacobians."""
    assert exact.out is not None  # None is of engines that run a whole step; this one runs words
    steps, samples = (int(n) for n in exact.out.spikes.shape[:2])
    if rule is None:
        return omissions_of_window(model.network, window, steps)
    engine, like = model.engine, shapes_of(model.network, model.input_shape)
    params = map_leaves(engine.asarray, unflatten(model.params(), like.params))
    stepper = rule.stepper(model.network, stepwise(loss), Targets(None, False), steps)
    return omissions_of(stepper, engine, params, engine.xp.zeros((samples, *model.input_shape)), steps)


def _verdict(row: Agreement, omissions: List[Omission]) -> str:
    if any(row.name == ALL or part.affects(row.name) for part in omissions):
        return APPROXIMATE
    return EXACT if row.difference <= LIMIT else FAIL

"""Pruning: connections are taken away, at once or bit by bit in training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, List, Literal, Sequence, get_args

from spikecore.api.core.host import host
from spikecore.api.core.random import Key
from spikecore.api.training.schedules import Each
from spikecore.api.training.sparsity import (
    ALL,
    Sparsity,
    check_each,
    check_time,
    check_zeros_stay,
    counted,
    install,
    now,
    weights_in,
)
from spikecore.arguments import Checked, Seed, Size, checked
from spikecore.printing import Concise

if TYPE_CHECKING:
    from spikecore.api.training.callbacks import Step
    from spikecore.api.training.model import Model

Scope = Literal["global", "layer"]
Criterion = Literal["magnitude", "random"]


@checked
def prune(
    model: Model,
    amount: float = 0.9,
    *,
    scope: Scope = "global",
    layers: Sequence[str] = ALL,
    by: Criterion = "magnitude",
    seed: Seed = 0,
) -> Sparsity:
    """Set weights to zero, so that the fraction ``amount`` of all possible connections is missing.

    Connections that do not exist already are counted, so pruning twice by the same amount changes nothing. To train on,
    give an optimiser that keeps zeros, ``sc.Adam(keep_zeros=True)``. Files, copies on other engines, exports
    and conversions have the same zeros, since they have the same weights. Moments of connections that are gone are
    zero.

    Args:
        model: a ``Model`` with weights.
        amount: fraction of the possible connections that do not exist afterwards, in [0, 1); default 0.9.
        scope: "global", the default, chooses among the connections of all layers together; "layer" takes the same
            fraction of each.
        layers: which layers, as in ``sparsity``; default: all.
        by: "magnitude", the default, removes the smallest absolute weights. "random" draws them, for a network that is
            not trained: of n connections k remain, and their weights grow by sqrt(n / k), so that sums of inputs keep
            their variance.
        seed: names the draws of "random".

    Returns:
        the ``Sparsity`` of these layers.

    Raises:
        ValueError: ``amount`` is out of range, ``layers`` fits nothing, or a layer would lose all its connections.
        RuntimeError: the model has no weights yet.

    Source: Han, Pool, Tran & Dally, Learning both weights and connections for efficient neural networks, 2015.

    Example:
        >>> sc.compression.prune(model, 0.9)
        >>> model.fit(loader, optimizer=sc.Adam(lr=5e-4, keep_zeros=True), epochs=5, num_steps=25)
    """
    check_options("prune", amount, scope, by)
    state = model.trainer.executor.state()
    weights = weights_in(model, layers, state["params"])
    if not weights:
        raise ValueError(
            "prune: the network has no connections: a layer of your own names its weights in its class, connections = "
            "('weight',)"
        )
    path = seed if isinstance(seed, tuple) else (seed,)
    before = counted(weights)
    if any([_cut(group, weights, amount, by, Key(path)) for group in _groups(weights, scope)]):
        _check_left(weights, scope)
        for old, new in zip(before.weights, counted(weights).weights):
            if by == "random":
                weights[old.name] *= math.sqrt(old.existing / new.existing)
        install(model, state, list(weights))
    return counted(weights)


def check_options(owner: str, amount: float, scope: str, by: str = "magnitude") -> None:
    """Refuse a fraction outside [0, 1), and words that are not known."""
    if not 0.0 <= amount < 1.0:
        raise ValueError(f"{owner}: amount={amount!r} must be in [0, 1), the fraction of connections to take away")
    for name, value, words in (("scope", scope, get_args(Scope)), ("by", by, get_args(Criterion))):
        if value not in words:
            raise ValueError(f"{owner}: {name}={value!r} must be {' or '.join(map(repr, words))}")


def _groups(weights: Dict[str, Any], scope: str) -> List[List[str]]:
    """The names of the weights among which connections are chosen together."""
    return [list(weights)] if scope == "global" else [[name] for name in weights]


def wanted(names: List[str], weights: Dict[str, Any], amount: float) -> int:
    """Number of further connections to remove from some weights; 0 if enough do not exist already."""
    count = round(amount * sum(weights[name].size for name in names))
    return count if sum(int((weights[name] == 0).sum()) for name in names) < count else 0


def _cut(names: List[str], weights: Dict[str, Any], amount: float, by: str, key: Key) -> bool:
    """Set the least connections of some weights to zero, in place; whether that changes something."""
    count = wanted(names, weights, amount)
    if not count:
        return False
    flat = {name: weights[name].reshape(-1) for name in names}
    scores = {name: abs(x) if by == "magnitude" else _drawn(key.child(name), x) for name, x in flat.items()}
    engine = host()
    every = engine.to_numpy(engine.xp.concat([engine.asarray(scores[name]) for name in names], axis=0))
    gone, begin = every.argsort(kind="stable")[:count], 0
    for x in flat.values():
        x[gone[(gone >= begin) & (gone < begin + x.size)] - begin] = 0.0
        begin += x.size
    return True


def _drawn(key: Key, weights: Any) -> Any:
    """Random scores, below all others where there is no connection."""
    engine = host()
    scores = engine.to_numpy(engine.uniform(key.path, (weights.size,)))
    return scores * (weights != 0) - (weights == 0)


def _check_left(weights: Dict[str, Any], scope: str) -> None:
    empty = [name for name, x in weights.items() if not (x != 0).any()]
    if empty:
        remedy = ", or use scope='layer'" if scope == "global" else ""
        raise ValueError(f"prune: {empty[0]} would lose all its connections: take a smaller amount{remedy}")


@dataclass(frozen=True)
class Pruning(Concise, Checked):
    """Callback that takes more and more connections away while ``fit`` trains (Zhu & Gupta, 2017).

        s(t) = amount (1 - (1 - (t - start) / (end - start))^3)     at t = start, start + every, ..., and end

    At first, when many connections do little, many go; the last ones go slowly, and training makes up for each cut. The
    smallest absolute weights go first. In epochs, a cut follows the first update of epoch t, so that the figures of an
    epoch are those of one connectivity.

    The history gets a column "sparsity". For ``EarlyStopping`` and ``reduce_on_plateau`` each epoch with a higher
    sparsity is the best so far, so that no weights from before the last cut are restored. A run that is interrupted and
    resumed with the same callback makes the same cuts.

    Args:
        amount: fraction of the connections that do not exist from ``end`` on, in [0, 1); default 0.9.
        start: when pruning begins, >= 1, in epochs or updates of this ``fit``, counted from 1; a ``fit`` that resumes
            another counts on; default 1. The first cut is at ``start + every``.
        end: when the last cut is made, >= ``start``; default 10. Let training continue after it.
        every: distance of two cuts, >= 1; default 1.
        each: "epoch", the default, or "step": what ``start``, ``end`` and ``every`` count.
        scope, layers: as in ``prune``.

    Raises:
        ValueError: an argument is out of range; in ``fit``: the optimiser has not ``keep_zeros=True``, ``end`` is over
            in the ``fit`` that is resumed, or a cut would take all connections of a layer.

    Source: Zhu & Gupta, To prune, or not to prune: exploring the efficacy of pruning for model compression, 2017.

    Example:
        >>> model.fit(loader, optimizer=sc.Adam(keep_zeros=True), epochs=15, num_steps=25,
        ...           callbacks=(sc.compression.Pruning(0.9, start=3, end=10),))
    """

    amount: float = 0.9
    start: Size = 1
    end: Size = 10
    every: Size = 1
    each: Each = "epoch"
    scope: Scope = "global"
    layers: Sequence[str] = ALL

    def __post_init__(self) -> None:
        check_options("Pruning", self.amount, self.scope)
        check_each("Pruning", self.each)
        if self.end < self.start:
            raise ValueError(f"Pruning: end={self.end!r} must be at least start={self.start!r}")

    def begin(self, model: Model) -> None:
        """Refuse learning that brings connections back, and a schedule whose last cut was missed."""
        check_zeros_stay("Pruning", model, self.each)
        weights = weights_in(model, self.layers, model.params())
        if any(wanted(group, weights, self.amount) for group in _groups(weights, self.scope)):
            check_time("Pruning", model, self.each, self.end)

    def sparsity(self, time: int) -> float:
        """The fraction of connections that do not exist at an epoch or an update."""
        if time >= self.end:
            return self.amount
        if time < self.start:
            return 0.0
        done = (time - self.start) // self.every * self.every
        return self.amount * (1.0 - (1.0 - done / (self.end - self.start)) ** 3)

    def after_step(self, model: Model, step: Step) -> None:
        """Make the cut that is due."""
        time = now(model, step, self.each)
        if time is None or not self.start <= time <= self.end:
            return
        if time < self.end and (time - self.start) % self.every:
            return
        try:
            prune(model, self.sparsity(time), scope=self.scope, layers=self.layers)
        except ValueError as error:
            raise ValueError(
                f"Pruning, {self.each} {time}, sparsity {self.sparsity(time):.2%}: {error}. The weights of the last "
                "update are there: fit(..., resume=True), or --resume of a run, goes on with another Pruning"
            ) from None

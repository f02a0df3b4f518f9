"""Rewiring: a sparse network looks for its connections in training; their number is constant."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Sequence

from spikecore.api.core.host import host
from spikecore.api.core.random import Key
from spikecore.api.core.tree import flatten
from spikecore.api.training.optimizers import TINY
from spikecore.api.training.pruning import check_options, prune, wanted
from spikecore.api.training.schedules import Each
from spikecore.api.training.sparsity import (
    ALL,
    check_each,
    check_time,
    check_zeros_stay,
    install,
    now,
    weights_in,
)
from spikecore.arguments import Checked, Seed, Size, checked
from spikecore.printing import Concise

if TYPE_CHECKING:
    from spikecore.api.training.callbacks import Step
    from spikecore.api.training.model import Model


@checked
def rewire(model: Model, fraction: float = 0.3, *, layers: Sequence[str] = ALL, seed: Seed = 0) -> None:
    """Replace a fraction of the connections of each weight by new ones; their number is constant.

    The connections with the smallest absolute weights go, and as many new ones come, at places that are drawn among
    those without a connection. A new connection gets the weight that the layer's initialiser draws for its place.

    Args:
        model: a ``Model`` with weights, some of them zero: see ``prune``.
        fraction: how many of the connections are replaced, in [0, 1]; default 0.3. Not more than there are free places.
        layers: which layers, as in ``sparsity``; default: all.
        seed: names the draws. Equal seeds give equal connections on every engine.

    Raises:
        ValueError: ``fraction`` is out of range, ``layers`` fits nothing, or all connections exist.

    Source: Mocanu et al., Scalable training of artificial neural networks with adaptive sparse connectivity inspired by
        network science, 2018.
    """
    _check_fraction("rewire", fraction)
    path = seed if isinstance(seed, tuple) else (seed,)
    state, shape = model.trainer.executor.state(), model.input_shape
    weights = weights_in(model, layers, state["params"])
    if all((x != 0).all() for x in weights.values()):
        raise ValueError("rewire: all connections exist, so there is no place for a new one: prune the model first")
    assert shape is not None
    fresh = flatten(model.network.init(Key((*path, "weights")), shape).params)
    for name, x in weights.items():
        _exchange(x.reshape(-1), fresh[name].reshape(-1), fraction, Key((*path, "places", name)))
    install(model, state, list(weights))


def _exchange(weights: Any, fresh: Any, fraction: float, key: Key) -> None:
    """Take the smallest weights away and add as many new ones at places that are drawn, in place."""
    engine = host()
    present, free = (weights != 0).nonzero()[0], (weights == 0).nonzero()[0]
    count = min(round(fraction * present.size), free.size)
    scores = engine.to_numpy(engine.uniform(key.path, (weights.size,)))
    gone = present[abs(weights[present]).argsort(kind="stable")[:count]]
    new = free[scores[free].argsort(kind="stable")[:count]]
    weights[gone] = 0.0
    weights[new] = fresh[new]
    weights[new[weights[new] == 0]] = TINY  # a connection that exists


def _check_fraction(owner: str, fraction: float) -> None:
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"{owner}: fraction={fraction!r} must be in [0, 1]")


@dataclass(frozen=True)
class Rewiring(Concise, Checked):
    """Callback that trains a sparse network from the beginning: weak connections move to other places.

    If the model has more connections, ``fit`` first removes some at random, the same fraction of each weight. From then
    on their number is constant: from time to time the weakest are removed and as many new ones are drawn, as in
    ``rewire``. Between, the optimiser keeps zeros. The training never needs more than these weights; pruning begins
    with a dense network. If ``end`` is given, the fraction of connections that move falls:

        fraction(t) = fraction (1 + cos(pi (t - start) / (end - start))) / 2        at t = start, start + every, ...

    The draws depend on the model's seed and on the number of the epoch or update alone. So they are the same on every
    engine, and in a run that is interrupted and resumed with the same callback.

    Args:
        amount: fraction of the connections that do not exist, in [0, 1); default 0.9.
        fraction: how many of the connections move, in [0, 1]; default 0.3.
        start: when connections move for the first time, >= 1, in epochs (after the first update of one) or updates of
            this ``fit``, counted from 1; a ``fit`` that resumes another counts on; default 2.
        end: when they no longer move, > ``start``; None, the default: they move until training ends.
        every: distance of two times, >= 1; default 1.
        each: "epoch", the default, or "step": what ``start``, ``end`` and ``every`` count.
        layers: as in ``sparsity``.

    Raises:
        ValueError: an argument is out of range; in ``fit``: the optimiser has not ``keep_zeros=True``, or ``end`` is
            over in the ``fit`` that is resumed, and the network is not sparse yet.

    Source: Bellec et al., Deep rewiring: training very sparse deep networks, 2018, who keep the number of connections
        and draw new ones at random; Mocanu et al., 2018, by whom the smallest weights go; Evci et al., Rigging the
        lottery, 2020, for the falling fraction.

    Example:
        >>> model.fit(loader, optimizer=sc.Adam(keep_zeros=True), epochs=15, num_steps=25,
        ...           callbacks=(sc.compression.Rewiring(0.9, end=12),))
    """

    amount: float = 0.9
    fraction: float = 0.3
    start: Size = 2
    end: Optional[Size] = None
    every: Size = 1
    each: Each = "epoch"
    layers: Sequence[str] = ALL

    def __post_init__(self) -> None:
        check_options("Rewiring", self.amount, "layer")
        _check_fraction("Rewiring", self.fraction)
        check_each("Rewiring", self.each)
        if self.end is not None and self.end <= self.start:
            raise ValueError(f"Rewiring: end={self.end!r} must be greater than start={self.start!r}, or None")

    def begin(self, model: Model) -> None:
        """Make the network sparse, if it is not; refuse a schedule that ends before it begins."""
        check_zeros_stay("Rewiring", model, self.each)
        weights = weights_in(model, self.layers, model.params())
        if self.end is not None and any(wanted([name], weights, self.amount) for name in weights):
            check_time("Rewiring", model, self.each, self.end)
        prune(model, self.amount, scope="layer", layers=self.layers, by="random", seed=(model.seed, "rewiring"))

    def moving(self, time: int) -> float:
        """The fraction of the connections that move at an epoch or an update."""
        if time < self.start or (time - self.start) % self.every:
            return 0.0
        if self.end is None:
            return self.fraction
        done = min(1.0, (time - self.start) / (self.end - self.start))
        return self.fraction * (1.0 + math.cos(math.pi * done)) / 2.0

    def after_step(self, model: Model, step: Step) -> None:
        """Move connections, if a move is due."""
        time = now(model, step, self.each)
        if time is not None and self.moving(time) > 0.0:
            drawn = (
                step.epoch if self.each == "epoch" else model.trainer.executor.steps_done
            )  # a second fit draws others
            rewire(model, self.moving(time), layers=self.layers, seed=(model.seed, "rewiring", drawn))

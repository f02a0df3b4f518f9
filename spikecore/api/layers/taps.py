"""Shared parts of layers with delays: taps, the weights of earlier inputs, and the line of inputs that a layer keeps.

A delay is a real number of time steps: the delayed input is a weighted mean of the inputs around that time, whose
weights, the *taps*, have a derivative by the delay.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Literal, Optional, Sequence, Tuple, get_args

from spikecore.api.core.engine import Engine
from spikecore.api.core.host import full_weight, host, to_numpy
from spikecore.api.core.layer import EMPTY, Key, Layer, Params, Pass, Result, State, Tree
from spikecore.api.core.messages import unknown
from spikecore.api.core.sizes import at_least_one, is_finite
from spikecore.api.core.words import Array

TapKernel = Literal["linear", "gaussian"]


def mirrored(xp: Any, value: Any, longest: int) -> Any:
    """A delay as it acts: what training has driven beyond 0 or ``longest`` is mirrored there.

        d = -p for p < 0,  2 longest - p for p > longest,  else p        its derivative is -1, -1 and 1

    If it stopped at the bounds, its derivative would be zero there, and it could never come back.
    """
    inside = xp.where(value < 0.0, -value, value)
    inside = xp.where(inside > float(longest), 2.0 * longest - inside, inside)
    return xp.clip(inside, 0.0, float(longest))  # against values that are far out


def taps(engine: Engine, delay: Any, ages: Sequence[int], longest: int, sigma: Any = None) -> Any:
    """The weights of the inputs of ``ages`` steps ago, on a new last axis; over all ages they sum to 1.

        h[k] = max(0, 1 - |k - d|)                                      linear
        dh[k]/dd = -1 at k = floor(d), 1 at k = floor(d) + 1, else 0    at d = longest that from below
        h[k] = exp(-(k - d)^2 / 2 sigma^2) / sum over all ages          Gaussian: a softmax

    Args:
        engine: the engine.
        delay: d, in steps, ``mirrored`` into [0, longest].
        ages: the k; for Gaussian taps, all from 0 to ``longest``, in any order.
        longest: the longest delay.
        sigma: width of Gaussian taps, in steps; None: linear ones.
    """
    xp, places = engine.xp, engine.asarray([float(k) for k in ages])
    d = xp.expand_dims(mirrored(xp, engine.asarray(delay), longest), axis=-1)
    if sigma is not None:
        distance = (d - places) / sigma
        return xp.exp(xp.log_softmax(-0.5 * distance * distance, axis=-1))
    low = xp.clip(xp.floor(d), 0.0, max(longest - 1.0, 0.0))  # a constant for derivatives, as all that floor gives
    share, here, behind = d - low, low == places, low + 1.0 == places
    return (1.0 - share) * xp.astype(here, engine.dtype) + share * xp.astype(behind, engine.dtype)


class Delayed(Layer):
    """A layer that keeps its last inputs. ``past`` (batch, longest, *features) has them, the oldest first."""

    kernel: TapKernel
    sigma: float
    sigma_start: Optional[float]
    anneal: Optional[int]

    # ---- what a subclass says ----

    @property
    def longest(self) -> int:
        """The longest delay, in steps: how many inputs are kept."""
        raise NotImplementedError

    def with_taps(self, engine: Engine, params: Params, sigma: Any) -> Params:
        """The parameters that ``delayed`` takes; ``sigma``: the width of the taps, None for linear ones."""
        raise NotImplementedError

    def delayed(self, engine: Engine, params: Params, line: Any) -> Any:
        """The outputs of T steps, from the inputs of these and of the ``longest`` steps before them."""
        raise NotImplementedError

    # ---- widths ----

    def _check_taps(self) -> None:
        name = type(self).__name__
        if self.kernel not in get_args(TapKernel):
            raise ValueError(f"{name}: {unknown('kernel', self.kernel, get_args(TapKernel))}")
        for field in ("sigma", "sigma_start"):
            value = getattr(self, field)
            if value is not None and not (is_finite(value) and value > 0):
                raise ValueError(f"{name}: {field}={value!r} must be a finite number > 0")
        if (self.sigma_start is None) != (self.anneal is None):
            raise ValueError(
                f"{name}: sigma_start={self.sigma_start!r} and anneal={self.anneal!r} belong together: give both, the "
                "first width and the number of training batches in which it becomes sigma, or none"
            )
        if self.anneal is not None:
            at_least_one(self, anneal=self.anneal)
        for field in ("sigma", "sigma_start"):
            value = getattr(self, field)
            if self.kernel != "gaussian" and value != getattr(type(self), field):
                raise ValueError(f"{name}: {field}={value!r} has no effect on linear taps; take kernel='gaussian'")

    def _counter(self, key: Key) -> Tree:
        """The buffers: how many training batches have been seen, if the width depends on it."""
        return EMPTY if self.anneal is None else Tree(batches=full_weight(key, (), 0.0))

    def width(self, engine: Engine, buffers: Tree) -> Any:
        """The width of the taps as training has left it, in steps; None for linear taps."""
        if self.kernel == "linear":
            return None
        if self.anneal is None:
            return self.sigma
        if "batches" not in buffers:
            raise ValueError(
                f"{type(self).__name__} has an annealed width: it runs on whole sequences and streams, but not within "
                "layers or learning rules that run step by step: sc.compression.round_delays(model) ends the annealing"
            )
        first, last = math.log(float(self.sigma_start or 1.0)), math.log(self.sigma)
        return engine.xp.exp(first + (last - first) * engine.xp.clip(buffers.batches / self.anneal, 0.0, 1.0))

    def _without_width(self) -> Any:
        """The layer with linear taps."""
        layer: Any = self  # a dataclass, as every layer
        return replace(layer, kernel="linear", sigma=type(self).sigma, sigma_start=None, anneal=None)

    # ---- delays as numbers ----

    def delays(self, params: Params) -> Any:
        """The delays that act, in steps, as a NumPy array; ``params`` are NumPy arrays."""
        return to_numpy(mirrored(host().xp, host().asarray(params.delay), self.longest))

    def rounded(self, params: Params) -> Tuple[Any, Params]:
        """The layer with delays of whole steps, and its parameters, NumPy arrays."""
        return self._without_width(), params.replace(delay=self.delays(params).round())

    # ---- over time ----

    @property
    def state(self) -> Tuple[str, ...]:
        return ("past",) if self.longest else ()

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        if not self.longest:
            return State()
        xp, (batch, *features) = engine.xp, x.shape
        return State(past=xp.zeros_like(xp.broadcast_to(xp.expand_dims(x, axis=1), (batch, self.longest, *features))))

    def prepare(self, engine: Engine, params: Params) -> Params:
        return self.with_taps(engine, params, self.width(engine, EMPTY))

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        engine, xp = run.engine, run.engine.xp
        ready = self.with_taps(engine, params, self.width(engine, buffers))
        if run.steps is not None and x.shape[0] != run.steps:
            x = xp.broadcast_to(x, (run.steps, *x.shape[1:]))
        resting = self.rest(engine, params, x[0, ...])
        now = self.before_first(run, state, resting)
        time, parts = x.shape[0], []
        for first in range(0, time, run.window or time):  # no gradient crosses the borders of windows
            now = State({name: engine.stop_gradient(past) for name, past in now.items()}) if first else now
            part = x if run.window is None else x[first : min(first + run.window, time), ...]
            y, now = self._advanced(engine, ready, now, part)
            parts.append(y)
        y = parts[0] if len(parts) == 1 else xp.concat(parts, axis=0)
        if run.train and self.anneal is not None:
            buffers = Tree(batches=buffers.batches + 1.0)
        return Result(y, buffers, now, State(spikes=y) if run.records else EMPTY)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        y, after = self._advanced(engine, params, state, engine.xp.expand_dims(x, axis=0))
        return y[0, ...], after

    def _advanced(self, engine: Engine, params: Params, state: Any, x: Any) -> Tuple[Any, State]:
        """The outputs of the steps ``x``, and the state after them."""
        if not self.longest:
            return self.delayed(engine, params, x), State()
        xp, order = engine.xp, (1, 0, *range(2, x.ndim))
        line = xp.concat([xp.permute_dims(state.past, order), x], axis=0)
        return self.delayed(engine, params, line), State(past=xp.permute_dims(line[x.shape[0] :, ...], order))

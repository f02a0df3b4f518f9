"""Codes of signals that vary in time: their changes, and the levels that they cross."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.core.engines import engine_of
from spikecore.api.core.tree import Params, State
from spikecore.api.spikegen.checks import taken
from spikecore.arguments import ArrayLike, Size, checked


@checked
def delta(data: ArrayLike, threshold: float = 0.1, padding: bool = False, off_spike: bool = False) -> Any:
    """Delta modulation: a spike if the signal has risen by ``threshold`` since the last step (snnTorch ``delta``).

        D[t] = x[t] - x[t-1]      S[t] = 1 if D[t] >= threshold, with ``off_spike`` -1 if D[t] <= -threshold, else 0

    If the threshold is 0 and the signal does not change, the two spikes cancel with ``off_spike``.

    Args:
        data: (time, ...).
        threshold: >= 0, in the unit of the data; default 0.1.
        padding: the value before the first step: False, the default: zero; True: that of the first step.
        off_spike: whether there are spikes of -1 where the signal falls; default False.

    Returns:
        Spikes in the shape of ``data``.

    Raises:
        ValueError: the threshold is negative, or there is no time step.
    """
    x = _signal("delta", data, threshold, 0.0)
    engine = engine_of(x)
    xp = engine.xp
    start = x[:1, ...] if padding else xp.zeros_like(x[:1, ...])
    change = x - xp.concat([start, x[:-1, ...]], axis=0)
    on = xp.astype(change >= threshold, engine.dtype)
    return on - xp.astype(change <= -threshold, engine.dtype) if off_spike else on


@dataclass(frozen=True)
class _Crossing:
    """The stepper of ``level_crossing``: its level follows the signal in steps of ``threshold``."""

    threshold: float
    multiple: bool

    state: ClassVar[Tuple[str, ...]] = ("level",)

    def step(self, engine: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
        xp = engine.xp
        gap = x - state.level
        count = xp.floor(abs(gap) / self.threshold)
        spikes = xp.sign(gap) * (count if self.multiple else xp.clip(count, 0.0, 1.0))
        return spikes, State(level=state.level + self.threshold * spikes)


@checked
def level_crossing(
    data: ArrayLike,
    threshold: float = 0.1,
    off_spike: bool = True,
    multiple: bool = False,
    start: Optional[float] = None,
) -> Any:
    """Level crossing (send on delta): a spike each time the signal has moved by ``threshold`` since the last spike.

        gap = x[t] - level      S[t] = sign(gap) floor(|gap| / threshold), at most 1      level += threshold S[t]

    Unlike ``delta``, this code also detects slow changes. The cumulative sum of the spikes, times the threshold,
    follows the signal within one threshold if ``multiple``, or if the signal changes by at most one threshold per step.

    Args:
        data: (time, ...).
        threshold: distance of the levels, > 0, in the unit of the data; default 0.1.
        off_spike: whether downward spikes, -1, are returned; default True. The level follows the signal down in any
            case.
        multiple: whether a step may have several spikes, returned as one spike of size n; default False.
        start: the level before the first step; None, the default, takes the first value.

    Returns:
        Spikes in the shape of ``data``.

    Raises:
        ValueError: the threshold is not positive, or there is no time step.

    Source: Miskowicz, Send-on-delta concept: an event-based data reporting strategy, Sensors 6, 2006.
    """
    x = _signal("level_crossing", data, threshold, 1e-30)
    engine = engine_of(x)
    xp = engine.xp
    level = x[0, ...] if start is None else xp.zeros_like(x[0, ...]) + float(start)
    spikes, _, _ = engine.scan(_Crossing(threshold, multiple), Params(), State(level=level), x, steps=x.shape[0])
    spikes = spikes + 0.0  # no negative zeros
    return spikes if off_spike else xp.maximum(spikes, xp.zeros_like(spikes))


@checked
def threshold_crossing(
    data: ArrayLike, levels: Size = 8, low: float = 0.0, high: float = 1.0, start: Optional[float] = None
) -> Any:
    """Crossings of fixed levels: each feature gets a neuron per level, which fires when the signal passes its level.

        L_k = low + k (high - low) / (levels + 1),   k = 1 ... levels
        S_k[t] = 1 if x[t-1] < L_k <= x[t],  -1 if x[t] < L_k <= x[t-1],  else 0

    Spikes are few, and say when a feature became how strong: in a spectrogram, when a sound begins and ends. `on_off`
    makes neurons of their own for the two directions.

    Args:
        data: (time, ..., features), or (time,), one feature.
        levels: number of levels, >= 1; default 8.
        low, high: ends of the range that the levels divide, low < high; defaults 0 and 1.
        start: the value before the first step; None, the default, takes that of the first step, which then has no
            spikes.

    Returns:
        Spikes 1, -1 and 0, (time, ..., features * levels): the levels of a feature are neighbours, the lowest first.

    Raises:
        ValueError: an argument is out of range, or there is no time step.

    Source: Gütig and Sompolinsky, Time-warp-invariant neuronal processing, PLoS Biology 7, 2009.
    """
    if not low < high:
        raise ValueError(f"threshold_crossing: high={high!r} must exceed low={low!r}")
    x = _signal("threshold_crossing", data, high - low, 0.0)
    engine = engine_of(x)
    xp = engine.xp
    heights = [low + k * (high - low) / (levels + 1) for k in range(1, levels + 1)]
    above = xp.astype(xp.expand_dims(x, axis=-1) >= engine.asarray(heights), engine.dtype)
    first = above[:1, ...]
    if start is not None:
        first = xp.zeros_like(first) + engine.asarray([float(start >= height) for height in heights])
    spikes = above - xp.concat([first, above[:-1, ...]], axis=0)
    features = x.shape[-1] if x.ndim > 1 else 1
    return xp.reshape(spikes, (*x.shape[: max(1, x.ndim - 1)], features * levels))


@checked
def on_off(spikes: ArrayLike) -> Any:
    """Spikes of two directions as spikes of two neurons each: ON for upward ones, OFF for downward ones.

        on_off(S) = (max(S, 0), max(-S, 0))

    For the outputs of `delta(off_spike=True)`, `level_crossing` and `threshold_crossing`. Together with
    `level_crossing`, this is the encoding that Speech2Spikes uses for spectrograms.

    Args:
        spikes: (..., features), of both signs.

    Returns:
        Spikes >= 0, (..., 2 * features): ON of all features, then OFF of all features.

    Raises:
        ValueError: there is no axis of features.

    Source: Stewart et al., Speech2Spikes: efficient audio encoding pipeline for real-time neuromorphic systems, NICE
    2023.
    """
    engine, x = taken("on_off", spikes, "spikes")
    xp = engine.xp
    if not x.ndim:
        raise ValueError("on_off: spikes of shape () have no axis of features: expected (..., features)")
    zero = xp.zeros_like(x)
    return xp.concat([xp.maximum(x, zero), xp.maximum(-x, zero)], axis=-1)


def _signal(name: str, data: Any, threshold: float, least: float) -> Any:
    if not threshold >= least:
        raise ValueError(f"{name}: threshold={threshold!r} must be {'> 0' if least else '>= 0'}")
    _, x = taken(name, data)
    if not x.ndim or not x.shape[0]:
        raise ValueError(f"{name}: data of shape {tuple(x.shape)}: expected (time, ...) with at least one step")
    return x

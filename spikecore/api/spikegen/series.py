"""Codes of signals that vary in time: their changes, and the levels that they cross."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Optional, Tuple

from spikecore.api.core.engines import engine_of
from spikecore.api.core.tree import Params, State
from spikecore.api.spikegen.checks import taken
from spikecore.arguments import ArrayLike, checked


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

    Unlike ``delta``, this code also detects slow changes: threshold times the cumulative sum of the spikes follows the
    signal, within one threshold if ``multiple`` or if the signal changes by at most one threshold per step.

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


def _signal(name: str, data: Any, threshold: float, least: float) -> Any:
    if not threshold >= least:
        raise ValueError(f"{name}: threshold={threshold!r} must be {'> 0' if least else '>= 0'}")
    _, x = taken(name, data)
    if not x.ndim or not x.shape[0]:
        raise ValueError(f"{name}: data of shape {tuple(x.shape)}: expected (time, ...) with at least one step")
    return x

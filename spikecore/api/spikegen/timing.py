"""Latency codes: one spike per feature; the larger the value, the earlier the spike."""

from __future__ import annotations

import math
from typing import Any, Optional, Tuple

from spikecore.api.core.engines import engine_of
from spikecore.api.spikegen.checks import clock, steps_of, taken, unit_interval, whole
from spikecore.arguments import ArrayLike, Size, checked


@checked
def latency(
    data: ArrayLike,
    num_steps: Optional[Size] = None,
    threshold: float = 0.01,
    tau: float = 1.0,
    first_spike_time: int = 0,
    on_target: float = 1.0,
    off_target: float = 0.0,
    clip: bool = False,
    normalize: bool = False,
    linear: bool = False,
    interpolate: bool = False,
    bypass: bool = False,
    epsilon: float = 1e-7,
) -> Any:
    """Latency code: one spike per feature; the larger the value, the earlier the spike (snnTorch ``latency``).

        log     t = tau ln(x / (x - threshold)),  x at least threshold + epsilon
        linear  t = min(tau (1 - x), tau (1 - threshold))

    The spike is at step round(t) + first_spike_time; halves are rounded to even.

    Args:
        data: (batch, *features) in [0, 1].
        num_steps: T, the number of steps. With ``bypass`` it may be left out: then the last spike is at the last step.
        threshold: in (0, 1), default 0.01; smaller values fire last, or never with ``clip``.
        tau: time constant in steps, > 0; default 1.
        first_spike_time: the earliest step; default 0.
        on_target, off_target: value with and without a spike; defaults 1 and 0.
        clip: remove the spikes of values below ``threshold``; default False.
        normalize: scale the times up to the last step; default False. In the log code each sample is scaled so that its
            last spike is at step T - 1. In the linear code all samples are scaled so that t = tau becomes step T - 1.
        linear: use the linear code instead of the log code; default False.
        interpolate: rise linearly up to the spike, see ``latency_interpolate``; default False.
        bypass: remove spikes later than step T - 1 instead of raising an error; default False.
        epsilon: smallest distance of x from ``threshold`` in the log code; default 1e-7.

    Returns:
        (T, batch, *features).

    Raises:
        ValueError: data or an argument is out of range, or a spike is later than step T - 1 without ``bypass``.
    """
    code = latency_code(data, num_steps, threshold, tau, first_spike_time, normalize, linear, epsilon)
    spikes = _trains(*code, num_steps, bypass, clip, interpolate)
    return off_target + (on_target - off_target) * spikes


@checked
def latency_code(
    data: ArrayLike,
    num_steps: Optional[Size] = None,
    threshold: float = 0.01,
    tau: float = 1.0,
    first_spike_time: int = 0,
    normalize: bool = False,
    linear: bool = False,
    epsilon: float = 1e-7,
) -> Tuple[Any, Any]:
    """The spike times of a latency code before they are rounded (snnTorch ``latency_code``).

    Args:
        data, threshold, tau, first_spike_time, normalize, linear, epsilon: as in ``latency``.
        num_steps: T, the number of steps; needed with ``normalize``.

    Returns:
        the times in steps, and whether data are below ``threshold``; both in the shape of ``data``.

    Raises:
        ValueError: data or an argument is out of range.
    """
    engine, x = taken("latency", data)
    xp = engine.xp
    _check(engine, x, num_steps, threshold, tau, first_spike_time, normalize)
    times = _linear_times(xp, x, threshold, tau) if linear else _log_times(xp, x, threshold, tau, epsilon)
    if normalize:
        span = num_steps - 1 - first_spike_time  # type: ignore[operator]
        times = _stretched(xp, times, x, span, tau * (1.0 if linear else 0.0))
    return times + first_spike_time, x < threshold


@checked
def latency_code_linear(
    data: ArrayLike,
    num_steps: Optional[Size] = None,
    threshold: float = 0.01,
    tau: float = 1.0,
    first_spike_time: int = 0,
    normalize: bool = False,
) -> Any:
    """The times of the linear code, t = min(tau (1 - x), tau (1 - threshold)); see ``latency_code``."""
    return latency_code(data, num_steps, threshold, tau, first_spike_time, normalize, linear=True)[0]


@checked
def latency_code_log(
    data: ArrayLike,
    num_steps: Optional[Size] = None,
    threshold: float = 0.01,
    tau: float = 1.0,
    first_spike_time: int = 0,
    normalize: bool = False,
    epsilon: float = 1e-7,
) -> Any:
    """The times of the log code, t = tau ln(x / (x - threshold)); see ``latency_code``."""
    return latency_code(data, num_steps, threshold, tau, first_spike_time, normalize, False, epsilon)[0]


@checked
def latency_interpolate(spike_time: ArrayLike, num_steps: Size, on_target: float = 1.0, off_target: float = 0.0) -> Any:
    """Targets that rise linearly up to one spike and are off afterwards (snnTorch ``latency_interpolate``).

        y[t] = off + (on - off) t / s  for t <= s, off for t > s,  s = round(spike_time);  y[0] = on if s = 0

    If the spike lies after the last step, all values are off.

    Args:
        spike_time: times in steps, >= 0, any shape.
        num_steps: T, the number of steps, >= 1.
        on_target: value at the spike, not below ``off_target``; default 1.
        off_target: value elsewhere; default 0.

    Returns:
        (T, *shape of spike_time).

    Raises:
        ValueError: ``on_target`` is below ``off_target``, or ``num_steps`` is below 1.
    """
    if on_target < off_target:
        raise ValueError(f"latency_interpolate: on_target={on_target!r} must not be below off_target={off_target!r}")
    engine, times = taken("latency_interpolate", spike_time, "spike_time")
    xp, steps = engine.xp, steps_of("latency_interpolate", num_steps)
    at = xp.expand_dims(xp.round(times), axis=0)
    ticks = clock(engine, steps, at.ndim - 1)
    rise = xp.where(at > 0.0, ticks / xp.clip(at, 1.0, math.inf), xp.ones_like(ticks))
    rise = rise * xp.astype((ticks <= at) & (at <= steps - 1), engine.dtype)
    return off_target + (on_target - off_target) * rise


def _trains(times: Any, below: Any, num_steps: Any, bypass: bool, clip: bool, interpolate: bool) -> Any:
    """Spike trains of zeros and ones, or ramps, from spike times; ``below``: whether data are below the threshold."""
    engine = engine_of(times)
    xp, steps_at = engine.xp, engine.xp.round(times)
    late = int(engine.to_numpy(xp.max(steps_at))) if engine.to_numpy(times).size else 0
    if num_steps is None and not bypass:
        raise ValueError("latency: num_steps=None must be an int >= 1; only with bypass=True the last spike sets it")
    steps = late + 1 if num_steps is None else num_steps
    if late > steps - 1 and not bypass:
        raise ValueError(
            f"latency: the last spike falls on step {late}, after the last step {steps - 1}; "
            "raise num_steps, lower tau, or pass normalize=True or bypass=True"
        )
    if interpolate:
        spikes = latency_interpolate(times, steps)
    else:
        spikes = xp.astype(clock(engine, steps, times.ndim) == xp.expand_dims(steps_at, axis=0), engine.dtype)
    if clip:
        spikes = spikes * xp.astype(xp.expand_dims(xp.logical_not(below), axis=0), engine.dtype)
    return spikes


def _check(engine: Any, x: Any, num_steps: Any, threshold: float, tau: float, first: Any, normalize: bool) -> None:
    if num_steps is not None:
        steps_of("latency", num_steps, first)
    elif normalize:
        raise ValueError("latency: num_steps=None must be an int >= 1: normalize=True stretches the code to it")
    whole("first_spike_time", "latency", first, 0)
    if not 0.0 < threshold < 1.0 or not tau > 0.0:
        raise ValueError(f"latency: threshold={threshold!r} must be in (0, 1) and tau={tau!r} > 0")
    unit_interval("latency", engine, x)


def _linear_times(xp: Any, x: Any, threshold: float, tau: float) -> Any:
    return xp.clip(tau * (1.0 - x), -math.inf, tau * (1.0 - threshold))


def _log_times(xp: Any, x: Any, threshold: float, tau: float, epsilon: float) -> Any:
    above = xp.clip(x, threshold + epsilon, math.inf)
    return tau * xp.log(above / (above - threshold))


def _stretched(xp: Any, times: Any, x: Any, span: int, linear_span: float) -> Any:
    """Times scaled to [0, span]: by tau in the linear code, by each sample's latest spike in the log code."""
    if linear_span:
        return times * (span / linear_span)
    axes = tuple(range(1, x.ndim))
    latest = xp.max(times, axis=axes, keepdims=True) if axes else times
    return times * (span / latest)

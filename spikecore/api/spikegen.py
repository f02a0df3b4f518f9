"""Encoders: from numbers to spike trains.

Each takes an array of any engine and returns one of the same kind, dtype and device, time first. Random ones take a
``seed`` (an int, or a tuple of ints and strings) and draw bit-identically on every engine; with ``first``, the running
number of the first sample, a batch can be encoded in parts.
"""

from __future__ import annotations

import math
from typing import Any, Optional

from spikecore.api.engine import engine_of


def _steps(name: str, num_steps: Optional[int], first_spike_time: int = 0) -> int:
    if not isinstance(num_steps, int) or isinstance(num_steps, bool) or num_steps < 1:
        raise ValueError(f"{name}: num_steps={num_steps!r} must be an int >= 1")
    if not 0 <= first_spike_time < num_steps:
        raise ValueError(f"{name}: first_spike_time={first_spike_time!r} must be in [0, {num_steps - 1}]")
    return num_steps


def constant(data: Any, num_steps: int) -> Any:
    """Constant current: the data themselves, the same at every step.

    Args:
        data: (batch, *features).
        num_steps: T >= 1.

    Returns:
        (T, batch, *features). A model called with ``num_steps`` does the same without copying.
    """
    engine = engine_of(data)
    x = engine.asarray(data)
    return engine.xp.broadcast_to(engine.xp.expand_dims(x, axis=0), (_steps("constant", num_steps), *x.shape)) * 1.0


def rate(
    data: Any,
    num_steps: Optional[int] = None,
    gain: float = 1.0,
    offset: float = 0.0,
    first_spike_time: int = 0,
    time_var_input: bool = False,
    *,
    seed: Any = 0,
    first: int = 0,
) -> Any:
    """Rate code: a spike at each step with probability clip(gain x + offset, 0, 1) (snnTorch ``rate``).

    Args:
        data: (batch, *features), or (time, batch, *features) with ``time_var_input``.
        num_steps: T; for a static input only.
        gain, offset: straight line from data to probability.
        first_spike_time: no spike before this step (static input).
        time_var_input: whether ``data`` already have a time axis; then each step uses its own value.
        seed: names the random stream.
        first: running number of the batch's first sample.

    Returns:
        Zeros and ones, (T, batch, *features).

    Raises:
        ValueError: ``num_steps`` missing, below 1, or given with ``time_var_input``; ``first_spike_time`` out of range.
    """
    engine = engine_of(data)
    x = engine.asarray(data)
    if time_var_input:
        if num_steps is not None or first_spike_time:
            raise ValueError(
                "rate: with time_var_input=True the steps come from data; leave out num_steps, first_spike_time"
            )
        shape = tuple(x.shape)
    else:
        shape = (_steps("rate", num_steps, first_spike_time), *x.shape)
    probability = engine.xp.clip(gain * x + offset, 0.0, 1.0)
    if len(shape) < 2:
        raise ValueError(f"rate: data of shape {tuple(x.shape)} has no batch axis")
    draws = engine.uniform(seed, shape, sample_axis=1, first=first)
    spikes = engine.xp.astype(draws < probability, engine.dtype)
    if first_spike_time:
        silent = engine.xp.zeros_like(spikes[:first_spike_time, ...])
        spikes = engine.xp.concat([silent, spikes[first_spike_time:, ...]], axis=0)
    return spikes


def latency(
    data: Any,
    num_steps: Optional[int] = None,
    threshold: float = 0.01,
    tau: float = 1.0,
    first_spike_time: int = 0,
    on_target: float = 1.0,
    off_target: float = 0.0,
    clip: bool = False,
    normalize: bool = False,
    linear: bool = False,
    bypass: bool = False,
    epsilon: float = 1e-7,
) -> Any:
    """Latency code: one spike per feature, the earlier the larger the value (snnTorch ``latency``).

        log     t = tau ln(x / (x - threshold)),  x at least threshold + epsilon
        linear  t = min(tau (1 - x), tau (1 - threshold))

    The spike falls on step round(t) + first_spike_time, halves to even.

    Args:
        data: (batch, *features) in [0, 1].
        num_steps: T.
        threshold: in (0, 1); smaller values fire last, or never with ``clip``.
        tau: time constant in steps, > 0.
        first_spike_time: earliest step.
        on_target, off_target: value with and without a spike.
        clip: drop spikes of values below ``threshold``.
        normalize: stretch the code so that the last spike falls on step T - 1, each sample by itself (snnTorch
            stretches by the whole batch, so that a sample's code depends on its neighbours).
        linear: the linear code.
        bypass: drop spikes later than T - 1 instead of refusing them.
        epsilon: distance kept from the pole of the log code.

    Returns:
        (T, batch, *features).

    Raises:
        ValueError: data or arguments out of range; spikes later than T - 1 without ``bypass``.
    """
    engine = engine_of(data)
    x, xp = engine.asarray(data), engine.xp
    steps = _steps("latency", num_steps, first_spike_time)
    if not 0.0 < threshold < 1.0 or not tau > 0.0:
        raise ValueError(f"latency: threshold={threshold!r} must be in (0, 1) and tau={tau!r} > 0")
    values = engine.to_numpy(x)
    if values.size and not (values.min() >= 0.0 and values.max() <= 1.0):
        raise ValueError(f"latency: data range from {values.min()} to {values.max()}, must lie in [0, 1]")
    times = _linear_times(xp, x, threshold, tau) if linear else _log_times(xp, x, threshold, tau, epsilon)
    span = steps - 1 - first_spike_time
    if normalize:
        times = _stretched(xp, times, x, span, tau * (1.0 if linear else 0.0))
    steps_of = xp.round(times + first_spike_time)
    late = float(engine.to_numpy(xp.max(steps_of))) if values.size else 0.0
    if late > steps - 1 and not bypass:
        raise ValueError(
            f"latency: the last spike falls on step {late:g}, after the last step {steps - 1}; "
            "raise num_steps, lower tau, or pass normalize=True or bypass=True"
        )
    clock = xp.reshape(engine.asarray(list(range(steps))), (steps,) + (1,) * x.ndim)
    hit = clock == xp.expand_dims(steps_of, axis=0)
    if clip:
        hit = hit & xp.expand_dims(x >= threshold, axis=0)
    return off_target + (on_target - off_target) * xp.astype(hit, engine.dtype)


def _linear_times(xp: Any, x: Any, threshold: float, tau: float) -> Any:
    return xp.clip(tau * (1.0 - x), -math.inf, tau * (1.0 - threshold))


def _log_times(xp: Any, x: Any, threshold: float, tau: float, epsilon: float) -> Any:
    above = xp.clip(x, threshold + epsilon, math.inf)
    return tau * xp.log(above / (above - threshold))


def _stretched(xp: Any, times: Any, x: Any, span: int, linear_span: float) -> Any:
    """Times scaled to [0, span]: the linear code by its own scale tau, the log code by each sample's latest spike."""
    if linear_span:
        return times * (span / linear_span)
    axes = tuple(range(1, x.ndim))
    latest = xp.max(times, axis=axes, keepdims=True) if axes else times
    return times * (span / latest)

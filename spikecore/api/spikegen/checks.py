"""Checks of arguments, step numbers and random streams, shared by the encoders."""

from __future__ import annotations

import math
from typing import Any, Optional, Tuple

from spikecore.api.core.engines import engine_of
from spikecore.api.core.extras import UserProgram, extra
from spikecore.api.core.messages import warn
from spikecore.api.core.sizes import is_whole

SLACK = 1e-3  # data that are scaled to [0, 1] may be rounded


def steps_of(name: str, num_steps: Any, first_spike_time: int = 0) -> int:
    """``num_steps`` as an int.

    Raises:
        ValueError: ``num_steps`` is not an int >= 1, or ``first_spike_time`` is not one of its steps.
    """
    steps = whole("num_steps", name, num_steps, 1)
    whole("first_spike_time", name, first_spike_time, 0, steps - 1)
    return steps


def whole(argument: str, name: str, value: Any, low: int, high: Optional[int] = None) -> int:
    """An int argument, or a NumPy integer, in [low, high].

    Raises:
        ValueError: ``value`` is something else.
    """
    if not is_whole(value, low) or (high is not None and value > high):
        allowed = f"in [{low}, {high}]" if high is not None else f">= {low}"
        raise ValueError(f"{name}: {argument}={value!r} must be an int {allowed}")
    return int(value)


def unit_interval(name: str, engine: Any, x: Any) -> None:
    """Refuse data outside [0, 1] and NaN. This copies them to the host."""
    values = engine.to_numpy(x)
    if values.size and not (values.min() >= 0.0 and values.max() <= 1.0):
        raise ValueError(f"{name}: data range from {values.min()} to {values.max()}, must lie in [0, 1]")


def said_if_clipped(name: str, engine: Any, x: Any) -> None:
    """Give a ``TrainingWarning`` for data that are taken for probabilities and lie outside [0, 1].

    Its text is the same for all batches, so that Python shows it once, not at each of an epoch.
    """
    if not math.prod(x.shape):
        return
    low, high = (float(engine.to_numpy(end(x))) for end in (engine.xp.min, engine.xp.max))
    if low < -SLACK or high > 1.0 + SLACK:
        warn(
            f"{name}: data are probabilities of a spike, and what lies outside of [0, 1] is clipped: scale the data to "
            "[0, 1]"
        )


def said_if_outside(name: str, engine: Any, x: Any, low: float, high: float, margin: float) -> None:
    """Give a ``TrainingWarning`` if more than a tenth of the data lie more than ``margin`` outside of [low, high].

    A few may: ranges are those of the training samples. The text is the same for all batches, as above.
    """
    xp, count = engine.xp, math.prod(x.shape)
    below, above = (xp.astype(there, engine.dtype) for there in (x < low - margin, x > high + margin))
    if count and float(engine.to_numpy(xp.sum(below + above))) > count / 10:
        warn(
            f"{name}: more than a tenth of the data lie outside of the range from low={low:g} to high={high:g}, where "
            "hardly a neuron responds: pass the range of the data as low and high, or scale the data"
        )


def taken(name: str, data: Any, argument: str = "data") -> Tuple[Any, Any]:
    """The engine of ``data``, and the data as its array.

    Raises:
        ValueError: the data hold NaN or infinity.
    """
    engine = engine_of(data)
    x = engine.asarray(data)
    if not engine.to_numpy(engine.xp.all(engine.xp.isfinite(x))):
        raise ValueError(f"{name}: {argument} holds NaN or infinity, which spikes cannot represent")
    return engine, x


def clock(engine: Any, steps: int, axes: int) -> Any:
    """The step numbers 0, 1, ..., as an array (steps, 1, ..., 1) with ``axes`` ones."""
    return engine.xp.reshape(engine.asarray(list(range(steps))), (steps,) + (1,) * axes)


def stream_of(engine: Any, seed: Any, *names: str) -> Any:
    """The random stream that ``seed`` names, or its sub-stream ``names``; without a seed, a fresh stream."""
    seed = extra(engine, UserProgram).fresh_seed() if seed is None else seed
    return (*(seed if isinstance(seed, tuple) else (seed,)), *names)

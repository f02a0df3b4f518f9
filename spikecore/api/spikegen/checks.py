"""What encoders share: checks of their arguments, and the clock."""

from __future__ import annotations

from typing import Any, Optional, Tuple

from spikecore.api.core.engine import engine_of
from spikecore.api.core.sizes import is_whole


def steps_of(name: str, num_steps: Any, first_spike_time: int = 0) -> int:
    """``num_steps`` as an int if it is one >= 1 with ``first_spike_time`` inside.

    Raises:
        ValueError: it is not.
    """
    steps = whole("num_steps", name, num_steps, 1)
    whole("first_spike_time", name, first_spike_time, 0, steps - 1)
    return steps


def whole(argument: str, name: str, value: Any, low: int, high: Optional[int] = None) -> int:
    """An int argument, or a NumPy integer, in [low, high].

    Raises:
        ValueError: it is none.
    """
    if not is_whole(value, low) or (high is not None and value > high):
        allowed = f"in [{low}, {high}]" if high is not None else f">= {low}"
        raise ValueError(f"{name}: {argument}={value!r} must be an int {allowed}")
    return int(value)


def unit_interval(name: str, engine: Any, x: Any) -> None:
    """Refuse data outside [0, 1], NaN included. Reads them back to the host."""
    values = engine.to_numpy(x)
    if values.size and not (values.min() >= 0.0 and values.max() <= 1.0):
        raise ValueError(f"{name}: data range from {values.min()} to {values.max()}, must lie in [0, 1]")


def taken(name: str, data: Any, argument: str = "data") -> Tuple[Any, Any]:
    """The engine of data, and the data on it.

    Raises:
        ValueError: NaN or infinity among them.
    """
    engine = engine_of(data)
    x = engine.asarray(data)
    if not bool(engine.xp.all(engine.xp.isfinite(x))):
        raise ValueError(f"{name}: {argument} holds NaN or infinity, which no spike can stand for")
    return engine, x


def clock(engine: Any, steps: int, axes: int) -> Any:
    """The numbers of the steps, (steps, 1, ..., 1) with ``axes`` ones."""
    return engine.xp.reshape(engine.asarray(list(range(steps))), (steps,) + (1,) * axes)


def stream_of(engine: Any, seed: Any, *names: str) -> Any:
    """The random stream of what a seed names, or of a part of it; without a seed one that nobody has used yet."""
    seed = engine.fresh_seed() if seed is None else seed
    return (*(seed if isinstance(seed, tuple) else (seed,)), *names)

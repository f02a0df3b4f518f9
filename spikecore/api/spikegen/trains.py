"""Spike trains of a single neuron with a given rate, and ramps between spikes."""

from __future__ import annotations

import math
from typing import Any, List, Literal, Optional, Tuple, Union, get_args

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import EngineName, default_engine
from spikecore.api.core.messages import unknown
from spikecore.api.spikegen.checks import steps_of, stream_of, taken
from spikecore.arguments import ArrayLike, Seed, Size, checked

Pattern = Literal["poisson", "regular", "uniform"]


@checked
def target_rate_code(
    num_steps: Size,
    first_spike_time: int = 0,
    rate: float = 1.0,
    firing_pattern: Pattern = "regular",
    *,
    seed: Optional[Seed] = None,
    engine: Union[None, EngineName, Engine] = None,
) -> Tuple[Any, Any]:
    """A spike train of a single neuron with a given rate (snnTorch ``target_rate_code``).

    "regular": spikes at the steps floor(first_spike_time + i / rate). "uniform": the same number of spikes, at
    different random steps. "poisson": a spike at each step with probability ``rate``.

    Args:
        num_steps: T, the number of steps, >= 1.
        first_spike_time: there is no spike before this step; default 0.
        rate: spikes per step, in [0, 1]; default 1.
        firing_pattern: "regular" (the default), "uniform" or "poisson".
        seed: names the random stream; None, the default: each call gives other spikes, see ``rate``.
        engine: an Engine or its name, whose arrays to return; default "torch" if torch is imported, else "numpy".

    Returns:
        the train (T,) of zeros and ones, and the steps of its spikes (int64).

    Raises:
        ValueError: an argument is out of range.
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"target_rate_code: rate={rate!r} must be in [0, 1]")
    check_pattern("target_rate_code", firing_pattern)
    chosen = default_engine(engine)
    steps = steps_of("target_rate_code", num_steps, first_spike_time)
    train, times = train_of(chosen, steps, first_spike_time, rate, firing_pattern, seed, "train")
    return chosen.asarray(train), chosen.asarray(times, dtype="int64")


@checked
def rate_interpolate(
    spike_time: ArrayLike, num_steps: Size, on_target: float = 1.0, off_target: float = 0.0, epsilon: float = 1e-7
) -> Any:
    """A target that rises linearly from off to on between two spikes (snnTorch ``rate_interpolate``).

    One step after a spike the target is off, and it rises from there to the next spike. After the last spike it stays
    off. The first rise starts at step 0.

    Args:
        spike_time: steps of the spikes, (spikes,), in any order.
        num_steps: T, the number of steps, >= 1.
        on_target, off_target: value at a spike, and at the start of a rise; defaults 1 and 0.
        epsilon: not used; snnTorch has it.

    Returns:
        (T,), an array of the engine of ``spike_time``.

    Raises:
        ValueError: a spike lies outside [0, T - 1].
    """
    steps = steps_of("rate_interpolate", num_steps)
    engine, given = taken("rate_interpolate", spike_time, "spike_time")
    times = [int(t) for t in engine.to_numpy(given).reshape(-1).tolist()]
    bad = [t for t in times if not 0 <= t < steps]
    if bad:
        raise ValueError(f"rate_interpolate: spike_time holds {bad[0]}, must be in [0, {steps - 1}]")
    return off_target + (on_target - off_target) * engine.asarray(ramps(times, steps))


def ramps(times: List[int], steps: int) -> List[float]:
    """Linear rises from 0 to 1 that end at the spikes, and 0 after the last spike."""
    values: List[float] = []
    for t in sorted(set(times)):
        length = t - len(values)
        values += [j / length for j in range(length)] + [1.0]
    return values + [0.0] * (steps - len(values))


def train_of(
    engine: Any, steps: Any, start: int, rate: float, pattern: str, seed: Any, name: str
) -> Tuple[List[float], List[int]]:
    """A train as a list of zeros and ones, and the steps of its spikes; ``name``: sub-stream of the seed's stream."""
    draws = []
    if rate > 0 and pattern != "regular":
        draws = engine.to_numpy(engine.uniform(stream_of(engine, seed, name), (steps,))).tolist()
    if rate == 0:
        times: List[int] = []
    elif pattern == "poisson":
        times = [t for t in range(start, steps) if draws[t] < rate]
    else:
        count = math.ceil((steps - start) * rate - 1e-9)
        if pattern == "regular":
            times = [math.floor(start + i / rate + 1e-6) for i in range(count)]  # 1e-6: 1 / rate is rounded
        else:
            times = sorted(sorted(range(start, steps), key=draws.__getitem__)[:count])
    return [1.0 if t in times else 0.0 for t in range(steps)], times


def check_pattern(name: str, pattern: str) -> None:
    """Refuse an unknown firing pattern."""
    if pattern not in get_args(Pattern):
        raise ValueError(f"{name}: {unknown('firing_pattern', pattern, get_args(Pattern))}")

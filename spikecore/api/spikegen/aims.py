"""Spike trains that a network should produce for a class label."""

from __future__ import annotations

import math
from typing import Any, List, Optional, Tuple

from spikecore.api.engine import engine_of, get_engine, unknown
from spikecore.api.spikegen.checks import steps_of, stream_of
from spikecore.api.spikegen.onehot import to_one_hot, to_one_hot_inverse
from spikecore.api.spikegen.timing import latency

PATTERNS = ("poisson", "regular", "uniform")


def targets_convert(
    targets: Any,
    num_classes: int,
    code: str = "rate",
    num_steps: Optional[int] = None,
    first_spike_time: int = 0,
    correct_rate: float = 1.0,
    incorrect_rate: float = 0.0,
    on_target: float = 1.0,
    off_target: float = 0.0,
    firing_pattern: str = "regular",
    interpolate: bool = False,
    epsilon: float = 1e-7,
    threshold: float = 0.01,
    tau: float = 1.0,
    clip: bool = False,
    normalize: bool = False,
    linear: bool = False,
    bypass: bool = False,
    *,
    seed: Any = 0,
) -> Any:
    """Target spikes for class labels: ``targets_rate`` or ``targets_latency``, as ``code`` says.

    Args:
        targets: integer labels (batch,).
        num_classes: number of classes.
        code: "rate" or "latency"; the arguments of the other one are not used.
        num_steps, first_spike_time, on_target, off_target, interpolate: of both.
        correct_rate, incorrect_rate, firing_pattern, seed: of ``targets_rate``.
        threshold, tau, clip, normalize, linear, bypass, epsilon: of ``targets_latency``.

    Raises:
        ValueError: an unknown code, or what the chosen one refuses.
    """
    if code == "rate":
        return targets_rate(
            targets, num_classes, num_steps, first_spike_time, correct_rate, incorrect_rate, on_target, off_target,
            firing_pattern, interpolate, seed=seed,
        )  # fmt: skip
    if code == "latency":
        return targets_latency(
            targets, num_classes, num_steps, first_spike_time, on_target, off_target, interpolate, threshold, tau, clip,
            normalize, linear, epsilon, bypass,
        )  # fmt: skip
    raise ValueError(f"targets_convert: {unknown('code', code, ('rate', 'latency'))}")


def targets_latency(
    targets: Any,
    num_classes: int,
    num_steps: Optional[int] = None,
    first_spike_time: int = 0,
    on_target: float = 1.0,
    off_target: float = 0.0,
    interpolate: bool = False,
    threshold: float = 0.01,
    tau: float = 1.0,
    clip: bool = False,
    normalize: bool = False,
    linear: bool = False,
    epsilon: float = 1e-7,
    bypass: bool = False,
) -> Any:
    """The right class fires first, the others last, or never with ``clip``: ``latency`` of the one-hot code.

    Args:
        targets: integer labels (batch,).
        num_classes: number of classes.
        num_steps and all others: as in ``latency``.

    Returns:
        (T, batch, num_classes).

    Raises:
        ValueError: as ``latency`` and ``to_one_hot``.
    """
    return latency(
        to_one_hot(targets, num_classes), num_steps, threshold, tau, first_spike_time, on_target, off_target, clip,
        normalize, linear, interpolate, bypass, epsilon,
    )  # fmt: skip


def targets_rate(
    targets: Any,
    num_classes: int,
    num_steps: Optional[int] = None,
    first_spike_time: int = 0,
    correct_rate: float = 1.0,
    incorrect_rate: float = 0.0,
    on_target: float = 1.0,
    off_target: float = 0.0,
    firing_pattern: str = "regular",
    interpolate: bool = False,
    epsilon: float = 1e-7,
    *,
    seed: Any = 0,
) -> Any:
    """The right class fires at one rate, the others at another (snnTorch ``targets_rate``).

    Args:
        targets: integer labels (batch,).
        num_classes: number of classes.
        num_steps: T; needed unless the rates are 1 and 0 from the first step on.
        first_spike_time: no spike before this step.
        correct_rate: spikes per step of the right class, in [0, 1].
        incorrect_rate: of the others, at most ``correct_rate``.
        on_target, off_target: value with and without a spike.
        firing_pattern: "regular", "uniform" or "poisson", see ``target_rate_code``.
        interpolate: rise in a straight line between spikes, see ``rate_interpolate``; not for rates of 1 and 0.
        epsilon: unused; snnTorch needs it for its rounding.
        seed: names the random streams of the two rates.

    Returns:
        (batch, num_classes), targets constant in time, for rates of 1 and 0 from the first step on; else
        (T, batch, num_classes). All neurons of a rate share one train.

    Raises:
        ValueError: arguments out of range, or ``num_steps`` missing.
    """
    for name, value in (("correct_rate", correct_rate), ("incorrect_rate", incorrect_rate)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"targets_rate: {name}={value!r} must be in [0, 1]")
    if incorrect_rate > correct_rate:
        raise ValueError(f"targets_rate: incorrect_rate={incorrect_rate!r} exceeds correct_rate={correct_rate!r}")
    _check_pattern("targets_rate", firing_pattern)
    right = to_one_hot(targets, num_classes)
    engine = engine_of(right)
    xp, plain = engine.xp, (correct_rate, incorrect_rate) == (1, 0)
    if plain and num_steps is None and not first_spike_time:
        return off_target + (on_target - off_target) * right
    steps = steps_of("targets_rate", num_steps, first_spike_time)
    if plain and not first_spike_time:
        return off_target + (on_target - off_target) * right
    spikes: Any = 0.0
    for name, rate, code in (
        ("correct", correct_rate, right),
        ("incorrect", incorrect_rate, to_one_hot_inverse(right)),
    ):
        train, times = _train(engine, steps, first_spike_time, rate, firing_pattern, stream_of(seed, name))
        if interpolate and not plain:
            train = _ramps(times, steps)
        spikes = spikes + xp.reshape(engine.asarray(train), (steps, 1, 1)) * code
    return off_target + (on_target - off_target) * spikes


def target_rate_code(
    num_steps: int,
    first_spike_time: int = 0,
    rate: float = 1.0,
    firing_pattern: str = "regular",
    *,
    seed: Any = 0,
    engine: Any = "numpy",
) -> Tuple[Any, Any]:
    """A spike train of one neuron with a given rate (snnTorch ``target_rate_code``).

    "regular": at the steps floor(first_spike_time + i / rate). "uniform": as many spikes, at random steps, all
    different. "poisson": a spike at each step with probability ``rate``.

    Args:
        num_steps: T >= 1.
        first_spike_time: no spike before this step.
        rate: spikes per step, in [0, 1].
        firing_pattern: "regular", "uniform" or "poisson".
        seed: names the random stream.
        engine: whose arrays to return, an Engine or its name.

    Returns:
        the train (T,) of zeros and ones, and the steps of its spikes (int64).

    Raises:
        ValueError: arguments out of range.
    """
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"target_rate_code: rate={rate!r} must be in [0, 1]")
    _check_pattern("target_rate_code", firing_pattern)
    chosen = get_engine(engine)
    steps = steps_of("target_rate_code", num_steps, first_spike_time)
    train, times = _train(chosen, steps, first_spike_time, rate, firing_pattern, stream_of(seed, "train"))
    return chosen.asarray(train), chosen.asarray(times, dtype="int64")


def rate_interpolate(
    spike_time: Any, num_steps: int, on_target: float = 1.0, off_target: float = 0.0, epsilon: float = 1e-7
) -> Any:
    """A target that rises in a straight line from off to on between two spikes (snnTorch ``rate_interpolate``).

    The step after a spike is off again, and the rise from there ends at the next spike. After the last spike it stays
    off. The first rise starts at step 0.

    Args:
        spike_time: steps of the spikes, (spikes,), in any order.
        num_steps: T >= 1.
        on_target, off_target: value at a spike, and where a rise starts.
        epsilon: unused; snnTorch needs it for its rounding.

    Returns:
        (T,), an array of the kind of ``spike_time``.

    Raises:
        ValueError: a time outside [0, T - 1].
    """
    steps = steps_of("rate_interpolate", num_steps)
    engine = engine_of(spike_time)
    times = [int(t) for t in engine.to_numpy(engine.asarray(spike_time)).reshape(-1).tolist()]
    bad = [t for t in times if not 0 <= t < steps]
    if bad:
        raise ValueError(f"rate_interpolate: spike_time holds {bad[0]}, must be in [0, {steps - 1}]")
    return off_target + (on_target - off_target) * engine.asarray(_ramps(times, steps))


def _ramps(times: List[int], steps: int) -> List[float]:
    """Rises from 0 to 1 that end at the spikes; 0 after the last one."""
    values: List[float] = []
    for t in sorted(set(times)):
        length = t - len(values)
        values += [j / length for j in range(length)] + [1.0]
    return values + [0.0] * (steps - len(values))


def _train(
    engine: Any, steps: int, start: int, rate: float, pattern: str, stream: Any
) -> Tuple[List[float], List[int]]:
    """A train as a list of zeros and ones, and its spikes' steps."""
    draws = engine.to_numpy(engine.uniform(stream, (steps,))).tolist()
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


def _check_pattern(name: str, pattern: str) -> None:
    if pattern not in PATTERNS:
        raise ValueError(f"{name}: {unknown('firing_pattern', pattern, PATTERNS)}")

"""Spike trains that a network should produce for a class label."""

from __future__ import annotations

from typing import Any, Literal, Optional

from spikecore.api.core.engines import engine_of
from spikecore.api.core.messages import unknown
from spikecore.api.spikegen.checks import steps_of
from spikecore.api.spikegen.onehot import to_one_hot, to_one_hot_inverse
from spikecore.api.spikegen.timing import latency
from spikecore.api.spikegen.trains import Pattern, check_pattern, ramps, train_of
from spikecore.arguments import ArrayLike, Seed, Size, checked


@checked
def targets_convert(
    targets: ArrayLike,
    num_classes: int,
    code: Literal["rate", "latency"] = "rate",
    num_steps: Optional[Size] = None,
    first_spike_time: int = 0,
    correct_rate: float = 1.0,
    incorrect_rate: float = 0.0,
    on_target: float = 1.0,
    off_target: float = 0.0,
    firing_pattern: Pattern = "regular",
    interpolate: bool = False,
    epsilon: float = 1e-7,
    threshold: float = 0.01,
    tau: float = 1.0,
    clip: bool = False,
    normalize: bool = False,
    linear: bool = False,
    bypass: bool = False,
    *,
    seed: Optional[Seed] = None,
) -> Any:
    """Target spikes for class labels, by ``targets_rate`` or ``targets_latency`` (snnTorch ``targets_convert``).

    Args:
        targets: integer labels (batch,).
        num_classes: number of classes.
        code: "rate" (the default) calls ``targets_rate``, "latency" calls ``targets_latency``.
        num_steps, first_spike_time, on_target, off_target, interpolate: arguments of both.
        correct_rate, incorrect_rate, firing_pattern, seed: arguments of ``targets_rate``.
        threshold, tau, clip, normalize, linear, bypass, epsilon: arguments of ``targets_latency``.

    Returns:
        what that function returns.

    Raises:
        ValueError: the code is unknown, or that function refuses an argument.
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


@checked
def targets_latency(
    targets: ArrayLike,
    num_classes: int,
    num_steps: Optional[Size] = None,
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
    """Latency code of one-hot labels: the right class fires first, the others fire last, or never with ``clip``.

    Args:
        targets: integer labels (batch,).
        num_classes: number of classes.
        num_steps, first_spike_time, on_target, off_target, interpolate: as in ``latency``.
        threshold, tau, clip, normalize, linear, epsilon, bypass: as in ``latency``.

    Returns:
        (T, batch, num_classes).

    Raises:
        ValueError: ``latency`` or ``to_one_hot`` refuses an argument.
    """
    return latency(
        to_one_hot(targets, num_classes), num_steps, threshold, tau, first_spike_time, on_target, off_target, clip,
        normalize, linear, interpolate, bypass, epsilon,
    )  # fmt: skip


@checked
def targets_rate(
    targets: ArrayLike,
    num_classes: int,
    num_steps: Optional[Size] = None,
    first_spike_time: int = 0,
    correct_rate: float = 1.0,
    incorrect_rate: float = 0.0,
    on_target: float = 1.0,
    off_target: float = 0.0,
    firing_pattern: Pattern = "regular",
    interpolate: bool = False,
    epsilon: float = 1e-7,
    *,
    seed: Optional[Seed] = None,
) -> Any:
    """The right class fires at one rate, the others at another (snnTorch ``targets_rate``).

    Args:
        targets: integer labels (batch,).
        num_classes: number of classes.
        num_steps: T, the number of steps; needed unless the rates are 1 and 0 and ``first_spike_time`` is 0.
        first_spike_time: there is no spike before this step; default 0.
        correct_rate: spikes per step of the right class, in [0, 1]; default 1.
        incorrect_rate: spikes per step of the other classes, at most ``correct_rate``; default 0.
        on_target, off_target: value with and without a spike; defaults 1 and 0.
        firing_pattern: "regular" (the default), "uniform" or "poisson", see ``target_rate_code``; all neurons with the
            same rate have the same train.
        interpolate: rise linearly between spikes, see ``rate_interpolate``; no effect for rates of 1 and 0; default
            False.
        epsilon: not used; snnTorch has it.
        seed: names the random streams of the two rates; None: each call gives other spikes, see ``rate``.

    Returns:
        (batch, num_classes) for rates of 1 and 0 from the first step on, else (T, batch, num_classes).

    Raises:
        ValueError: an argument is out of range, or ``num_steps`` is missing.
    """
    _check_rates(correct_rate, incorrect_rate, firing_pattern)
    right, plain = to_one_hot(targets, num_classes), (correct_rate, incorrect_rate) == (1, 0)
    if not plain or first_spike_time or num_steps is not None:
        steps_of("targets_rate", num_steps, first_spike_time)
    if plain and not first_spike_time:
        return off_target + (on_target - off_target) * right
    engine, spikes = engine_of(right), 0.0
    rates = {"correct": (correct_rate, right), "incorrect": (incorrect_rate, to_one_hot_inverse(right))}
    for name, (rate, code) in rates.items():
        train, times = train_of(engine, num_steps, first_spike_time, rate, firing_pattern, seed, name)
        train = ramps(times, num_steps) if interpolate and not plain else train  # type: ignore[arg-type]
        spikes = spikes + engine.xp.reshape(engine.asarray(train), (-1, 1, 1)) * code
    return off_target + (on_target - off_target) * spikes


def _check_rates(correct_rate: float, incorrect_rate: float, pattern: str) -> None:
    for name, value in (("correct_rate", correct_rate), ("incorrect_rate", incorrect_rate)):
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"targets_rate: {name}={value!r} must be in [0, 1]")
    if incorrect_rate > correct_rate:
        raise ValueError(f"targets_rate: incorrect_rate={incorrect_rate!r} exceeds correct_rate={correct_rate!r}")
    check_pattern("targets_rate", pattern)

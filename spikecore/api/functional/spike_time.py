"""Spike times with their gradient, and target spike times."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Optional, Tuple, Union, cast

from spikecore.api.core.engine import Engine
from spikecore.api.core.engines import engine_of
from spikecore.api.core.words import Array
from spikecore.api.functional.steps import Steps
from spikecore.api.functional.targets import as_numbers, check_labels, check_sequence, one_hot, targets_on
from spikecore.arguments import ArrayLike, Checked, Numbers
from spikecore.printing import Concise


def spike_times(engine: Engine, spikes: Any, count: int = 1, lengths: Any = None) -> Any:
    """The steps of the first ``count`` spikes of each neuron; a missing spike counts as one at the last step.

    The time of the n-th spike is not a smooth function of the spikes. Its derivative is defined as -1 at the step of
    that spike (the last step if it is missing), since a stronger input makes it earlier, and as 0 at all other steps:

        t_n = value + sum_t h[t] (S[t] - stop_gradient(S[t])),   h[t] = -1 if t = value, else 0

    Args:
        engine: the engine of ``spikes``.
        spikes: (time, batch, neurons); every value > 0 is a spike.
        count: how many spikes of each neuron; default 1.
        lengths: how many steps of each sample count; None, the default: all.

    Returns:
        (count, batch, neurons).
    """
    xp, steps = engine.xp, Steps(engine, spikes, lengths)
    moves = spikes - engine.stop_gradient(spikes)  # zero, with the derivative of the spikes
    fired = steps.kept(engine.stop_gradient(spikes)) > 0.0
    ticks = xp.zeros_like(engine.stop_gradient(spikes)) + xp.reshape(
        engine.asarray(list(range(steps.total))), (-1,) + (1,) * (spikes.ndim - 1)
    )
    last = xp.zeros_like(ticks) + (steps.counts(spikes.ndim - 1) - 1.0)
    order = _running_count(xp, xp.astype(fired, engine.dtype)) if count > 1 else None
    times = []
    for n in range(count):
        hit = fired if order is None else fired & (order == n + 1.0)
        value = xp.min(xp.where(hit, ticks, last), axis=0)
        at_spike = xp.astype(ticks == value, engine.dtype)
        times.append(engine.stop_gradient(value) - xp.sum(at_spike * moves, axis=0))
    return xp.stack(times, axis=0)


def _running_count(xp: Any, x: Any) -> Any:
    """Cumulative sums over the first axis; each round doubles the number of steps summed."""
    shift, rest = 1, ((0, 0),) * (x.ndim - 1)
    while shift < x.shape[0]:
        x = x + xp.pad(x[: x.shape[0] - shift, ...], ((shift, 0), *rest))
        shift *= 2
    return x


def as_tuples(owner: Any) -> None:
    """Convert lists and arrays of target times into tuples, which can be compared and hashed."""
    for name in ("on_target", "off_target"):
        value = getattr(owner, name)
        value = value.tolist() if hasattr(value, "tolist") else value
        object.__setattr__(owner, name, tuple(value) if isinstance(value, list) else value)


@dataclass(frozen=True)
class SpikeTime(Concise, Checked):
    """Computes the spike times of an output and the target times (snnTorch ``SpikeTime``).

    Args:
        target_is_time: whether targets are spike times instead of class labels; default False.
        on_target: step at which the right class should fire, default 0; with ``multi_spike`` one step for each spike.
        off_target: the same for all other classes, default -1. Negative times count from the end: -1 is the last step.
            The number of steps is also allowed: it lies after the last step, so the best output has no spike.
        tolerance: a spike less than this many steps from its target counts as on target; >= 0, default 0.
        multi_spike: whether several spikes are compared: the first F, where F is the number of target times; default
            False.

    Raises:
        ValueError: ``on_target`` and ``off_target`` hold different numbers of times, or none; they are lists without
            ``multi_spike``, or numbers with it; or the tolerance is negative.
    """

    target_is_time: bool = False
    on_target: Numbers = 0
    off_target: Numbers = -1
    tolerance: float = 0
    multi_spike: bool = False

    def __post_init__(self) -> None:
        as_tuples(self)
        if not self.tolerance >= 0:
            raise ValueError(f"SpikeTime: tolerance={self.tolerance!r} must be >= 0")
        if self.target_is_time:
            return
        on, off = self._times
        if len(on) != len(off) or not on:
            raise ValueError(
                f"SpikeTime: on_target={self.on_target!r} and off_target={self.off_target!r} must hold equally many "
                "times, and at least one"
            )

    @property
    def _times(self) -> Tuple[Tuple[float, ...], Tuple[float, ...]]:
        on_target, off_target = cast(Tuple[Any, Any], (self.on_target, self.off_target))
        many = [isinstance(value, tuple) for value in (on_target, off_target)]
        if any(many) != self.multi_spike or any(many) != all(many):
            raise ValueError(
                f"SpikeTime: on_target={self.on_target!r}, off_target={self.off_target!r} must be lists of times with "
                f"multi_spike=True, and numbers without; multi_spike is {self.multi_spike!r}"
            )
        if self.multi_spike:
            return on_target, off_target
        return (on_target,), (off_target,)

    def __call__(
        self, spikes: Union[Array, ArrayLike], targets: ArrayLike, lengths: Optional[ArrayLike] = None
    ) -> Tuple[Any, Any]:
        """The spike times and the target times, both (batch, neurons); with ``multi_spike`` (F, batch, neurons).

        Args:
            spikes: (time, batch, neurons), an array of any engine.
            targets: labels (batch,), or times in the shape of the result. They are not changed.
            lengths: how many steps of each sample count; None, the default: all.

        Raises:
            ShapeError: an array has a wrong shape.
            ValueError: a label is out of range, or a target time lies outside the sequence.
        """
        engine = engine_of(spikes)
        check_sequence("spikes", spikes)
        fired = as_numbers(engine, spikes)
        aims = targets_on(engine, targets)
        self.check(engine, fired, aims, lengths)
        code = None if self.target_is_time else one_hot(engine, aims, fired.shape[2])
        times, wanted = self.compare(engine, fired, aims, code, lengths)
        return (times, wanted) if self.multi_spike else (times[0, ...], wanted[0, ...])

    def check(self, engine: Engine, spikes: Array, targets: Array, lengths: Optional[ArrayLike]) -> None:
        """Refuse labels out of range and target times outside the sequence. This copies targets to the host."""
        shortest = min(Steps(engine, spikes, lengths).lengths or [spikes.shape[0]])
        if self.target_is_time:
            times = engine.to_numpy(targets).reshape(-1).tolist()
        else:
            check_labels(engine, targets, (spikes.shape[1],), spikes.shape[2])
            times = [t for part in self._times for t in part]
        bad = [t for t in times if not -shortest <= t <= shortest]
        if bad:
            raise ValueError(
                f"SpikeTime: target time {bad[0]} must be in [{-shortest}, {shortest}]: the shortest sequence has "
                f"{shortest} steps, -1 is its last, and {shortest} is after it"
            )

    def compare(
        self,
        engine: Engine,
        spikes: Array,
        targets: Any,
        code: Optional[Array],
        lengths: Optional[ArrayLike],
    ) -> Tuple[Any, Any]:
        """The spike times and the target times, both (F, batch, neurons).

        ``code`` are the labels as one-hot codes; None if ``targets`` are times.
        """
        xp, ends = engine.xp, Steps(engine, spikes, lengths).counts(2)
        if code is None:
            wanted = xp.astype(targets, engine.dtype)
            wanted = wanted if self.multi_spike else xp.expand_dims(wanted, axis=0)
        else:
            on, off = self._times
            wanted = xp.stack([b + (a - b) * code for a, b in zip(map(float, on), map(float, off))], axis=0)
        if tuple(wanted.shape[1:]) != tuple(spikes.shape[1:]):
            raise ValueError(
                f"SpikeTime: target times of shape {tuple(targets.shape)} do not fit spikes {tuple(spikes.shape)}; "
                "expected (batch, neurons), with multi_spike=True (spikes, batch, neurons)"
            )
        wanted = engine.stop_gradient(xp.where(wanted < 0.0, wanted + ends, wanted))
        times = spike_times(engine, spikes, wanted.shape[0], lengths)
        if self.tolerance:
            plain = engine.stop_gradient(times)
            near = abs(plain - wanted) < self.tolerance
            times = times + xp.where(near, wanted - plain, xp.zeros_like(plain))
        return times, wanted

"""The base classes of transforms, Compose, which chains them, and their random numbers."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Tuple

import numpy as np

from spikecore.arguments import Checked
from spikecore.datasets.errors import DataError
from spikecore.datasets.events import Events
from spikecore.printing import Concise, call


class Transform(Concise, Checked):
    """A function of events or sound. Subclasses are frozen dataclasses that define `__call__`.

    Any callable on Events or a Sound works in a Compose or a dataset. A subclass of Transform has two advantages: a
    cache can tell one frozen dataclass from another, and `timed = False` says that the result is an array without a
    time axis.
    """

    timed: ClassVar[bool] = True
    _refusal: ClassVar[Any] = DataError

    def __call__(self, events: Any) -> Any:
        raise NotImplementedError


class RandomTransform(Transform):
    """A transform that draws random numbers. Its effect on a sample depends only on seed, sample and epoch.

    The order of the samples and the number of processes make no difference. Subclasses have a field `seed` and define
    `change(events, draws)`, which gets its random numbers from `draws`. In a call outside a dataset, the arguments
    `index` (number of the sample) and `epoch` are 0 by default.
    """

    seed: int

    def __call__(self, events: Events, index: int = 0, epoch: int = 0) -> Events:
        return self.change(events, Draws(self.seed, zlib.crc32(type(self).__name__.encode()), epoch, index))

    def change(self, events: Events, draws: Draws) -> Events:
        raise NotImplementedError


class Draws:
    """Random numbers that depend on a key of integers. They are the same on every machine and in every NumPy version.

    NumPy guarantees the same raw bits of a bit generator in all versions, but not the same results of a Generator. The
    numbers are therefore computed from raw bits.
    """

    def __init__(self, *key: int):
        small = min(key) >= 0 and max(key) < 1 << 32
        words: Any = np.array(key, np.uint32) if small else key  # quicker, and SeedSequence makes the same of both
        self._bits = np.random.Philox(np.random.SeedSequence(words))

    def uniform(self, count: int) -> np.ndarray:
        """Multiples of 2⁻⁵³ in [0, 1), float64 (count,)."""
        return (self._bits.random_raw(count) >> np.uint64(11)) * 2.0**-53

    def normal(self, count: int) -> np.ndarray:
        """Standard normal values, float64 (count,), by Box and Muller's formula."""
        radius, angle = np.sqrt(-2 * np.log(1 - self.uniform(count))), 2 * np.pi * self.uniform(count)
        return radius * np.cos(angle)

    def chance(self, p: float) -> bool:
        """True with probability p."""
        return bool(self.uniform(1)[0] < p)

    def integer(self, low: int, stop: int) -> int:
        """A whole number in [low, stop)."""
        return low + int(self.uniform(1)[0] * (stop - low))


@dataclass(frozen=True, init=False)
class Compose(Transform):
    """Apply transforms one after another: `Compose(Denoise(), ToFrames(steps=25))`.

    Args:
        steps: callables; each takes the result of the step before.

    Raises:
        DataError: a step is not callable, or is a class instead of an object.
    """

    steps: Tuple[Callable[[Any], Any], ...]

    def __init__(self, *steps: Callable[[Any], Any]):
        for step in steps:
            if not callable(step) or isinstance(step, type):
                hint = f": write {step.__name__}()" if isinstance(step, type) else ""
                raise DataError(f"steps: {step!r} is no transform{hint}")
        flat = [part for step in steps for part in (step.steps if isinstance(step, Compose) else (step,))]
        object.__setattr__(self, "steps", tuple(flat))

    @property
    def timed(self) -> bool:  # type: ignore[override]
        return all(getattr(step, "timed", True) for step in self.steps)

    def __call__(self, events: Any, index: int = 0, epoch: int = 0) -> Any:
        for step in self.steps:
            events = apply(step, events, index, epoch)
        return events

    def __repr__(self) -> str:
        return call("Compose", list(map(repr, self.steps)))


def apply(transform: Callable[..., Any], events: Any, index: int, epoch: int) -> Any:
    """Call a transform; random transforms also get the number of the sample and the epoch."""
    if isinstance(transform, (RandomTransform, Compose)):
        return transform(events, index, epoch)
    return transform(events)


def random_steps(transform: Any) -> Tuple[Any, ...]:
    """The steps of a transform that are random."""
    steps = transform.steps if isinstance(transform, Compose) else (transform,)
    return tuple(step for step in steps if isinstance(step, RandomTransform))


def require(holds: bool, transform: Any, name: str, allowed: str) -> None:
    """Raise DataError about a field of a transform unless its value is allowed."""
    if not holds:
        raise DataError(f"{type(transform).__name__}: {name}={getattr(transform, name)!r}: {allowed}")


def is_count(value: Any, least: int = 1) -> bool:
    """Whether a value is a whole number of at least `least`."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= least)


def is_number(value: Any, least: float = 0.0, most: float = float("inf")) -> bool:
    """Whether a value is a number in [least, most]."""
    return isinstance(value, (int, float, np.integer, np.floating)) and bool(least <= value <= most)


def need_events(transform: Any, events: Any) -> Events:
    """Return `events`, or raise DataError if they are not Events."""
    if not isinstance(events, Events):
        raise DataError(
            f"{type(transform).__name__} takes Events, not {type(events).__name__}: put it before the step "
            "that makes frames, and see datasets.from_structured for structured arrays"
        )
    return events

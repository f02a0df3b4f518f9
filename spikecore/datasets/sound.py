"""A recording of sound: its samples and their rate, at other rates and lengths."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from spikecore.arguments import Checked, HostArray, Size
from spikecore.datasets.errors import DataError, checked
from spikecore.samples.errors import integer

CROSSINGS = 24  # zeros of the sinc function on either side of a sample that is interpolated
ROLLOFF = 0.94  # where the low-pass takes 6 dB, relative to half the lower rate
MOST_WEIGHTS = 1 << 26  # 0.5 GB
KAISER = 8.6  # shape of the window: what lies beyond 1.05 of half the lower rate is 80 dB weaker


@dataclass(frozen=True, eq=False)  # == on arrays gives an array, not True or False
class Sound(Checked):
    """Sound of one channel.

    Args:
        samples: pressures, usually in [-1, 1], (time,); kept as read-only float32.
        rate: samples per second, an integer ≥ 1.

    Raises:
        DataError: there are no samples, one of them is not finite, or they are not numbers along one axis.
    """

    _refusal: ClassVar[Any] = DataError

    samples: HostArray
    rate: Size

    def __post_init__(self):
        samples = np.array(self.samples, np.float32)  # a copy, which is made read-only
        if samples.ndim != 1 or not len(samples):
            raise DataError(f"samples have shape {samples.shape}: a Sound needs one axis, time, and a sample at least")
        wrong = np.flatnonzero(~np.isfinite(samples))
        if len(wrong):
            raise DataError(f"samples[{wrong[0]}] = {samples[wrong[0]]}: samples must be finite")
        samples.setflags(write=False)
        object.__setattr__(self, "samples", samples)

    def __len__(self) -> int:
        return len(self.samples)

    def __repr__(self) -> str:
        return f"Sound({self.duration:.3f} s at {self.rate} Hz)"

    @property
    def duration(self) -> float:
        """Seconds."""
        return len(self) / self.rate

    @checked
    def resampled(self, rate: Size) -> Sound:
        """The same sound at another rate.

        Samples are interpolated by sinc functions in a Kaiser window, which is a low-pass. Frequencies up to 0.86 of
        half the lower rate stay as they are, to 0.1 dB; those at 0.94 of it lose 6 dB, those above 1.05 of it 80 dB.

        Args:
            rate: samples per second, ≥ 1.

        Raises:
            DataError: the rates' quotient needs more than 2^26 weights.

        Source: J. O. Smith, Digital Audio Resampling, CCRMA, Stanford University, 2002.
        """
        if rate == self.rate:
            return self
        divisor = math.gcd(self.rate, rate)
        up, down = rate // divisor, self.rate // divisor
        if up * 2 * _reach(up, down) > MOST_WEIGHTS:
            raise DataError(
                f"rate={rate}: from {self.rate} to {rate} samples per second takes too many weights: the rates are too "
                "far apart, or have too little in common; take a rate whose quotient with the other is simpler"
            )
        table = _interpolation(up, down)
        reach = table.shape[1] // 2
        count = -(-len(self) * up // down)
        padded = np.concatenate([np.zeros(reach - 1), self.samples, np.zeros(reach + down)])
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach)
        result = np.empty(count)
        for phase in range(min(up, count)):  # new samples number phase, phase + up, ... lie alike between old ones
            first = phase * down // up
            places = len(range(phase, count, up))
            result[phase::up] = windows[first::down][:places] @ table[phase]
        return Sound(result, rate)

    @checked
    def fitted(self, seconds: float) -> Sound:
        """The beginning of the sound, or the sound with silence at its end, so that it lasts so long.

        Args:
            seconds: the new duration, > 0.
        """
        count = _count(seconds, self.rate)
        kept = self.samples[:count]
        return Sound(np.concatenate([kept, np.zeros(count - len(kept), np.float32)]), self.rate)


def _count(seconds: float, rate: int) -> int:
    """The number of samples in a time."""
    count = round(seconds * rate) if 0.0 < seconds < 1e9 else 0
    if count < 1:
        raise DataError(f"seconds={seconds!r} must be > 0, and at {rate} Hz at least one sample")
    return integer("seconds", count, at_least=1)


def _reach(up: int, down: int) -> int:
    """Number of old samples on either side that contribute to a new one."""
    return math.ceil(CROSSINGS / (ROLLOFF * min(1.0, up / down)))


@functools.lru_cache(maxsize=8)
def _interpolation(up: int, down: int) -> np.ndarray:
    """Weights of the old samples around each of the `up` places that new samples have among them, (up, samples)."""
    cutoff, reach = ROLLOFF * min(1.0, up / down), _reach(up, down)
    between = (np.arange(up) * down % up)[:, None] / up
    distance = np.arange(1 - reach, reach + 1) - between
    window = np.i0(KAISER * np.sqrt(np.clip(1.0 - (distance / reach) ** 2, 0.0, None))) / np.i0(KAISER)
    weights = np.sinc(cutoff * distance) * window
    return weights / weights.sum(axis=1, keepdims=True)  # a constant stays what it is

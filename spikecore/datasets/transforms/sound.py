"""From sound to features: the log-mel spectrogram."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Optional

import numpy as np

from spikecore.datasets.errors import DataError
from spikecore.datasets.sound import Sound
from spikecore.datasets.transforms.base import Transform, is_count, is_number, require

LEAST_POWER = 1e-10  # added to no sound's power, but the least that a logarithm sees


@dataclass(frozen=True)
class LogMel(Transform):
    """The log-mel spectrogram of a Sound: how strong each band of frequencies is over time, (time, mels), float32.

    The sound is cut into windows, one every ``hop`` seconds, with a step of the result for each. The power spectrum of
    each is summed in triangular bands on the mel scale, 2595 log10(1 + f / 700 Hz), which overlap by half and have a
    peak of 1:

        P[t, m] = sum_f T_m(f) |FFT(hann * window t)(f)|^2 / sum hann^2
        E[t, m] = max(0, 1 + 10 log10(P[t, m] / max P) / top_db)     from 1, the loudest, to 0, top_db below it

    Values in [0, 1] suit all encoders of `spikegen`, and are a current for neurons as they are.

    Args:
        mels: number of bands, ≥ 1; default 40.
        window: length of a window in seconds, > 0; default 0.025.
        hop: time from one window to the next in seconds, > 0: the length of a time step. Default 0.01. A sound of one
            second has 100 steps; the windows of the first and the last reach beyond its ends, where it is silent.
        low: lower end of the lowest band in Hz, ≥ 0; default 20.
        high: upper end of the highest band in Hz, at most half the sampling rate; None, the default: half the rate.
        top_db: range of the result in decibels, > 0, below the loudest point of the sound; default 60. None: no such
            scaling, the result is 10 log10(max(P, 1e-10)), in decibels.

    Source: S. Davis, P. Mermelstein, Comparison of parametric representations for monosyllabic word recognition in
        continuously spoken sentences, IEEE Transactions on Acoustics, Speech, and Signal Processing 28, 1980.

    Raises:
        DataError: an argument is out of range; called: not with a Sound, or bands are too narrow for the window.
    """

    mels: int = 40
    window: float = 0.025
    hop: float = 0.01
    low: float = 20.0
    high: Optional[float] = None
    top_db: Optional[float] = 60.0

    def __post_init__(self):
        require(is_count(self.mels), self, "mels", "need a whole number of at least 1")
        for name in ("window", "hop"):
            require(is_number(getattr(self, name), 1e-6, 1e6), self, name, "need seconds, > 0")
        require(is_number(self.low, 0.0, 1e9), self, "low", "need a frequency in Hz, >= 0")
        above = self.high is None or is_number(self.high, self.low, 1e9) and self.high > self.low
        require(above, self, "high", f"need a frequency in Hz above low={self.low:g}, or None")
        require(self.top_db is None or is_number(self.top_db, 1e-3, 1e6), self, "top_db", "need decibels, > 0, or None")

    def __call__(self, sound: Sound) -> np.ndarray:
        if not isinstance(sound, Sound):
            raise DataError(f"LogMel takes a Sound, not {type(sound).__name__}: Sound(samples, rate)")
        high = sound.rate / 2 if self.high is None else self.high
        if not self.low < high <= sound.rate / 2:
            raise DataError(
                f"LogMel: bands from low={self.low:g} to high={high:g} Hz; a sound of {sound.rate} samples per second "
                f"has frequencies up to {sound.rate / 2:g} Hz"
            )
        size, hop = (max(1, round(seconds * sound.rate)) for seconds in (self.window, self.hop))
        power = power_spectrum(sound.samples, size, hop) @ mel_bands(self.mels, self.low, high, size, sound.rate)
        if self.top_db is None:
            return (10.0 * np.log10(np.maximum(power, LEAST_POWER))).astype(np.float32)
        loudest = power.max()
        if loudest < LEAST_POWER:
            return np.zeros(power.shape, np.float32)
        level = 10.0 * np.log10(np.maximum(power / loudest, LEAST_POWER**2))
        return np.maximum(0.0, 1.0 + level / self.top_db).astype(np.float32)


def power_spectrum(samples: np.ndarray, size: int, hop: int) -> np.ndarray:
    """Power of each frequency around each hop-th sample, (time, frequencies).

    Args:
        samples: (time,).
        size: samples of a window.
        hop: samples from one window to the next; the middle of the first is hop / 2.
    """
    steps = -(-len(samples) // hop)
    first = (hop - size) // 2  # where the first window begins, < 0 if windows overlap
    before, start = max(0, -first), max(0, first)
    padded = np.zeros(before + start + max(len(samples), (steps - 1) * hop + size))
    padded[before : before + len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, size)[start::hop][:steps]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(size) + 0.5) / size)
    spectrum = np.fft.rfft(windows * hann, fft_size(size))
    return (spectrum.real**2 + spectrum.imag**2) / (hann**2).sum()


def fft_size(size: int) -> int:
    """Points of the transform of a window: a power of two, and twice the window at least, for narrow bands."""
    return 1 << (2 * size - 1).bit_length()


@functools.lru_cache(maxsize=8)
def mel_bands(mels: int, low: float, high: float, size: int, rate: int) -> np.ndarray:
    """Weights of frequencies in bands, (frequencies, mels): triangles between neighbouring corners on the mel scale."""
    first, last = (2595.0 * np.log10(1.0 + end / 700.0) for end in (low, high))
    corners = 700.0 * (10.0 ** (np.linspace(first, last, mels + 2) / 2595.0) - 1.0)
    frequencies = np.fft.rfftfreq(fft_size(size), 1.0 / rate)[:, None]
    rising = (frequencies - corners[:-2]) / (corners[1:-1] - corners[:-2])
    falling = (corners[2:] - frequencies) / (corners[2:] - corners[1:-1])
    bands = np.clip(np.minimum(rising, falling), 0.0, None)
    empty = np.flatnonzero(bands.sum(axis=0) == 0.0)
    if len(empty):
        raise DataError(
            f"LogMel: mels={mels}: band {empty[0]}, from {corners[empty[0]]:.0f} to {corners[empty[0] + 2]:.0f} Hz, "
            f"lies between two frequencies of a window of {size / rate:g} s: use fewer bands or a longer window"
        )
    return bands

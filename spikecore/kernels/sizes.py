"""From which size on compiled kernels pay off."""

from __future__ import annotations

import importlib.util
from functools import lru_cache

from spikecore.installing import to_install

LARGE = 1 << 18  # neuron-steps from which on a run pays for its kernels' compilation
REPEATED = 1 << 14  # the same where the run comes again and again, as in training
LONGEST = 128  # operations of a step and its derivative; twice as many take Numba some seconds or half a minute


@lru_cache(maxsize=1)
def no_numba() -> str:
    """What to say where Numba is missing."""
    return f"Numba is not installed ({to_install('kernels')})"


def least(repeating: bool) -> int:
    """From how many neuron-steps on a run takes kernels."""
    return REPEATED if repeating else LARGE


@lru_cache(maxsize=None)
def has_numba() -> bool:
    """Whether Numba is installed; it is not imported for the answer."""
    return importlib.util.find_spec("numba") is not None

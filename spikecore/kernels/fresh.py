"""Kernels of steps that may change: a notebook cell runs again, a global that a step reads gets a new value.

What is of this library stays as it is. Everything else is traced again at each run over time, a fraction of a
millisecond, and if the result is another, all kernels are chosen anew; those that were compiled are found again.
"""

from __future__ import annotations

from typing import Any, Tuple

from spikecore.kernels import device, fused


def refresh(stepper: Any, constants: Any, record: Tuple[str, ...]) -> bool:
    """Forget which kernels belong to which stepper if this one's step is not what it was.

    True says that it was so; then whoever has kept kernels by their steppers must forget them, too.
    """
    if fused.traced(stepper, constants, record) == fused.traced.__wrapped__(stepper, constants, record):
        return False
    for cache in (fused.traced, fused.fused, device.made):
        cache.cache_clear()
    return True


def fixed(part: Any) -> bool:
    """Whether a stepper and all that it consists of, its surrogate for one, are of this library."""
    inside = (value for value in vars(part).values() if hasattr(value, "__dict__"))
    return type(part).__module__.startswith("spikecore.") and all(map(fixed, inside))

"""Kernels of steps that may change: a notebook cell runs again, a global that a step reads gets a new value.

What is of this library stays as it is. Everything else is traced again at each run over time, a fraction of a
millisecond, and if the result is another, all kernels are chosen anew; those that were compiled are found again.
"""

from __future__ import annotations

from typing import Any, Tuple

from spikecore.kernels import device, sequence
from spikecore.kernels.trace import NotElementwise, trace


def refresh(stepper: Any, constants: Any, record: Tuple[str, ...]) -> bool:
    """Forget which kernels belong to which stepper if this one's step is not what it was.

    True says that it was so; then whoever has kept kernels by their steppers must forget them, too.
    """
    if _unchanged(sequence.traced(stepper, constants, record), stepper, constants, record):
        return False
    for cache in (sequence.traced, sequence.fused, device.made):
        cache.cache_clear()
    return True


def _unchanged(known: Any, stepper: Any, constants: Any, record: Tuple[str, ...]) -> bool:
    """Whether a step and its derivative are what is known of them."""
    if isinstance(known, str):
        return bool(known == sequence.traced.function(stepper, constants, record))
    try:
        now = trace(stepper, dict(constants))
    except NotElementwise:
        return False
    if all(fixed(op.option) for op in now.program.ops if op.option is not None):  # then the derivative follows
        return now.begins(known[0])
    return bool(known == sequence.traced.function(stepper, constants, record))


def fixed(part: Any) -> bool:
    """Whether a stepper and all that it consists of, its surrogate for one, are of this library."""
    inside = (value for value in vars(part).values() if hasattr(value, "__dict__"))
    return type(part).__module__.startswith("spikecore.") and all(map(fixed, inside))

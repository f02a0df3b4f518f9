"""Steps that may change: a notebook cell runs again, a global that a step reads gets a new value.

What is of this library stays as it is. Everything else is traced again at each run over time, a fraction of a
millisecond, and if the result is another, all kernels are chosen anew; those that were compiled are used again.
"""

from __future__ import annotations

from typing import Any, Tuple

from spikecore.api.core.recorder import Untraceable
from spikecore.kernels.form import Constants, traced
from spikecore.kernels.trace import trace


def refresh(stepper: Any, constants: Constants, record: Tuple[str, ...], sparse_backward: float) -> bool:
    """Forget all traces if this neuron's step is not what it was.

    True says that it was so; then whoever has kept kernels by their neurons must forget them, too.
    """
    how = stepper, constants, record, sparse_backward
    if _unchanged(traced(*how), *how):
        return False
    traced.cache_clear()
    return True


def _unchanged(known: Any, stepper: Any, constants: Constants, record: Tuple[str, ...], sparse_backward: float) -> bool:
    """Whether a step and its derivative are what is known of them."""
    if not isinstance(known, str):
        try:
            now = trace(stepper, dict(constants), sparse_backward)
        except Untraceable:
            return False
        if all(fixed(o) for op in now.graph.ops for o in op.options.values()):  # then the derivative follows
            return now.begins(known[0])
    return bool(known == traced.function(stepper, constants, record, sparse_backward))


def fixed(part: Any) -> bool:
    """Whether a neuron and all that it consists of, its surrogate for one, are of this library."""
    inside = (value for value in vars(part).values() if hasattr(value, "__dict__"))
    return type(part).__module__.startswith("spikecore.") and all(map(fixed, inside))

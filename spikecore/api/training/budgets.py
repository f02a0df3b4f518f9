"""Memory budgets as users write them: "512MB", "8GB", or a number of bytes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Dict, Union

from spikecore.api.core.extras import TrainingOptions, extra
from spikecore.api.core.layer import Key
from spikecore.api.core.sizes import is_whole
from spikecore.api.training.batching import Feed
from spikecore.api.training.executor import executor_from

if TYPE_CHECKING:
    from spikecore.api.learning.learning import Learning
    from spikecore.api.training.compute import Compute

Bytes = Union[str, int]
UNITS = {
    "": 1,
    **{unit: 1000**n for n, unit in enumerate("kmgt", 1)},
    **{f"{u}i": 1024**n for n, u in enumerate("kmgt", 1)},
}
TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*((?:[kmgt]i?)?)b?\s*", re.IGNORECASE)


def bytes_of(memory: Bytes) -> int:
    """The number of bytes of a budget. "8GB" is 8e9 bytes, "8GiB" 8 * 2**30.

    Raises:
        ValueError: it is neither such a text nor a number of bytes, at least 1.
    """
    if is_whole(memory, 1):
        return int(memory)
    found = TEXT.fullmatch(memory) if isinstance(memory, str) else None
    count = int(float(found[1]) * UNITS[found[2].lower()]) if found else 0
    if count < 1:
        raise ValueError(f"memory={memory!r} must be a size, e.g. '512MB', '8GB' or a number of bytes, or None")
    return count


def budget_of(engine: Any, learning: Learning, compute: Compute) -> Dict[str, Any]:
    """The options of an executor that keeps the memory budget; none without one.

    Raises:
        ValueError: learning is of a kind whose memory is not planned.
        NotImplementedError: the engine does not plan its memory.
    """
    memory = compute.memory
    if memory is None:
        return {}
    allowed = bytes_of(memory)
    extra(engine, TrainingOptions).check_memory(engine, memory)
    if not learning.backward:
        raise ValueError(
            f"memory={memory!r} is for learning='bptt'. What learning={learning!r} takes does not depend on the "
            "number of steps: leave memory out"
        )
    return {"memory": allowed, "accumulates": compute.accumulate > 1}


def plan_of(model: Any, batch: Any, loss: Any, optimizer: Any, feed: Feed, budget: Dict[str, Any], window: Any) -> Any:
    """The plan by which a model keeps a budget when it trains on a batch like this one; nothing is trained.

    Args:
        model: the model, which has weights.
        batch: inputs and targets.
        loss, optimizer, window: as for ``Model.fit``.
        feed: how inputs become sequences.
        budget: what ``budget_of`` gave.

    Raises:
        ValueError: the budget cannot be kept; says which one can.
    """
    x, steps = feed(model.engine, batch[0], model.input_shape, Key((model.seed, "plan")))
    targets = feed.targets(model.engine, loss, batch[1])
    state = {**model.state(), "optimizer": {}, "step": 0}
    with model.engine.isolated():
        how: Any = (model.network, model.engine, model.input_shape, state, loss, optimizer)
        executor: Any = executor_from(*how, window=window, **budget)[0]
        return executor.plan_of(x, targets, steps)

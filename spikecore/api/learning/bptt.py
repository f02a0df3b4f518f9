"""``BPTT``: learning backwards through time, over whole sequences or parts of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Dict, Optional

from spikecore.api.core.tree import map_leaves
from spikecore.api.layers.network import detached
from spikecore.api.learning.learning import Learner, Learning, SequencePart

if TYPE_CHECKING:
    from spikecore.api.training.data import DeviceBatch


@dataclass(frozen=True)
class BPTT(Learning):
    """Backpropagation through time: the gradient of the loss of a whole sequence, which goes back from its last step.

    Args:
        window: truncated BPTT: no gradient crosses the steps window, 2 window, ...; spikes and states stay the same.
            None, the default: full BPTT.
        update_every: update the weights every so many steps instead of once per batch (snnTorch's TBPTT). The loss is
            that of each part; states are passed on without gradient; dropout masks are redrawn. None, the default: once
            per batch.

    Raises:
        ValueError: an option is no int >= 1.

    Memory: all states of all steps, or of ``update_every`` steps.
    """

    window: Optional[int] = None  # type: ignore[misc]  # a constant of other ways of learning
    update_every: Optional[int] = None

    backward: ClassVar[bool] = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_steps("window", self.window)

    def begin(self, executor: Any, loss: Any, batch: DeviceBatch) -> Learner:
        engine = executor.engine
        option: Dict[str, Any] = {} if executor.resting is None else {"state": executor.resting}

        def learn(piece: SequencePart) -> Any:
            value, out = executor.step(piece.x, piece.targets, steps=piece.steps, key=piece.key, **option)
            option["state"] = map_leaves(engine.stop_gradient, out.state)
            return value, detached(engine, replace(out, state=option["state"]))

        return learn

    def step(self, executor: Any, loss: Any, batch: DeviceBatch) -> Any:
        if not self.whole:
            return super().step(executor, loss, batch)
        self.check_lengths(executor, batch.lengths)
        option: Dict[str, Any] = {} if batch.lengths is None else {"lengths": batch.lengths}
        return executor.step(batch.x, batch.targets, steps=batch.steps, key=batch.key, **option)

    def add(self, executor: Any, loss: Any, batch: DeviceBatch, weight: float, whole: Optional[int], last: bool) -> Any:
        options: Dict[str, Any] = {"whole": whole, "last": last, "steps": batch.steps, "key": batch.key}
        return executor.gradients.add(batch.x, batch.targets, weight=weight, lengths=batch.lengths, **options)

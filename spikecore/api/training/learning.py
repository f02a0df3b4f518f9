"""How ``Model.fit`` learns from one batch: by BPTT over the whole sequence or parts of it, or forward in time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Dict, Iterator, List, Literal, NamedTuple, Optional, Tuple, get_args

from spikecore.api.core.engine import Executor
from spikecore.api.core.layer import Key
from spikecore.api.core.messages import unknown
from spikecore.api.core.sizes import is_whole
from spikecore.api.core.tree import State, map_leaves
from spikecore.api.layers.containers import readout
from spikecore.api.layers.network import Output, Recorded, constant
from spikecore.api.learning.forward_mode import ForwardMode
from spikecore.api.learning.online import online_rule
from spikecore.api.learning.rule import LearningRun, Rule, joined, with_steps
from spikecore.api.learning.steps import Targets, stepwise, targets_of

Kind = Literal["bptt", "eprop", "ottt", "rtrl"]


class Part(NamedTuple):
    """The part of a sequence that one update of the weights uses: number of steps, mean loss, output."""

    steps: int
    loss: float
    out: Output


@dataclass(frozen=True)
class Learning:
    """A way of learning from a batch.

    Args:
        kind: "bptt", backwards in time; or forward in time: "eprop" (exact traces), "ottt" (factorised traces), "rtrl".
        update_every: update the weights every so many steps; states are passed on without gradient, traces unchanged.
            None, the default: once per batch.

    Raises:
        ValueError: ``kind`` is something else, or ``update_every`` is below 1.
    """

    kind: str = "bptt"
    update_every: Optional[int] = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(unknown("learning", self.kind, get_args(Kind)))
        every = self.update_every
        if every is not None and not is_whole(every, 1):
            raise ValueError(f"update_every={every!r} must be an int >= 1, or None")

    @property
    def whole(self) -> bool:
        """Whether a batch is one training step of an executor."""
        return self.kind == "bptt" and self.update_every is None

    def check(self, engine: Any, executor: Executor, loss: Any, window: Optional[int], accumulate: int = 1) -> None:
        """Refuse, before training, an engine, loss or option of ``fit`` that this way of learning cannot use.

        Raises:
            NotImplementedError: the engine computes a batch in one step and keeps gradients on the device.
            ValueError: learning is forward in time, and a window is given or the loss needs whole sequences; or
                several batches are to make one update, and a batch makes several.
        """
        if accumulate > 1 and not self.whole:
            raise ValueError(
                f"accumulate={accumulate} makes one update of several batches, but learning={self.kind!r}, "
                f"update_every={self.update_every!r} makes updates within a batch: leave one of them out"
            )
        if accumulate > 1 and not executor.carries:
            raise NotImplementedError(
                f"engine {engine.name!r} keeps gradients on the device, so accumulate={accumulate} is not for it: use "
                "engine_options gradient_accumulation, or train on numpy or torch"
            )
        goes_on = executor.carries or (self.kind == "bptt" and executor.resting is not None)
        if not self.whole and not goes_on:
            raise NotImplementedError(
                f"engine {engine.name!r} returns no gradients: learning={self.kind!r} with update_every="
                f"{self.update_every!r} needs numpy or torch; window=... truncates the gradient here, too"
            )
        if self.kind != "bptt":
            stepwise(loss)
            if window is not None:
                raise ValueError(
                    f"window={window!r} truncates BPTT, but learning={self.kind!r} goes forward in time: leave it out"
                )

    def step(
        self,
        executor: Any,
        loss: Any,
        x: Any,
        targets: Any,
        steps: Optional[int],
        key: Key,
        lengths: Optional[List[int]] = None,
    ) -> Tuple[float, Output]:
        """Learn from a batch; return the mean loss and the outputs. For the arguments see ``Executor.step``."""
        option: Dict[str, Any] = {} if lengths is None else {"lengths": lengths}
        if option:
            self._check_lengths(executor)
        if self.whole:
            return executor.step(x, targets, steps=steps, key=key, **option)
        total = int(x.shape[0]) if steps is None else steps
        self._check_parts(executor, total)
        on_engine = targets_of(executor.engine, loss, targets, total, int(x.shape[1]))
        learn = self._backward if self.kind == "bptt" else self._forward
        parts = list(learn(executor, loss, x, on_engine, steps, total, key))
        mean = sum(part.steps * part.loss for part in parts) / total
        return mean, _whole(executor.engine, [part.out for part in parts])

    def _check_lengths(self, executor: Executor) -> None:
        if not self.whole:
            raise ValueError(
                f"batches with lengths need whole sequences, not learning={self.kind!r}, update_every="
                f"{self.update_every!r}: leave those out; window=... truncates the gradient"
            )
        if not executor.carries:
            raise NotImplementedError(
                "this engine compiles losses of whole sequences, without lengths: train on numpy or torch, or cut the "
                "sequences to one length"
            )

    def _check_parts(self, executor: Executor, total: int) -> None:
        every = self.update_every or total
        if not executor.carries and every < total and total % every:
            raise ValueError(
                f"update_every={every} does not divide the {total} steps of a sequence, and this engine compiles parts "
                "of one length: choose a divisor, or cut the sequence"
            )

    def _parts(self, x: Any, steps: Optional[int], total: int) -> Iterator[Tuple[int, int, Any, Optional[int]]]:
        """For each part of a batch: start and stop (exclusive), inputs, and the number of steps of a constant input."""
        every = self.update_every or total
        for start in range(0, total, every):
            stop = min(start + every, total)
            yield start, stop, (x[start:stop, ...] if steps is None else x), (None if steps is None else stop - start)

    def _backward(
        self, executor: Any, loss: Any, x: Any, targets: Targets, steps: Optional[int], total: int, key: Key
    ) -> Iterator[Part]:
        stop_gradient = executor.engine.stop_gradient
        option: Dict[str, Any] = {} if executor.resting is None else {"state": executor.resting}
        for start, stop, part, count in self._parts(x, steps, total):
            part_key = key.child("part", start) if start else key  # each part needs other random numbers
            value, out = executor.step(part, targets.between(start, stop), steps=count, key=part_key, **option)
            option = {"state": map_leaves(stop_gradient, out.state)}
            yield Part(stop - start, value, constant(executor.engine, replace(out, state=option["state"])))

    def _forward(
        self, executor: Any, loss: Any, x: Any, targets: Targets, steps: Optional[int], total: int, key: Key
    ) -> Iterator[Part]:
        watch = readout(executor.network) if executor.record else None
        run = LearningRun(self._rule(executor.network, stepwise(loss), targets, total), *_held(executor, watch))
        for start, stop, part, count in self._parts(x, steps, total):
            run.rule = with_steps(run.rule, stop - start)
            out = run.feed(part, count)
            value, grads = run.take()
            executor.apply(grads)
            run.set_params(executor.params)
            yield Part(stop - start, value, out)

    def _rule(self, *arguments: Any) -> Rule:
        if self.kind == "rtrl":
            return ForwardMode(*arguments)
        return online_rule("exact" if self.kind == "eprop" else "factorised", *arguments)


def _whole(engine: Any, parts: List[Output]) -> Output:
    """The outputs of the parts of a sequence, joined to one output."""
    states = {
        name: State({key: joined(engine, [part.states[name][key] for part in parts]) for key in state})
        for name, state in parts[0].states.items()
    }
    return replace(parts[-1], spikes=joined(engine, [part.spikes for part in parts]), states=Recorded(states))


def _held(executor: Any, watch: Optional[str]) -> List[Any]:
    return [executor.engine, executor.params, executor.buffers, watch]

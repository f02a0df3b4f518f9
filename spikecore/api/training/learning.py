"""How ``Model.fit`` learns from one batch: by BPTT over the whole sequence or parts of it, or forward in time."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Dict, Iterator, List, NamedTuple, Optional, Tuple, Union

from spikecore.api.core.engine import Executor
from spikecore.api.core.layer import Key, Shape
from spikecore.api.core.sizes import is_whole
from spikecore.api.core.tree import State, leaves, map_leaves
from spikecore.api.functional.base import WeightedSum, scalar
from spikecore.api.layers.containers import readout
from spikecore.api.layers.network import Output, Recorded, constant
from spikecore.api.learning.learning_rules import BPTT, Kind, LearningRule, rule_of
from spikecore.api.learning.plastic_network import Plasticity
from spikecore.api.learning.plastic_run import PlasticRun
from spikecore.api.learning.rule import LearningRun, Rule, joined
from spikecore.api.learning.steps import Targets, stepwise, targets_of

UNSUPERVISED = WeightedSum(())  # the loss of a training that has none


class Part(NamedTuple):
    """The part of a sequence that one update of the weights uses: number of steps, mean loss (None: there is none),
    output.
    """

    steps: int
    loss: Optional[float]
    out: Output


@dataclass(frozen=True)
class Learning:
    """A way of learning from a batch.

    Args:
        kind: "bptt", the default, backwards in time; or forward in time: another name, or a rule; or ``Plasticity``,
            without gradients.
        update_every: update the weights every so many steps; states are passed on without gradient, traces unchanged.
            None, the default: once per batch.

    Raises:
        ValueError: ``kind`` is no name of a rule, or ``update_every`` is below 1.
        TypeError: ``kind`` is neither a name nor a rule.
    """

    kind: Union[Kind, LearningRule, Plasticity] = BPTT
    update_every: Optional[int] = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, Plasticity):
            rule_of(self.kind)
        every = self.update_every
        if every is not None and not is_whole(every, 1):
            raise ValueError(f"update_every={every!r} must be an int >= 1, or None")

    @property
    def rule(self) -> Optional[LearningRule]:
        """The rule that carries gradients forward in time; None for BPTT and plasticity."""
        return None if isinstance(self.kind, Plasticity) else rule_of(self.kind)

    @property
    def plasticity(self) -> Optional[Plasticity]:
        """The local rules that learn without gradients; None for all other ways."""
        return self.kind if isinstance(self.kind, Plasticity) else None

    @property
    def whole(self) -> bool:
        """Whether a batch is one training step of an executor."""
        return self.rule is None and self.plasticity is None and self.update_every is None

    def check(
        self,
        engine: Any,
        executor: Executor,
        loss: Any,
        window: Optional[int],
        accumulate: int = 1,
        processes: int = 1,
    ) -> None:
        """Refuse, before training, an engine, loss or option of ``fit`` that this way of learning cannot use.

        Raises:
            NotImplementedError: the engine computes a batch in one step and keeps gradients or weights on the device.
            ValueError: local rules do not fit the network; learning is forward in time, and a window is given or the
                loss needs whole sequences; or several batches are to make one update, and a batch makes several.
        """
        if processes > 1 and not self.whole:
            raise ValueError(
                f"{processes} processes train together, once per batch, but learning={self.kind!r}, update_every="
                f"{self.update_every!r} learns within a batch: leave these out, or train in one process, e.g. with "
                "parallel='none'"
            )
        if accumulate > 1 and self.plasticity is not None:
            raise ValueError(
                f"accumulate={accumulate} makes one update of several gradients, and plasticity has none: use a larger "
                "batch_size"
            )
        if accumulate > 1 and self.update_every is not None:
            raise ValueError(
                f"accumulate={accumulate} makes one update of several batches, but update_every={self.update_every!r} "
                "makes updates within a batch: leave one of them out"
            )
        if accumulate > 1 and not executor.carries:
            raise NotImplementedError(
                f"engine {engine.name!r} keeps gradients on the device, so accumulate={accumulate} is not for it: use "
                "engine_options gradient_accumulation, or train on numpy or torch"
            )
        if self.plasticity is not None:
            PlasticRun(self.plasticity, executor)
        backward = self.rule is None and self.plasticity is None
        goes_on = executor.carries or (backward and executor.resting is not None)
        if not self.whole and not goes_on:
            raise NotImplementedError(
                f"engine {engine.name!r} returns no gradients: learning={self.kind!r} with update_every="
                f"{self.update_every!r} needs numpy or torch; window=... truncates the gradient here, too"
            )
        if self.rule is not None:
            stepwise(loss)
        if window is not None and not backward:
            raise ValueError(
                f"window={window!r} truncates BPTT, but learning={self.kind!r} goes forward in time: leave it out"
            )

    def check_network(self, executor: Any, loss: Any, shape: Shape) -> None:
        """Refuse, before training, a network that a rule forward in time cannot learn.

        Args:
            executor: has the network.
            loss: the loss of the training.
            shape: shape of one sample.

        Raises:
            ValueError: names the layer.
        """
        if self.rule is not None:
            rule = self.rule.stepper(executor.network, stepwise(loss), Targets(None, False), 1)
            run = _begun(executor, rule)
            rule.prepare(run.engine, run.params, run.engine.xp.zeros((1, *shape)))

    def carried(self, executor: Any, loss: Any, shape: Shape, samples: int) -> int:
        """How many numbers a rule forward in time carries from step to step: states, traces and sums of gradients.

        Args:
            executor, loss, shape: as in ``check_network``.
            samples: of a batch. The rule begins with one and with two samples, and the rest is in proportion.
        """
        assert self.rule is not None  # others carry nothing but states
        rule = self.rule.stepper(executor.network, stepwise(loss), Targets(None, False), 1)
        run = _begun(executor, rule)
        counts = []
        for few in (1, 2):
            x = run.engine.xp.zeros((few, *shape))
            state = rule.rest(run.engine, rule.prepare(run.engine, run.params, x), x)
            counts.append(sum(math.prod(value.shape) for _, value in leaves(state)))
        return counts[0] + (counts[1] - counts[0]) * (samples - 1)

    def step(
        self,
        executor: Any,
        loss: Any,
        x: Any,
        targets: Any,
        steps: Optional[int],
        key: Key,
        lengths: Optional[List[int]] = None,
    ) -> Tuple[Optional[float], Output]:
        """Learn from a batch; return the mean loss (None: there is none) and the outputs.

        For the arguments see ``Executor.step``.
        """
        option: Dict[str, Any] = {} if lengths is None else {"lengths": lengths}
        if option:
            self._check_lengths(executor)
        if self.whole:
            return executor.step(x, targets, steps=steps, key=key, **option)
        total = _steps_of(x, steps)
        self._check_parts(executor, total)
        on_engine = targets_of(executor.engine, loss, targets, total, int(x.shape[1]))
        learn = self._plastic if self.plasticity else self._backward if self.rule is None else self._forward
        parts = list(learn(executor, loss, x, on_engine, steps, total, key))
        losses = [part.steps * part.loss for part in parts if part.loss is not None]
        return sum(losses) / total if losses else None, _whole(executor.engine, [part.out for part in parts])

    def add(
        self,
        executor: Any,
        loss: Any,
        x: Any,
        targets: Any,
        *,
        weight: float,
        steps: Optional[int],
        lengths: Optional[List[int]] = None,
        **options: Any,
    ) -> Tuple[Optional[float], Output]:
        """Add the gradient of a batch to those that wait for an update, as ``Executor.add`` does."""
        if self.rule is None:
            value, out = executor.add(x, targets, weight=weight, steps=steps, lengths=lengths, **options)
            return value, out
        if lengths is not None:
            self._check_lengths(executor)
        total = _steps_of(x, steps)
        on_engine = targets_of(executor.engine, loss, targets, total, int(x.shape[1]))
        rule = self.rule.stepper(executor.network, stepwise(loss), on_engine, total, executor.steps_done)
        run = _begun(executor, rule)
        out = run.feed(x, steps)
        value, grads = run.take()
        executor.hold(grads, weight)
        return value, out

    def _check_lengths(self, executor: Executor) -> None:
        if self.plasticity is not None:
            raise ValueError(
                "batches with lengths are not for plasticity, which would learn from the padding: cut the sequences to "
                "one length, or count the padding as silence, e.g. Loader(..., lengths=False)"
            )
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
        batch, learning = (executor.network, stepwise(loss), targets), self.rule
        assert learning is not None  # or ``step`` would have gone another way
        run: Optional[LearningRun] = None
        for start, stop, part, count in self._parts(x, steps, total):
            rule = learning.stepper(*batch, stop - start, executor.steps_done)
            run = _begun(executor, rule) if run is None else run
            run.rule = rule
            out = run.feed(part, count)
            value, grads = run.take()
            executor.apply(grads)
            run.set_params(executor.params)
            yield Part(stop - start, value, out)

    def _plastic(
        self, executor: Any, loss: Any, x: Any, targets: Targets, steps: Optional[int], total: int, key: Key
    ) -> Iterator[Part]:
        plasticity: Any = self.plasticity
        run, engine, state = PlasticRun(plasticity, executor, executor.record), executor.engine, None
        for start, stop, part, count in self._parts(x, steps, total):
            out, due = run.feed(part, state, count), targets.between(start, stop)
            run.update(executor.lr, None if plasticity.reward is None else plasticity.reward(out, due))
            state = out.state
            value = None if loss == UNSUPERVISED else float(engine.to_numpy(scalar(loss, engine, out, due)))
            yield Part(stop - start, value, out)


def _begun(executor: Any, rule: Rule) -> LearningRun:
    """A run of the rule with the executor's weights; it returns the membranes that the executor records."""
    watch = readout(executor.network) if executor.record else None
    return LearningRun(rule, executor.engine, executor.params, executor.buffers, watch)


def _steps_of(x: Any, steps: Optional[int]) -> int:
    """The number of steps of a batch; ``steps`` is that of a constant input."""
    return int(x.shape[0]) if steps is None else steps


def _whole(engine: Any, parts: List[Output]) -> Output:
    """The outputs of the parts of a sequence, joined to one output."""
    states = {
        name: State({key: joined(engine, [part.states[name][key] for part in parts]) for key in state})
        for name, state in parts[0].states.items()
    }
    return replace(parts[-1], spikes=joined(engine, [part.spikes for part in parts]), states=Recorded(states))

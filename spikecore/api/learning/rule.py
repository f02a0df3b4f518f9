"""The base of all rules that learn forward in time: a stepper whose state is the network's, its traces and its sums.

A rule runs through ``Engine.scan`` like any neuron. The size of its state does not depend on the number of steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, List, Optional, Tuple

from spikecore.api.core.extras import StepwiseLearning, extra
from spikecore.api.core.layer import Layer
from spikecore.api.core.tree import Params, State, Tree, at, leaves, map_leaves
from spikecore.api.core.variants import unfused
from spikecore.api.layers.containers import readout
from spikecore.api.layers.network import Output, RecordedStates

if TYPE_CHECKING:
    from spikecore.api.learning.steps import StepLoss, Targets

READOUT = "readout"  # for the filter of traces: the decay of the last layer of neurons


@dataclass(frozen=True, eq=False)
class Rule:
    """Base of the rules.

    Args:
        network: the layers.
        loss: the loss of one step.
        targets: the targets of the batch.
        steps: number of steps; None, the default: not known.

    State: ``net``, the network's state; ``traces``; ``grads`` and ``loss``, sums since the last ``LearningRun.take``;
    ``taken``, the number of steps in these sums; ``count``, the number of all steps.
    """

    network: Layer
    loss: StepLoss
    targets: Targets
    steps: Optional[int] = None

    state: ClassVar[Tuple[str, ...]] = ("net", "traces", "grads", "loss", "taken", "count")

    def prepare(self, engine: Any, params: Params, x: Any) -> Params:
        """The parameters as ``step`` takes them; ``x`` (batch, *features) is the input of the first step."""
        raise NotImplementedError

    def rest(self, engine: Any, params: Params, x: Any) -> State:
        """The state before the first step, from prepared parameters and that step's input."""
        raise NotImplementedError

    def step(self, engine: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
        """One step of the network and of the traces."""
        raise NotImplementedError

    def gradient(self, engine: Any, params: Params, state: State) -> Params:
        """The sums as gradients with the structure of ``params``, not yet divided by the number of steps."""
        raise NotImplementedError

    # ---- for subclasses ----

    def fresh(self, engine: Any, net: Any, traces: Any, grads: Any) -> State:
        """The state before the first step, with sums of zero."""
        zero = engine.asarray(0.0)
        return State(net=net, traces=traces, grads=grads, loss=zero, taken=zero, count=zero)

    def counted(self, state: State, value: Any, **changes: Any) -> State:
        """The state after a step whose loss is ``value``."""
        return state.replace(loss=state.loss + value, taken=state.taken + 1.0, count=state.count + 1.0, **changes)

    def cost(self, engine: Any, y: Any, after: Any, states: Any, targets: Any) -> Any:
        """The loss of one step, from its output, the network's state and the last neuron layer's (None if none)."""
        xp, last = engine.xp, readout(self.network)
        seen = {} if states is None else {last: map_leaves(lambda a: xp.expand_dims(a, axis=0), states)}
        out = Output(xp.expand_dims(y, axis=0), seen, after, last)  # type: ignore[arg-type]
        return self.loss.at(engine, out, targets, self.steps)

    def due(self, engine: Any, state: State) -> Any:
        """The targets of the next step."""
        if not self.targets.vary:
            return self.targets.values
        return extra(engine, StepwiseLearning).row(engine, self.targets.values, state.count)


@dataclass(frozen=True, eq=False)
class _Watched:
    """A rule that also returns the membrane of a layer, if it has the shape of the output: (2, batch, ...)."""

    rule: Rule
    layer: str

    state: ClassVar[Tuple[str, ...]] = Rule.state

    def step(self, engine: Any, params: Params, state: State, x: Any) -> Tuple[Any, State]:
        y, state = self.rule.step(engine, params, state, x)
        mem = at(state.net, self.layer).get("mem")
        beside = mem is not None and tuple(mem.shape) == tuple(y.shape)
        return (engine.xp.stack([y, mem], axis=0) if beside else y), state


class LearningRun:
    """Runs a rule over a sequence, which may come in pieces.

    Args:
        rule: the rule.
        engine: the engine; it must compute gradients.
        params: the network's parameters on the engine.
        buffers: the network's buffers, which must be empty.
        watch: name of the last layer with a state, to return its membrane in the outputs; None: do not.

    Raises:
        ValueError: the network has no parameters, or layers that cannot be trained step by step.
    """

    def __init__(self, rule: Rule, engine: Any, params: Params, buffers: Tree, watch: Optional[str] = None) -> None:
        if not leaves(params):
            raise ValueError("the network has no parameters: there is nothing to learn")
        from spikecore.api.learning.stack import check_stepwise

        check_stepwise(rule.network, buffers, engine)
        rule.loss.check(rule.steps)
        self.rule, self.watch = rule, watch
        self.engine: Any = extra(engine, StepwiseLearning).stepwise(engine, unfused(engine))
        self.set_params(params)
        self.state: Optional[State] = None

    def set_params(self, params: Params) -> None:
        """Continue with other parameters; states and traces stay."""
        self.params = map_leaves(self.engine.stop_gradient, params)
        self.ready: Optional[Params] = None

    def feed(self, x: Any, steps: Optional[int] = None) -> Output:
        """Run a piece (time, batch, *features), or (1, batch, *features) with ``steps``; return its output."""
        if self.ready is None:
            self.ready = self.rule.prepare(self.engine, self.params, x[0, ...])
        if self.state is None:
            self.state = self.rule.rest(self.engine, self.ready, x[0, ...])
        self.rule.targets.check(int(self.engine.to_numpy(self.state.count)), x.shape[0] if steps is None else steps)
        rule: Any = self.rule if self.watch is None else _Watched(self.rule, self.watch)
        spikes, _, self.state = self.engine.scan(rule, self.ready, self.state, x, steps=steps)
        net, states = self.state.net, RecordedStates()
        mem = None if self.watch is None else at(net, self.watch).get("mem")
        if mem is not None and tuple(spikes.shape[1:]) == (2, *mem.shape):
            spikes, mem = spikes[:, 0, ...], spikes[:, 1, ...]
            states[self.watch or ""] = State(mem=mem, spikes=spikes)
        return Output(spikes, states, net, readout(self.rule.network))

    def take(self) -> Tuple[float, Params]:
        """Loss and gradients of the steps since the last call of this method."""
        engine, state = self.engine, self.state
        if state is None:
            raise ValueError("the inputs have no time step")
        count = float(engine.to_numpy(state.taken))
        share = 1.0 / count if self.rule.loss.averaged else 1.0
        grads = map_leaves(lambda g: g * share, self.rule.gradient(engine, self.params, state))
        loss = float(engine.to_numpy(state.loss)) * share
        zero = engine.asarray(0.0)
        cleared = map_leaves(engine.xp.zeros_like, state.grads)
        self.state = state.replace(grads=cleared, loss=zero, taken=zero)
        return loss, grads


def joined(engine: Any, outputs: List[Any]) -> Any:
    """The outputs of pieces, joined to one sequence."""
    return outputs[0] if len(outputs) == 1 else engine.xp.concat(outputs, axis=0)

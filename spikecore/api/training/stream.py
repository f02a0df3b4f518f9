"""``Model.stream``: the engine's own stream, or one on any engine in which each step is a run of one step."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable, Dict, Optional, Tuple

from spikecore.api.core.engine import Engine, Executor
from spikecore.api.core.isolation import isolated
from spikecore.api.core.layer import Layer, Pass, Shape, shapes_of
from spikecore.api.core.stream import Stream, check_sample, check_state, joined, shape_of
from spikecore.api.core.tree import State, Tree, map_leaves
from spikecore.api.layers.network import Output, RecordedStates, record_option
from spikecore.api.training.batching import check_axes, check_finite
from spikecore.api.training.executor import fitting
from spikecore.arguments import Record, is_array, shown


def stream_of(network: Layer, engine: Engine, executor: Executor, shape: Shape, batch_size: int, record: Any) -> Stream:
    """A stream of a network whose weights an executor holds; the other arguments as for ``Model.stream``."""
    chosen = record_option(network, record)
    found = executor.stream(shape, batch_size, chosen)
    if isinstance(found, Stream):
        return found
    return StepwiseStream(network, engine, copied(network, engine, executor, shape), shape, batch_size, chosen, found)


def copied(network: Layer, engine: Engine, executor: Executor, shape: Shape) -> Executor:
    """An executor with copies of the weights that another one holds."""
    like, state = shapes_of(network, shape), executor.state()
    params, buffers = (fitting(part, state[part], getattr(like, part)) for part in ("params", "buffers"))
    return engine.compile(network, params, buffers, None, None)


def samples_of(events: Any) -> Tuple[int, Shape]:
    """Number of samples of events, a list of events or an array (time, batch, *features), and the shape of one.

    Raises:
        TypeError: they are something else.
        ShapeError: an array has no axes of time and batch, or is empty.
    """
    if hasattr(events, "sensor"):
        return 1, tuple(events.shape)
    if isinstance(events, (list, tuple)) and events and all(hasattr(one, "sensor") for one in events):
        return len(events), tuple(events[0].shape)
    if not is_array(events):
        raise TypeError(f"events={shown(events)} must be Events, a list of them, or an array (time, batch, *features)")
    found = shape_of(events)
    check_axes(found, None, static=False)
    return found[1], found[2:]


class StepwiseStream(Stream):
    """A stream on any engine: each step is a run of one step, which continues from the states after the last one.

    Args:
        network: the layer.
        engine: the engine.
        executor: what runs it; it holds the weights.
        shape: of one sample.
        batch_size: samples of each step.
        record: whose states ``states`` has.
        reason: why the engine has no stream of its own.
    """

    def __init__(
        self,
        network: Layer,
        engine: Engine,
        executor: Executor,
        shape: Shape,
        batch_size: int,
        record: Record,
        reason: str,
    ) -> None:
        self.engine, self.batch_size, self.input_shape = engine, batch_size, shape
        self._executor, self._record, self._reason = executor, record, reason
        self._resting: Tree = resting_state(network, executor, (1, batch_size, *shape))
        self._state = self._resting
        self._out: Optional[Output] = None

    @isolated
    def step(self, x: Any) -> Any:
        return self._stepped(x, lambda x, state: self._executor.run(x, state, record=self._record))

    def _stepped(self, x: Any, run: Callable[[Any, Tree], Output]) -> Any:
        check_sample(x, self.batch_size, self.input_shape)
        x = self.engine.asarray(x)
        check_finite(self.engine, x, remedy="")
        xp = self.engine.xp
        out = run(xp.expand_dims(x, axis=0), self._state)
        self._state, self._out = out.state, out
        return xp.concat((out.spikes[0, ...],), axis=0)  # it may be a view of x, or of what is recorded

    def reset(self, state: Optional[Tree] = None) -> None:
        if state is not None:
            check_state(state, self._resting)
        self._state = self._resting if state is None else map_leaves(self.engine.asarray, state)
        self._out = None

    @property
    def state(self) -> Tree:
        return map_leaves(self._copy, self._state)

    @property
    def states(self) -> Dict[str, State]:
        recorded = self._out.states if self._out is not None else {}
        return RecordedStates({name: map_leaves(lambda a: a[0, ...], state) for name, state in recorded.items()})

    def _copy(self, array: Any) -> Any:
        return self.engine.xp.concat((array,), axis=0)

    def explain(self) -> str:
        return f"general: each step is a run of one step on engine {self.engine.name!r}, because {self._reason}"


@dataclass(frozen=True)
class _Asking(Pass):
    """A pass that notes the states at rest, by layer."""

    found: Dict[str, Any] = field(default_factory=dict)

    def start(self, resting: Any) -> Any:
        self.found[self.path] = resting
        return resting


def resting_state(network: Layer, executor: Any, shape: Shape) -> Tree:
    """The states at rest of a network that an executor runs, for inputs of ``shape`` (1, batch, *features).

    Raises:
        ShapeError, ValueError: the network does not run a single step.
    """
    engine, asking = executor.engine, _Asking(executor.engine)
    with engine.isolated():
        zeros = engine.xp.zeros(shape)
        network.run(asking, executor.params, executor.buffers, None, zeros)
    return joined(asking.found)

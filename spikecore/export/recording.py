"""``step_graph``: one step of a model as a ``StepGraph``, recorded while the NumPy engine runs it.

The words of the NumPy engine send each call that has a ``Var`` among its arguments to the Var's tape. Here the tape is
a ``Recorder``, and input and states are Vars; everything else (weights, time constants) is an array already, so that
what depends on weights alone is computed once, here, and is a constant of the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, Optional, Tuple, cast

import numpy as np

from spikecore import Model
from spikecore.api.core.extras import Extra, Stages
from spikecore.api.core.layer import EMPTY, Pass, Result, layer_name
from spikecore.api.core.lowering import Alone, Stage
from spikecore.api.core.tree import Tree, flatten, leaves, rebuild
from spikecore.api.layers.containers import Container, walk
from spikecore.api.neurons.stepper import one_step
from spikecore.api.training.visitor import weights_of
from spikecore.base import Layer, Params, State, Stateless
from spikecore.engines.numpy.engine import NumpyEngine
from spikecore.engines.numpy.tape import Tape, Var
from spikecore.errors import ShapeError
from spikecore.export.errors import ExportError
from spikecore.export.simplify import simplified
from spikecore.export.step_graph import Node, StepGraph, StepState, Value, named, whole_layer

FEWEST, SAMPLES = 3, 16  # steps that are compared, and samples of all of them together: a layer that knows which step
# it is mostly differs from the first on, one that delays its input does so after the delay


def step_graph(
    model: Model, batch_size: int = 1, dtype: str = "float32", whole: Mapping[Any, Any] = MappingProxyType({})
) -> StepGraph:
    """Record one time step of a model.

    Args:
        model: a model with weights.
        batch_size: samples of a step, >= 1.
        dtype: floating-point type of the step, "float32" or "float64".
        whole: classes of layers without state that become a single word, "layer"; for each, what the writer needs.

    Returns:
        the graph. It has been compared with the model: some steps of random input give the same.

    Raises:
        ExportError: the model has no weights yet; or a layer cannot run a step by itself, e.g. one that takes whole
            sequences, draws random numbers, or does something else at every step.
    """
    if model.input_shape is None:
        raise ExportError("the model has no weights yet: call it on data, or pass input_shape=")
    network, engine = model.network, Recording(dtype, whole)
    for path, layer in walk(network):
        try:
            layer.check_engine(engine)
        except TypeError as error:
            raise ExportError(
                f"{named(path, layer_name(layer))} computes without the words that a target is written from: take a "
                "layer of spikecore's in its place (snn.from_torch converts what it knows), or give "
                "snn.to_torch(model) to torch.export.export, see docs/onnx.md#torchexport-and-aotinductor"
            ) from error
    graph = _recorded(model, engine, batch_size)
    # in float64, where sums in another order do not move a spike
    double = engine if dtype == "float64" else Recording("float64", whole)
    _compare(graph if double is engine else _recorded(model, double, batch_size), network, *weights_of(model, double))
    return graph


def _recorded(model: Model, engine: Recording, batch_size: int) -> StepGraph:
    """A step as it comes out of the recorder."""
    network = model.network
    params, buffers = weights_of(model, engine)
    recorder = Recorder(engine)
    recorder.layer = "", layer_name(network)
    x = recorder.value(np.zeros((batch_size, *(model.input_shape or ())), engine.dtype))
    run = Step(engine, path="", recorder=recorder)
    try:
        rows = engine.xp.expand_dims(x, axis=0)
        alone = type(network) in engine.whole
        result = whole(run, network, params, buffers, rows) if alone else network.run(run, params, buffers, None, rows)
        output = engine.xp.reshape(result.outputs, result.outputs.shape[1:])
    except ExportError:
        raise
    except (ShapeError, TypeError, ValueError, NotImplementedError) as error:
        where = recorder.where or layer_name(network)
        raise ExportError(f"{where} cannot run one step by itself: {error}") from error
    return recorder.graph(network, x, output, result.state)


def _compare(graph: StepGraph, network: Layer, params: Params, buffers: Tree) -> None:
    """Refuse a graph that does not give what the network gives."""
    steps = max(FEWEST, SAMPLES // graph.batch_size)
    engine, random = NumpyEngine(graph.dtype, fused=False), np.random.default_rng(0)
    # numbers of few bits: sums with quantised weights are exact, so that no order of sums moves a state
    x = (random.integers(0, 32, size=(steps, *graph.shapes[graph.x])) / 16).astype(graph.dtype)
    try:
        whole = network.run(Pass(engine, steps=None), params, buffers, None, x)
    except ShapeError:  # a layer that is for short sequences
        steps = FEWEST
        x = x[:steps]
        whole = network.run(Pass(engine, steps=None), params, buffers, None, x)
    states, parts = graph.rest(), []
    for row in x:
        y, states = graph.step(row, states)
        parts.append(y)
    expected = np.broadcast_to(whole.outputs, (steps, *whole.outputs.shape[1:]))
    after = flatten(whole.state)
    pairs = [("its output", np.stack(parts), expected)]
    pairs += [(f"its state {s.name}", found, np.asarray(after[s.name])) for s, found in zip(graph.states, states)]
    for what, found, wanted in pairs:  # close: a layer of the user's may compute in float32 all the same
        if not np.allclose(found, wanted, rtol=1e-4, atol=1e-5, equal_nan=True):
            raise ExportError(
                f"{layer_name(network)} does something else at every step: after {steps} steps {what} is not that of a "
                "step repeated. A target repeats one step, so every layer must do the same at each"
            )


class NamedStages(Stages):
    """One layer each, which says its name."""

    def lower(self, engine: Any, network: Container) -> Tuple[Stage, ...]:
        return tuple(Said(name, layer) for name, layer in network.children())


class Recording(NumpyEngine):
    """The NumPy engine for one step: its time loop is a single step, and each layer is a stage that says its name."""

    extras: Tuple[Extra, ...] = (NamedStages(),)

    def __init__(self, dtype: str, whole: Mapping[Any, Any] = MappingProxyType({})) -> None:
        super().__init__(dtype, fused=False)
        self.whole = whole

    def scan(self, stepper: Any, params: Any, state: Any, inputs: Any, **options: Any) -> Any:
        y, after = one_step(self, stepper, params, state, inputs[0, ...])
        return self.xp.expand_dims(y, axis=0), State(), after

    def to_numpy(self, x: Any) -> Any:
        if type(x) is Var:
            raise ExportError(
                f"{cast(Recorder, x.tape).where} looks at the numbers that pass through it, which an export cannot"
            )
        return super().to_numpy(x)


@dataclass(frozen=True)
class Step(Pass):
    """A pass of one step whose states are values of the graph."""

    recorder: Any = None

    def start(self, resting: Any) -> Any:
        return self.recorder.state(self.path, resting)


@dataclass(frozen=True)
class Said(Alone):
    """A layer by itself, which says its name while it runs."""

    def run(self, run: Any, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        path = f"{run.path}.{self.name}" if run.path else self.name
        with run.recorder.within(path, self.layer):
            if type(self.layer) in run.engine.whole:
                return whole(run, self.layer, params[self.name], buffers.get(self.name, EMPTY), x)
            return super().run(run, params, buffers, state, x)


def whole(run: Any, layer: Layer, params: Params, buffers: Tree, x: Any) -> Result:
    """Write a layer down as a single word."""
    recorder, xp = run.recorder, run.engine.xp
    if not isinstance(layer, Stateless):
        raise ExportError(f"{recorder.where} keeps states, and operators= is for layers without: leave it out there")
    step = xp.reshape(x, x.shape[1:])
    options = {"engine": run.engine, "layer": layer, "params": params, "buffers": buffers, "path": recorder.layer[0]}
    y = recorder.apply("layer", whole_layer, (step,), {**options, "write": run.engine.whole[type(layer)]})
    return Result(xp.expand_dims(y, axis=0))


class Recorder(Tape):
    """Writes down each word that is applied to a value.

    Args:
        engine: what computes the words, so that shapes are known.
    """

    __slots__ = ("layer", "recorded", "states", "values")

    def __init__(self, engine: Recording) -> None:
        super().__init__(engine)
        self.layer: Tuple[str, str] = "", ""
        self.recorded: List[Node] = []
        self.states: List[Tuple[str, Var, np.ndarray]] = []
        self.values: Dict[Value, Any] = {}

    @property
    def where(self) -> str:
        """The layer that runs, for messages."""
        return named(*self.layer)

    def within(self, path: str, layer: Layer) -> Any:
        """A context in which a layer runs; after it, its container does."""
        return _Within(self, (path, layer_name(layer)))

    def value(self, array: Any) -> Var:
        """A new value, e.g. the input."""
        self.count += 1
        self.values[Value(self.count)] = array
        return Var(array, self, self.count)

    def state(self, path: str, resting: Tree) -> Any:
        """The states of a layer before the step, as values."""
        return rebuild(resting, iter([self._state(path, name, leaf) for name, leaf in leaves(resting)]))

    def _state(self, path: str, name: str, rest: Any) -> Var:
        if type(rest) is Var:
            raise ExportError(f"{self.where}: its state {name} at rest depends on the input, and has no constant start")
        full = ".".join(part for part in (path, name) if part)
        value = self.value(np.asarray(rest, self.engine.dtype))
        self.states.append((full, value, np.asarray(rest, self.engine.dtype)))
        return value

    def apply(self, name: str, raw: Callable[..., Any], arguments: Tuple[Any, ...], options: Dict[str, Any]) -> Any:
        out = raw(*(a.value if type(a) is Var else a for a in arguments), **options)
        if name in ("zeros_like", "ones_like"):
            return out  # a constant
        result = self.value(out)
        given = tuple(Value(a.slot) if type(a) is Var and a.slot else a for a in arguments)
        self.recorded.append(Node(Value(self.count), name, given, options, *self.layer))
        return result

    def _end(self, found: Any) -> Value:
        """A value that the step gives; an array that depends on no input becomes one."""
        if type(found) is not Var or found.slot is None:
            array = np.asarray(found.value if type(found) is Var else found)
            found = self.apply("constant", lambda x: x, (array,), {})
        return Value(found.slot)

    def graph(self, network: Layer, x: Var, output: Any, after: Tree) -> StepGraph:
        """The recorded graph, simplified."""
        names, final = [name for name, _, _ in self.states], flatten(after)
        if set(names) != set(final):
            raise ExportError(f"{layer_name(network)}: the states after a step are {tuple(final)}, expected {names}")
        ends = [self._end(each) for each in (output, *(final[name] for name in names))]
        states = [
            StepState(name, Value(before.slot or 0), end, rest)
            for (name, before, rest), end in zip(self.states, ends[1:])
        ]
        layers = tuple((path, layer_name(layer)) for path, layer in walk(network))
        return simplified(
            StepGraph(
                Value(x.slot or 0),
                ends[0],
                tuple(states),
                tuple(self.recorded),
                {value: tuple(array.shape) for value, array in self.values.items()},
                {value: str(array.dtype) for value, array in self.values.items()},
                layers,
                self.engine.dtype,
            )
        )


class _Within:
    """The context of ``Recorder.within``; where an error leaves it, the recorder still says the layer."""

    def __init__(self, recorder: Recorder, layer: Tuple[str, str]) -> None:
        self.recorder, self.layer, self.outer = recorder, layer, recorder.layer

    def __enter__(self) -> None:
        self.recorder.layer = self.layer

    def __exit__(self, kind: Any, *_: Any) -> None:
        if kind is None:
            self.recorder.layer = self.outer

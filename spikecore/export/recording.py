"""``step_graph``: one step of a model as a ``StepGraph``, recorded while the NumPy engine runs it.

Input and states are symbols of a graph; everything else (weights, time constants) is an array already, so that what
depends on weights alone is computed once, here, and is a constant of the graph.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any, Mapping, Optional, Tuple

import numpy as np

from spikecore import Model
from spikecore.api.core.extras import Extra, Stages
from spikecore.api.core.graph import Value, WordGraph, named
from spikecore.api.core.layer import EMPTY, Pass, Result, layer_name
from spikecore.api.core.lowering import Alone, Stage
from spikecore.api.core.recorder import ArrayWords, Symbol, Untraceable
from spikecore.api.core.tree import Tree, flatten, leaves, rebuild
from spikecore.api.layers.containers import Container, walk
from spikecore.api.neurons.stepper import one_step
from spikecore.api.training.visitor import weights_of
from spikecore.base import Layer, Params, State, Stateless
from spikecore.engines.numpy.engine import NumpyEngine
from spikecore.errors import ShapeError
from spikecore.export.errors import ExportError
from spikecore.export.simplify import simplified
from spikecore.export.step_graph import StepGraph, StepState, whole_layer

FEWEST, SAMPLES = 3, 16  # steps that are compared, and samples of all of them together: a layer that knows which step
# it is mostly differs from the first on
OWN_STEPS, OWN_NUMBERS = (
    1000,
    10**7,
)  # and with layers of the user's own, which may look back as far as they like: steps,
# and numbers of their inputs and results


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
    network, graph, xp = model.network, engine.graph, engine.xp
    params, buffers = weights_of(model, engine)
    graph.speaker = "", layer_name(network)
    x = xp.input("x", np.zeros((batch_size, *(model.input_shape or ())), engine.dtype))
    run = Step(engine, rests={})
    try:
        rows = xp.expand_dims(x, axis=0)
        alone = type(network) in engine.whole
        result = whole(run, network, params, buffers, rows) if alone else network.run(run, params, buffers, None, rows)
        output = xp.reshape(result.outputs, result.outputs.shape[1:])
    except ExportError:
        raise
    except (ShapeError, TypeError, ValueError, NotImplementedError, Untraceable) as error:
        raise ExportError(f"{engine.where} cannot run one step by itself: {error}") from error
    after = flatten(result.state)
    if set(run.rests) != set(after):
        raise ExportError(
            f"{layer_name(network)}: the states after a step are {tuple(after)}, expected {tuple(run.rests)}"
        )
    states = tuple(
        StepState(name, graph.inputs[f"s_{name}"], _end(xp, after[name]), rest) for name, rest in run.rests.items()
    )
    layers = tuple((path, layer_name(layer)) for path, layer in walk(network))
    return simplified(StepGraph(graph, x.value, _end(xp, output), states, layers, engine.dtype))


def _end(xp: ArrayWords, result: Any) -> Value:
    """The value of a result of the step; an array that depends on no input is entered as a constant."""
    if type(result) is not Symbol:
        array = np.asarray(result)
        result = xp.enter("constant", (array,), {}, array)
    return result.value


def _compare(graph: StepGraph, network: Layer, params: Params, buffers: Tree) -> None:
    """Refuse a graph that does not give what the network gives."""
    steps = max(FEWEST, SAMPLES // graph.batch_size)
    if not all(type(layer).__module__.startswith("spikecore.") for _, layer in walk(network)):
        steps = max(steps, min(OWN_STEPS, OWN_NUMBERS // sum(map(prod, graph.shapes.values()))))
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
    """Stages of one layer each, which note the layer's name while it runs."""

    def lower(self, engine: Any, network: Container) -> Tuple[Stage, ...]:
        return tuple(Said(name, layer) for name, layer in network.children())


class Recording(NumpyEngine):
    """The NumPy engine for one step: its time loop is a single step, and each layer is a stage that says its name."""

    extras: Tuple[Extra, ...] = (NamedStages(),)

    def __init__(self, dtype: str, whole: Mapping[Any, Any] = MappingProxyType({})) -> None:
        super().__init__(dtype, fused=False)
        self.whole, self.graph = whole, WordGraph()
        self.xp: Any = ArrayWords(self.graph, self, self.raw_words())

    @property
    def where(self) -> str:
        """The layer that runs, for messages."""
        return named(*self.graph.speaker)

    def scan(self, stepper: Any, params: Any, state: Any, inputs: Any, **options: Any) -> Any:
        y, after = one_step(self, stepper, params, state, inputs[0, ...])
        return self.xp.expand_dims(y, axis=0), State(), after

    def asarray(self, x: Any, dtype: Optional[str] = None) -> Any:
        return x if type(x) is Symbol else super().asarray(x, dtype)

    def to_numpy(self, x: Any) -> Any:
        if type(x) is Symbol:
            raise ExportError(f"{self.where} looks at the numbers that pass through it, which an export cannot")
        return super().to_numpy(x)


@dataclass(frozen=True)
class Step(Pass):
    """A pass of one step whose states are inputs of the graph, "s_" and their name; ``rests`` collects them at rest."""

    rests: Any = None

    def start(self, resting: Any) -> Any:
        return rebuild(resting, iter([self._state(name, rest) for name, rest in leaves(resting)]))

    def _state(self, name: str, rest: Any) -> Symbol:
        if type(rest) is Symbol:
            raise ExportError(
                f"{self.engine.where}: its state {name} at rest depends on the input, and has no constant start"
            )
        full = ".".join(part for part in (self.path, name) if part)
        self.rests[full] = np.asarray(rest, self.engine.dtype)
        return self.engine.xp.input(f"s_{full}", self.rests[full])


@dataclass(frozen=True)
class Said(Alone):
    """A layer by itself, which says its name while it runs."""

    def run(self, run: Any, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        graph, path = run.engine.graph, f"{run.path}.{self.name}" if run.path else self.name
        outer, graph.speaker = graph.speaker, (path, layer_name(self.layer))  # an error leaves it so, for its message
        if type(self.layer) in run.engine.whole:
            result = whole(run, self.layer, params[self.name], buffers.get(self.name, EMPTY), x)
        else:
            result = super().run(run, params, buffers, state, x)
        graph.speaker = outer
        return result


def whole(run: Any, layer: Layer, params: Params, buffers: Tree, x: Any) -> Result:
    """Write a layer down as a single word."""
    engine, xp = run.engine, run.engine.xp
    if not isinstance(layer, Stateless):
        raise ExportError(f"{engine.where} keeps states, and operators= is for layers without: leave it out there")
    step = xp.reshape(x, x.shape[1:])
    options = {"engine": engine, "layer": layer, "params": params, "buffers": buffers, "path": engine.graph.speaker[0]}
    y = xp.enter("layer", (step,), {**options, "write": engine.whole[type(layer)]}, whole_layer(step.sample, **options))
    return Result(xp.expand_dims(y, axis=0))

"""Networks that are not a chain. The input of a layer is the sum of the outputs of other layers, without feedback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Iterator, Optional, Tuple

from spikecore import Engine, Layer, Params, ShapeError, State
from spikecore.api.core.layer import Init, Key, Pass, Result, Shape, Tree
from spikecore.api.core.lowering import Trees, run_child
from spikecore.api.core.words import Array
from spikecore.api.layers.containers import Container, checked_state

INPUT = "input"  # the name that stands for the network's own input


@dataclass(frozen=True)
class Graph(Container):
    """A network of layers with names. The input of each layer is the sum of the outputs of its sources.

    Args:
        names: the layers' names. Each layer comes after its sources.
        layers: the layers, in the same order.
        sources: for each layer, the names of its sources; "input" is the network's input.
        outputs: names of the layers whose sum is the network's output.

    Raises:
        ValueError: a name occurs twice, or a source does not come before its layer.
    """

    names: Tuple[str, ...]
    layers: Tuple[Layer, ...]
    sources: Tuple[Tuple[str, ...], ...]
    outputs: Tuple[str, ...]

    def __post_init__(self) -> None:
        if not len(self.names) == len(self.layers) == len(self.sources):
            raise ValueError(f"Graph: {len(self.names)} names, {len(self.layers)} layers, {len(self.sources)} sources")
        before = {INPUT}
        for name, sources in zip(self.names, self.sources):
            if name in before:
                raise ValueError(f"Graph: name {name!r} is taken")
            if not sources or not set(sources) <= before:
                raise ValueError(f"Graph: sources {sources!r} of {name!r} must be among {sorted(before)}")
            before.add(name)
        if not self.outputs or not set(self.outputs) <= before:
            raise ValueError(f"Graph: outputs {self.outputs!r} must be among {sorted(before)}")

    def children(self) -> Iterator[Tuple[str, Layer]]:
        return iter(zip(self.names, self.layers))

    @property
    def input_shape(self) -> Optional[Shape]:
        fed = (layer.input_shape for layer, sources in zip(self.layers, self.sources) if INPUT in sources)
        return next((shape for shape in fed if shape is not None), None)

    def wired(self) -> Iterator[Tuple[str, Layer, Tuple[str, ...]]]:
        """Name, layer and sources, in order."""
        return iter(zip(self.names, self.layers, self.sources))

    def init(self, key: Key, shape: Shape) -> Init:
        shapes: Dict[str, Shape] = {INPUT: shape}
        params, buffers = {}, {}
        for name, layer, sources in self.wired():
            try:
                params[name], new, shapes[name] = layer.init(key.child(name), _common(shapes, sources))
            except ShapeError as error:
                raise ShapeError(f"layer {name}: {error}") from None
            if len(new):
                buffers[name] = new
        return Init(Params(params), Tree(buffers), _common(shapes, self.outputs))

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        state, trees, values = checked_state(run, self, state), Trees(), {INPUT: x}
        for name, layer, sources in self.wired():
            total = _sum(values, sources)
            values[name] = trees.add(name, run_child(run, name, layer, params, buffers, state, total))
        return trees.result(_sum(values, self.outputs))

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        values, resting = {INPUT: x}, {}
        for name, layer, sources in self.wired():
            entering = layer.entering(engine, params[name], _sum(values, sources))
            at_rest = layer.rest(engine, params[name], entering)
            if layer.state:
                resting[name] = at_rest
            values[name], _ = layer.step(engine, params[name], at_rest, entering)  # only its shape is used
        return State(resting)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        values, after = {INPUT: x}, {}
        for name, layer, sources in self.wired():
            entering = layer.entering(engine, params[name], _sum(values, sources))
            values[name], new = layer.step(engine, params[name], state.get(name, State()), entering)
            if layer.state:
                after[name] = new
        return _sum(values, self.outputs), State(after)


def _common(shapes: Dict[str, Shape], sources: Tuple[str, ...]) -> Shape:
    candidates = [shapes[name] for name in sources]
    if any(shape != candidates[0] for shape in candidates):
        listed = ", ".join(f"{name} {shapes[name]}" for name in sources)
        raise ShapeError(f"its sources differ in shape and cannot be added: {listed}")
    return candidates[0]


def _sum(values: Dict[str, Any], sources: Tuple[str, ...]) -> Any:
    total = values[sources[0]]
    for name in sources[1:]:
        total = total + values[name]
    return total

"""Containers: layers made of layers."""

from __future__ import annotations

import abc
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, Dict, Iterator, List, Literal, Optional, Tuple, get_args

from spikecore.api.core.engine import Engine
from spikecore.api.core.foreign import no_layer, shown
from spikecore.api.core.layer import (
    Init,
    Key,
    Layer,
    Params,
    Pass,
    Result,
    Shape,
    ShapeError,
    State,
    Tree,
    layer_name,
)
from spikecore.api.core.lowering import Trees
from spikecore.api.core.messages import unknown
from spikecore.api.core.words import Array, Vocabulary
from spikecore.printing import call, table

Join = Literal["add", "and", "iand"]


class Container(Layer):
    """A layer with named children; its trees (params, buffers, state, recorded) have one entry per child, by name."""

    #: Whether it runs the stages that ``Engine.lower`` makes of its children; else its ``run`` is its own business.
    lowers: ClassVar[bool] = False

    def children(self) -> Iterator[Tuple[str, Layer]]:
        """The children by name, in order."""
        raise NotImplementedError

    def _repr_html_(self) -> str:
        return table(layer_name(self), [(name, repr(layer)) for name, layer in self.children()])

    @property
    def state(self) -> Tuple[str, ...]:
        return tuple(name for name, layer in self.children() if layer.state)

    def prepare(self, engine: Engine, params: Params) -> Params:
        return Params({name: layer.prepare(engine, params[name]) for name, layer in self.children()})


def checked_state(run: Pass, container: Container, state: Optional[Tree]) -> Optional[Tree]:
    """``state``, after a check that it belongs to the container's layers.

    Raises:
        ShapeError: it has the states of other layers.
    """
    if state is not None and set(state) != set(container.state):
        raise ShapeError(
            f"{run.path or layer_name(container)}: state of layers {tuple(state)}, expected {tuple(container.state)}"
        )
    return state


@dataclass(frozen=True, init=False)
class Listed(Container):
    """A container whose children are its positional arguments; child i is named ``str(i)``."""

    layers: Tuple[Layer, ...]

    def __init__(self, *layers: Layer) -> None:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                what = f"entry {i} is {shown(layer)}, not a spikecore layer{no_layer(layer)}"
                raise TypeError(f"{layer_name(self)}: {what}")
        object.__setattr__(self, "layers", tuple(layers))

    def children(self) -> Iterator[Tuple[str, Layer]]:
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    if not TYPE_CHECKING:  # type checkers are to refuse these

        def __getitem__(self, index: Any) -> Any:
            raise TypeError(f"{layer_name(self)} has no indices: write network.layers[{index!r}]")

        def __getattr__(self, name: str) -> Any:
            if name in ("append", "add", "add_module", "extend", "insert"):
                raise AttributeError(
                    f"{layer_name(self)} has no {name!r}: a network does not change; write "
                    f"sc.{layer_name(self)}(*layers), with all layers"
                )
            raise AttributeError(f"{layer_name(self)} has no {name!r}")

    def __repr__(self) -> str:
        return call(layer_name(self), list(map(repr, self.layers)))


@dataclass(frozen=True, init=False)
class Sequential(Listed):
    """Layers one after the other; layer i is named ``str(i)``.

    It runs layer by layer: each layer computes the whole sequence before the next one starts, so connections work on
    time x batch at once. An engine may run neighbouring layers together (``Engine.lower``).

    Args:
        *layers: the layers.

    Raises:
        TypeError: an entry is not a layer.
    """

    lowers: ClassVar[bool] = True

    @property
    def input_shape(self) -> Optional[Shape]:
        return self.layers[0].input_shape if self.layers else None

    def init(self, key: Key, shape: Shape) -> Init:
        params, buffers = {}, {}
        for name, layer in self.children():
            try:
                params[name], new, shape = layer.init(key.child(name), shape)
            except ShapeError as error:
                raise ShapeError(f"layer {name}: {error}") from None
            if len(new):
                buffers[name] = new
        return Init(Params(params), Tree(buffers), shape)

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        state, trees = checked_state(run, self, state), Trees()
        for stage in run.engine.lower(self):
            x = trees.update(stage.run(run, params, buffers, state, x))
        return trees.result(x)

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        resting = {}
        for name, layer in self.children():
            x = layer.entering(engine, params[name], x)
            below = layer.rest(engine, params[name], x)
            if layer.state:
                resting[name] = below
            x, _ = layer.step(engine, params[name], below, x)  # only the output's shape is used
        return State(resting)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        after = {}
        for name, layer in self.children():
            x = layer.entering(engine, params[name], x)
            x, below = layer.step(engine, params[name], state.get(name, State()), x)
            if layer.state:
                after[name] = below
        return x, State(after)


class Branches(Container):
    """A container whose children all receive the same input; a subclass defines how their outputs are merged."""

    lowers: ClassVar[bool] = True

    @abc.abstractmethod
    def merged_shape(self, shape: Shape, shapes: Dict[str, Shape]) -> Shape:
        """Shape of one output sample, from the shapes of the input and of the children's outputs by name."""

    @abc.abstractmethod
    def merge(self, xp: Vocabulary, x: Array, parts: Dict[str, Any], before: int) -> Any:
        """The output, from the input and the children's outputs; ``before`` axes (time, batch) precede the sample's."""

    def products(self, xp: Vocabulary, parts: Dict[str, Any], before: int) -> List[Tuple[Any, Any]]:
        """The factors of the matrix products that ``merge`` computes; reports on activity count their operations."""
        return []

    def init(self, key: Key, shape: Shape) -> Init:
        inits = {}
        for name, layer in self.children():
            try:
                inits[name] = layer.init(key.child(name), shape)
            except ShapeError as error:
                raise ShapeError(f"layer {name}: {error}") from None
        buffers = {name: child.buffers for name, child in inits.items() if len(child.buffers)}
        out = self.merged_shape(shape, {name: child.shape for name, child in inits.items()})
        return Init(Params({name: child.params for name, child in inits.items()}), Tree(buffers), out)

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        state, trees = checked_state(run, self, state), Trees()
        parts = {
            stage.covers[0]: trees.update(stage.run(run, params, buffers, state, x))  # side by side, each is alone
            for stage in run.engine.lower(self)
        }
        return trees.result(self.merge(run.engine.xp, x, parts, before=2))

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        seen = {name: layer.entering(engine, params[name], x) for name, layer in self.children()}
        return State({n: layer.rest(engine, params[n], seen[n]) for n, layer in self.children() if layer.state})

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        seen = {name: layer.entering(engine, params[name], x) for name, layer in self.children()}
        results = {n: layer.step(engine, params[n], state.get(n, State()), seen[n]) for n, layer in self.children()}
        out = self.merge(engine.xp, x, {name: y for name, (y, _) in results.items()}, before=1)
        return out, State({name: below for name, (_, below) in results.items() if name in self.state})


def check_join(join: Any) -> None:
    """Refuse what is no way to join two branches."""
    if join not in get_args(Join):
        raise ValueError(f"Residual: {unknown('join', join, get_args(Join))}")


def joined(join: Join, shortcut: Any, body: Any) -> Any:
    """What a residual connection gives; see ``Residual``."""
    if join == "add":
        return shortcut + body
    return shortcut * (body if join == "and" else 1.0 - body)


@dataclass(frozen=True)
class Residual(Branches):
    """Residual connection: two ways for the same input, whose outputs are joined element by element.

        y = shortcut(x) + body(x)            join "add"
        y = shortcut(x) body(x)              "and": of spikes, both
        y = shortcut(x) (1 - body(x))        "iand": of spikes, the shortcut and not the body

    Args:
        body: a layer, often a Sequential; its parameters are named "body.…".
        shortcut: a layer in parallel to the body, with the same output shape; its parameters are named "shortcut.…".
            None, the default, is the identity.
        join: "add" (the default), "and" or "iand". The last two are for ways that end in neurons.

    Raises:
        TypeError: body or shortcut is not a layer.
        ValueError: ``join`` is something else.
        ShapeError: body and shortcut give different shapes.

    Source: He et al., Deep residual learning for image recognition, 2016; "and" and "iand", Fang et al., Deep residual
    learning in spiking neural networks, 2021.
    """

    body: Layer
    shortcut: Optional[Layer] = None
    join: Join = "add"

    def __post_init__(self) -> None:
        check_join(self.join)
        for name, layer in (("body", self.body), ("shortcut", self.shortcut)):
            if not isinstance(layer, Layer) and not (name == "shortcut" and layer is None):
                raise TypeError(f"Residual: {name}={shown(layer)} is not a spikecore layer{no_layer(layer)}")

    def children(self) -> Iterator[Tuple[str, Layer]]:
        yield "body", self.body
        if self.shortcut is not None:
            yield "shortcut", self.shortcut

    @property
    def input_shape(self) -> Optional[Shape]:
        return self.body.input_shape

    def merged_shape(self, shape: Shape, shapes: Dict[str, Shape]) -> Shape:
        out, aside = shapes["body"], shapes.get("shortcut", shape)
        if out != aside:
            raise ShapeError(
                f"Residual: the body gives {out}, the shortcut {aside}; pass a shortcut that gives {out}, too"
            )
        return out

    def merge(self, xp: Vocabulary, x: Array, parts: Dict[str, Any], before: int) -> Any:
        return joined(self.join, parts.get("shortcut", x), parts["body"])


class ListedBranches(Listed, Branches):
    """Layers in parallel, at least one; layer i is named ``str(i)``."""

    def __init__(self, *layers: Layer) -> None:
        super().__init__(*layers)
        if not layers:
            raise ValueError(f"{layer_name(self)}: needs at least one layer")

    @property
    def input_shape(self) -> Optional[Shape]:
        return next((layer.input_shape for layer in self.layers if layer.input_shape is not None), None)


@dataclass(frozen=True, init=False)
class Concat(ListedBranches):
    """Layers in parallel: all receive the same input, and their outputs are concatenated; layer i is named ``str(i)``.

    Args:
        *layers: the layers, at least one.
        axis: axis of a sample along which the outputs are concatenated: 0, the default, is the axis of channels (or
            features of a dense layer), -1 the last one. All other axes must have equal sizes.

    Raises:
        TypeError: an entry is not a layer, or the axis is not an int.
        ValueError: there is no layer.
        ShapeError: the outputs differ in another axis.
    """

    axis: int = 0

    def __init__(self, *layers: Layer, axis: int = 0) -> None:
        super().__init__(*layers)
        if not isinstance(axis, int) or isinstance(axis, bool):
            raise TypeError(f"Concat: axis={axis!r} must be an int, an axis of a sample")
        object.__setattr__(self, "axis", axis)

    def __repr__(self) -> str:
        axis = [f"axis={self.axis}"] if self.axis else []
        return call(layer_name(self), [*map(repr, self.layers), *axis])

    def merged_shape(self, shape: Shape, shapes: Dict[str, Shape]) -> Shape:
        first, *others = shapes.values()
        if not -len(first) <= self.axis < len(first):
            raise ShapeError(f"Concat: axis={self.axis} is no axis of samples of shape {first}")
        axis = self.axis % len(first)
        if any((*s[:axis], *s[axis + 1 :]) != (*first[:axis], *first[axis + 1 :]) for s in others):
            listed = ", ".join(str(s) for s in shapes.values())
            raise ShapeError(f"Concat: outputs of shape {listed} differ in more than axis {self.axis}")
        return (*first[:axis], sum(s[axis] for s in shapes.values()), *first[axis + 1 :])

    def merge(self, xp: Vocabulary, x: Array, parts: Dict[str, Any], before: int) -> Any:
        ys = list(parts.values())
        steps = max(y.shape[0] for y in ys)  # a branch without neurons keeps a constant sequence at one step
        ys = [y if y.shape[0] == steps else xp.broadcast_to(y, (steps, *y.shape[1:])) for y in ys]
        return xp.concat(ys, axis=self.axis + before if self.axis >= 0 else self.axis)


def stages_of(engine: Engine, container: Container, path: str = "") -> str:
    """For ``Engine.explain``: how an engine runs a container's layers, a line per stage with the layers it covers."""
    children, lines = dict(container.children()), []
    for stage in engine.lower(container):
        names = [f"{path}.{name}" if path else name for name in stage.covers]
        only = children[stage.covers[0]] if len(names) == 1 else None
        if isinstance(only, Container):
            lines.append(stages_of(engine, only, names[0]))
        else:
            kinds = " + ".join(layer_name(children[name]) for name in stage.covers)
            lines.append(f"{' + '.join(names)} ({kinds}): {stage.explain(engine)}")
    return "\n".join(lines)


def readout(network: Layer, path: str = "") -> Optional[str]:
    """The dotted name of the last layer that has a state; None if there is none."""
    if isinstance(network, Container):
        for name, layer in reversed(list(network.children())):
            name_below = readout(layer, f"{path}.{name}" if path else name)
            if name_below is not None:
                return name_below
        return None
    return path if network.state else None


def check_engine(network: Layer, engine: Any) -> None:
    """Refuse an engine that one of the layers cannot run on.

    Raises:
        TypeError: names the layer by its place.
    """
    for name, layer in walk(network):
        try:
            layer.check_engine(engine)
        except TypeError as error:
            raise TypeError(f"layer {name}: {error}" if name else str(error)) from None


def with_children(container: Container, children: Dict[str, Layer]) -> Container:
    """The same container with other children of the same names.

    Raises:
        TypeError: its children are not its fields, so that they cannot be replaced.
    """
    if isinstance(container, Listed):
        others = {f.name: getattr(container, f.name) for f in fields(container) if f.name != "layers"}
        return type(container)(*children.values(), **others)
    if is_dataclass(container) and set(children) <= {f.name for f in fields(container)}:
        return replace(container, **children)  # type: ignore[type-var]  # a dataclass, as was asked
    raise TypeError(f"{layer_name(container)} is a container whose layers cannot be replaced: they are not its fields")


def connections_of(network: Layer) -> Tuple[str, ...]:
    """Names of the weights of connections, as ``Layer.connections`` has them, dotted; a network may lack some."""
    found = [(path, name) for path, layer in walk(network) for name in layer.connections]
    return tuple(f"{path}.{name}" if path else name for path, name in found)


def walk(network: Layer, path: str = "") -> Iterator[Tuple[str, Layer]]:
    """Every layer that is not a container, with its dotted name, in order."""
    if not isinstance(network, Container):
        yield path, network
        return
    for name, layer in network.children():
        yield from walk(layer, f"{path}.{name}" if path else name)

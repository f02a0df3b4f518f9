"""Containers: layers made of layers. Each describes itself as a graph without cycles, and one code runs them all.

A container lists its nodes (see ``nodes.py``): a name, a layer or a merge, and whose outputs it takes:

    Residual(body)          body <- input;  "" <- input, body (Sum)
    Sequential(a, b)        0 <- input;  1 <- 0
    Concat(a, b)            0 <- input;  1 <- input;  "" <- 0, 1 (Concatenation)

The output of the last node is the container's. All code that follows a signal through a network uses ``flow``, which
calls a function at each node: on arrays to run the network, on shapes to know its layers' sizes.
"""

from __future__ import annotations

import abc
from collections import Counter
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Callable, ClassVar, Dict, Iterator, List, Optional, Tuple, Union
from weakref import ref

from spikecore.api.core.engine import Engine
from spikecore.api.core.extras import Stages, extra
from spikecore.api.core.layer import Init, Layer, Pass, Result, Shape, ShapeError, initialised, layer_name, shapes_of
from spikecore.api.core.lowering import Stage, Trees
from spikecore.api.core.random import Key
from spikecore.api.core.tree import Params, State, Tree
from spikecore.api.core.words import Array
from spikecore.api.layers.merges import Merge
from spikecore.api.layers.nodes import INPUT as INPUT
from spikecore.api.layers.nodes import SUM as SUM
from spikecore.api.layers.nodes import FlowNode, flow_nodes_of, staged
from spikecore.api.layers.nodes import LayerNode as LayerNode
from spikecore.api.layers.nodes import flow as flow
from spikecore.arguments import shown
from spikecore.printing import call, table

Chain = Tuple[Tuple[str, Layer], ...]
SEQUENCE, STEP = 2, 1  # how many axes come before a sample's own: time and batch, or batch alone


class kept:  # noqa: N801  (used like property)
    """``functools.cached_property`` without its lock, which torch.compile does not follow before Python 3.12.

    The first access stores the value in the object under the method's name, and Python finds it there from then on.
    """

    def __init__(self, method: Callable[[Any], Any]) -> None:
        self.method, self.__doc__ = method, method.__doc__

    def __get__(self, container: Any, owner: Optional[type] = None) -> Any:
        if container is None:
            return self
        value = vars(container)[self.method.__name__] = self.method(container)
        return value


class _Staged:
    """The nodes for the engine that ran last; what is copied deeply or pickled is without."""

    last: Tuple[Any, List[FlowNode]] = (None, [])

    def __reduce__(self) -> Any:
        return _Staged, ()


class Container(Layer):
    """A layer with named children; its trees (params, buffers, state, recorded) have one entry per child, by name.

    A subclass writes ``nodes``; everything else is here.
    """

    #: What to do where the outputs of layers do not fit each other, for messages.
    _remedy: ClassVar[str] = ""

    @abc.abstractmethod
    def nodes(self) -> Tuple[LayerNode, ...]:
        """The layers and merges, each after its sources."""

    @kept
    def flow_nodes(self) -> Tuple[FlowNode, ...]:
        """The nodes in the form that ``flow`` takes."""
        return flow_nodes_of(self.nodes())

    def children(self) -> Iterator[Tuple[str, Layer]]:
        """The children by name, in order."""
        return ((node.name, node.does) for node in self.flow_nodes if not node.merges)

    @kept
    def chains(self) -> Tuple[Chain, ...]:
        """The children in groups: within one, each layer's output goes to the next layer and nowhere else."""
        chains: List[List[Tuple[str, Layer]]] = []
        uses, before = Counter(source for node in self.flow_nodes for source in node.sources), None
        for name, does, sources, merges, _ in self.flow_nodes:
            if merges:
                before = None
                continue
            if before is None or sources != (before,) or uses[before] > 1:
                chains.append([])
            chains[-1].append((name, does))
            before = name
        return tuple(map(tuple, chains))

    @property
    def in_a_row(self) -> bool:
        """Whether it runs its layers one behind the other, as ``Sequential`` does."""
        names = (INPUT, *(name for name, _ in self.children()))
        return self.lowers and [node.sources for node in self.flow_nodes] == [(name,) for name in names[:-1]]

    @property
    def lowers(self) -> bool:
        """Whether it runs the stages that ``Stages.lower`` makes of its children; False if ``run`` is overridden."""
        return type(self).run is Container.run

    def _repr_html_(self) -> str:
        return table(layer_name(self), [(name, repr(layer)) for name, layer in self.children()])

    @property
    def state(self) -> Tuple[str, ...]:
        return tuple(name for name, layer in self.children() if layer.state)

    @property
    def input_shape(self) -> Optional[Shape]:
        fed = (node.does.input_shape for node in self.flow_nodes if INPUT in node.sources and not node.merges)
        return next((shape for shape in fed if shape is not None), None)

    def prepare(self, engine: Engine, params: Params) -> Params:
        return Params({name: layer.prepare(engine, params[name]) for name, layer in self.children()})

    def init(self, key: Key, shape: Shape) -> Init:
        params, buffers = {}, {}

        def through(name: str, layer: Layer, shape: Shape) -> Shape:
            try:
                params[name], its_buffers, shape = initialised(layer, key.child(name), shape)
            except ShapeError as error:
                raise ShapeError(f"layer {name}: {error}") from None
            if len(its_buffers):
                buffers[name] = its_buffers
            return shape

        def merged(merge: Merge, shapes: List[Shape], names: Tuple[str, ...]) -> Shape:
            try:
                return merge.shape(shapes, names)
            except ShapeError as error:
                raise ShapeError(f"{layer_name(self)}: {error}{self._remedy}") from None

        out = flow(self.flow_nodes, shape, through, merged)
        return Init(Params(params), Tree(buffers), out)

    def entering_shapes(self, shape: Shape) -> Dict[str, Shape]:
        """The shape of one sample of each child's input, by the child's name, as ``init`` computes it."""
        entering: Dict[str, Shape] = {}

        def through(name: str, layer: Layer, shape: Shape) -> Shape:
            entering[name] = shape
            return shapes_of(layer, shape).shape

        flow(self.flow_nodes, shape, through, lambda merge, shapes, names: merge.shape(shapes, names))
        return entering

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Array) -> Result:
        state, trees, xp = checked_state(run, self, state), Trees(), run.engine.xp

        def through(name: str, stage: Stage, x: Any) -> Any:
            return trees.update(stage.run(run, params, buffers, state, x))

        nodes = self._staged(run.engine)
        return trees.result(flow(nodes, x, through, lambda merge, signals, _: merge.merge(xp, signals, SEQUENCE)))

    def _staged(self, engine: Engine) -> List[FlowNode]:
        """The nodes with an engine's stages in place of layers, see ``extras.py``; kept for the last engine."""
        kept_here = vars(self).setdefault("_last_staged", _Staged())
        of_engine, nodes = kept_here.last
        if of_engine is None or of_engine() is not engine:
            nodes = staged(self.flow_nodes, extra(engine, Stages).lower(engine, self))
            kept_here.last = ref(engine), nodes
        return nodes

    def rest(self, engine: Engine, params: Params, x: Array) -> State:
        resting = {}

        def through(name: str, layer: Layer, x: Any) -> Any:
            x = layer.entering(engine, params[name], x)
            its_state = layer.rest(engine, params[name], x)
            if layer.state:
                resting[name] = its_state
            return layer.step(engine, params[name], its_state, x)[0]  # only the output's shape is used

        flow(self.flow_nodes, x, through, lambda merge, signals, _: merge.merge(engine.xp, signals, STEP))
        return State(resting)

    def step(self, engine: Engine, params: Params, state: State, x: Array) -> Tuple[Any, State]:
        after = {}

        def through(name: str, layer: Layer, x: Any) -> Any:
            x = layer.entering(engine, params[name], x)
            x, its_state = layer.step(engine, params[name], state.get(name, State()), x)
            if layer.state:
                after[name] = its_state
            return x

        out = flow(self.flow_nodes, x, through, lambda merge, signals, _: merge.merge(engine.xp, signals, STEP))
        return out, State(after)


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


@dataclass(frozen=True)
class Graph(Container):
    """A network of layers with names, in any order that has no cycle.

        sc.Graph(("near", "far", "both", "lif"),
                 (sc.Conv2d(2, 4, 3, padding=1), sc.Conv2d(2, 4, 7, padding=3), base.Concatenation(), sc.Leaky()),
                 (("input",), ("input",), ("near", "far"), ("both",)),
                 ("lif",))

    Args:
        names: the names of layers and merges. Each comes after its sources.
        layers: the layers, in the same order; or merges of ``spikecore.base``: ``Sum()``, ``Product()``,
            ``Concatenation(axis)``.
        sources: for each, the names of those whose outputs it takes; "input" is the network's input. A layer takes the
            sum of its sources.
        outputs: names of those whose sum is the network's output.

    Raises:
        TypeError: an entry is neither a layer nor a merge.
        ValueError: a name occurs twice, or a source does not come before its layer.
    """

    names: Tuple[str, ...]
    layers: Tuple[Union[Layer, Merge], ...]
    sources: Tuple[Tuple[str, ...], ...]
    outputs: Tuple[str, ...]

    def __post_init__(self) -> None:
        for name in ("names", "layers", "outputs"):  # as tuples: a network needs a hash
            object.__setattr__(self, name, tuple(getattr(self, name)))
        object.__setattr__(self, "sources", tuple(map(tuple, self.sources)))
        if not len(self.names) == len(self.layers) == len(self.sources):
            raise ValueError(f"Graph: {len(self.names)} names, {len(self.layers)} layers, {len(self.sources)} sources")
        before = {INPUT}
        for name, layer, sources in zip(self.names, self.layers, self.sources):
            if not isinstance(layer, (Layer, Merge)):
                from spikecore.api.core.foreign import no_layer

                raise TypeError(f"Graph: {name}={shown(layer)} is neither a layer nor a merge{no_layer(layer)}")
            if name in before or not name:
                raise ValueError(f"Graph: name {name!r} is taken")
            if not sources or not set(sources) <= before:
                raise ValueError(f"Graph: sources {sources!r} of {name!r} must be among {sorted(before)}")
            before.add(name)
        if not self.outputs or not set(self.outputs) <= before:
            raise ValueError(f"Graph: outputs {self.outputs!r} must be among {sorted(before)}")

    def nodes(self) -> Tuple[LayerNode, ...]:
        nodes = tuple(map(LayerNode, self.names, self.layers, self.sources))
        return nodes if self.outputs == self.names[-1:] else (*nodes, LayerNode("", SUM, self.outputs))


@dataclass(frozen=True, init=False)
class Listed(Container):
    """A container whose children are its positional arguments; child i is named ``str(i)``."""

    layers: Tuple[Layer, ...]

    def __init__(self, *layers: Layer) -> None:
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer):
                from spikecore.api.core.foreign import no_layer

                what = f"entry {i} is {shown(layer)}, not a spikecore layer{no_layer(layer)}"
                raise TypeError(f"{layer_name(self)}: {what}")
        object.__setattr__(self, "layers", tuple(layers))

    def children(self) -> Iterator[Tuple[str, Layer]]:  # not from ``flow_nodes``: ``Branches`` makes its nodes of them
        return ((str(i), layer) for i, layer in enumerate(self.layers))

    if not TYPE_CHECKING:  # hidden from type checkers, so that they report these uses as mistakes

        def __getitem__(self, index: Any) -> Any:
            raise TypeError(f"{layer_name(self)} has no indices: write network.layers[{index!r}]")

        def __getattr__(self, name: str) -> Any:
            if name in ("append", "add", "add_module", "extend", "insert"):
                raise AttributeError(
                    f"{layer_name(self)} has no {name!r}: a network does not change; write "
                    f"sc.{layer_name(self)}(*layers), with all layers"
                )
            if name.startswith("_"):  # Python and its tools look such names up; a plain error is enough
                raise AttributeError(name)
            from spikecore.other_names import no_member

            raise AttributeError(no_member(layer_name(self), name))

    def __repr__(self) -> str:
        return call(layer_name(self), list(map(repr, self.layers)))


@dataclass(frozen=True, init=False)
class Sequential(Listed):
    """Layers one after the other; layer i is named ``str(i)``.

    It runs layer by layer: each layer computes the whole sequence before the next one starts, so connections work on
    time x batch at once. An engine may run neighbouring layers together (``Stages.lower``).

    Args:
        *layers: the layers.

    Raises:
        TypeError: an entry is not a layer.
    """

    def nodes(self) -> Tuple[LayerNode, ...]:
        return tuple(LayerNode(str(i), layer, (str(i - 1) if i else INPUT,)) for i, layer in enumerate(self.layers))


def stages_of(engine: Engine, container: Container, path: str = "") -> str:
    """For ``Engine.explain``: how an engine runs a container's layers, a line per stage with the layers it covers."""
    children, lines = dict(container.children()), []
    for stage in extra(engine, Stages).lower(engine, container):
        names = [f"{path}.{name}" if path else name for name in stage.covers]
        child = children[stage.covers[0]] if len(names) == 1 else None
        if isinstance(child, Container):
            lines.append(stages_of(engine, child, names[0]))
        else:
            kinds = " + ".join(layer_name(children[name]) for name in stage.covers)
            lines.append(f"{' + '.join(names)} ({kinds}): {stage.explain(engine)}")
    return "\n".join(lines)


def readout(network: Layer, path: str = "") -> Optional[str]:
    """``Output.readout``: the dotted name of the last layer with a state, or None. In kernels/, a Linear is one."""
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
    if isinstance(container, Graph):
        layers = tuple(children.get(name, layer) for name, layer in zip(container.names, container.layers))
        return replace(container, layers=layers)
    if is_dataclass(container) and set(children) <= {f.name for f in fields(container)}:
        return replace(container, **children)  # type: ignore[type-var]  # it is a dataclass, see above
    raise TypeError(f"{layer_name(container)} is a container whose layers cannot be replaced: they are not its fields")


def connections_of(network: Layer) -> Tuple[str, ...]:
    """Dotted names of ``Layer.connections``; some are no parameters: ``weight_hh`` of ``LeakyParallel``, not dense."""
    places = [(path, name) for path, layer in walk(network) for name in layer.connections]
    return tuple(f"{path}.{name}" if path else name for path, name in places)


def walk(network: Layer, path: str = "") -> Iterator[Tuple[str, Layer]]:
    """Every layer that is not a container, with its dotted name, in order."""
    if not isinstance(network, Container):
        yield path, network
        return
    for name, layer in network.children():
        yield from walk(layer, f"{path}.{name}" if path else name)

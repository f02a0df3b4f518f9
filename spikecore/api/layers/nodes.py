"""The nodes of a container, and ``flow``, which sends arrays or shapes through them."""

from __future__ import annotations

from typing import Any, Callable, List, NamedTuple, Sequence, Tuple, TypeVar, Union

from spikecore.api.core.layer import Layer
from spikecore.api.core.lowering import Stage
from spikecore.api.layers.merges import Merge, Sum

T = TypeVar("T")

INPUT = "input"  # the name that stands for what enters a container
SUM = Sum()


class LayerNode(NamedTuple):
    """A node of a container.

    Args:
        name: the layer's name; a merge may have any name that no layer has.
        does: the layer, or how the sources are merged.
        sources: names of the nodes whose outputs it takes, ``INPUT`` for the container's own input. A layer takes the
            sum of several.
    """

    name: str
    does: Union[Layer, Merge]
    sources: Tuple[str, ...]


class FlowNode(NamedTuple):
    """A node in the form that ``flow`` takes."""

    name: str
    does: Any  # a layer or a merge; or the stage that an engine has made of layers
    sources: Tuple[str, ...]
    merges: bool  # whether it is a merge
    done: Tuple[str, ...]  # those of its sources that no later node takes


def flow_nodes_of(nodes: Sequence[LayerNode]) -> Tuple[FlowNode, ...]:
    """Nodes in the form that ``flow`` takes."""
    last = {source: i for i, node in enumerate(nodes) for source in node.sources}
    return tuple(
        FlowNode(name, does, sources, isinstance(does, Merge), tuple({s for s in sources if last[s] == i}))
        for i, (name, does, sources) in enumerate(nodes)
    )


def flow(
    nodes: Sequence[FlowNode],
    x: T,
    through: Callable[[str, Any, T], T],
    merged: Callable[[Merge, List[T], Tuple[str, ...]], T],
) -> T:
    """Send a value (an array, a shape, ...) through the nodes of a container, in order; returns that of the last node.

    A value is freed once no later node takes it.

    Args:
        nodes: as in ``Container.flow_nodes``.
        x: what enters the container.
        through: function (name, layer, value) of a layer: the value that leaves it.
        merged: function (merge, values, names of their sources) of a merge: the merged value.

    Returns:
        what leaves the last node; ``x`` if there is none.
    """
    held = {INPUT: x}
    for name, does, sources, merges, done in nodes:
        if merges:
            x = merged(does, [held[source] for source in sources], sources)
            for source in done:
                del held[source]
        else:
            x = held[sources[0]] if len(sources) == 1 else merged(SUM, [held[s] for s in sources], sources)
            for source in done:
                del held[source]
            x = through(name, does, x)
        held[name] = x
    return x


def staged(nodes: Sequence[FlowNode], stages: Sequence[Stage]) -> List[FlowNode]:
    """The nodes with stages instead of the layers that these cover."""
    by_first = {stage.covers[0]: stage for stage in stages}
    result: List[FlowNode] = []
    for node in nodes:
        if node.merges:
            result.append(node)
            continue
        stage = by_first.get(node.name)
        if stage is not None:  # it has the sources of its first layer and the name of its last; others are inside it
            result.append(FlowNode(stage.covers[-1], stage, node.sources, False, node.done))
    return result

"""Groups of NIR nodes that form one layer: a neuron with its Threshold, Scale of spikes and feedback, or one node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Set, Tuple

import nir

from spikecore.nir.flat import Flat
from spikecore.nir.notes import NirError, noted

LEAKY = (nir.LI, nir.I, nir.CubaLI)
SPIKING = (nir.LIF, nir.IF, nir.CubaLIF)
CONNECTIONS = (nir.Affine, nir.Linear, nir.Scale, nir.Conv1d, nir.Conv2d)


@dataclass
class Unit:
    """Nodes that together are one layer.

    Args:
        name: name of the first node.
        node: the first node.
        threshold: the Threshold after a leaky integrator; the two are a neuron without reset.
        graded: the Scale of its spikes.
        recurrent: whether its spikes return to its input.
        connection: the node through which they return; None for an edge from the neuron to itself.
        sources: names of the units whose outputs it takes.
    """

    name: str
    node: Any
    threshold: Any = None
    graded: Any = None
    recurrent: bool = False
    connection: Any = None
    sources: Tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """The kind of the node, e.g. "LIF"."""
        return type(self.node).__name__

    @property
    def place(self) -> str:
        """Name and kind of the node, for messages."""
        return f"node {self.name} ({self.kind})"


def _only(names: List[str]) -> str:
    return names[0] if len(names) == 1 else ""


def _fused_before(flat: Flat, name: str) -> bool:
    """Whether a Threshold belongs to the leaky integrator before it. A Threshold with notes is a separate layer."""
    source = _only(flat.before[name])
    return (
        bool(source)
        and not noted(flat.nodes[name])
        and isinstance(flat.nodes[source], LEAKY)
        and _only(flat.after[source]) == name
    )


def _graded_before(flat: Flat, name: str) -> bool:
    """Whether a Scale belongs to the neuron before it, as the size of its spikes."""
    marked = isinstance(flat.nodes[name], nir.Scale) and noted(flat.nodes[name]).get("field") == "graded_spikes_factor"
    source = _only(flat.before[name])
    return (
        marked
        and bool(source)
        and isinstance(flat.nodes[source], (nir.Threshold, *SPIKING))
        and (_only(flat.after[source]) == name)
    )


def belongs_before(flat: Flat, name: str) -> bool:
    """Whether a node is part of the layer of the node before it."""
    return (isinstance(flat.nodes[name], nir.Threshold) and _fused_before(flat, name)) or _graded_before(flat, name)


def plain(flat: Flat, name: str) -> Tuple[Unit, List[str], str]:
    """A layer without feedback: the unit, the names of its nodes, and the name of its last node."""
    unit, members = Unit(name, flat.nodes[name]), [name]
    following = _only(flat.after[name])
    if following and isinstance(flat.nodes[following], nir.Threshold) and _fused_before(flat, following):
        unit.threshold = flat.nodes[following]
        members.append(following)
        following = _only(flat.after[following])
    if following and _graded_before(flat, following):
        unit.graded = flat.nodes[following]
        members.append(following)
    return unit, members, members[-1]


def _reach(flat: Flat, name: str) -> Set[str]:
    """All nodes that can be reached from a node along edges."""
    reached: Set[str] = set()
    waiting = list(flat.after[name])
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += flat.after[node]
    return reached


def loop_of(flat: Flat, name: str) -> Set[str]:
    """The nodes on all loops through a node; empty if there is no loop."""
    ahead = _reach(flat, name)
    return {other for other in ahead if name in _reach(flat, other)} if name in ahead else set()


def starts(flat: Flat, name: str, loop: Set[str]) -> bool:
    """Whether a node is the neuron of its loop. A Threshold is the neuron if the loop has no other."""
    neurons = [other for other in loop if isinstance(flat.nodes[other], (*LEAKY, *SPIKING))]
    return name in neurons or (not neurons and isinstance(flat.nodes[name], nir.Threshold))


def looped(flat: Flat, name: str, loop: Set[str]) -> Tuple[Unit, List[str], str]:
    """A neuron with feedback: neuron, [Threshold], [Scale of the spikes], connection, and back to the neuron."""
    chain = [name]
    while True:
        following = [other for other in flat.after[chain[-1]] if other in loop]
        if len(following) != 1:
            break
        if following[0] == name:
            return _recurrent(flat, chain, loop)
        chain.append(following[0])
        if len(chain) > len(loop):
            break
    raise _too_much(name, loop)


def _recurrent(flat: Flat, chain: List[str], loop: Set[str]) -> Tuple[Unit, List[str], str]:
    name, rest = chain[0], chain[1:]
    unit = Unit(name, flat.nodes[name], recurrent=True)
    sender = name
    if rest and isinstance(flat.nodes[rest[0]], nir.Threshold) and isinstance(unit.node, LEAKY):
        sender = rest.pop(0)
        unit.threshold = flat.nodes[sender]
    if len(rest) == 2 and isinstance(flat.nodes[rest[0]], nir.Scale):
        sender = rest.pop(0)
        unit.graded = flat.nodes[sender]
    if len(rest) > 1 or len(chain) != len(loop) or not all(isinstance(flat.nodes[n], CONNECTIONS) for n in rest):
        raise _too_much(name, loop)
    unit.connection = flat.nodes[rest[0]] if rest else None
    for other in chain:
        outside = [n for n in flat.before[other] if n not in loop] if other != name else []
        outside += [n for n in flat.after[other] if n not in loop] if other != sender else []
        if outside:
            raise NirError(
                f"node {other} lies on the feedback of {name} and is also connected with {outside[0]}: only the neuron "
                "may be connected with other layers"
            )
    return unit, chain, sender


def _too_much(name: str, loop: Set[str]) -> NirError:
    return NirError(
        f"feedback over {', '.join(sorted(loop))}: only feedback from a neuron to itself through one connection can be "
        f"read (Recurrent); split the loop at {name} and run the parts step by step"
    )

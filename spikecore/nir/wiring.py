"""The layers of a flat NIR graph in the order of computation, each with its sources."""

from __future__ import annotations

from typing import Dict, List, Set, Tuple

import nir

from spikecore.nir.flat import Flat, border
from spikecore.nir.members import Unit, belongs_before, loop_of, looped, plain, starts
from spikecore.nir.notes import NirError

START = ""  # name of the Input node in this module


def units_in_order(flat: Flat) -> Tuple[List[Unit], Tuple[str, ...]]:
    """The layers, each after its sources, and the names of the layers whose sum is the output.

    Raises:
        NirError: there is feedback over several neurons, or a node without input or without effect on the output.
    """
    start, end = border(flat.nodes, nir.Input), border(flat.nodes, nir.Output)
    units, owner = {}, {start: START}
    taken: Set[str] = {start, end}
    for name in flat.nodes:
        if name in taken or belongs_before(flat, name):
            continue
        loop = loop_of(flat, name)
        if loop and not starts(flat, name, loop):
            continue
        unit, members, sender = looped(flat, name, loop) if loop else plain(flat, name)
        unit.sources = tuple(s for s in flat.before[name] if s not in members)
        units[name] = unit
        taken |= set(members)
        owner[sender] = name
    left = set(flat.nodes) - taken
    if left:
        raise NirError(f"nodes {', '.join(sorted(left))} form a loop without a neuron: put a neuron into the loop")
    for unit in units.values():
        unit.sources = tuple(_owned(owner, source, unit.place) for source in unit.sources)
    outputs = tuple(_owned(owner, source, "the output") for source in flat.before[end])
    return _sorted(units, outputs), outputs


def _owned(owner: Dict[str, str], source: str, place: str) -> str:
    if source not in owner:
        raise NirError(
            f"{place} is fed by {source}, which lies between a neuron and its own feedback: connect it with the neuron"
        )
    return owner[source]


def _sorted(units: Dict[str, Unit], outputs: Tuple[str, ...]) -> List[Unit]:
    ordered: List[Unit] = []
    done, waiting = {START}, list(units.values())
    while waiting:
        ready = [unit for unit in waiting if unit.sources and set(unit.sources) <= done]
        if not ready:
            listed = ", ".join(unit.name for unit in waiting)
            raise NirError(f"nodes {listed} are not fed by the input, or wait for each other")
        ordered += ready
        done |= {unit.name for unit in ready}
        waiting = [unit for unit in waiting if unit.name not in done]
    used = {source for unit in ordered for source in unit.sources} | set(outputs)
    idle = [unit.name for unit in ordered if unit.name not in used]
    if idle or not outputs:
        raise NirError(
            f"nodes {', '.join(idle) or 'before the output'} lead nowhere: connect them to the output or delete them"
        )
    return ordered

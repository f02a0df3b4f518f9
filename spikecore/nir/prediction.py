"""``predict``: what a reader of NIR computes from a graph, beside NIR's equations, and where they part."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Dict, Optional, Tuple

import numpy as np

from spikecore.arguments import ArrayLike, unknown
from spikecore.nir.dialects import DIALECTS, NIR, Dialect
from spikecore.nir.files import Written, opened
from spikecore.nir.flat import Flat
from spikecore.nir.imports import input_shapes
from spikecore.nir.notes import NirError, checked
from spikecore.nir.reading_plan import Departure, NodeTrace, ReadingPlan, first_apart
from spikecore.nir.units import Units
from spikecore.printing import columns


@dataclass(frozen=True)
class Prediction:
    """A reader's spikes and membranes from a graph, beside those of NIR's equations.

    Args:
        dialect: the reader's row of ``DIALECTS``.
        dt: the duration of a step, for NIR's equations and for readers that take one.
        plan: the graph and the input, which the departures are computed from.
        reader, nir: what each neuron node does, by name.
    """

    dialect: Dialect
    dt: float
    plan: ReadingPlan
    reader: Dict[str, NodeTrace]
    nir: Dict[str, NodeTrace]

    def __str__(self) -> str:
        return prediction_text(self)

    @cached_property
    def departures(self) -> Tuple[Departure, ...]:
        """The rules that are not NIR's, by node. The graph runs once for each of them."""
        return self.plan.all_departures(self.dialect, self.dt, self.nir)

    def first(self, name: str) -> Optional[int]:
        """The first step in which a node's spikes are not those of NIR's equations; None if all are."""
        return first_apart(self.reader[name].spikes, self.nir[name].spikes)


@checked
def predict(
    graph: Written,
    reader: str,
    inputs: ArrayLike,
    *,
    dt: Optional[float] = None,
) -> Prediction:
    """Say what a reader of NIR will compute from a graph, spike by spike, and where it departs from NIR's equations.

    The reader is not needed: its rules were read from its source (``spikecore.nir.dialects``). NIR's equations are
    solved with an input that is held for a step; a LIF or an IF resets at the moment within the step at which it fires,
    a CubaLIF at the end of the step. Spikes of a step are the next node's input for that step.

    Args:
        graph: a ``nir.NIRGraph``, one node, or the path of a file.
        reader: "norse", "sinabs", "snntorch", "spyx", "spikingjelly", "lava", "nengo", "rockpool" or "spinnaker2": what
            its current release reads; with "-paper", what the authors of the NIR paper ran; "lava-fixed", Lava with
            integers.
        inputs: (time, *features), a number for each step and feature.
        dt: duration of a step in the graph's unit of time, > 0. Default: that of the graph, else the reader's own.

    Returns:
        ``Prediction``: spikes and membranes by node, and the departures.

    Raises:
        NirError: there is no such reader, it refuses the graph, or the graph cannot be read; names the node.
        ShapeError: the inputs do not fit the graph.

    Source: Pedersen et al., Neuromorphic intermediate representation, Nature Communications, 2024.
    """
    if reader not in DIALECTS:
        raise NirError(unknown("reader", reader, DIALECTS))
    dialect = DIALECTS[reader]
    graph = opened(graph)
    step = step_of(dialect, dt, graph.metadata)
    plan = ReadingPlan(graph, np.asarray(inputs, dtype=np.float64))
    plan.refuse(dialect)
    theirs = plan.run(lambda unit: (dialect.rule(unit.kind, unit.recurrent), dialect), step, "float32")
    return Prediction(dialect, step, plan, theirs, plan.run(lambda unit: (NIR.get(unit.kind), None), step))


def shape_of(graph: Written) -> Tuple[int, ...]:
    """The shape of one sample of a graph's input.

    Args:
        graph: as for ``predict``.

    Raises:
        NirError: the graph cannot be read, or does not say the shape of its input.
    """
    shapes = input_shapes(Flat(opened(graph)), None)
    if not shapes:
        raise NirError("the graph's Input node has no shape")
    return tuple(shapes[0])


MOST_SHOWN = 24  # steps of spikes in a line


def prediction_text(said: Prediction) -> str:
    """A prediction as text: the spikes of each node as NIR and as the reader has them, and the rules that part them."""
    steps = len(said.plan.inputs)
    lines = [f"{said.dialect.title}, {steps} steps of dt = {said.dt:g}"]
    for name, trace in said.reader.items():
        first = said.first(name)
        apart = "the same spikes" if first is None else f"the first step that differs is {first}"
        lines += ["", f"node {name}: {apart}"]
        trains = [(f"  {called}", _told_steps(each)) for called, each in (("NIR", said.nir[name]), ("reader", trace))]
        lines.append(columns(trains, left=2))
    if said.departures:
        rows = [("node", "rule", "reader", "NIR", "alone it changes")]
        for each in said.departures:
            first_alone = "no spike" if each.first is None else f"step {each.first}"
            rows.append((each.node, each.part, each.reader, each.nir, first_alone))
        lines += ["", "Where the reader departs from NIR's equations:", columns(rows, left=5)]
    compared = "compared with the package, step by step" if said.dialect.compared else "not compared with the package"
    lines += ["", f"Rules read in: {said.dialect.source}", f"They were {compared}."]
    paper = "".join(f"{name}-paper" for name, row in DIALECTS.items() if row is said.dialect)
    if paper in DIALECTS:
        lines.append(f"As the authors of the NIR paper ran it, with what they changed by hand: {paper}")
    return "\n".join(lines)


def _told_steps(trace: NodeTrace) -> str:
    """The steps in which a node fires, of several neurons or of many spikes in a step with their number."""
    counts = trace.spikes.reshape(len(trace.spikes), -1).sum(axis=1)
    at = np.flatnonzero(counts)
    shown = " ".join(str(t) if counts[t] == 1 else f"{t}({counts[t]:.0f})" for t in at[:MOST_SHOWN])
    more = f" ... {len(at)} steps in all" if len(at) > MOST_SHOWN else ""
    return f"{shown}{more}" or "silent"


def step_of(dialect: Optional[Dialect], dt: Optional[float], metadata: Any) -> float:
    """The duration of a step: as given, else that of a graph, else a reader's own.

    Raises:
        NirError: it is not a finite number > 0.
    """
    given = dt if dt is not None else metadata.get("dt", 1e-4 if dialect is None else dialect.dt)
    try:
        return Units(dt=float(given)).dt
    except (TypeError, ValueError):
        raise NirError(
            f"dt={given!r} must be a finite number > 0, the duration of a step in the graph's unit"
        ) from None

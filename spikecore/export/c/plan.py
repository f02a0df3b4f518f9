"""``planned``: a step graph as loops and products with a place for each array. Emitters write it down in a language."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, FrozenSet, Optional, Tuple

from spikecore.api.core.graph import Value
from spikecore.export.c.facts import spikes_of
from spikecore.export.c.lowering import lowered
from spikecore.export.c.memory import Memory, placed
from spikecore.export.c.schedule import ParallelTasks, scheduled
from spikecore.export.c.tasks import TaskList
from spikecore.export.errors import ExportError
from spikecore.export.step_graph import StepGraph


@dataclass(frozen=True, eq=False)
class ProgramPlan:
    """One step, ready to be written.

    Args:
        graph: what it comes from.
        tasks: arrays, constants, states.
        stages: loops and other tasks, in order.
        memory: where each array is.
        spikes: the arrays in which every number is 0 or 1.
    """

    graph: StepGraph
    tasks: TaskList
    stages: Tuple[ParallelTasks, ...]
    memory: Memory
    spikes: FrozenSet[Value]


def planned(
    graph: StepGraph,
    type_of: Optional[Callable[[TaskList, Value], str]] = None,
    tasks: Optional[TaskList] = None,
) -> ProgramPlan:
    """Plan a step of one sample.

    Args:
        graph: the step, with batch_size 1.
        type_of: the type of an array in the target, a name; default: its dtype. Types do not share memory.
        tasks: the step's tasks, where they are known already.

    Raises:
        ExportError: a word cannot be planned; names the layer.
    """
    if graph.batch_size != 1:
        raise ExportError(f"the step has {graph.batch_size} samples; C computes one: record it with batch_size=1")
    tasks = tasks or lowered(graph)
    stages = scheduled(tasks)
    name = type_of or (lambda every, value: every.dtypes[value])
    memory = placed(tasks, stages, lambda value: name(tasks, value))
    return ProgramPlan(graph, tasks, tuple(stages), memory, frozenset(spikes_of(tasks)))

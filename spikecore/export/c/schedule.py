"""Loops made of tasks: elementwise tasks of one shape, as many as the order of the step allows, share a loop."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Set, Tuple

from spikecore.api.core.graph import Value
from spikecore.export.c.tasks import Task, TaskList
from spikecore.export.c.views import View
from spikecore.export.step_graph import Shape


@dataclass(eq=False)
class ParallelTasks:
    """Tasks that are done together: one that is not elementwise, or the body of a loop.

    Args:
        shape: of the loop, without axes of size one; None for a task that is not elementwise.
        tasks: in order.
    """

    shape: Optional[Shape]
    tasks: List[Task] = field(default_factory=list)

    @property
    def loop(self) -> bool:
        """Whether the tasks are the body of a loop over elements."""
        return self.shape is not None

    @property
    def layers(self) -> Set[str]:
        """Names of the layers whose words the tasks are."""
        return {task.layer for task in self.tasks}

    def reads(self, value: Value) -> List[View]:
        """The operands of its tasks that are numbers of an array."""
        return [view for task in self.tasks for view in task.views() if view.root == value]


def scheduled(tasks: TaskList) -> List[ParallelTasks]:
    """The stages of a step, in order.

    A task joins the last loop of its shape that runs when its operands are there, if that loop belongs to the same
    layer, makes one of the operands, or is the last stage. Then each task whose readers are all in one later loop of
    its shape moves there, so that its result needs no memory.
    """
    stages: List[ParallelTasks] = []
    ready: Dict[Value, Tuple[int, bool]] = {}  # the last stage that writes an array; whether a single task does
    for task in tasks.tasks:
        shape = task.to.squeezed().shape if task.elementwise else None
        place = _place(stages, ready, tasks, task, shape)
        if place is None:
            stages.append(ParallelTasks(shape))
            place = len(stages) - 1
        stages[place].tasks.append(task)
        ready[task.out] = max(place, ready.get(task.out, (0, True))[0]), task.to.full(tasks.size(task.out))
    _sink(stages, tasks)
    return [stage for stage in stages if stage.tasks]


def _place(
    stages: List[ParallelTasks],
    ready: Dict[Value, Tuple[int, bool]],
    tasks: TaskList,
    task: Task,
    shape: Optional[Shape],
) -> Optional[int]:
    """The loop that a task can join."""
    if shape is None:
        return None
    earliest, makers = 0, set()
    for view in task.views():
        if view.root not in ready:
            continue  # input, state or constant
        maker, whole = ready[view.root]
        beside = whole and stages[maker].shape == shape and view.full(tasks.size(view.root))
        earliest = max(earliest, maker if beside else maker + 1)
        makers.add(maker)
    if task.over:
        earliest = max(earliest, ready[task.out][0] + 1)
    for place in range(len(stages) - 1, earliest - 1, -1):
        near = place == len(stages) - 1 or place in makers or task.layer in stages[place].layers
        if stages[place].shape == shape and near:
            return place
    return None


def _sink(stages: List[ParallelTasks], tasks: TaskList) -> None:
    """Move tasks to the only loop that reads what they make."""
    ends, writers = set(tasks.ends()), Counter(task.out for task in tasks.tasks)
    for place in range(len(stages) - 1, -1, -1):
        stage = stages[place]
        for task in list(reversed(stage.tasks)) if stage.loop else ():
            size = tasks.size(task.out)
            if task.out in ends or writers[task.out] > 1 or not task.to.full(size):
                continue  # a border must be there before what stands within it
            readers = [i for i in range(place, len(stages)) if stages[i].reads(task.out)]
            if len(readers) != 1 or readers[0] == place or stages[readers[0]].shape != stage.shape:
                continue
            if all(view.full(size) for view in stages[readers[0]].reads(task.out)):
                stage.tasks.remove(task)
                stages[readers[0]].tasks.insert(0, task)

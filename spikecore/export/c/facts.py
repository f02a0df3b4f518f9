"""The arrays of a step that hold spikes, 0 or 1: this follows from the words, without a run of the network."""

from __future__ import annotations

from typing import Dict, List, Set

import numpy as np

from spikecore.api.core.graph import Value
from spikecore.export.c.tasks import Operand, Task, TaskList
from spikecore.export.c.views import View

#: Words that give 0 or 1 if all their operands are.
CLOSED = frozenset("copy multiply maximum minimum abs max min round floor ceil sqrt clip".split())


def spikes_of(tasks: TaskList) -> Set[Value]:
    """The arrays in which every number is 0 or 1.

    A state is taken for one if it is at rest; where the step does not lead to one again, the search begins anew
    without it.
    """
    hoped = {state.before for state in tasks.states if np.isin(state.rest, (0, 1)).all()}
    while True:
        spikes = _found(tasks, hoped)
        kept = {state.before for state in tasks.states if state.before in hoped and state.after in spikes}
        if kept == hoped:
            return spikes
        hoped = kept


def _found(tasks: TaskList, hoped: Set[Value]) -> Set[Value]:
    found = {value for value, array in tasks.constants.items() if np.isin(array, (0, 1)).all()} | hoped
    writers: Dict[Value, List[Task]] = {}
    for task in tasks.tasks:
        writers.setdefault(task.out, []).append(task)
    for task in tasks.tasks:  # the last of several that fill an array decides; before it, nobody reads the array
        if all(_gives_spikes(each, found, tasks) for each in writers[task.out]):
            found.add(task.out)
    return found


def _gives_spikes(task: Task, found: Set[Value], tasks: TaskList) -> bool:
    def binary(operand: Operand) -> bool:
        return operand.root in found if isinstance(operand, View) else operand in (0, 1)

    if task.word == "spike" or tasks.dtypes[task.out] == "bool":
        return True
    if task.word == "astype":
        source = task.views()[0].root
        return tasks.dtypes[source] == "bool" or source in found
    if task.word == "where":
        return all(map(binary, task.reads[1:]))
    if task.word == "window":
        return task.options["kind"] == "max" and not any(task.options["padding"]) and binary(task.reads[0])
    if task.word == "clip":
        return task.options["low"] <= 0 and task.options["high"] >= 1 and binary(task.reads[0])
    if task.word == "subtract":
        return not isinstance(task.reads[0], View) and task.reads[0] == 1 and binary(task.reads[1])
    return task.word in CLOSED and all(map(binary, task.reads))

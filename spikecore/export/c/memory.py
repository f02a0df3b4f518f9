"""Places of arrays: the caller's arrays, states, or scratch memory that values share one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, List, Tuple

from spikecore.api.core.graph import Value
from spikecore.export.c.schedule import ParallelTasks
from spikecore.export.c.tasks import TaskList
from spikecore.export.step_graph import StepState


@dataclass(frozen=True)
class Place:
    """The place of an array.

    Args:
        kind: "in", "out", "state", "constant", "scratch", or "local" for numbers that a loop uses at once.
        pool: of scratch, the memory of one type: its name is the type's.
        first: of scratch, the first number in the pool.
        state: of a state, its name.
    """

    kind: str
    pool: str = ""
    first: int = 0
    state: str = ""


@dataclass(frozen=True)
class Memory:
    """The places of all arrays of a step.

    Args:
        places: of each array.
        pools: the numbers in each pool of scratch.
        commits: states whose new values are in scratch until the step ends.
    """

    places: Dict[Value, Place]
    pools: Dict[str, int]
    commits: Tuple[StepState, ...]


def placed(tasks: TaskList, stages: List[ParallelTasks], type_of: Callable[[Value], str]) -> Memory:
    """Find a place for each array.

    Args:
        tasks, stages: the step.
        type_of: the type of an array's numbers in the target; types do not share memory.
    """
    first, last = _lifetimes(stages)
    places = {tasks.x: Place("in"), tasks.output: Place("out")}
    places.update((value, Place("constant")) for value in tasks.constants)
    places.update((s.before, Place("state", state=s.name)) for s in tasks.states)
    commits = []
    for state in tasks.states:
        if _in_place(tasks, stages, state, first[state.after]):
            places[state.after] = Place("state", state=state.name)
        else:
            commits.append(state)
            last[state.after] = len(stages)
    pools: Dict[str, int] = {}
    held: List[Tuple[int, Value]] = []  # the last stage that reads an array in scratch
    for index, stage in enumerate(stages):
        dying = [value for end, value in held if end == index]
        for value in dict.fromkeys(task.out for task in stage.tasks):
            if value in places:
                continue
            if stage.loop and last.get(value, -1) == index and first[value] == index:
                places[value] = Place("local")
                continue
            pool, size = type_of(value), tasks.size(value)
            heir = next((v for v in dying if _may_follow(tasks, stage, v, value, places, pool)), None)
            if heir is not None:
                dying.remove(heir)
                at = places[heir].first
            else:
                at = _gap([(places[v].first, tasks.size(v)) for _, v in held if places[v].pool == pool], size)
            places[value] = Place("scratch", pool, at)
            pools[pool] = max(pools.get(pool, 0), at + size)
            held.append((max(last.get(value, index), index), value))
        held = [(end, value) for end, value in held if end > index]
    return Memory(places, pools, tuple(commits))


def _lifetimes(stages: List[ParallelTasks]) -> Tuple[Dict[Value, int], Dict[Value, int]]:
    """The first stage that writes each array, and the last one that reads it."""
    first: Dict[Value, int] = {}
    last: Dict[Value, int] = {}
    for index, stage in enumerate(stages):
        for task in stage.tasks:
            first.setdefault(task.out, index)
            last[task.out] = max(last.get(task.out, -1), index if first[task.out] != index else -1)
            for view in task.views():
                last[view.root] = max(last.get(view.root, -1), index)
    return first, last


def _in_place(tasks: TaskList, stages: List[ParallelTasks], state: StepState, written: int) -> bool:
    """Whether a state's new values may take the place of the old ones when they are computed."""
    size = tasks.size(state.before)
    for index in range(written, len(stages)):
        for view in stages[index].reads(state.before):
            if index > written or not (stages[index].loop and view.full(size)):
                return False
    return all(task.to.full(size) for stage in stages for task in stage.tasks if task.out == state.after)


def _may_follow(
    tasks: TaskList, stage: ParallelTasks, old: Value, new: Value, places: Dict[Value, Place], pool: str
) -> bool:  # fmt: skip
    """Whether a loop may write an array over one that it reads for the last time."""
    size = tasks.size(new)
    return (
        stage.loop
        and places[old].pool == pool
        and tasks.size(old) == size
        and all(view.full(size) for view in stage.reads(old))
        and all(task.to.full(size) for task in stage.tasks if task.out == new)
        and all(task.out != old for task in stage.tasks)
    )


def _gap(taken: List[Tuple[int, int]], size: int) -> int:
    """The first place in scratch where ``size`` numbers fit between those that are taken."""
    at = 0
    for begin, length in sorted(taken):
        if begin - at >= size:
            break
        at = max(at, begin + length)
    return at

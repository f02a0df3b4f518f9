"""Simplifications for integers: the rounding of whole numbers, and quantisers of numbers that are on their grid."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Dict, List, Mapping, Optional, Set, Tuple

from spikecore.api.core.graph import Value
from spikecore.export.c.fixed import Fixed
from spikecore.export.c.fixed_rules import KnownTask, bounds, reciprocal_kind
from spikecore.export.c.tasks import Operand, Task, TaskList
from spikecore.export.c.views import View

#: An array that is another one times a power of two: that one, and the exponent.
Scaled = Tuple[Value, int]


def simplified(tasks: TaskList, formats: Mapping[Value, Fixed], calls: Mapping[Task, KnownTask]) -> TaskList:
    """The same step without tasks whose result is equal to an array that exists already.

    A ``clip`` of what ``floor`` has given is the end of a quantiser: it gets the option "counted".

    Args:
        tasks: the step.
        formats: the numbers of each array.
        calls: each task with what is known of its operands.
    """
    scaled: Dict[Value, Scaled] = {}
    wholes: Dict[Value, View] = {}  # of a whole number plus a fraction: the whole number, which ``floor`` gives back
    writes, ends, kept = Counter(task.out for task in tasks.tasks), tasks.ends(), []
    floors = {task.out for task in tasks.tasks if task.word == "floor"}
    for task in tasks.tasks:
        known, task = calls[task], replace(task, reads=tuple(_through(scaled, read) for read in task.reads))
        if task.word == "clip" and known.task.views()[0].root in floors:
            task = replace(task, options={**task.options, "counted": True})
        place = _operand(tasks, task, known)
        if place is not None and writes[task.out] == 1:
            view = task.reads[place]
            assert isinstance(view, View)
            if task.word == "floor" and view.root in wholes:
                view = wholes[view.root]
                task = replace(task, reads=(view,))
            if task.word == "add" and formats[view.root].fraction <= 0 and _below_one(known.given[1 - place]):
                wholes[task.out] = view
            exponent = _exponent(task, known, place, formats[view.root])
            if exponent is not None:
                root, before = scaled.get(view.root, (view.root, 0))
                scaled[task.out] = root, before + exponent
                if before + exponent == 0 and task.out not in ends:
                    continue
        kept.append(task)
    return replace(tasks, tasks=_needed(kept, ends))


def _through(scaled: Mapping[Value, Scaled], read: Operand) -> Operand:
    if isinstance(read, View) and scaled.get(read.root, (None, 1))[1] == 0:
        return View(scaled[read.root][0], read.places, read.offset)
    return read


def _operand(tasks: TaskList, task: Task, known: KnownTask) -> Optional[int]:
    """Which operand is an array of the size of the result, whole and in order, the others being constants."""
    arrays = [i for i, constant in enumerate(known.constants) if constant is None]
    if not task.elementwise or len(arrays) != 1 or len(task.reads) > 2:
        return None
    view, size = task.reads[arrays[0]], tasks.size(task.out)
    full = isinstance(view, View) and view.full(size) and tasks.size(view.root) == size and task.to.full(size)
    return arrays[0] if full else None


def multiplied(tasks: TaskList, task: Task, known: KnownTask) -> Optional[int]:
    """The n with which a task gives an array, whole and in order, times 2^n; None if it does something else."""
    place = _operand(tasks, task, known)
    return None if place is None else _exponent(task, known, place, known.given[place])


def _below_one(kind: Fixed) -> bool:
    return kind.low == kind.high and kind.fraction > 0 and kind.low >> kind.fraction == 0


def _exponent(task: Task, known: KnownTask, place: int, operand: Fixed) -> Optional[int]:
    """The n with which a task multiplies by 2^n; None if it does something else."""
    if task.word in ("multiply", "divide"):
        factor = known.given[1 - place] if task.word == "multiply" else reciprocal_kind(known)
        return -factor.fraction if factor.low == factor.high == 1 and (place == 0 or task.word == "multiply") else None
    if task.word == "floor":
        return 0 if operand.fraction <= 0 else None
    return 0 if task.word == "clip" and bounds(task, operand) == (None, None) else None


def _needed(tasks: List[Task], ends: List[Value]) -> List[Task]:
    wanted: Set[Value] = set(ends)
    kept = []
    for task in reversed(tasks):
        if task.out in wanted:
            kept.append(task)
            wanted.update(view.root for view in task.views())
    return kept[::-1]

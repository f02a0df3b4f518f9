"""Running workloads."""

from __future__ import annotations

import base64
import pickle
import statistics
import warnings
from dataclasses import asdict, replace
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from benchmarks.clock import interleaved, synchroniser, wall
from benchmarks.parity import Parity, compare
from benchmarks.plan import Absent, Group, Run, Settings, Side, Workload
from benchmarks.process import in_a_process
from benchmarks.report import Row, Section
from benchmarks.workloads import WORKLOADS
from spikecore.api.training.progress import Progress


def run(
    chosen: Iterable[Workload],
    settings: Settings,
    rounds: int = 15,
    progress: Optional[bool] = None,
    say: Callable[[Section], None] = lambda section: None,
) -> List[Section]:
    """Measure workloads.

    Each group has a process of its own. Quick ones, whose times mean nothing, and workloads that are not in
    ``WORKLOADS`` run in this one.

    Args:
        chosen: which.
        settings: device, peers and so on.
        rounds: how often each side is timed, after its warm-up.
        progress: whether to show a bar; None shows it on a terminal.
        say: called with each workload's result as soon as there is one.

    Returns:
        One section per workload.
    """
    sections = []
    for workload in chosen:
        rows: List[Row] = []
        for index, group in enumerate(workload.groups(settings)):
            if settings.quick or WORKLOADS.get(workload.name) is not workload:
                rows += measured(group, settings, rounds, f"{workload.name}: ", progress)
            else:
                rows += measured_apart(workload.name, index, settings, rounds, progress)
        sections.append(Section(workload.name, workload.title, workload.text, tuple(rows)))
        say(sections[-1])
    return sections


def measured_apart(workload: str, index: int, settings: Settings, rounds: int, progress: Optional[bool]) -> List[Row]:
    """The rows of one of a workload's groups, measured in a process of its own (``subprocess_group``).

    Args:
        workload: name, as in ``WORKLOADS``.
        index: of the group.
        settings, rounds, progress: see ``run``.

    Raises:
        RuntimeError: the process failed; it has said why on standard error.
    """
    request = {"workload": workload, "index": index, "rounds": rounds, "progress": progress}
    name = f"bench: group {index + 1} of {workload}"
    packed = in_a_process("benchmarks.subprocess_group", {**request, "settings": asdict(settings)}, aloud=name)
    rows: List[Row] = pickle.loads(base64.b64decode(packed))  # noqa: S301  (our own process's)
    return rows


def measured(
    group: Group, settings: Settings, rounds: int, prefix: str = "", progress: Optional[bool] = False
) -> List[Row]:
    """The rows of one group."""
    rounds = min(rounds, group.rounds or rounds)
    wait = synchroniser(settings.device)
    measure = wall(wait) if group.unit == "ms" else lambda run: (run(), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # peers warn of their own affairs
        sides = [side for side in group.sides if settings.wants(side)]
        reference = group.reference()()() if group.reference is not None else None
        runs, parities, notes = _prepared(sides, reference)
        bar = Progress(f"{prefix}{group.title}", len(runs) * (rounds + group.warmup), progress, unit="run")
        try:
            figures = interleaved(runs, rounds, group.warmup, measure, lambda name: bar.update(side=name))
        finally:
            bar.close()
    bars = () if settings.quick else group.bars  # bars are set for real sizes
    return _rows(replace(group, bars=bars), sides, figures, parities, notes)


Note = Tuple[str, bool]


def _prepared(sides: List[Side], reference: Any) -> Tuple[Dict[str, Run], Dict[str, Parity], Dict[str, Note]]:
    """Runs, parity of each one's first run, and why some do not run.

    An error of this library's own sides is raised; one of a peer's, whose versions come and go, is told in its row.
    """
    runs, parities, notes = {}, {}, {}
    for side in sides:
        try:
            made = side.ready()
            if reference is not None:
                evidence = made()()
                if evidence:
                    parities[side.name] = compare(evidence, reference)
            runs[side.name] = made
        except Absent as reason:
            notes[side.name] = (str(reason), False)
        except Exception as error:
            if side.peer is None:
                raise
            notes[side.name] = (f"failed: {type(error).__name__}: {' '.join(str(error).split())[:120]}", True)
    return runs, parities, notes


def _rows(
    group: Group,
    sides: List[Side],
    figures: Dict[str, List[float]],
    parities: Dict[str, Parity],
    notes: Dict[str, Note],
) -> List[Row]:
    medians = {name: statistics.median(found) for name, found in figures.items()}
    first = next((medians[side.name] for side in sides if side.name in medians), None)
    rows = []
    for side in sides:
        if side.name not in medians:
            note, failed = notes[side.name]
            rows.append(Row(group.title, side.name, group.unit, note=note, failed=failed))
            continue
        bars = tuple((bar, _found(bar, medians)) for bar in group.bars if bar.side == side.name)
        relative = medians[side.name] / first if first else None
        found = tuple(figures[side.name])
        rows.append(Row(group.title, side.name, group.unit, found, relative, parities.get(side.name), bars))
    return rows


def _found(bar: Any, medians: Dict[str, float]) -> Optional[float]:
    """The figure that a bar judges."""
    if bar.against is None:
        return medians[bar.side]
    return medians[bar.side] / medians[bar.against] if bar.against in medians else None

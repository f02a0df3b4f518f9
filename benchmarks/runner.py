"""Measurement of workloads."""

from __future__ import annotations

import base64
import json
import pickle
import statistics
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

from benchmarks import peak, rates
from benchmarks.clock import interleaved, synchroniser, wall
from benchmarks.lines import Lines
from benchmarks.parity import Parity, compare
from benchmarks.plan import Absent, Group, Run, Settings, Side, Workload
from benchmarks.process import in_a_process
from benchmarks.report import Row, Section, of_plain, plain
from benchmarks.workloads import WORKLOADS
from spikecore.progress import Progress


def run(
    chosen: Iterable[Workload],
    settings: Settings,
    rounds: int = 15,
    progress: Optional[bool] = None,
    say: Callable[[Section], None] = lambda section: None,
    lines: Optional[Path] = None,
) -> List[Section]:
    """Measure workloads.

    Each group runs in a separate process. With ``quick``, whose times mean nothing, and for workloads that are not in
    ``WORKLOADS``, it runs in this process.

    Args:
        chosen: the workloads.
        settings: device, engines, peers and sizes.
        rounds: how often each side is timed, after its warm-up.
        progress: whether to show a progress bar; None shows it on a terminal.
        say: called with the result of each workload when it is finished.
        lines: a file that gets a line of JSON for each group; a group whose line it has is not measured again.

    Returns:
        One section per workload.
    """
    sections, kept = [], Lines(lines, aloud=False)
    told = json.loads(json.dumps({"settings": asdict(settings), "rounds": rounds}))
    for workload in chosen:
        rows: List[Row] = []
        for index, group in enumerate(workload.groups(settings)):

            def measure(group: Group = group, index: int = index, workload: Workload = workload) -> Dict[str, Any]:
                if settings.quick or WORKLOADS.get(workload.name) is not workload:
                    found = measured(group, settings, rounds, f"{workload.name}: ", progress)
                else:
                    found = measured_apart(workload.name, index, settings, rounds, progress)
                return {"rows": [plain(row) for row in found]}

            line = kept.of({"workload": workload.name, "group": group.title, **told}, measure)
            rows += map(of_plain, line["rows"])
        summary = "" if workload.summary is None else workload.summary(rows)
        sections.append(Section(workload.name, workload.title, workload.text, tuple(rows), summary=summary))
        say(sections[-1])
    return sections


def measured_apart(workload: str, index: int, settings: Settings, rounds: int, progress: Optional[bool]) -> List[Row]:
    """Measure one group of a workload in a separate process (``subprocess_group``).

    Args:
        workload: name of the workload in ``WORKLOADS``.
        index: number of the group, from 0.
        settings, rounds, progress: see ``run``.

    Raises:
        RuntimeError: the process failed; the reason is on standard error.
    """
    request = {"workload": workload, "index": index, "rounds": rounds, "progress": progress}
    name = f"bench: group {index + 1} of {workload}"
    packed = in_a_process("benchmarks.subprocess_group", {**request, "settings": asdict(settings)}, aloud=name)
    rows: List[Row] = pickle.loads(base64.b64decode(packed))  # noqa: S301  (from our own process)
    return rows


def measured(
    group: Group, settings: Settings, rounds: int, prefix: str = "", progress: Optional[bool] = False
) -> List[Row]:
    """Measure one group in this process; ``prefix`` is the start of the progress bar's text, else see ``run``."""
    rounds = min(rounds, group.rounds or rounds)
    wait = synchroniser(settings.device)
    measure = wall(wait) if group.unit == "ms" else lambda run: (run(), None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # warnings of other libraries would break up the tables
        sides = [side for side in group.sides if settings.wants(side)]
        reference = group.reference()()() if group.reference is not None and sides else None
        known = group.rates() if group.rates is not None and sides else {}
        runs, checks, notes = _prepared(sides, reference, known)
        bar = Progress(f"{prefix}{group.title}", len(runs) * (rounds + group.warmup), progress, unit="run")
        try:
            figures = interleaved(runs, rounds, group.warmup, measure, lambda name: bar.update(side=name))
        finally:
            bar.close()
        measured_too = runs if group.memory else {}
        memory = {name: peak.measured(run, settings.device, warm=False) for name, run in measured_too.items()}
    bars = () if settings.quick else group.bars  # bars hold for full sizes only
    rows = _rows(replace(group, bars=bars), sides, figures, checks, notes)
    return [replace(row, memory=memory.get(row.side)) for row in rows]


Note = Tuple[str, bool]
Check = Tuple[Optional[Parity], rates.Rates]


def _prepared(
    sides: List[Side], reference: Any, known: rates.Rates
) -> Tuple[Dict[str, Run], Dict[str, Check], Dict[str, Note]]:
    """The runs; parity and rates of the first run of each side; and the reasons why sides do not run.

    ``known`` are rates that hold for all sides.

    An error in a side of this library is raised. An error in a peer, whose interface may change with its version, is
    written to its row.
    """
    runs, checks, notes = {}, {}, {}
    for side in sides:
        try:
            run = side.ready()
            evidence = run()() if reference is not None else {}
            parity = compare(evidence, reference) if evidence else None
            checks[side.name] = parity, {**known, **rates.of_evidence(evidence)}
            runs[side.name] = run
        except Absent as reason:
            notes[side.name] = (str(reason), False)
        except Exception as error:
            if side.peer is None:
                raise
            notes[side.name] = (f"failed: {type(error).__name__}: {' '.join(str(error).split())[:120]}", True)
    return runs, checks, notes


def _rows(
    group: Group,
    sides: List[Side],
    figures: Dict[str, List[float]],
    checks: Dict[str, Check],
    notes: Dict[str, Note],
) -> List[Row]:
    medians = {name: statistics.median(values) for name, values in figures.items()}
    first = next((medians[side.name] for side in sides if side.name in medians), None)
    rows = []
    for side in sides:
        if side.name not in medians:
            note, failed = notes[side.name]
            rows.append(Row(group.title, side.name, group.unit, note=note, failed=failed))
            continue
        bars = tuple((bar, _ratio(bar, medians)) for bar in group.bars if bar.side == side.name)
        relative = medians[side.name] / first if first else None
        values, (parity, found) = tuple(figures[side.name]), checks[side.name]
        rows.append(Row(group.title, side.name, group.unit, values, relative, parity, bars, rates=found))
    return rows


def _ratio(bar: Any, medians: Dict[str, float]) -> Optional[float]:
    """The ratio of two medians, or the median, that a bar limits; None if the other side did not run."""
    if bar.against is None:
        return medians[bar.side]
    return medians[bar.side] / medians[bar.against] if bar.against in medians else None

"""Steps as processes with time limits."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, Callable, Dict, List, Sequence

from benchmarks.gpu.plan import Step
from benchmarks.process import ROOT

LEAST = 3.0  # seconds in which a step could do anything
FLOOR = 45.0  # seconds that a step may take whatever its share, if there is so much time left
GRACE = 5.0  # seconds between the request to end and the end by force


@dataclass(frozen=True)
class Result:
    """What became of a step.

    Args:
        name, title: those of the step.
        status: "passed", "failed", "timed out", or "not run" where something that it needs is absent.
        seconds: how long it ran.
        limit: how long it might have run.
        reason: why it did not run or end; else "".
        checks: number of checks.
        failures: what was wrong.
        notes: sentences for the reader.
        tables: rows by the title of their table.
    """

    name: str
    title: str
    status: str
    seconds: float
    limit: float
    reason: str = ""
    checks: int = 0
    failures: List[str] = field(default_factory=list)
    notes: List[str] = field(default_factory=list)
    tables: Dict[str, List[Dict[str, Any]]] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        """Whether nothing was wrong; a step that cannot run here has not failed."""
        return self.status in ("passed", "not run")


def run(
    steps: Sequence[Step],
    budget: float,
    rehearse: bool,
    log: Path,
    environment: Dict[str, str],
    ready: Callable[[List[Result]], None] = lambda results: None,
) -> List[Result]:
    """Run steps one after the other, whatever becomes of each.

    Args:
        steps: the steps.
        budget: seconds for all of them. A step may take its share of what is left when it begins, and ``FLOOR`` in any
            case.
        rehearse: whether to rehearse on the CPU.
        log: file for everything that the steps print.
        environment: environment variables of their processes.
        ready: called with the results so far after each step.
    """
    begun, results = time.monotonic(), []
    with open(log, "w", encoding="utf-8") as output:
        for place, step in enumerate(steps):
            left = budget - (time.monotonic() - begun)
            share = left * step.share / sum(later.share for later in steps[place:])
            limit = min(left, max(share, FLOOR))
            output.write(f"\n######## {step.name}: {step.title} (at most {limit:.0f} s)\n")
            output.flush()
            results.append(run_step(step, limit, rehearse, output, environment))
            ready(results)
    return results


def run_step(step: Step, limit: float, rehearse: bool, output: IO[str], environment: Dict[str, str]) -> Result:
    """Run one step for at most ``limit`` seconds; what it prints goes to ``output``."""
    if limit < LEAST:
        return Result(step.name, step.title, "timed out", 0.0, max(limit, 0.0), "the budget was spent before it began")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.gpu.step", step.function, str(path)]
        begun = time.monotonic()
        process = subprocess.Popen(
            [*command, *(["--rehearse"] if rehearse else [])],
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            _end(process)
        seconds = round(time.monotonic() - begun, 1)
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    status, reason = _verdict(code, limit, found)
    known = {name: found[name] for name in ("checks", "failures", "notes", "tables") if name in found}
    return Result(step.name, step.title, status, seconds, round(limit, 1), reason, **known)


def _verdict(code: Any, limit: float, found: Dict[str, Any]) -> Any:
    """Status and reason of a step that left with ``code``, or None if it did not leave in time."""
    if code is None:
        return "timed out", f"ended after {limit:.0f} s; what it had found until then is below"
    if not found.get("finished"):
        ending = f"signal {signal.Signals(-code).name}" if code < 0 else f"code {code}"
        return "failed", f"its process left with {ending} before it was done"
    if found["absent"]:
        return "not run", found["absent"]
    if found["failures"]:
        return "failed", ""
    return ("passed", "") if found["checks"] else ("failed", "it checked nothing")


def _end(process: Any) -> None:
    """End a step's process if it still runs, and whatever it has started."""
    if process.poll() is None:
        _signal(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    _signal(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # a driver that hangs may keep it, but not the other steps
        process.wait(GRACE)


def _signal(group: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # nobody is left; macOS says the latter of zombies
        os.killpg(group, number)


def plain(results: Sequence[Result]) -> List[Dict[str, Any]]:
    """Results for JSON."""
    return [asdict(result) for result in results]

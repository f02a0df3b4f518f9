"""The report of a run: which parts of the library an engine passes, fails or skips, and why; and its badge."""

from __future__ import annotations

import platform
from collections import Counter
from typing import Any, Dict, List, Mapping, NamedTuple, Sequence

import numpy as np

import spikecore as sc
from spikecore.conformance.parts import KINDS, Part

VERDICTS = ("passed", "failed", "skipped")


class Outcome(NamedTuple):
    """The result of one test on one engine."""

    engine: str  # its label
    test: str
    parts: Sequence[Part]
    verdict: str  # one of VERDICTS
    why: str = ""  # the reason of a skip, the line that says what failed


class SuiteRun(NamedTuple):
    """All outcomes of a run, what was left out of it, and the engines."""

    outcomes: Sequence[Outcome]
    engines: Mapping[str, str]  # what each engine says of itself, by label
    missing: Mapping[str, str]  # engines that are not here, and why
    deselected: int = 0  # tests that options of pytest have left out
    not_run: Sequence[str] = ()  # files that could not run, and why


def as_data(run: SuiteRun) -> Dict[str, Any]:
    """The report as JSON has it. Its layout keeps within one version of spikecore."""
    return {
        "kit": version(),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "whole": not run.deselected and not run.not_run,
        "deselected": run.deselected,
        "not run": list(run.not_run),
        "missing engines": dict(run.missing),
        "engines": {
            label: {"engine": about, **_of_engine([one for one in run.outcomes if one.engine == label])}
            for label, about in run.engines.items()
        },
    }


def version() -> str:
    """The version of the suite, which is spikecore's."""
    return str(sc.__version__)


def _of_engine(outcomes: Sequence[Outcome]) -> Dict[str, Any]:
    parts: Dict[str, Dict[str, Counter[str]]] = {kind: {} for kind in KINDS}
    for one in outcomes:
        for kind, name in one.parts:
            parts[kind].setdefault(name, Counter())[one.verdict] += 1
    counts = Counter(one.verdict for one in outcomes)
    reasons = Counter(one.why for one in outcomes if one.verdict == "skipped")
    return {
        **{verdict: counts[verdict] for verdict in VERDICTS},
        "parts": {
            kind: {
                name: {"verdict": verdict_of(found), **{verdict: found[verdict] for verdict in VERDICTS}}
                for name, found in sorted(parts[kind].items())
            }
            for kind in KINDS
        },
        "skips": [{"reason": reason, "cases": cases} for reason, cases in reasons.most_common()],
        "failures": [{"test": one.test, "why": one.why} for one in outcomes if one.verdict == "failed"],
    }


def verdict_of(counts: Mapping[str, int]) -> str:
    """A part fails with its first case that fails, and is skipped if all its cases are."""
    return next(verdict for verdict in ("failed", "passed", "skipped") if counts[verdict])


# ---- for people ----------------------------------------------------------------------------------------------------


def as_markdown(data: Mapping[str, Any]) -> str:
    """The report as a page."""
    lines = ["# Conformance", "", f"spikecore {data['kit']}, Python {data['python']}, NumPy {data['numpy']}.", ""]
    lines += [f"**Not the whole suite**: {why}." for why in left_out(data)]
    for label, found in data["engines"].items():
        lines += ["", f"## {label}", "", f"`{found['engine']}`: {summary(found)}.", ""]
        lines += ["| | pass | fail | skipped |", "|---|---|---|---|"]
        for kind in _kinds(found):
            by = {verdict: _names(found, kind, verdict) for verdict in VERDICTS}
            lines.append(f"| {kind} | {len(by['passed'])} | {', '.join(by['failed'])} | {', '.join(by['skipped'])} |")
        for title, rows in (
            ("Skipped", [f"- {row['cases']} cases: {row['reason']}" for row in found["skips"]]),
            ("Failures", [f"- `{row['test']}`: {row['why']}" for row in found["failures"]]),
            ("Passed", [f"- {kind}: {', '.join(_names(found, kind, 'passed'))}" for kind in _kinds(found)]),
        ):
            lines += ["", f"### {title}", "", *rows] if rows else []
    return "\n".join(lines) + "\n"


def as_lines(data: Mapping[str, Any]) -> List[str]:
    """The report in a few lines, for a terminal."""
    lines = [f"not the whole suite: {why}" for why in left_out(data)]
    for label, found in data["engines"].items():
        lines.append(f"{label}: {summary(found)}")
        for kind in _kinds(found):
            good, failed, skipped = (_names(found, kind, verdict) for verdict in ("passed", "failed", "skipped"))
            rest = [f"{verb} {', '.join(names)}" for verb, names in (("fail:", failed), ("skipped:", skipped)) if names]
            lines.append(
                "; ".join([f"  {kind:11} {len(good)} of {len(good) + len(failed) + len(skipped)} pass", *rest])
            )
        lines += [f"  {row['cases']} skipped: {row['reason']}" for row in found["skips"]]
    return lines


def summary(found: Mapping[str, Any]) -> str:
    """E.g. "3580 cases passed, 2 failed"."""
    rest = "".join(f", {found[verdict]} {verdict}" for verdict in ("failed", "skipped") if found[verdict])
    return f"{found['passed']} cases passed{rest}"


def left_out(data: Mapping[str, Any]) -> List[str]:
    """The reasons why this is not the report of the whole suite; nothing if it is."""
    options = [f"options of pytest left out {data['deselected']} tests"] if data["deselected"] else []
    return [*options, *data["not run"]]


def _kinds(found: Mapping[str, Any]) -> List[str]:
    return [kind for kind in KINDS if found["parts"][kind]]


def _names(found: Mapping[str, Any], kind: str, verdict: str) -> List[str]:
    return [name for name, row in found["parts"][kind].items() if row["verdict"] == verdict]


def badge(data: Mapping[str, Any]) -> Dict[str, Any]:
    """Data for a badge of https://shields.io/badges/endpoint-badge: green if every case of the suite passed."""
    counts = {verdict: sum(found[verdict] for found in data["engines"].values()) for verdict in VERDICTS}
    total = counts["passed"] + counts["failed"]
    message = f"{counts['failed']} of {total} fail" if counts["failed"] else f"{counts['passed']} passed"
    skipped = f", {counts['skipped']} skipped" if counts["skipped"] else ""
    partly = "" if data["whole"] else ", not the whole suite"
    good = "brightgreen" if data["whole"] and not counts["skipped"] else "yellowgreen"
    color = "red" if counts["failed"] or not total else good
    label = f"spikecore {data['kit']} conformance"
    return {"schemaVersion": 1, "label": label, "message": f"{message}{skipped}{partly}", "color": color}

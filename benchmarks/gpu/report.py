"""The results as ``gpu.json`` and ``gpu.md``; those of a rehearsal as ``rehearsal.json`` and ``rehearsal.md``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Dict, List, Sequence

from benchmarks.gpu.runner import Result, plain

REHEARSAL = (
    "**A rehearsal on the CPU.** It shows that the steps run, in tiny sizes and without a GPU. It measures nothing: "
    "there are no times and no card in it."
)


def write(folder: Path, facts: Dict[str, Any], results: Sequence[Result]) -> List[Path]:
    """Write both files.

    Args:
        folder: where to.
        facts: those of ``machine.facts``; its card is None in a rehearsal.
        results: the steps' results so far.
    """
    stem = "rehearsal" if facts["rehearsal"] else "gpu"
    texts = {".json": json.dumps({**facts, "steps": plain(results)}, indent=1) + "\n", ".md": markdown(facts, results)}
    paths = []
    for suffix, text in texts.items():
        paths.append(folder / f"{stem}{suffix}")
        paths[-1].write_text(text, encoding="utf-8")
    return paths


def markdown(facts: Dict[str, Any], results: Sequence[Result]) -> str:
    """A summary, and a part for each step."""
    title = "Rehearsal of the GPU run" if facts["rehearsal"] else f"GPU run on {facts['card']}"
    parts = [f"# {title}", REHEARSAL if facts["rehearsal"] else _where(facts)]
    rows = [{"step": r.name, "result": r.status, "checks": r.checks, "seconds": _seconds(facts, r)} for r in results]
    parts += [table(rows)] if rows else []
    for result in results:
        parts += _part(result)
    return "\n\n".join(parts) + "\n"


def _where(facts: Dict[str, Any]) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
    count = f"{facts['devices']} × {facts['card']}" if facts["devices"] > 1 else facts["card"]
    driver = f", driver {facts['driver']}" if facts["driver"] else ""
    return (
        f"Measured on {facts['date']} on {count} ({facts['memory_gb']} GB, compute capability {facts['capability']})"
        f"{driver}, CUDA {facts['cuda']}, {facts['cores']} cores of {facts['processor']}; Python {facts['python']}, "
        f"{versions}."
    )


def _part(result: Result) -> List[str]:
    said = f"{result.status}: {result.reason}" if result.reason else result.status
    parts = [f"## {result.title}", f"{said[0].upper()}{said[1:]}."]
    parts += result.notes
    if result.failures:
        parts.append("\n".join(f"- {failure}" for failure in result.failures))
    for title, rows in result.tables.items():
        parts += [f"**{title}**", table(rows)]
    return parts


def _seconds(facts: Dict[str, Any], result: Result) -> Any:
    return None if facts["rehearsal"] else result.seconds


def table(rows: Sequence[Dict[str, Any]]) -> str:
    """Rows as a table of Markdown; the columns are the keys, in the order in which they first appear."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    numeric = [all(isinstance(row.get(c), (int, float, type(None))) for row in rows) for c in columns]
    lines = [columns, ["--:" if number else "---" for number in numeric]]
    lines += [[_cell(row.get(column)) for column in columns] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return str(value).replace("|", "\\|").replace("\n", " ")

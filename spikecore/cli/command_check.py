"""The commands that check a network before it is trusted: ``verify``, ``check``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Dict, List, Optional

import typer

from spikecore.api.core.engines import engines
from spikecore.api.core.messages import unknown
from spikecore.cli.exit_codes import NOT_VERIFIED
from spikecore.cli.messages import ConfigError
from spikecore.cli.options import (
    ENGINE,
    JSON,
    RUN,
    SETS,
    SIMULATE,
    engine_names,
    examples,
    of_file_or_directory,
    show_json,
    simulated,
)
from spikecore.cli.run_directory import MODEL

AGAINST = typer.Option(
    None,
    metavar="NAME",
    autocompletion=engine_names,
    help="The reference engine. Default: another one than the engine.",
)
SAMPLES = typer.Option(8, min=1, help="Number of samples, taken from the start of the training set.")
TABLE = typer.Option(False, "--table", help="Show every comparison with its figures and its limit.")
FOR = typer.Option("ipu", "--for", metavar="NAME", help="The engine to check for. Only ipu has checks.")


@examples(
    "spikecore verify digits.toml --engine torch",
    "spikecore verify runs/digits-001",
    "spikecore verify runs/digits-001 --table",
    "spikecore verify runs/digits-001 --json",
)
def verify(
    run: Path = RUN,
    engine: Optional[str] = ENGINE,
    sets: Optional[List[str]] = SETS,
    against: Optional[str] = AGAINST,
    samples: int = SAMPLES,
    table: bool = TABLE,
    as_json: bool = JSON,
    simulate: bool = SIMULATE,
) -> None:
    """Verify the gradients of an engine.

    Compares the engine's gradients with those of the reference engine, and these with finite differences. A run file
    is verified with initial weights. A run directory is verified with its trained weights, and the table of every
    comparison is written to its report.txt. Exits with 1 if a gradient is not verified.
    """
    run = run.parent if run.name == MODEL else run
    job = of_file_or_directory(run, engine, simulated(sets, simulate))
    names = [known.name for known in engines()]
    if against is not None and against not in names:
        raise ConfigError([f"--against {against}: {unknown('engine', against, names)}"])
    report = job.verify(job.model(), samples, against)
    if as_json:
        show_json(_verified(report))
    else:
        print(report.table() if table else report)
    if not report.ok:
        raise typer.Exit(NOT_VERIFIED)


@examples(
    "spikecore check digits.toml --for ipu",
    "spikecore check runs/digits-001",
    "spikecore check digits.toml --json",
)
def check(run: Path = RUN, target: str = FOR, sets: Optional[List[str]] = SETS, as_json: bool = JSON) -> None:
    """Check a network for an IPU, on any machine.

    Says whether PopTorch would accept the network and compute its gradients correctly, and how large its graph is.
    Nothing is compiled. Exits with 1 if PopTorch would refuse the network.
    """
    if target != "ipu":
        raise ConfigError([f"--for {target}: must be ipu; other engines run everything and have nothing to check"])
    report = of_file_or_directory(run, None, sets).check()
    show_json({"ok": report.ok, **dataclasses.asdict(report)}) if as_json else print(report)
    if not report.ok:
        raise typer.Exit(NOT_VERIFIED)


def _verified(report: Any) -> Dict[str, Any]:
    """The report of ``verify`` for scripts."""
    return {
        "ok": report.ok,
        "verdict": report.verdict,
        "worst": report.worst,
        "worst_difference": report.worst_difference,
        "rows": [row._asdict() for row in report.rows],
        "divergences": [divergence._asdict() for divergence in report.divergences],
        "remarks": report.remarks,
        "notes": report.notes,
    }

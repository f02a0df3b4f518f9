"""The commands that check a network before it is trusted: ``verify``, ``check``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Dict, List, Optional

import typer

from spikecore.api.core.engines import engines
from spikecore.api.learning.learning import NAMES, ways
from spikecore.api.verification.learning_report import LearningReport
from spikecore.arguments import unknown
from spikecore.cli import run_reports
from spikecore.cli.exit_codes import NOT_VERIFIED
from spikecore.cli.messages import ConfigError
from spikecore.cli.options import (
    COMMAND_LINE,
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
from spikecore.cli.run_directory import MODEL, TrainingRun
from spikecore.hardware.chip_file import ChipFileError, chip, chips

IPU = "ipu"
AGAINST = typer.Option(
    None,
    metavar="NAME",
    autocompletion=engine_names,
    help="The reference engine. Default: another one than the engine.",
)
SAMPLES = typer.Option(8, min=1, metavar="N", help="Number of samples, taken from the start of the training set.")
RULE = typer.Option(
    None,
    "--learning",
    metavar="RULE",
    autocompletion=lambda incomplete: [name for name in NAMES if name.startswith(incomplete)],
    help=f"Measure how close a learning rule's gradient is to the exact one, instead: {', '.join(NAMES)}. The rule of "
    "the run file has the options that the run file gives it.",
)
TABLE = typer.Option(
    False, "--table", help="Show every comparison with its figures and its limit. --learning always shows a table."
)


def targets(incomplete: str) -> List[str]:
    """Names that ``check`` knows and that begin with ``incomplete``, for the completion of a shell."""
    return [name for name in (IPU, *chips()) if name.startswith(incomplete)]


FOR = typer.Option(
    IPU,
    "--for",
    metavar="TARGET",
    autocompletion=targets,
    help=f"{IPU}; or a chip: {', '.join(chips())}; or a chip file of your own, mychip.toml.",
)
SPIKES = typer.Option(
    None,
    "--samples",
    min=0,
    metavar="N",
    help="With a chip: number of samples, taken from the start of the training set, for the estimate of energy; 0 for "
    "none. Default: 8.",
)


@examples(
    "spikecore verify digits.toml --engine torch",
    "spikecore verify runs/digits-001",
    "spikecore verify runs/digits-001 --table",
    "spikecore verify runs/digits-001 --json",
    "spikecore verify runs/digits-001 --learning eprop",
    pages=f"“Verifying gradients” (docs/verify.md), {COMMAND_LINE}",
)
def verify(
    run: Path = RUN,
    engine: Optional[str] = ENGINE,
    sets: Optional[List[str]] = SETS,
    against: Optional[str] = AGAINST,
    samples: int = SAMPLES,
    learning: Optional[str] = RULE,
    table: bool = TABLE,
    as_json: bool = JSON,
    simulate: bool = SIMULATE,
) -> None:
    """Verify the gradients of an engine.

    Compares the engine's gradients with those of the reference engine, and these with finite differences. A run file
    is verified with initial weights. A run directory is verified with its trained weights, and the table of every
    comparison is written to its report.txt. With --learning, compares the gradient of a learning rule with the exact
    one, parameter by parameter; the report is written to learning.txt. Exits with 1 if a gradient is not verified.
    """
    if learning is not None and learning not in NAMES and learning not in ways():  # which looks at all packages
        raise ConfigError([f"--learning {learning}: {unknown('rule', learning, ways())}"])
    run = run.parent if run.name == MODEL else run
    job = of_file_or_directory(run, engine, simulated(sets, simulate))
    names = [known.name for known in engines()]
    if against is not None and against not in names:
        raise ConfigError([f"--against {against}: {unknown('engine', against, names)}"])
    if learning is None:
        report = run_reports.verify_gradients(job, job.model(), samples, against)
    else:
        report = run_reports.verify_learning(job, job.model(), learning, samples, against)
    if as_json:
        show_json(_verified(report) if learning is None else _compared(report))
    elif learning is not None:
        print(report)
    else:
        print(report.table() if table else report)
    if not report.ok:
        raise typer.Exit(NOT_VERIFIED)


@examples(
    "spikecore check digits.toml --for ipu",
    "spikecore check runs/digits-001 --for loihi2",
    "spikecore check runs/digits-001 --for cortex-m4 --samples 100",
    "spikecore check digits.toml --for mychip.toml --json",
    pages="“Chips: does it fit, and what does it cost” (docs/hardware.md), “The IPU engine” (docs/ipu.md)",
)
def check(
    run: Path = RUN,
    target: str = FOR,
    sets: Optional[List[str]] = SETS,
    samples: Optional[int] = SPIKES,
    as_json: bool = JSON,
) -> None:
    """Check a network for an IPU or for a chip, on any machine.

    For an IPU: says whether PopTorch would accept the network and compute its gradients correctly, and how large its
    graph is. For a chip: says by the chip's public numbers whether the network fits, layer by layer, what to change if
    it does not, and how much energy a sample takes where that is published. A run file is checked with initial weights,
    a run directory with its trained weights. Nothing is compiled. Exits with 1 if the network is refused or does not
    fit.
    """
    if target == IPU and samples is not None:
        raise ConfigError([f"--samples {samples}: is for chips; leave it out with --for {IPU}"])
    if target != IPU and not target.endswith(".toml") and target not in chips():
        raise ConfigError([f"--for {target}: {unknown('target', target, targets(''))}; or a chip file, mychip.toml"])
    report = _checked(of_file_or_directory(run, None, sets), target, samples)
    if as_json:
        show_json(report.json if target != IPU else {"ok": report.ok, **dataclasses.asdict(report)})
    else:
        print(report)
    if not report.ok:
        raise typer.Exit(NOT_VERIFIED)


def _checked(job: TrainingRun, target: str, samples: Optional[int]) -> Any:
    """The report of an IPU's check or of a chip's."""
    if target == IPU:
        return run_reports.check_for_ipu(job)
    try:
        described = chip(target)
    except (FileNotFoundError, ChipFileError) as error:
        raise ConfigError([f"--for {line}" for line in str(error).split("\n")]) from None
    return run_reports.check_for_chip(job, described, 8 if samples is None else samples)


def _compared(report: LearningReport) -> Dict[str, Any]:
    """The report of ``verify --learning`` for scripts."""
    return {
        "ok": report.ok,
        "verdict": report.verdict,
        "learning": report.learning,
        "rows": [{**row.agreement._asdict(), "verdict": row.verdict} for row in report.rows],
        "omissions": [{"parameters": names, "what": what} for names, what in report.omissions],
        "loss": report.loss,
        "exact_loss": report.exact_loss,
        "remarks": report.remarks,
    }


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

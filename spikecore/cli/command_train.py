"""The commands that train a run and show what came of it: ``train``, ``evaluate``, ``plot``."""

from __future__ import annotations

import contextlib
import shlex
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import typer

from spikecore.cli import dry_run
from spikecore.cli.exit_codes import Interrupted
from spikecore.cli.messages import ConfigError
from spikecore.cli.options import ENGINE, JSON, RUN_DIR, SETS, SIMULATE, examples, of_file, show_json, simulated
from spikecore.cli.run_directory import HISTORY, MODEL, RUN, Run, check_same, check_unused, opened

RUN_TO_TRAIN = typer.Argument(..., metavar="RUN", help="A run file; with --resume also a run directory.")
OUT = typer.Option(None, metavar="DIR", help="Run directory. Default: the next free runs/NAME-001, runs/NAME-002, ...")
RESUME = typer.Option(False, "--resume", help="Continue the run in the run directory.")
DRY_RUN = typer.Option(
    False, "--dry-run", help="Check everything, show the network, the steps and the memory, and write nothing."
)
PROGRESS = typer.Option(
    None,
    "--progress/--no-progress",
    help="Show a progress bar, or print one line per epoch. Default: a bar on a terminal.",
    show_default=False,
)


@examples(
    "spikecore train digits.toml",
    "spikecore train digits.toml --dry-run",
    "spikecore train digits.toml --engine numpy --set train.epochs=3 --out runs/short",
    "spikecore train runs/short --resume --set train.epochs=10",
)
def train(
    run: Path = RUN_TO_TRAIN,
    engine: Optional[str] = ENGINE,
    sets: Optional[List[str]] = SETS,
    out: Optional[Path] = OUT,
    resume: bool = RESUME,
    dry: bool = DRY_RUN,
    progress: Optional[bool] = PROGRESS,
    as_json: bool = JSON,
    simulate: bool = SIMULATE,
) -> None:
    """Train the network of a run file.

    A run file (TOML) describes a network, its data and its training. `spikecore init digits` writes one to begin with.
    Every key in it can be changed with --set.

    Writes weights, history, result and pictures into a run directory. Weights, optimiser and history are saved after
    every epoch. A run that is interrupted and resumed ends with the same weights, bit for bit, as one that is not
    interrupted. Without --resume, training into a directory that already holds files is an error.
    """
    sets = simulated(sets, simulate)
    directory = _run_directory(run, out, resume)
    file = run / RUN if run.is_dir() else run
    job = of_file(file, engine, sets, directory)
    if resume:
        check_same(opened(directory).config, job.config)
    if dry:
        plan = dry_run.plan_of(job, resume)
        show_json(plan.as_dict()) if as_json else print(plan)
        return
    bars, log = sys.stderr.isatty() if progress is None else progress, sys.stderr if as_json else sys.stdout
    with _resumable(job), job.start(resume, Path("runs")) as model:
        done = model.epochs_done
        print(f"{model.engine!r}, {job.train_set!r} -> {job.directory}", file=log)
        job.train(model, lambda line: None if bars else print(line, file=log), bars)
        if model.epochs_done == done:
            of = job.config.train.epochs
            print(f"nothing left to train: {done} epochs done, of {of} or until early stopping", file=log)
        result = job.evaluate(model)
        figures = (f"{name} {value:.4f}" for name, value in result.items() if name.startswith("test_"))
        print(", ".join(figures), file=log)
        pictures = _drawn(job, model)
        if pictures:
            print("pictures:", ", ".join(pictures), file=log)
    if as_json:
        show_json({"directory": str(job.directory), **result, "pictures": pictures})


@examples("spikecore evaluate runs/digits-001 --engine numpy", "spikecore evaluate runs/digits-001 --json")
def evaluate(
    run: Path = RUN_DIR, engine: Optional[str] = ENGINE, as_json: bool = JSON, simulate: bool = SIMULATE
) -> None:
    """Evaluate a trained run on its test set.

    Prints loss and accuracy, on any engine, and writes them to result.json in the run directory.
    """
    job = opened(run, engine, simulated(None, simulate))
    result: Dict[str, Any] = job.evaluate(_trained(job))
    if as_json:
        show_json(result)
        return
    for name, value in result.items():
        print(f"{name:>14}  {value:.6f}" if isinstance(value, float) else f"{name:>14}  {value}")


@examples("spikecore plot runs/digits-001 --engine numpy")
def plot(run: Path = RUN_DIR, engine: Optional[str] = ENGINE) -> None:
    """Draw the pictures of a run again.

    Draws training curves (curves.png), predictions (predictions.png), spikes (raster.png) and membranes with thresholds
    (traces.png). Prints the path of each picture, one a line.
    """
    job = opened(run, engine)
    for path in job.pictures(_trained(job)):
        print(path)


@contextlib.contextmanager
def _resumable(job: Run) -> Iterator[None]:
    """Let Ctrl-C say which epochs are saved, and which command continues the run.

    Raises:
        Interrupted: in place of KeyboardInterrupt, if the run has a directory by now.
    """
    try:
        yield
    except KeyboardInterrupt:
        if job.directory is None or not (job.directory / RUN).exists():
            raise
        history = job.directory / HISTORY
        done = len(history.read_text(encoding="utf-8").splitlines()) if history.exists() else 0
        saved = f"{done} of {job.config.train.epochs} epochs are saved" if done else "the first epoch was not finished"
        command = f"spikecore train {shlex.quote(str(job.directory))} --resume"
        raise Interrupted(f"interrupted: {saved}. To continue: {command}") from None


def _run_directory(run: Path, out: Optional[Path], resume: bool) -> Optional[Path]:
    """The directory to write to; None for a new one.

    Raises:
        ConfigError: the directory already holds files, or there is no run to resume.
    """
    if run.is_dir() and not resume:
        raise ConfigError([f"{run} is a run directory: add --resume to continue it, or name a run file"])
    if out is None and resume:
        if not run.is_dir():
            raise ConfigError([f"--resume needs a run directory: spikecore train {run} --resume --out DIR"])
        return run
    if out is not None and not resume:
        check_unused(out)
    return out


def _trained(job: Run) -> Any:
    assert job.directory is not None
    if not (job.directory / MODEL).exists():
        raise FileNotFoundError(
            f"{job.directory}: holds no {MODEL} yet: run spikecore train {job.directory} --resume first"
        )
    return job.model()


def _drawn(job: Run, model: Any) -> List[str]:
    """Draw the pictures. Without matplotlib, say how to draw them later: the run itself has succeeded."""
    try:
        return [str(path) for path in job.pictures(model)]
    except ImportError as error:
        print(f"no pictures: {error}; then run spikecore plot {job.directory}", file=sys.stderr)
        return []

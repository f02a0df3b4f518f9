"""The commands that train a run and show its results: ``train``, ``evaluate``, ``plot``."""

from __future__ import annotations

import contextlib
import errno
import shlex
import signal
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import typer

from spikecore.api.core.ranks import Ranks
from spikecore.api.training.checkpoint import progress_of
from spikecore.api.training.interrupt import Terminated, noting
from spikecore.api.training.shards import sharded
from spikecore.api.training.together import digest, ranks_for
from spikecore.arguments import unknown
from spikecore.cli import dry_run, processes, run_reports
from spikecore.cli.exit_codes import TERMINATED, Interrupted
from spikecore.cli.figures import digits
from spikecore.cli.messages import ConfigError
from spikecore.cli.options import (
    ENGINE,
    JSON,
    RUN_DIR,
    SETS,
    SIMULATE,
    examples,
    of_file,
    show_json,
    simulated,
)
from spikecore.cli.origins import leaves
from spikecore.cli.pictures import ENDINGS
from spikecore.cli.processes import ending_within, everywhere
from spikecore.cli.resuming import check_same
from spikecore.cli.run_directory import MODEL, RUN, TrainingRun, check_unused, opened
from spikecore.errors import RankError, RankLost
from spikecore.progress import at_work

FULL = (errno.ENOSPC, errno.EDQUOT)
PLACES = ("data.path", "data.test_path", "data.download")  # each machine may have the data somewhere else

RUN_TO_TRAIN = typer.Argument(..., metavar="RUN", help="A run file; with --resume also a run directory.")
OUT = typer.Option(None, metavar="DIR", help="Run directory. Default: the next free runs/NAME-001, runs/NAME-002, ...")
RESUME = typer.Option(False, "--resume", help="Continue the run in the run directory.")
DRY_RUN = typer.Option(
    False, "--dry-run", help="Check everything, show the network, the steps and the memory, and write nothing."
)
FORMAT = typer.Option("png", "--format", metavar="FORMAT", help=f"Format of the files: {', '.join(ENDINGS)}.")
REPORT = typer.Option(
    False, "--report", help="Also show precision, recall, F1 and the number of samples of each class."
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
    "spikecore train digits.toml --set train.learning=eprop",
    "spikecore train diehl_cook.toml --set train.learning.rules.0.0.lr_post=0.05",
    "torchrun --nproc-per-node 2 -m spikecore train digits.toml --engine torch",
    "spikecore train runs/short --resume --set train.epochs=10",
    pages="“Run files” (docs/run_files.md), “Training recipes” (docs/training.md)",
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
    Every key in it can be changed with --set. The key train.learning says how the network learns: by gradients, back in
    time or forward, or by local rules of plasticity.

    Writes weights, history, result and pictures into a run directory. Weights, optimiser and history are saved after
    every epoch. A run that is interrupted and resumed ends with the same weights, bit for bit, as one that is not
    interrupted. Without --resume, training into a directory that already holds files is an error.
    """
    with processes.joined() as ranks:
        with at_work(lambda seconds: f"reading the data, {seconds:.0f} s"):
            job, resume = _job(ranks, run, engine, simulated(sets, simulate), out, resume)
        if dry:
            if not ranks.rank:
                plan = dry_run.plan_of(job, resume)
                show_json(plan.as_dict()) if as_json else print(plan)
            return
        bars, log = sys.stderr.isatty() if progress is None else progress, sys.stderr if as_json else sys.stdout
        if ranks.rank:
            bars, log = False, None  # rank 0 speaks

        def say(line: str) -> None:
            if log is not None:
                print(line, file=log)

        with _resumable(job), job.start(resume, Path("runs")) as model:
            done = model.epochs_done
            together = f", {ranks.size} processes together" if ranks.size > 1 else ""
            say(f"{model.engine!r}{together}, {job.train_set!r} -> {job.directory}")
            job.train(model, (lambda line: None) if bars else say, bars)
            if model.epochs_done == done:
                of = job.config.train.epochs
                say(f"nothing left to train: {done} epochs done, of {of} or until early stopping")
            with at_work(lambda seconds: f"evaluating {len(job.test_set)} test samples, {seconds:.0f} s"):
                result = everywhere(ranks, lambda: job.evaluate(model))
            figures = (f"{name} {digits(value)}" for name, value in result.items() if name.startswith("test_"))
            say(", ".join(figures))
            pictures = (
                [] if ranks.rank else _drawn(job, model if model.trainer.executor.divided is None else _trained(job))
            )
            if pictures:
                say(f"pictures: {', '.join(pictures)}")
        if as_json and not ranks.rank:
            show_json({"directory": str(job.directory), **result, "pictures": pictures})


def _job(
    ranks: Ranks, run: Path, engine: Optional[str], sets: List[str], out: Optional[Path], resume: bool
) -> Tuple[TrainingRun, bool]:
    """The run to train, and whether it is continued.

    Raises:
        ConfigError: on all ranks, if their run files or their data differ.
    """
    again = out is not None and processes.restarted() and (out / RUN).exists()
    resume = ranks.shared(resume or again)  # not each rank by itself: meanwhile rank 0 writes the file

    def read() -> TrainingRun:
        if processes.restarts() and out is None and not resume:
            raise ConfigError(["torchrun --max-restarts: add --out DIR, so that a restart continues the same run"])
        directory = _run_directory(run, out, resume)
        file = run / RUN if run.is_dir() else run
        job = of_file(file, engine, sets, directory, resume)
        job.ranks = ranks
        if resume:
            check_same(opened(directory).config, job.config)
        return job

    first = everywhere(ranks, lambda: None if ranks.rank else read())  # what has to be downloaded comes once
    job: Any = everywhere(ranks, read) if first is None and ranks.rank else everywhere(ranks, lambda: first)
    everywhere(ranks, lambda: _check_alike(ranks, job))
    everywhere(ranks, lambda: _check_together(ranks, job))
    return job, resume


def _check_together(ranks: Ranks, job: TrainingRun) -> None:
    """Refuse, before there is a directory, what several processes cannot train together.

    Raises:
        ConfigError: the engine trains in one process, or a batch is too small to be divided; or keys of [data] exclude
            each other.
    """
    try:
        batches = job.loader(job.train_set)
    except ValueError as error:
        raise ConfigError([f"{job.name}: data: {error}"]) from None
    try:
        ranks_for(job.engine(), job.config.train.compute.parallel)
        sharded(batches, ranks)
    except RankError as error:
        raise ConfigError([f"{job.name}: {error}"]) from None


def _check_alike(ranks: Ranks, job: TrainingRun) -> None:
    """Refuse to train together with another run file or other data on another rank.

    Raises:
        ConfigError: names what differs.
    """
    keys = {key: repr(value) for key, value in leaves(job.config.plain()).items() if key not in PLACES}
    sets = {"training": job.train_set, "test": job.test_set}
    data = {f"the {name} data": f"{one!r} ({digest({'': one.targets})})" for name, one in sets.items()}
    try:
        ranks.compare({**keys, **data})
    except RankError as error:
        if isinstance(error, RankLost):
            raise
        raise ConfigError([str(error)]) from None


@examples(
    "spikecore evaluate runs/digits-001 --engine numpy",
    "spikecore evaluate runs/digits-001 --report",
    "spikecore evaluate runs/digits-001 --json",
)
def evaluate(
    run: Path = RUN_DIR,
    engine: Optional[str] = ENGINE,
    report: bool = REPORT,
    as_json: bool = JSON,
    simulate: bool = SIMULATE,
) -> None:
    """Evaluate a trained run on its test set.

    Prints loss and accuracy, on any engine, and writes them to result.json in the run directory.
    """
    job = opened(run, engine, simulated(None, simulate))
    model = _trained(job)
    classes = run_reports.report_classes(job, model) if report else None
    result: Dict[str, Any] = job.evaluate(model)
    if as_json:
        show_json(result if classes is None else {**result, "classes": [vars(row) for row in classes.rows]})
        return
    width = max(14, *map(len, result))
    for name, value in result.items():
        print(f"{name:>{width}}  {value:.6f}" if isinstance(value, float) else f"{name:>{width}}  {value}")
    if classes is not None:
        print(f"\n{classes}")


@examples(
    "spikecore plot runs/digits-001 --engine numpy",
    "spikecore plot runs/digits-001 --format pdf",
    pages="“Gallery” (docs/gallery.md), “Your own data” (docs/own_data.md)",
)
def plot(run: Path = RUN_DIR, engine: Optional[str] = ENGINE, ending: str = FORMAT) -> None:
    """Draw the pictures of a run again.

    Draws training curves (curves.png), predictions (predictions.png), spikes (raster.png), membranes with thresholds
    (traces.png) and which classes are taken for which (confusion.png). Prints the path of each picture, one a line. PDF
    and SVG stay sharp at any size.
    """
    if ending not in ENDINGS:
        raise ConfigError([unknown("format", ending, ENDINGS)])
    job = opened(run, engine)
    for path in job.pictures(_trained(job), ending):
        print(path)


@contextlib.contextmanager
def _resumable(job: TrainingRun) -> Iterator[None]:
    """Let Ctrl-C, the end that a scheduler asks for, and a lost process say what is saved, and how to continue.

    Raises:
        Interrupted: in place of KeyboardInterrupt and Terminated, if the run has a directory by now.
        RankLost: with the command that continues.
        OSError: the same, if the disk is full.
    """

    def message(what: str) -> str:
        return f"{what}: {_saved(job)}. To continue: {_again(job)}"

    late = f"terminated {job.config.train.save_within} s after SIGTERM, within a step"
    several = (signal.SIGINT,) if job.ranks.size > 1 else ()
    try:
        with ending_within(job.config.train.save_within, lambda: message(late)), noting(signal.SIGTERM, *several):
            yield
    except (KeyboardInterrupt, Terminated, RankLost, OSError) as error:
        if job.directory is None or not (job.directory / RUN).exists():
            raise
        if isinstance(error, OSError):
            if error.errno not in FULL:
                raise
            raise OSError(message(f"{error.filename or job.directory}: {error.strerror}")) from None
        if isinstance(error, RankLost):
            raise RankLost(message(str(error))) from None
        if isinstance(error, Terminated):
            raise Interrupted(message("terminated"), TERMINATED) from None
        raise Interrupted(message("interrupted")) from None


def _saved(job: TrainingRun) -> str:
    """The part of the run that the files in its directory hold."""
    assert job.directory is not None
    epochs, path = job.config.train.epochs, job.directory / MODEL
    if not path.exists():
        return "the first epoch was not finished"
    done, begun = progress_of(path)
    batches = f" and {begun} batch{'es' * (begun != 1)} of the next one" if begun else ""
    return f"{done} of {epochs} epochs{batches} are saved"


def _again(job: TrainingRun) -> str:
    """The command that continues the run."""
    command = f"train {shlex.quote(str(job.directory))} --resume"
    if job.ranks.size == 1:
        return f"spikecore {command}"
    return f"torchrun --nproc-per-node {job.ranks.size} -m spikecore {command}"


def _run_directory(run: Path, out: Optional[Path], resume: bool) -> Optional[Path]:
    """The directory to write to; None for a new one.

    Raises:
        ConfigError: the directory already holds files, or there is no run to resume.
    """
    if run.is_dir() and not resume:
        raise ConfigError([f"{run} is a run directory: add --resume to continue it, or name a run file"])
    if out is None and resume:
        if not run.exists():
            near = sorted(str(file.parent) for file in Path("runs").glob(f"*/{RUN}"))[:5]
            raise ConfigError([f"{run}: no such run directory" + (f"; here are {', '.join(near)}" if near else "")])
        if not run.is_dir():
            raise ConfigError([f"--resume needs a run directory: spikecore train {run} --resume --out DIR"])
        return run
    if out is not None and not resume:
        check_unused(out)
    return out


def _trained(job: TrainingRun) -> Any:
    assert job.directory is not None
    if not (job.directory / MODEL).exists():
        raise FileNotFoundError(
            f"{job.directory}: holds no {MODEL} yet: run spikecore train {job.directory} --resume first"
        )
    return job.model()


def _drawn(job: TrainingRun, model: Any) -> List[str]:
    """Draw the pictures. Without matplotlib, say how to draw them later: the run itself has succeeded."""
    try:
        with at_work(lambda seconds: f"drawing pictures, {seconds:.0f} s"):
            return [str(path) for path in job.pictures(model)]
    except ImportError as error:
        print(f"no pictures: {error}; then run spikecore plot {job.directory}", file=sys.stderr)
        return []

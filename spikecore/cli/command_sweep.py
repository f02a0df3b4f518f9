"""The command ``sweep``: it begins, continues or joins a sweep, in one process or in several."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional

import typer

from spikecore.cli import sweep_results
from spikecore.cli.exit_codes import Interrupted
from spikecore.cli.lock import LOCK, owned
from spikecore.cli.messages import ConfigError
from spikecore.cli.options import ENGINE, JSON, SETS, examples, show_json
from spikecore.cli.run_directory import check_unused, new_directory
from spikecore.cli.run_file import Given, given, settled
from spikecore.cli.sweep import Sweep
from spikecore.cli.sweep_database import check_url
from spikecore.cli.sweep_directory import BEGINNINGS, begin, begun, check, opened, same
from spikecore.cli.sweep_processes import as_worker, command, ended_by_sigterm, in_processes
from spikecore.cli.sweep_space import Space, read_space
from spikecore.cli.sweep_storage import PATIENCE, first, optuna

TRIALS_BY_DEFAULT = 20

RUN = typer.Argument(..., metavar="RUN", help="A run file; with --resume also the directory of a sweep.")
SPACE = typer.Argument(
    None,
    metavar="SPACE",
    help="A space file: the keys to vary, and their limits. Default: the learning rate and the weight decay.",
)
TRIALS = typer.Option(
    None,
    "--trials",
    "-n",
    min=1,
    metavar="N",
    help=f"Trials in all, by all processes. Default: {TRIALS_BY_DEFAULT}, or those of the sweep that is continued.",
)
JOBS = typer.Option(1, "--jobs", "-j", min=1, metavar="J", help="Processes to run trials in, with one thread each.")
OUT = typer.Option(
    None, metavar="DIR", help="Directory of the sweep. Default: the next free sweeps/NAME-001, sweeps/NAME-002, ..."
)
RESUME = typer.Option(False, "--resume", help="Continue the sweep in the directory; with --trials also beyond its end.")
JOIN = typer.Option(
    False,
    "--join",
    help="Take part in the sweep in --out, or begin it: for several processes, also of several machines.",
)
STORAGE = typer.Option(
    None,
    "--storage",
    metavar="URL",
    help="Database for the trials, e.g. postgresql://user@host/name; its password in PGPASSWORD. Default: a file.",
)
DRY_RUN = typer.Option(False, "--dry-run", help="Check everything, show the space and the first trial, write nothing.")
WORKER = typer.Option(False, "--worker", hidden=True)


@examples(
    "spikecore sweep digits.toml space.toml --dry-run",
    "spikecore sweep csv.toml --set data.validation=0.2",
    "spikecore sweep digits.toml space.toml --trials 50 --jobs 4 --set data.validation=0.1",
    "spikecore sweep sweeps/digits-001 --resume --trials 100",
    "srun -n 8 spikecore sweep digits.toml space.toml --trials 500 --out sweeps/big --join",
    pages="“Searching for settings” (docs/sweeps.md)",
)
def sweep(
    run: Path = RUN,
    space: Optional[Path] = SPACE,
    trials: Optional[int] = TRIALS,
    jobs: int = JOBS,
    engine: Optional[str] = ENGINE,
    sets: Optional[List[str]] = SETS,
    out: Optional[Path] = OUT,
    resume: bool = RESUME,
    join: bool = JOIN,
    storage: Optional[str] = STORAGE,
    dry: bool = DRY_RUN,
    as_json: bool = JSON,
    worker: bool = WORKER,
) -> None:
    """Search the best values for keys of a run file.

    A space file (TOML) names the keys and their limits. Without one, learning rate and weight decay vary. Each trial
    trains the run file with other values, which Optuna chooses by the trials before, and is judged by samples that are
    held back for validation. Trials that fall behind end early. The test set is used once, for the best trial.

    Writes a table of the trials, a run file with the best values and pictures into a directory. A sweep that is
    interrupted or killed can be continued with --resume; trials that were running continue from their last epoch.
    """
    optuna()
    if worker:
        as_worker(run)
        return
    log: Any = sys.stderr if as_json else sys.stdout
    with ended_by_sigterm():
        directory = _prepared(run, space, trials, engine, sets, out, resume, join, storage, dry, as_json)
        if directory is not None:
            _carried_out(opened(directory), jobs, log, as_json)


def _carried_out(ours: Sweep, jobs: int, log: Any, as_json: bool) -> None:
    """Run the trials that are left, and show the results of all."""
    storage = ours.storage
    keys = ", ".join(parameter.key for parameter in ours.space.parameters)
    print(f"{storage.total} trials of {keys} -> {ours.directory}", file=log)
    with _resumable(ours):
        left = storage.total - len(storage.finished())
        if not left:
            print(f"nothing left to try: {storage.total} trials are done; --trials N prolongs the sweep", file=log)
        elif jobs > 1:
            in_processes(ours, min(jobs, left), lambda line: print(line, file=log, flush=True))
        else:
            ours.work(lambda line: print(line, file=log, flush=True))
        ours.check_hope()
        if ours.running:
            _show_others(ours, log, as_json)
            return
        result = ours.finish()
        if result is None:
            raise RuntimeError(f"{ours.directory}: no trial is complete; {sweep_results.TABLE} says why")
        result["pictures"] = _drawn(ours)
    if as_json:
        show_json(result)
        return
    tested = ", ".join(f"{name} {value:.4f}" for name, value in result.items() if name.startswith("test_"))
    print(f"\n{sweep_results.best_rows(storage)}\n")
    print(f"trial {result['best_trial']} on the test set: {tested}")
    if len(result["tested_trials"]) > 1:
        numbers = ", ".join(map(str, result["tested_trials"]))
        print(f"trials {numbers} have been evaluated on the test set by now: do not choose among them by it")
    print(f"its run file: {ours.directory / sweep_results.BEST_RUN}")


def _show_others(ours: Sweep, log: Any, as_json: bool) -> None:
    """Print that other processes still run trials of this sweep."""
    numbers = ", ".join(map(str, ours.running))
    print(f"trials {numbers} run in other processes; the last one that ends writes the results", file=log)
    if as_json:
        show_json({"directory": str(ours.directory), "trials": ours.storage.total, "running": ours.running})


# ---- where the sweep is --------------------------------------------------------------------------------------------


def _prepared(
    run: Path,
    space_file: Optional[Path],
    trials: Optional[int],
    engine: Optional[str],
    sets: Optional[List[str]],
    out: Optional[Path],
    resume: bool,
    join: bool,
    storage: Optional[str],
    dry: bool,
    as_json: bool,
) -> Optional[Path]:
    """The directory of the sweep, which exists by then; None after a dry run.

    Raises:
        ConfigError: run file, space and directory do not fit each other, or the options.
    """
    check_url(storage)
    if run.is_dir():
        if dry:
            raise ConfigError([f"--dry-run: the sweep in {run} has begun already; leave one of the two out"])
        _check_alone(run, space_file, engine, sets, out, storage, resume)
        _prolong(opened(run), trials, resume)
        return run
    said = settled(given(run, engine, sets or ()))
    space = read_space(space_file, said)
    if resume and out is None:
        raise ConfigError(
            [f"--resume needs the directory of the sweep: spikecore sweep {run} {space_file or ''} --resume --out DIR"]
        )
    if join and out is None:
        raise ConfigError(["--join needs --out DIR, the same for all processes"])
    if out is not None and not (resume or join):
        check_unused(out)
    if out is None or not begun(out):
        if resume:
            raise ConfigError([f"--resume: {out} holds no sweep; leave --resume out to begin one"])
        check(said, space)
    if dry:
        _show(said, space, trials or TRIALS_BY_DEFAULT, as_json)
        return None
    directory = new_directory(Path("sweeps"), run.stem) if out is None else out
    directory.mkdir(parents=True, exist_ok=True)
    with owned(directory, f"{LOCK}-begin", PATIENCE):
        if not begun(directory):
            strange = [path.name for path in directory.iterdir() if path.name not in BEGINNINGS and path.name[0] != "."]
            if strange:
                raise ConfigError([f"--out {directory} already holds {strange[0]}, and no sweep: choose another"])
            begin(directory, said, space, trials or TRIALS_BY_DEFAULT, storage)
            return directory
    ours = opened(directory)
    same(ours, said, space, storage)
    _prolong(ours, trials, resume)
    return directory


def _check_alone(run: Path, space: Any, engine: Any, sets: Any, out: Any, storage: Any, resume: bool) -> None:
    if not resume:
        raise ConfigError([f"{run} is a directory: add --resume to continue its sweep, or name a run file and a space"])
    given_too = {"SPACE": space, "--engine": engine, "--set": sets, "--out": out, "--storage": storage}
    for name, value in given_too.items():
        if value:
            raise ConfigError([f"{name}: the sweep in {run} has its own; leave it out, or begin another sweep"])


def _prolong(ours: Sweep, trials: Optional[int], resume: bool) -> None:
    """Change the number of trials, if it is given."""
    before, begun_already = ours.storage.total, len(ours.storage.all())
    if trials is None or trials == before:
        return
    if not resume:
        raise ConfigError([f"--trials {trials}: the sweep in {ours.directory} has {before}; --resume changes that"])
    if trials < begun_already:
        raise ConfigError([f"--trials {trials}: {begun_already} trials have begun already; give at least as many"])
    ours.storage.study.set_user_attr("trials", trials)


def _show(said: Given, space: Space, trials: int, as_json: bool) -> None:
    """Print what the sweep would do."""
    trial, settings = first(space), space.settings
    if as_json:
        names: Dict[str, Any] = {parameter.key: str(parameter) for parameter in space.parameters}
        show_json({"trials": trials, "space": names, "first_trial": trial, **settings.model_dump()})
        return
    width = max(len(parameter.key) for parameter in space.parameters)
    for parameter in space.parameters:
        also = f"; also {', '.join(parameter.also)}" if parameter.also else ""
        print(f"{parameter.key:<{width}}  {parameter}{also}")
    direction = "largest" if settings.maximize else "smallest"
    print(f"\ntrials       {trials}, sampler {settings.sampler}, pruner {settings.pruner}, seed {settings.seed}")
    print(f"best         the {direction} {settings.metric}")
    print("first trial  " + ", ".join(f"{key} = {sweep_results.short(value)}" for key, value in trial.items()))
    print("\nNothing was trained and nothing was written. The run file, the data and the space fit each other.")


def _drawn(ours: Sweep) -> List[str]:
    """Draw the pictures. Without matplotlib, say so: the sweep itself has succeeded."""
    try:
        return [str(path) for path in sweep_results.pictures(ours.directory, ours.storage)]
    except ImportError as error:
        print(f"no pictures: {error}; then run spikecore sweep {ours.directory} --resume", file=sys.stderr)
        return []


@contextlib.contextmanager
def _resumable(ours: Sweep) -> Iterator[None]:
    """Let Ctrl-C say how many trials are done, and which command continues the sweep.

    Raises:
        Interrupted: in place of KeyboardInterrupt.
    """
    try:
        yield
    except KeyboardInterrupt:
        done = f"{len(ours.storage.finished())} of {ours.storage.total} trials are done"
        raise Interrupted(f"interrupted: {done}. To continue: {command(ours)}") from None

"""The command line: ``spikecore train``, ``evaluate``, ``verify``, ``check``, ``plot``, ``engines``, ``bench``."""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path
from typing import Any, Callable, List, Optional, Tuple

OK, NOT_VERIFIED, USAGE, DATA, RUNTIME, INTERRUPTED = 0, 1, 2, 3, 4, 130
EXIT_CODES = (
    "Exit codes: 0 done; 1 gradients not verified, network refused; 2 wrong usage or run file; 3 data or checkpoint "
    "absent or damaged; 4 anything else that went wrong while running; 130 interrupted."
)

# After a product, OpenBLAS's threads wait in a busy loop and take cores from the kernels. A short timeout prevents it.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")
MISSING = 'the command line needs {}: pip install "spikecore[cli]"'

try:
    import typer
    from rich.console import Console
    from rich.table import Table

    from spikecore import __version__
    from spikecore.api.core.engines import engines as known_engines
    from spikecore.api.core.messages import unknown
    from spikecore.api.training.checkpoint import CheckpointError
    from spikecore.cli.lock import Occupied
    from spikecore.cli.messages import ConfigError
    from spikecore.cli.run_directory import MODEL, Run, check_same, check_unused, opened
    from spikecore.cli.run_file import read
    from spikecore.datasets import DataError
    from spikecore.utils import keep_memory
except ModuleNotFoundError as missing:  # any package outside this extra is a fault of the installation: raise it
    if missing.name is None or missing.name.partition(".")[0] not in "typer rich pydantic tomli tomli_w".split():
        raise
    print(f"spikecore: {MISSING.format(missing.name)}", file=sys.stderr)
    raise SystemExit(USAGE) from None


def _epilog(*examples: str) -> str:
    """The end of a command's help: its examples, one a line, and the exit codes."""
    return "\n\n".join(["\b\n" + "\n".join(["Examples:", *(f"  {line}" for line in examples)]), EXIT_CODES])


app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Train spiking networks from run files on any engine, verify their gradients, and plot their spikes.",
    epilog=EXIT_CODES,
)

# Options as defaults, not as Annotated types: before Python 3.11 a default of None hides the annotation from typer.
RUN = typer.Argument(..., metavar="RUN", help="A run file or a run directory.")
RUN_TO_TRAIN = typer.Argument(..., metavar="RUN", help="A run file; with --resume also a run directory.")
RUN_DIR = typer.Argument(..., metavar="RUN_DIR", help="A directory that `spikecore train` wrote.")
ENGINE = typer.Option(
    None, "--engine", "-e", metavar="NAME", help="Engine. Default: $SPIKECORE_ENGINE, else the one in the run file."
)
SETS = typer.Option(
    None, "--set", "-s", metavar="KEY=VALUE", help="Change a key of the run file, e.g. train.epochs=3. May be repeated."
)
OUT = typer.Option(None, metavar="DIR", help="Run directory. Default: the next free runs/NAME-001, runs/NAME-002, ...")
RESUME = typer.Option(False, "--resume", help="Continue the run in the run directory.")
PROGRESS = typer.Option(
    None,
    "--progress/--no-progress",
    help="Show a progress bar within each epoch, or print one line per epoch. Default: a bar on a terminal.",
    show_default=False,
)
AGAINST = typer.Option(None, metavar="NAME", help="The reference engine. Default: another one than the engine.")
SIMULATE = typer.Option(
    False, "--simulate", help="With engine ipu: use a simulation of PopTorch on the CPU instead of PopTorch."
)
FOR = typer.Option("ipu", "--for", metavar="NAME", help="The engine to check for. Only ipu has checks.")
SAMPLES = typer.Option(8, min=1, help="Number of samples, taken from the start of the training set.")
WARM_HELP = "Neurons, such as leaky, or products. Default: all."
WARM_NEURONS = typer.Argument(None, metavar="NEURON", help=WARM_HELP, show_default=False)
WARM_LIST = typer.Option(False, "--list", help="Say which kernels are ready, and compile none.")
WORKLOADS = typer.Argument(None, metavar="WORKLOAD", help="Workloads to time. Default: all.", show_default=False)
LIST = typer.Option(False, "--list", help="Describe the workloads and exit.")
ROUNDS = typer.Option(15, min=1, help="How often each side is timed.")
QUICK = typer.Option(False, "--quick", help="Use tiny shapes to test that everything runs; the times mean nothing.")
DEVICE = typer.Option("cpu", metavar="DEVICE", help="Device of everything that uses torch: cpu or cuda.")
BENCH_ENGINES = typer.Option(
    None, "--engine", "-e", metavar="NAME", help="torch or numpy. Default: both. May be repeated."
)
PEERS = typer.Option(None, metavar="A,B", help="Other libraries to time, or none. Default: all that are installed.")
BATCH = typer.Option(None, min=1, help="Batch size. Default: each workload's own.")
BENCH_PROGRESS = typer.Option(
    None, "--progress/--no-progress", help="Show a progress bar per group. Default: on a terminal.", show_default=False
)
KEEP_MEMORY = typer.Option(
    False, "--keep-memory", help="Keep freed memory in the process, for all sides, as `spikecore train` does."
)
RESULTS = typer.Option(None, "--out", metavar="FILE", help="Write the result to FILE.md or FILE.json.")
PLOT = typer.Option(None, metavar="FILE", help="Draw the workload rates, time against rate, to FILE.svg or FILE.png.")


def _version(asked: bool) -> None:
    if asked:
        print(f"spikecore {__version__}")
        raise typer.Exit


VERSION = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version and exit.")
DEBUG = typer.Option(False, "--debug", help="Show the traceback of an error. May stand anywhere on the line.")


@app.callback()
def options(context: typer.Context, version: bool = VERSION, debug: bool = DEBUG) -> None:
    """Options of every command; ``main`` reads --debug before typer does."""
    if context.invoked_subcommand != "bench":  # bench measures a process with the system's own memory settings
        keep_memory()


@app.command(
    epilog=_epilog(
        "spikecore train digits.toml",
        "spikecore train digits.toml --engine numpy --set train.epochs=3 --out runs/short",
        "spikecore train runs/short --resume --set train.epochs=10",
    )
)
def train(
    run: Path = RUN_TO_TRAIN,
    engine: Optional[str] = ENGINE,
    sets: Optional[List[str]] = SETS,
    out: Optional[Path] = OUT,
    resume: bool = RESUME,
    progress: Optional[bool] = PROGRESS,
    simulate: bool = SIMULATE,
) -> None:
    """Train the network of a run file.

    A run file (TOML) describes a network, its data and its training: see docs/run_files.md, and examples/digits.toml
    in the repository for one to begin with. Every key in it can be changed with --set.

    Writes weights, history, result and pictures into a run directory. Weights, optimiser and history are saved after
    every epoch. A run that is interrupted and resumed ends with the same weights, bit for bit, as one that is not
    interrupted. Without --resume, training into a directory that already holds files is an error.
    """
    sets = _simulated(sets, simulate)
    directory = _run_directory(run, out, resume)
    file = run / "run.toml" if run.is_dir() else run
    job = _run(file, engine, sets, directory)
    if resume:
        check_same(opened(directory).config, job.config)
    bars = sys.stderr.isatty() if progress is None else progress
    with job.start(resume, Path("runs")) as model:
        done = model.epochs_done
        print(f"{model.engine!r}, {job.train_set!r} -> {job.directory}")
        job.train(model, print if not bars else lambda line: None, bars)
        if model.epochs_done == done:
            print(f"nothing left to train: {done} epochs done, of {job.config.train.epochs} or until early stopping")
        result = job.evaluate(model)
        print(", ".join(f"{name} {value:.4f}" for name, value in result.items() if name.startswith("test_")))
        _draw(job, model)


@app.command(epilog=_epilog("spikecore evaluate runs/digits-001 --engine numpy"))
def evaluate(run: Path = RUN_DIR, engine: Optional[str] = ENGINE, simulate: bool = SIMULATE) -> None:
    """Evaluate a trained run on its test set.

    Prints loss and accuracy, on any engine, and writes them to result.json in the run directory.
    """
    job = opened(run, engine, _simulated(None, simulate))
    for name, value in job.evaluate(_trained(job)).items():
        print(f"{name:>14}  {value:.6f}" if isinstance(value, float) else f"{name:>14}  {value}")


@app.command(epilog=_epilog("spikecore verify digits.toml --engine torch", "spikecore verify runs/digits-001"))
def verify(
    run: Path = RUN,
    engine: Optional[str] = ENGINE,
    sets: Optional[List[str]] = SETS,
    against: Optional[str] = AGAINST,
    samples: int = SAMPLES,
    simulate: bool = SIMULATE,
) -> None:
    """Verify the gradients of an engine.

    Compares the engine's gradients with those of the reference engine, and these with finite differences. A run file
    is verified with initial weights. A run directory is verified with its trained weights, and the report with a
    table of every comparison is written to its report.txt. Exits with 1 if a gradient is not verified.
    """
    run, sets = run.parent if run.name == MODEL else run, _simulated(sets, simulate)
    job = opened(run, engine, sets or ()) if run.is_dir() else _run(run, engine, sets, None)
    names = [known.name for known in known_engines()]
    if against is not None and against not in names:
        raise ConfigError([f"--against {against}: {unknown('engine', against, names)}"])
    report = job.verify(job.model(), samples, against)
    print(report)
    if not report.ok:
        raise typer.Exit(NOT_VERIFIED)


@app.command(epilog=_epilog("spikecore check digits.toml --for ipu", "spikecore check runs/digits-001"))
def check(run: Path = RUN, target: str = FOR, sets: Optional[List[str]] = SETS) -> None:
    """Check a network for an IPU, on any machine.

    Says whether PopTorch would accept the network and compute its gradients correctly, and how large its graph is.
    Nothing is compiled. Exits with 1 if PopTorch would refuse the network.
    """
    if target != "ipu":
        raise ConfigError([f"--for {target}: must be ipu; other engines run everything and have nothing to check"])
    job = opened(run, None, sets or ()) if run.is_dir() else _run(run, None, sets, None)
    report = job.check()
    print(report)
    if not report.ok:
        raise typer.Exit(NOT_VERIFIED)


@app.command(epilog=_epilog("spikecore plot runs/digits-001 --engine numpy"))
def plot(run: Path = RUN_DIR, engine: Optional[str] = ENGINE) -> None:
    """Draw the pictures of a run again.

    Draws training curves (curves.png), spikes (raster.png) and membranes with thresholds (traces.png).
    """
    job = opened(run, engine)
    for path in job.pictures(_trained(job)):
        print(path)


@app.command(epilog=_epilog("spikecore engines"))
def engines() -> None:
    """List the engines.

    Shows which engines can be used here, what the others lack, and how to install them.
    """
    table = Table("engine", "usable", "why not", "how to get it", box=None, pad_edge=False)
    for status in known_engines():
        install = "" if status.available else status.install
        table.add_row(status.name, "yes" if status.available else "no", status.why, install.replace("[", r"\["))
    Console().print(table)


@app.command(epilog=_epilog("spikecore warm", "spikecore warm leaky synaptic", "spikecore warm --list"))
def warm(neurons: Optional[List[str]] = WARM_NEURONS, show: bool = WARM_LIST) -> None:
    """Compile the kernels of common neurons.

    A neuron runs fastest through a kernel, and a kernel takes Numba about a second to compile. Without this command it
    is compiled when a run first needs it: large runs wait for it, small ones go step by step until it is there.
    Compiled kernels are kept on disk for all processes of this machine, so the command is needed once after an
    installation, or while an image is built. It can be repeated: what is ready stays.

    The neurons are leaky, synaptic, alpha, lapicque, rleaky and rsynaptic, each as a layer of a Model and as a module
    of spikecore.nn, in float32, with the resets "subtract" and "zero" and the surrogates atan and fast_sigmoid;
    forwards and backwards, and of leaky and synaptic also together with a Linear of 10 outputs. The name products
    stands for the products and convolutions that take spikes as lists. The values of beta and the like make no
    difference. Other kernels are compiled as they are needed.
    """
    from spikecore.cli import warm as warming  # its imports are for no other command

    if show:
        print("\n".join(warming.listing(neurons or ())))
    else:
        warming.warm(neurons or ())


@app.command(
    epilog=_epilog(
        "spikecore bench --list",
        "spikecore bench neurons --rounds 7 --peers snntorch,spikingjelly",
        "spikecore bench tutorial5 tutorial6 --out results.md",
        "spikecore bench rates --out results.md --plot rates.svg",
        "spikecore bench --quick",
    )
)
def bench(
    workloads: Optional[List[str]] = WORKLOADS,
    show: bool = LIST,
    rounds: int = ROUNDS,
    quick: bool = QUICK,
    device: str = DEVICE,
    engine: Optional[List[str]] = BENCH_ENGINES,
    peers: Optional[str] = PEERS,
    batch: Optional[int] = BATCH,
    kept: bool = KEEP_MEMORY,
    out: Optional[Path] = RESULTS,
    plot: Optional[Path] = PLOT,
    progress: Optional[bool] = BENCH_PROGRESS,
) -> None:
    """Time this library and others on the same work.

    A workload has groups; the sides of a group are libraries or engines that do the same work. Each group runs in a
    process of its own (with --quick all groups share one process). Its sides take turns, so that changes in the
    machine's speed affect all of them equally. The table shows the median time of each side; how many times as long it
    takes as the first side; and its parity: how many spikes differ from a reference run, and max|a - b| / max|b| of the
    gradients (1e-5 is good). Libraries that are missing are listed: pip install "spikecore[peers]". Measure on an
    otherwise idle machine: a wide range from min to max means that it was busy. Exits with 1 if another library failed.
    """
    command, settings_of = _benchmarks()
    if show:
        print(command.listing())
        return
    chosen = None if peers is None else tuple(p for p in peers.split(",") if p and p != "none")
    if kept and not keep_memory():
        raise ConfigError(["--keep-memory: needs glibc, which this system does not have"])
    settings = settings_of(quick, device, tuple(engine or command.ENGINES), chosen, batch, kept)
    if not command.measure(workloads or (), settings, rounds, out, progress, plot=plot):
        raise typer.Exit(NOT_VERIFIED)


# ---- what the commands share ---------------------------------------------------------------------------------------


def _benchmarks() -> Tuple[Any, Any]:
    """The command module and the class of settings of ``benchmarks``, a package that only the repository has.

    Raises:
        ConfigError: spikecore does not run from a checkout of the repository.
    """
    root = Path(__file__).parents[2]
    if not (root / "benchmarks" / "command.py").is_file():
        raise ConfigError(
            [
                "bench: its workloads are in the repository, not in the installed package: clone the repository, run "
                "`pip install -e .` there, and start spikecore bench again"
            ]
        )
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))  # not every kind of editable installation adds the root of the repository
    return importlib.import_module("benchmarks.command"), importlib.import_module("benchmarks.plan").Settings


def _run(file: Path, engine: Optional[str], sets: Optional[List[str]], directory: Optional[Path]) -> Run:
    return Run(read(file, engine, sets or ()), directory, file.name)


def _simulated(sets: Optional[List[str]], simulate: bool) -> List[str]:
    return [*(sets or ()), *(["engine_options.simulate=true"] if simulate else [])]


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


def _draw(job: Run, model: Any) -> None:
    """Draw the pictures. Without matplotlib, say how to draw them later: the run itself has succeeded."""
    try:
        paths = job.pictures(model)
    except ImportError as error:
        print(f"no pictures: {error}; then run spikecore plot {job.directory}", file=sys.stderr)
    else:
        print("pictures:", ", ".join(map(str, paths)))


# ---- exit codes ----------------------------------------------------------------------------------------------------


def main(arguments: Optional[List[str]] = None) -> None:
    """Run a command and end the process with the command's exit code.

    Args:
        arguments: the words after ``spikecore``; default: those of the command line.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    given = [argument for argument in given if argument != "--debug"]
    guarded(lambda: app(given, prog_name="spikecore", standalone_mode=False), debug)


def guarded(command: Callable[[], Optional[int]], debug: bool = False) -> None:
    """Call ``command`` and end the process with the exit code that it returns, or with that of the error it raises.

    Args:
        command: returns an exit code, or None for success.
        debug: print the traceback of an error before the line that explains it.
    """
    try:
        code = command()
    except (Exception, KeyboardInterrupt) as error:
        if debug:
            traceback.print_exc()
        code = _explained(error)
    raise SystemExit(code or OK)


def _explained(error: BaseException) -> int:
    """Print what went wrong, and return the exit code."""
    if hasattr(error, "exit_code") and hasattr(error, "show"):  # typer's errors; their module depends on its version
        error.show()
        return USAGE
    if isinstance(error, KeyboardInterrupt) or type(error).__name__ == "Abort":
        print("interrupted; --resume continues a training run", file=sys.stderr)
        return INTERRUPTED
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    for kinds, code in (((ConfigError, Occupied), USAGE), ((DataError, CheckpointError, OSError), DATA)):
        if isinstance(error, kinds):
            print(text, file=sys.stderr)
            return code
    print(f"{type(error).__name__}: {text} (--debug shows where)", file=sys.stderr)
    return RUNTIME


if __name__ == "__main__":
    main()

"""The commands about this machine: ``engines``, ``warm``, ``bench``."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from typing import Any, List, Optional, Tuple

import typer

from spikecore.api.core.engines import EngineStatus
from spikecore.api.core.engines import engines as known_engines
from spikecore.arguments import unknown
from spikecore.cli.exit_codes import NOT_VERIFIED
from spikecore.cli.messages import ConfigError
from spikecore.cli.options import JSON, engine_names, examples, show_json
from spikecore.utils import keep_memory

NAMES = typer.Argument(
    None,
    metavar="NAME",
    autocompletion=engine_names,
    help="Engines to describe at length. Default: all, in a line each.",
    show_default=False,
)
VERBOSE = typer.Option(False, "--verbose", "-v", help="Describe every engine at length.")
WARM_HELP = "Neurons, such as leaky, or products, or maps. Default: all."
WARM_NEURONS = typer.Argument(None, metavar="NEURON", help=WARM_HELP, show_default=False)
WARM_LIST = typer.Option(False, "--list", help="Say which kernels are ready, and compile none.")
WORKLOADS = typer.Argument(None, metavar="WORKLOAD", help="Workloads to time. Default: all.", show_default=False)
LIST = typer.Option(False, "--list", help="Describe the workloads and exit.")
ROUNDS = typer.Option(15, min=1, metavar="N", help="How often each side is timed.")
QUICK = typer.Option(False, "--quick", help="Use tiny shapes to test that everything runs; the times mean nothing.")
DEVICE = typer.Option("cpu", metavar="DEVICE", help="Device of everything that uses torch: cpu or cuda.")
BENCH_ENGINES = typer.Option(
    None, "--engine", "-e", metavar="NAME", help="torch or numpy. Default: both. May be repeated."
)
PEERS = typer.Option(None, metavar="A,B", help="Other libraries to time, or none. Default: all that are installed.")
BATCH = typer.Option(None, min=1, metavar="N", help="Batch size. Default: each workload's own.")
BENCH_PROGRESS = typer.Option(
    None, "--progress/--no-progress", help="Show a progress bar per group. Default: on a terminal.", show_default=False
)
KEEP_MEMORY = typer.Option(
    False, "--keep-memory", help="Keep freed memory in the process, for all sides, as `spikecore train` does."
)
RESULTS = typer.Option(
    None,
    "--out",
    metavar="FILE",
    help="Write the result to FILE.md or FILE.json, or line by line to FILE.jsonl, where an interrupted run continues.",
)
PLOT = typer.Option(None, metavar="FILE", help="Draw the workload rates or growth to FILE.svg or FILE.png.")


@examples(
    "spikecore engines",
    "spikecore engines ipu",
    "spikecore engines --json",
    pages="“Engines” (docs/engines.md), “Install” (docs/install.md)",
)
def engines(names: Optional[List[str]] = NAMES, verbose: bool = VERBOSE, as_json: bool = JSON) -> None:
    """List the engines.

    Says which engines can be used here, and what the others lack. `spikecore engines NAME` says how to get one.
    """
    known = {status.name: status for status in known_engines()}
    for name in names or ():
        if name not in known:
            raise ConfigError([unknown("engine", name, known)])
    shown = [known[name] for name in names or known]
    if as_json:
        show_json([status._asdict() for status in shown])
    elif names or verbose:
        print("\n".join(map(_at_length, shown)))
    else:
        width = max(map(len, known))
        for status in shown:
            print(f"{status.name:<{width}}  {'yes' if status.available else 'no '}  {status.why}".rstrip())
        if not all(status.available for status in shown):
            print("spikecore engines NAME says how to get one of them")


def _at_length(status: EngineStatus) -> str:
    if status.available:
        return f"{status.name}: can be used here"
    return f"{status.name}: cannot be used here: {status.why}\n  to get it: {status.install}"


@examples(
    "spikecore warm",
    "spikecore warm leaky synaptic",
    "spikecore warm --list",
    pages="“Fused kernels” (docs/kernels.md)",
)
def warm(neurons: Optional[List[str]] = WARM_NEURONS, show: bool = WARM_LIST) -> None:
    """Compile the kernels of common neurons.

    A neuron runs fastest through a kernel, and a kernel takes Numba about a second to compile. Without this command it
    is compiled when a run first needs it: large runs wait for it, small ones go step by step until it is there.
    Compiled kernels are kept on disk for all processes of this machine, so the command is needed once after an
    installation, or while an image is built. It can be repeated: what is ready stays.

    The neurons are leaky, synaptic, alpha, lapicque, rleaky and rsynaptic, each as a layer of a Model and as a module
    of spikecore.nn, in float32, with the resets "subtract" and "zero" and the surrogates atan and fast_sigmoid;
    forwards and backwards, and of leaky and synaptic also together with a Linear of 10 outputs. The name products
    stands for the products and convolutions that take spikes as lists, the name maps for maximum pooling and batch
    normalisation. The values of beta and the like make no difference. Other kernels are compiled as they are needed.
    """
    from spikecore.cli import warm as warming  # its imports are for no other command

    if show:
        print("\n".join(warming.listing(neurons or ())))
    else:
        warming.warm(neurons or ())


@examples(
    "spikecore bench --list",
    "spikecore bench neurons --rounds 7 --peers snntorch,spikingjelly",
    "spikecore bench tutorial5 tutorial6 --out results.md",
    "spikecore bench rates --out results.md --plot rates.svg",
    "spikecore bench growth --out growth.jsonl --plot growth.svg",
    "spikecore bench --quick",
    pages="“Benchmarks” (docs/benchmarks.md)",
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
    gradients (1e-5 is good). Libraries that are missing are listed; pip install -e ".[peers]", in the clone of
    the repository, brings them. Measure on an otherwise idle machine: a wide range from min to max means that it was
    busy. Exits with 1 if another library failed.
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

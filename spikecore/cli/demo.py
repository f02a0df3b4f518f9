"""The demonstration: ``python -m spikecore.cli.demo`` (or ``make demo``).

Trains the packaged run file with the torch engine for three seeds, verifies the gradients of the first model against
the NumPy engine's hand-written ones and against finite differences, trains the same run with the NumPy engine, and
compares the two. Run directories and pictures are written to ./runs/demo. Exits with 1 if an accuracy or a gradient
misses its bar.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterable, List, Optional

from spikecore.cli.command import NOT_VERIFIED, OK, guarded
from spikecore.cli.pictures import compare
from spikecore.cli.run_directory import TrainingRun
from spikecore.cli.run_file import read
from spikecore.cli.run_reports import verify_gradients

RUN_FILE = Path(__file__).with_name("demo.toml")
RUNS = (("torch", 0), ("torch", 1), ("torch", 2), ("numpy", 0))
ACCURACY, DIFFERENCE = 0.91, 0.03  # bars: lowest test accuracy of a run; largest difference between the engines


@dataclass
class DemoRun:
    """One run of the demonstration."""

    run: TrainingRun
    model: Any
    accuracy: float
    seconds: float

    @property
    def row(self) -> List[str]:
        """The run's row in the table that is printed at the end."""
        steps = len(self.run.loader(self.run.train_set)) * self.model.epochs_done
        time_per_step = f"{1e3 * self.seconds / steps:.2f} ms"
        config = self.run.config
        return [config.engine, str(config.seed), f"{self.accuracy:.1%}", f"{self.seconds:.2f} s", time_per_step]


def trained(engine: str, seed: int, root: Path, sets: Iterable[str]) -> DemoRun:
    """Train the packaged run file on one engine from one seed."""
    directory = root / f"{engine}-{seed}"
    run = TrainingRun(read(RUN_FILE, engine, [*sets, f"seed={seed}"]), directory, RUN_FILE.name)
    print(f"training with engine {engine}, seed {seed} ...", flush=True)
    with run.start(over=True) as model:
        run.train(model, say=lambda line: None)
        result = run.evaluate(model)
        run.pictures(model)
    return DemoRun(run, model, result["test_accuracy"], sum(row["seconds"] for row in model.history))


def demo(root: Path = Path("runs/demo"), sets: Iterable[str] = (), accuracy: float = ACCURACY) -> int:
    """Run the whole demonstration, and return the exit code.

    Args:
        root: directory for all runs and pictures.
        sets: changes to the run file, as for ``spikecore train --set``.
        accuracy: lowest test accuracy of a run, in [0, 1].
    """
    began = time.perf_counter()
    all_runs = [trained(engine, seed, root, sets) for engine, seed in RUNS]
    first, other = all_runs[0], all_runs[-1]
    print("verifying gradients ...", flush=True)
    report = verify_gradients(first.run, first.model)
    curves = {f"{run.run.config.engine}, seed {run.run.config.seed}": run.model.history for run in (first, other)}
    compare(root / "engines.png", curves, "digits: training loss of the same run on two engines")
    _print_table([["engine", "seed", "test accuracy", "training", "per step"], *(run.row for run in all_runs)])
    gap = max(abs(a["loss"] - b["loss"]) / b["loss"] for a, b in zip(first.model.history, other.model.history))
    difference = abs(first.accuracy - other.accuracy)
    print(
        f"\ntorch and numpy, seed {RUNS[0][1]}: accuracies differ by {difference:.1%}, losses by at most {gap:.2%}\n"
        f"gradients: {report}\n"
        f"pictures: {root}/engines.png and {root}/*/{{curves,predictions,raster,traces}}.png; "
        f"report: {first.run.directory}/report.txt; {time.perf_counter() - began:.0f} s in all"
    )
    missed = [f"{run.row[0]}, seed {run.row[1]}: accuracy {run.row[2]}" for run in all_runs if run.accuracy < accuracy]
    missed += [f"torch and numpy differ by {difference:.1%} in accuracy"] * bool(difference > DIFFERENCE)
    missed += [f"gradients are not verified, see {first.run.directory}/report.txt"] * (not report.ok)
    print("\n".join(f"MISSED: {line}" for line in missed) or f"every accuracy >= {accuracy:.0%}, gradients verified")
    return NOT_VERIFIED if missed else OK


def _print_table(rows: List[List[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows)]
    print()
    for row in rows:
        print("  ".join(cell.rjust(width) for cell, width in zip(row, widths)))


def main(root: Optional[Path] = None) -> None:
    """Run the demonstration in ``root`` (default: ./runs/demo), and end the process with its exit code."""
    guarded(lambda: demo(root or Path("runs/demo")))


if __name__ == "__main__":
    main()

"""The command ``python -m benchmarks.accuracy``: it trains, and prints a table."""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median
from typing import Dict, List, Optional, Sequence

from benchmarks import machine
from benchmarks.accuracy import convolutional, dense, membrane, neuromorphic, population, recurrent
from benchmarks.accuracy.plan import Experiment, libraries

EXPERIMENTS: Dict[str, Experiment] = {
    "dense": dense.EXPERIMENT,
    "convolutional": convolutional.EXPERIMENT,
    "population": population.EXPERIMENT,
    "plain": population.PLAIN,
    "neuromorphic": neuromorphic.EXPERIMENT,
    "membrane": membrane.EXPERIMENT,
    "recurrent": recurrent.EXPERIMENT,
}
HEAD = """\
| network | figure | snnTorch | spikecore, the same draws | spikecore, `sc.Model` |
|---|---|--:|--:|--:|"""


def row(name: str, experiment: Experiment, seeds: Sequence[int], validate: bool) -> str:
    """Train with both libraries from every seed; return the row of the table."""
    theirs, ours = libraries()
    sides = {
        "snnTorch": lambda seed: experiment.train(theirs, seed, validate),
        "spikecore, the same draws": lambda seed: experiment.train(ours, seed, validate),
    }
    fit = experiment.fit
    if fit is not None:
        sides["spikecore, sc.Model"] = lambda seed: fit(seed, validate)
    cells: List[str] = []
    for side, run in sides.items():
        found = [run(seed) for seed in seeds]
        print(f"{name}, {side}: " + ", ".join(f"{value:.4g}" for value in found), flush=True)
        cells.append(f"{median(found):.4g} ({min(found):.4g}–{max(found):.4g})")
    figure = experiment.figure.replace("test", "validation") if validate else experiment.figure
    return f"| {experiment.title} | {figure} | " + " | ".join([*cells, *["–"] * (3 - len(cells))]) + " |"


def main(arguments: Optional[Sequence[str]] = None) -> str:
    """Parse arguments, train, print and return the table."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy",
        description="Train the same network with snnTorch and with spikecore, and print medians over seeds.",
    )
    parser.add_argument("networks", nargs="*", metavar="NETWORK", help=f"{', '.join(EXPERIMENTS)}; none: all")
    parser.add_argument("--list", action="store_true", help="the networks")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="default: 0 1 2")
    parser.add_argument("--validate", action="store_true", help="measure on validation data instead of test data")
    parser.add_argument("--out", type=Path, help="file for the table (.md)")
    args = parser.parse_args(arguments)
    if args.list:
        listing = "\n".join(f"{name}: {experiment.title}" for name, experiment in EXPERIMENTS.items())
        print(listing)
        return listing
    unknown = [name for name in args.networks if name not in EXPERIMENTS]
    if unknown:
        parser.error(f"no network {unknown[0]!r}: choose from {', '.join(EXPERIMENTS)}")
    rows = [row(name, EXPERIMENTS[name], args.seeds, args.validate) for name in args.networks or EXPERIMENTS]
    about = f"{machine.sentence(machine.describe('cpu'))} Medians over the seeds {args.seeds}, in brackets their range."
    table = "\n".join([about, "", HEAD, *rows])
    print(table)
    if args.out is not None:
        args.out.write_text(table + "\n", encoding="utf-8")
    return table


if __name__ == "__main__":
    main()

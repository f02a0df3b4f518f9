"""Results that papers print, beside ours.

python -m benchmarks.reproduced --list
python -m benchmarks.reproduced randman --out build/reproduced.jsonl
python -m benchmarks.reproduced qtdb --data FOLDER --out build/reproduced.jsonl
python -m benchmarks.reproduced --report --out build/reproduced.jsonl

Each row runs several seeds, and prints a line of JSON for each. Runs that have a line in ``--out`` are not repeated, so
a command that was interrupted goes on where it was. The last line of a row is the mean of its figures.
"""

from __future__ import annotations

import argparse
import time
from functools import partial
from pathlib import Path
from statistics import mean, stdev
from typing import Any, Dict, List

from benchmarks import machine
from benchmarks.lines import Lines
from benchmarks.reproduced import mackey_glass, randman, series, yin_yang
from benchmarks.reproduced.row import Row

ROWS: Dict[str, Row] = {
    "randman": randman.ROW,
    "yin_yang_exact": yin_yang.EXACT,
    "yin_yang_surrogate": yin_yang.SURROGATE,
    "qtdb": series.QTDB,
    "mackey_glass": mackey_glass.ROW,
    "etth1": series.ETTH1,
}
HEAD = """\
|task, network and unit|paper|its figure|ours|seeds|minutes a seed|
|---|---|--:|--:|--:|--:|"""


def measured(row: Row, seed: int, folder: Path) -> Dict[str, Any]:
    """The line of a run."""
    began = time.process_time()
    figures = row.run(seed, folder)
    versions = {name: version for name in ("numpy", "numba", "torch") for version in machine.version_of(name)}
    spent = round(time.process_time() - began, 1)
    return {**figures, "seconds": spent, "processor": machine.describe("cpu")["processor"], "versions": versions}


def summary(lines: List[Dict[str, Any]]) -> str:
    """Mean and deviation."""
    figures = [line["figure"] for line in lines]
    digits = 1 if max(figures) > 2.0 else 3
    spread = f" ± {stdev(figures):.{digits}f}" if len(figures) > 1 else ""
    return f"{mean(figures):.{digits}f}{spread}"


def table(lines: List[Dict[str, Any]]) -> str:
    """The table of the page, of the rows that have lines, and what differs from the papers."""
    rows, differs = [HEAD], []
    for name, row in ROWS.items():
        mine = [line for line in lines if line["row"] == name]
        if mine:
            minutes = mean(line["seconds"] for line in mine) / 60.0
            cells = (f"{row.title}; {row.unit}", row.paper, row.theirs, summary(mine), str(len(mine)), f"{minutes:.1f}")
            rows.append("|" + "|".join(cells) + "|")
            differs.append(f"- {row.title.partition(',')[0]}: {row.differs}.")
    return "\n".join([*rows, "", *differs])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rows", nargs="*", metavar="ROW", help=", ".join(ROWS))
    parser.add_argument("--data", type=Path, metavar="FOLDER", help="the folder of the files that --list names")
    parser.add_argument("--out", type=Path, help="file of the lines (.jsonl)")
    parser.add_argument("--seeds", type=int, help="how many; default: the row's")
    parser.add_argument("--list", action="store_true", help="the rows, with their papers and files")
    parser.add_argument("--report", action="store_true", help="the table of the lines that --out has")
    given = parser.parse_args()
    if given.list:
        for name, row in ROWS.items():
            needs = f"; needs {row.data}" if row.data else ""
            print(f"{name}: {row.title}; {row.paper}: {row.theirs} {row.unit}{needs}")
        return
    lines = Lines(given.out)
    if given.report:
        print(table(lines.known))
        return
    for name in given.rows:
        if name not in ROWS:
            parser.error(f"no row {name!r}: choose from {', '.join(ROWS)}")
        row = ROWS[name]
        if row.data and given.data is None:
            parser.error(f"{name} needs --data, a folder with {row.data}")
        run = partial(measured, row, folder=given.data or Path())
        seeds = range(row.seeds if given.seeds is None else given.seeds)
        found = [lines.of({"row": name, "seed": seed}, partial(run, seed)) for seed in seeds]
        print(f"{row.title}: {summary(found)} {row.unit}; {row.paper}: {row.theirs}")
        print(f"{mean(line['figure'] for line in found):.4f}")


if __name__ == "__main__":
    main()

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
from statistics import mean
from typing import Any, Dict, List

from benchmarks import machine
from benchmarks.lines import Lines
from benchmarks.reproduced import beside, mackey_glass, nir_lif, randman, series, tutorials, yin_yang
from benchmarks.reproduced.row import Row, ours, theirs

ROWS: Dict[str, Row] = {
    "randman": randman.ROW,
    "yin_yang_exact": yin_yang.EXACT,
    "yin_yang_surrogate": yin_yang.SURROGATE,
    "qtdb": series.QTDB,
    "mackey_glass": mackey_glass.ROW,
    "etth1": series.ETTH1,
    "nir_lif": nir_lif.ROW,
    "population": tutorials.POPULATION,
    "plain": tutorials.PLAIN,
    "membrane": tutorials.MEMBRANE,
    "tutorial5": tutorials.TUTORIAL5,
    "tutorial6": tutorials.TUTORIAL6,
    "sew_resnet18": beside.SEW,
    "store_recall": beside.STORE_RECALL,
    "diehl_cook": beside.DIEHL_COOK,
    "delays": beside.DELAYS,
    "conversion": beside.CONVERSION,
}
HEAD = """\
|row: task, network; unit|paper|its figure|ours|seeds|minutes a seed|
|---|---|--:|--:|--:|--:|"""


def measured(row: Row, seed: int, folder: Path) -> Dict[str, Any]:
    """The line of a run."""
    began = time.process_time()
    figures = row.run(seed, folder)
    versions = {name: version for name in ("numpy", "numba", "torch") for version in machine.version_of(name)}
    spent = round(time.process_time() - began, 1)
    return {**figures, "seconds": spent, "processor": machine.describe("cpu")["processor"], "versions": versions}


def table(lines: List[Dict[str, Any]]) -> str:
    """The table of the page, of the rows that have lines, and what differs from the papers."""
    rows, differs = [HEAD], []
    for name, row in ROWS.items():
        mine = [line for line in lines if line["row"] == name]
        if mine:
            minutes = mean(line["seconds"] for line in mine) / 60.0
            figures = (row.paper, theirs(row, mine), ours(mine), str(len(mine)), f"{minutes:.1f}")
            rows.append("|" + "|".join((f"`{name}`: {row.title}; {row.unit}", *figures)) + "|")
            differs.append(f"- `{name}`: {row.differs}.")
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
            print(f"{name}: {row.title}; {row.paper}: {row.theirs or 'measured beside ours'}, {row.unit}{needs}")
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
        print(f"{row.title}: {ours(found)} {row.unit}; {row.paper}: {theirs(row, found)}")
        print(f"{mean(line['figure'] for line in found):.4f}")


if __name__ == "__main__":
    main()

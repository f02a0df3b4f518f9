"""The recipe and other methods on everyday data.

In a clone of the repository:

pip install -e ".[torch,kernels,learns]"
python -m benchmarks.learns --out build/learns.jsonl
python -m benchmarks.learns --out build/learns.jsonl --part left_out
python -m benchmarks.learns --out build/learns.jsonl --report
python -m benchmarks.learns --ts TRAIN.ts TEST.ts
python -m benchmarks.learns --npz FILE.npz

There are 5 splits and 3 seeds where a test part has fewer than 200 samples, else 1 and 3. A line of JSON is written for
each run, and runs that have a line are not repeated; delete the recipe's lines after a change of the recipe. A score is
an accuracy, for numbers the mean squared error divided by the variance of the training targets. With ``--ts`` or
``--npz`` the recipe is trained on a set of yours, and the last line is its score.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, Dict

import numpy as np

from benchmarks.learns.files import read_npz, read_ts
from benchmarks.learns.methods import METHODS, SEEDED, predicted
from benchmarks.learns.problem import Problem
from benchmarks.learns.report import table
from benchmarks.learns.sets import SETS, names
from benchmarks.lines import Lines


def scored(task: Problem, said: np.ndarray) -> Dict[str, Any]:
    """The score, and the loss of each test sample: 0 or 1, or a squared error."""
    if task.classes:
        losses = (said != task.y_test).astype(float)
        return {"score": float(1.0 - losses.mean()), "losses": "".join("01"[int(wrong)] for wrong in losses)}
    scale = np.maximum(task.y.var(axis=0), 1e-12)
    errors = (np.reshape(said, task.y_test.shape) - task.y_test) ** 2 / scale
    errors = errors.reshape(len(errors), -1).mean(axis=1)
    return {"score": float(errors.mean()), "losses": [float(f"{error:.4g}") for error in errors]}


def measured(method: str, task: Problem, seed: int) -> Dict[str, Any]:
    """The line of a run."""
    began = time.process_time()
    found = scored(task, predicted(method, task, seed))
    return {**found, "seconds": round(time.process_time() - began, 2), "train": len(task.y), "classes": task.classes}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ts", nargs=2, type=Path, metavar=("TRAIN", "TEST"))
    parser.add_argument("--npz", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--part", choices=("development", "left_out", "all"), default="development")
    parser.add_argument("--sets", nargs="+", choices=list(SETS))
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0, help="of a set of yours")
    parser.add_argument("--report", action="store_true", help="the table of the lines that --out has")
    given = parser.parse_args()
    if given.ts or given.npz:
        task = read_ts(*given.ts) if given.ts else read_npz(given.npz)
        print("accuracy" if task.classes else "mean squared error / variance of the training targets")
        print(f"{measured('recipe', task, given.seed)['score']:.4f}")
        return
    lines = Lines(given.out)
    if given.report:
        print(table(lines.known, given.part))
        return
    chosen = given.sets or list(names(given.part))
    for method in given.methods:
        for name in chosen:
            task = SETS[name]()
            if method == "logistic" and not task.classes:
                continue
            for seed in range(given.seeds if method in SEEDED else 1):
                for split in range(task.splits):
                    run = {"set": name, "method": method, "split": split, "seed": seed}
                    lines.of(run, lambda: measured(method, task.split(split), seed))  # noqa: B023  (called at once)


if __name__ == "__main__":
    main()

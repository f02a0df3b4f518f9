"""A class for each step of an electrocardiogram, by the recipe: the QT database, in six classes.

python -m benchmarks.step_labels FOLDER
python -m benchmarks.step_labels FOLDER --parts records

FOLDER has qtdb_train.npz, with x (traces, steps, channels) and y (traces, steps). The recipe, which has 36 hidden
neurons, is trained on four fifths of it, and every fifth trace is for validation. With ``--parts records`` every fifth
group of ten is: neighbours in the file are of one patient, and a network that has met a patient does better. With
``--parts test`` the recipe is trained on all, and tested on qtdb_test.npz, which lies beside it. The last line is the
share of steps that are right, without the first ten, as in Yin, Corradi and Bohte (2021): 85.9 % on the test file.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any, Tuple

import numpy as np

import spikecore as sc

FIRST, NEIGHBOURS = 10, 10


def read(path: Path) -> Tuple[np.ndarray, np.ndarray]:
    """Traces and their labels."""
    with np.load(path, allow_pickle=False) as file:
        return file["x"].astype(np.float32), file["y"].astype(np.int64)


def kept(count: int, parts: str) -> np.ndarray:
    """Which traces are for validation."""
    place = np.arange(count) // (NEIGHBOURS if parts == "records" else 1)
    return place % 5 == 2


def say(model: Any, row: Any) -> None:
    """A line for an epoch."""
    print(f"epoch {row['epoch']}: loss {row['loss']:.4f}, right {row['accuracy_step']:.4f}", flush=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--parts", choices=("traces", "records", "test"), default="traces")
    parser.add_argument("--engine", default="numpy")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    x, y = read(given.folder / "qtdb_train.npz")
    if given.parts == "test":
        x_test, y_test = read(given.folder / "qtdb_test.npz")
    else:
        rest = kept(len(x), given.parts)
        x, y, x_test, y_test = x[~rest], y[~rest], x[rest], y[rest]
    recipe = sc.recipe(x, y)
    print(recipe)
    began = time.process_time()
    model = sc.Model(recipe.network, engine=given.engine, seed=given.seed)
    model.fit(x, y, progress=False, callbacks=(say,), **recipe.training)
    right = model.predict(x_test, **recipe.feed) == y_test
    print(f"{time.process_time() - began:.0f} s of one core, {model.epochs_done} epochs, {len(x_test)} traces for test")
    print(f"{right[:, FIRST:].mean():.4f}")


if __name__ == "__main__":
    main()

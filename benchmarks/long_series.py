"""Series of 5,000 steps by the recipe alone: does every seed train?

python -m benchmarks.long_series digits
python -m benchmarks.long_series adding --seeds 10 --samples 300

"digits" are scikit-learn's, a pixel after the other, each for 78 steps; "adding" is the adding problem. A line for each
seed has the loss of the first and the last epoch, and the score of samples that were not trained on: an accuracy, of
which chance has 10 %, or the mean squared error divided by the variance. The last line is the number of seeds that
train: whose losses are finite, whose last one is at most 0.9 of the first one, and whose accuracy is at least 20 % or
whose error is at most 0.8.
"""

from __future__ import annotations

import argparse
import math
import time
from typing import Tuple

import numpy as np

import spikecore as sc

STEPS, TEST = 5000, 200
Arrays = Tuple[np.ndarray, np.ndarray]


def digits(samples: int) -> Tuple[Arrays, Arrays]:
    """Digits, pixel by pixel; the last steps are 0."""
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(x))[: samples + TEST]
    each = STEPS // x.shape[1]
    series = np.zeros((len(order), STEPS, 1), np.float32)
    series[:, : each * x.shape[1], 0] = np.repeat(x[order] / 16.0, each, axis=1)
    return (series[:samples], y[order][:samples]), (series[samples:], y[order][samples:])


def adding(samples: int) -> Tuple[Arrays, Arrays]:
    """The adding problem."""
    train, test = sc.datasets.adding(samples, TEST, steps=STEPS)
    return (train.inputs, train.targets), (test.inputs, test.targets)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=("digits", "adding"))
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--samples", type=int, default=600)
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    given = parser.parse_args()
    (x, y), (x_test, y_test) = {"digits": digits, "adding": adding}[given.task](given.samples)
    recipe = sc.recipe(x, y)
    print(recipe)
    training = {**recipe.training, **({"epochs": given.epochs} if given.epochs else {})}
    trained = 0
    for seed in range(given.first, given.first + given.seeds):
        began = time.process_time()
        model = sc.Model(recipe.network, engine=sc.get_engine("numpy", fused=True), seed=seed)
        losses = [row["loss"] for row in model.fit(x, y, progress=False, **training)]
        said = model.predict(x_test, batch_size=50, **recipe.feed).reshape(y_test.shape)
        score = (said == y_test).mean() if recipe.facts.classes else ((said - y_test) ** 2).mean() / y.var()
        good = score >= 0.2 if recipe.facts.classes else score <= 0.8
        trains = all(map(math.isfinite, losses)) and losses[-1] <= 0.9 * losses[0] and good
        trained += bool(trains)
        spent = time.process_time() - began
        print(f"seed {seed}: loss {losses[0]:.4f} to {losses[-1]:.4f}, score {score:.4f}, {spent:.0f} s", flush=True)
    print(trained)


if __name__ == "__main__":
    main()

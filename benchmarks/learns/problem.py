"""``Problem``: training and test samples, which can be divided anew."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Optional

import numpy as np

SPLITS, SMALL = 5, 200  # splits of a set whose test part has fewer samples than this


@dataclass(frozen=True)
class Problem:
    """Training and test samples.

    Args:
        x, y: training samples, (n, features), (n, steps, features) or (n, channels, height, width), and their targets:
            integers from 0 are classes, anything else numbers (n,) or (n, k).
        x_test, y_test: the same for the test.
        lengths, lengths_test: how many steps of each sample count; None: all.
        divided: whether the set comes with this test part.
    """

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    lengths: Optional[np.ndarray] = None
    lengths_test: Optional[np.ndarray] = None
    divided: bool = False

    @property
    def classes(self) -> int:
        """Number of classes; 0 for a regression."""
        return int(max(self.y.max(), self.y_test.max())) + 1 if self.y.dtype.kind in "iu" else 0

    @property
    def splits(self) -> int:
        return SPLITS if len(self.y_test) < SMALL else 1

    def split(self, number: int) -> Problem:
        """Another division of the same samples, of the same sizes; of classes, with the same number of each.

        Split 0 of a set with a test part is the set's own.
        """
        if number == 0 and self.divided:
            return self
        x, y = np.concatenate([self.x, self.x_test]), np.concatenate([self.y, self.y_test])
        lengths = None
        if self.lengths is not None and self.lengths_test is not None:
            lengths = np.concatenate([self.lengths, self.lengths_test])
        rng, train = np.random.default_rng(number), []
        groups = [np.flatnonzero(y == c) for c in range(self.classes)] if self.classes else [np.arange(len(y))]
        for group in groups:
            some = int((self.y == y[group[0]]).sum()) if self.classes else len(self.y)
            train.append(rng.permutation(group)[:some])
        chosen = np.sort(np.concatenate(train))
        rest = np.setdiff1d(np.arange(len(y)), chosen)
        parts = (None, None) if lengths is None else (lengths[chosen], lengths[rest])
        return replace(
            self, x=x[chosen], y=y[chosen], x_test=x[rest], y_test=y[rest], lengths=parts[0], lengths_test=parts[1]
        )

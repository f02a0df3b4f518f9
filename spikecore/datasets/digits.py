"""The 8×8 handwritten digits that come with scikit-learn."""

from __future__ import annotations

from typing import Tuple

import numpy as np

from spikecore.datasets.errors import DataError, MissingExtraError, checked
from spikecore.installing import to_install
from spikecore.samples import Dataset

TRAIN_SAMPLES = 1347  # three quarters of 1797


@checked
def digits(split: str = "contiguous", *, image: bool = False, seed: int = 0) -> Tuple[Dataset, Dataset]:
    """1797 digits by 13 writers as (train, test) with 1347 and 450 samples.

    The samples are in the order in which the writers wrote them. With the contiguous split, the test samples are by
    writers that are not in the training set; a small spiking network reaches 91 to 92 %. With the shuffled split, the
    same writers are in both sets; a network reaches about 97 %, which says little about its accuracy on new writers.
    State which split you used when you publish an accuracy.

    Args:
        split: "contiguous" (the default), or "shuffled" for comparison with published results of shuffled splits.
        image: inputs (samples, 1, 8, 8) instead of (samples, 64); float32 in [0, 1] either way. Targets are int64.
        seed: of the shuffled split; an integer ≥ 0.

    Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI (1998), test part.

    Raises:
        MissingExtraError: scikit-learn is not installed.
        DataError: `split` has another value.
    """
    if split not in ("contiguous", "shuffled"):
        raise DataError(f"split={split!r}: use 'contiguous' or 'shuffled'")
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise MissingExtraError(f"digits come with scikit-learn: {to_install('data')}") from error
    pixels, labels = load_digits(return_X_y=True)
    inputs = (pixels / 16).astype(np.float32)  # 17 grey levels, 0 to 16: the quotients are exact
    whole = Dataset(
        inputs.reshape(-1, 1, 8, 8) if image else inputs,
        labels.astype(np.int64),
        name="digits",
        classes=tuple("0123456789"),
    )
    return whole.split(TRAIN_SAMPLES, seed=None if split == "contiguous" else seed)

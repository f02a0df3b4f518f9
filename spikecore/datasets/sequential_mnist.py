"""Images as sequences of their pixels or rows: sequential MNIST and its permuted form."""

from __future__ import annotations

from dataclasses import replace
from typing import Tuple, Union

import numpy as np

from spikecore.datasets.errors import DataError, checked
from spikecore.datasets.idx import mnist
from spikecore.datasets.places import PathLike
from spikecore.samples import Dataset


@checked
def sequential_mnist(
    images: Union[PathLike, Tuple[Dataset, Dataset]],
    *,
    by: str = "pixels",
    permuted: bool = False,
    seed: int = 0,
    download: bool = False,
) -> Tuple[Dataset, Dataset]:
    """Images that are shown one pixel or one row per time step, as (train, test).

    Of MNIST, inputs are (samples, 784, 1) by pixels and (samples, 28, 28) by rows, float32 in [0, 1]: pass
    ``time_axis=1`` to `fit`. Targets are the images' own.

    Args:
        images: the folder of MNIST, as for `mnist`; or (train, test) with square images of one channel, as
            ``fashion_mnist(root)``, ``mnist_sample()`` and ``digits()`` give them.
        by: "pixels", the default: a pixel per step, from left to right and from top to bottom; "rows": a row per step.
        permuted: put the pixels of all images into one random order first, which leaves no neighbours to compare.
            Default False.
        seed: of that order; an integer ≥ 0.
        download: fetch files of MNIST that are missing, 11 MB in all, into the folder. Default False.

    Source: Q. V. Le, N. Jaitly, G. E. Hinton, A Simple Way to Initialize Recurrent Networks of Rectified Linear Units,
        2015, arXiv:1504.00941.

    Raises:
        DataFileError: as for `mnist`.
        DataError: an argument is out of range, or images are not square or have several channels.
    """
    if by not in ("pixels", "rows"):
        raise DataError(f"sequential_mnist: by={by!r}: use 'pixels' or 'rows'")
    if seed < 0:
        raise DataError(f"sequential_mnist: seed={seed!r} must be an integer >= 0")
    if isinstance(images, (tuple, list)):
        if download:
            raise DataError("sequential_mnist: download=True needs the folder of MNIST, not images that were read")
        train, test = images
    else:
        train, test = mnist(images, download=download)
    side = _side(train)
    if _side(test) != side:
        raise DataError(f"sequential_mnist: training images have {side} rows, test images {_side(test)}")
    order = np.random.default_rng(seed).permutation(side * side) if permuted else slice(None)
    features = 1 if by == "pixels" else side

    def sequences(data: Dataset) -> Dataset:
        pixels = data.inputs.reshape(len(data), side * side)[:, order]
        name = f"{'permuted ' * permuted}sequential {data.name}".rstrip()
        return replace(data, inputs=pixels.reshape(len(data), -1, features), name=name)

    return sequences(train), sequences(test)


def _side(data: Dataset) -> int:
    """Number of rows of the square images, given flat or with axes for channel, row and column."""
    shape = data.inputs.shape[1:]
    pixels = int(np.prod(shape))
    side = int(round(pixels**0.5))
    if shape not in ((side * side,), (side, side), (1, side, side)) or data.lengths is not None:
        raise DataError(
            f"sequential_mnist: inputs of {data.name or 'the images'} have shape {data.inputs.shape}; expected square "
            "images of one channel: (samples, pixels), (samples, rows, columns) or (samples, 1, rows, columns)"
        )
    return side

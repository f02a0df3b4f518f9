"""Images in a folder per class."""

from __future__ import annotations

from pathlib import Path
from typing import Any, List, Optional, Tuple

import numpy as np

from spikecore.datasets.class_folders import by_files, class_files, class_of
from spikecore.datasets.errors import DataError, DataFileError, MissingExtraError, checked
from spikecore.datasets.limits import MOST_BYTES, check_size
from spikecore.datasets.places import PathLike
from spikecore.installing import to_install
from spikecore.samples import Dataset

ENDINGS = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff")
DEEP = 65_535.0  # white, in images of 16 bits


@checked
def image_folder(
    path: PathLike,
    *,
    size: Optional[Tuple[int, int]] = None,
    colour: bool = False,
    test_share: float = 0.2,
    max_bytes: int = MOST_BYTES,
) -> Tuple[Dataset, Dataset]:
    """Read images from a folder per class, such as `cells/neuron/01.png`, as (train, test).

    Inputs are float32 (samples, channels, height, width) in [0, 1], with 1 channel, or 3 in colour. Targets are int64,
    `classes` the names of the folders in alphabetical order. Which files are for the test follows from a hash of their
    names: it is the same in each run. If there are several images of one individual, divide them yourself: with images
    of it in both parts, the results are too good. A folder that is divided, as `cells/train/neuron/01.png` and
    `cells/test/neuron/02.png` are, gives these parts; `val` is the test if there is no `test`, else it is left out.

    Args:
        path: the folder. Its folders are the classes, but for those whose names begin with "_" or "."; files are PNG,
            JPEG, BMP, GIF or TIFF.
        size: height and width in pixels, each ≥ 1, to which all images are scaled. None, the default: as they are, all
            of one size.
        colour: three channels, red, green and blue, instead of shades of grey; default False.
        test_share: share of the files of each class for the test, > 0 and < 1, at least one file; default 0.2. Not for
            a folder that is divided.
        max_bytes: most bytes of memory that the arrays may take. Default: 4 GiB.

    Raises:
        DataFileError: the folder is absent or has no images, or one is damaged or of another size than the first.
        DataError: an argument is out of range, or a class has a single file.
        MissingExtraError: Pillow is not installed.
    """
    if not 0.0 < test_share < 1.0:
        raise DataError(f"image_folder: test_share={test_share!r} must be > 0 and < 1")
    if size is not None and min(size) < 1:
        raise DataError(f"image_folder: size={size!r}: height and width must be >= 1")
    if max_bytes < 1:
        raise DataError(f"image_folder: max_bytes={max_bytes} must be >= 1")
    folder = Path(path)
    names, files, part = class_files(folder, "images", ENDINGS)
    part = part or by_files("image_folder", files, (0.0, test_share))
    if size is None:
        with opened(folder / files[0]) as first:
            wide, high = first.size
    else:
        high, wide = size
    check_size(path, 4 * len(files) * (3 if colour else 1) * high * wide, max_bytes)

    def dataset(number: int, word: str) -> Dataset:
        mine = [file for file in files if part[file] == number]
        pixels = [read(folder / file, (high, wide), size is not None, colour) for file in mine]
        labels = np.array([names.index(class_of(file)) for file in mine], np.int64)
        return Dataset(np.stack(pixels), labels, name=f"{folder.resolve().name} {word}", classes=names)

    return dataset(0, "train"), dataset(2, "test")


def sizes_of(path: PathLike) -> Tuple[List[Tuple[int, int]], bool]:
    """The sizes (height, width) that images of a folder have, and whether there are some in colour; by their heads."""
    folder, sizes, colour = Path(path), set(), False
    for file in class_files(folder, "images", ENDINGS).files:
        with opened(folder / file) as image:
            sizes.add(image.size[::-1])
            colour = colour or image.mode not in ("1", "L", "LA", "F") and not image.mode.startswith("I")
    return sorted(sizes), colour


def opened(path: Path) -> Any:
    """An image of Pillow's, of which the head is read."""
    try:
        from PIL import Image
    except ImportError as error:
        raise MissingExtraError(f"images are read with Pillow: {to_install('plot')}") from error
    try:
        return Image.open(path)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataFileError(f"{path}: cannot be read as an image: {error}") from error


def read(path: Path, size: Tuple[int, int], scaled: bool, colour: bool) -> np.ndarray:
    """The pixels (channels, height, width) of an image, in [0, 1]."""
    from PIL import Image

    with opened(path) as image:
        if not scaled and image.size != size[::-1]:
            raise DataFileError(
                f"{path}: has {image.size[1]} x {image.size[0]} pixels, and the first image {size[0]} x {size[1]}: "
                f"pass size=(height, width), to which all are scaled"
            )
        try:
            deep = image.mode.startswith("I")  # 16 bits, which Pillow would cut off
            kept = image.convert("F" if deep else "RGB" if colour else "L")
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataFileError(f"{path}: cannot be read as an image: {error}") from error
    if scaled and kept.size != size[::-1]:
        kept = kept.resize(size[::-1], Image.BILINEAR)  # type: ignore[attr-defined]
    pixels = np.asarray(kept, np.float32) / (DEEP if deep else 255.0)
    channels = pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)
    return np.ascontiguousarray(np.repeat(channels, 3, axis=0) if colour and len(channels) == 1 else channels)

"""Starts of run files for the user's own data: sizes of samples, classes, axes, and how files are divided."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional, Tuple

import numpy as np

from spikecore.api.core.messages import warn
from spikecore.api.training.diagnosis import LARGE
from spikecore.cli import new_plasticity
from spikecore.cli.data_tables import TABLES
from spikecore.cli.messages import ConfigError
from spikecore.cli.starts import OWN, STARTS, Start
from spikecore.datasets.class_folders import classes_of, parts_of
from spikecore.datasets.csv_table import texts_of
from spikecore.datasets.image_folder import sizes_of
from spikecore.datasets.npz import members
from spikecore.datasets.wav_folder import EXPECTED, LISTS

MOST_SIDE, SIDES = 64, (32, 32)  # pixels of images


class Asked(NamedTuple):
    """The options of ``spikecore init`` about the user's own data. See ``new_run_file``."""

    path: Optional[Path] = None
    time_axis: Optional[int] = None
    plasticity: bool = False
    numbers: bool = False
    look_back: Optional[int] = None
    horizon: Optional[int] = None

    def check(self, name: str) -> None:
        """Refuse options that are not for the data set ``name``.

        Raises:
            ConfigError: there is one.
        """
        if self.path is not None and "path" not in TABLES[name].model_fields:
            raise ConfigError([f"--path {self.path}: the data set {name} comes with a package and has no path"])
        if self.time_axis is not None and name not in OWN:
            raise ConfigError([f"--time-axis {self.time_axis}: is for your own arrays: {', '.join(OWN)}"])
        if self.numbers and name not in (*OWN, "csv"):
            raise ConfigError([f"--numbers: is for your own table or arrays: csv, {', '.join(OWN)}"])
        if (self.look_back or self.horizon) and name != "series":
            raise ConfigError(
                [f"--look-back, --horizon: are for series to forecast: spikecore init series, not {name}"]
            )


Found = Tuple[Start, Any]  # and the training samples, if they have been read


def start_of(name: str, asked: Asked) -> Found:
    """The start for a data set, and the training samples if they have been read.

    Raises:
        ConfigError: there is no path, or the data are none to begin with.
        DataError: they cannot be read.
    """
    begin = OF_OWN.get(name)
    start, samples = (STARTS[name], None) if begin is None else begin(name, STARTS[name], asked)
    if asked.path is not None:
        start = replace(start, data={**start.data, "path": str(asked.path)})
    return start, samples


def _of_arrays(name: str, start: Start, asked: Asked) -> Found:
    """The start for the user's own arrays, and the training samples."""
    path, time_axis, numbers = asked.path, asked.time_axis, asked.numbers
    if path is None:
        if name == "csv":
            raise ConfigError(["init csv needs the table, a row per sample: --path FILE.csv"])
        example = {"npz": "FILE.npz", "hdf5": "FILE.h5", "zarr": "FOLDER.zarr", "npy": "FOLDER"}[name]
        raise ConfigError([f"init {name} needs the arrays x_train, y_train, x_test, y_test: --path {example}"])
    forced: Any = {"numbers": True} if numbers and name == "csv" else {}
    train, _ = TABLES[name](path=str(path), **forced).load(0)  # type: ignore[call-arg]
    by_step = time_axis == 1 and train.targets.ndim == 2 and train.targets.shape == train.inputs.shape[:2]
    whole = np.issubdtype(train.targets.dtype, np.integer)
    numbers = not by_step and (numbers and whole or np.issubdtype(train.targets.dtype, np.floating))
    fits = train.targets.ndim <= 2 if numbers else whole and (train.targets.ndim == 1 or by_step)
    if not fits:
        raise ConfigError(
            [
                f"--path {path}: its targets have shape {train.targets.shape} and dtype {train.targets.dtype}; init "
                "writes files for classes, one integer a sample, or with --time-axis 1 one a step; and for numbers of "
                "a float dtype, one or several a sample. docs/tasks.md shows how to train on other targets"
            ]
        )
    least = 0 if numbers else int(train.targets.min())
    if least < (-1 if by_step else 0):
        raise ConfigError([f"--path {path}: its targets begin at {least}; classes are counted from 0"])
    if least > 0:
        warn(
            f"--path {path}: its classes begin at {least}, and a network has an output for each number from 0 on: save "
            f"y - {least}"
        )
    if asked.plasticity and not numbers:
        new_plasticity.check_range(path, np.asarray(train.inputs[:1000]))
    sizes = train.inputs.shape
    if time_axis is not None and not (1 <= time_axis < len(sizes) and len(sizes) > 2):
        raise ConfigError(
            [
                f"--time-axis {time_axis}: x_train has shape {sizes}; axis 0 counts samples, one of the others is "
                "time, and the rest are features. If there is a single feature, save x[..., None]"
            ]
        )
    shape = tuple(size for axis, size in enumerate(sizes) if axis not in (0, time_axis))
    image = shape if len(shape) == 3 else ()
    classes = 0 if numbers else int(train.targets.max()) + 1
    found: Any = {"features": math.prod(shape), "classes": classes, "flatten": len(shape) > 1, "image": image}
    some = np.concatenate([np.ravel(train[i][0]) for i in range(min(1000, len(train)))]).astype(np.float64)
    if (some**2).mean() ** 0.5 > 3.0**0.5 * LARGE:  # then the first layer, as it is drawn, makes such currents
        found["data"] = {**start.data, "scale": "standard"}
    if numbers and name == "csv":
        found["data"] = {**found.get("data", start.data), "numbers": True}
    return replace(start, **found, time_axis=time_axis), train


def _of_series(name: str, start: Start, asked: Asked) -> Found:
    """The start for series to forecast. Columns without numbers, such as dates, are left out."""
    if asked.path is None:
        raise ConfigError(["init series needs the table, a row per step and a column per series: --path FILE.csv"])
    texts, steps = texts_of(asked.path)
    ahead = asked.horizon or min(24, max(1, steps // 20))
    data: Dict[str, Any] = {"leave_out": texts} if texts else {}
    back = asked.look_back or 4 * ahead
    return replace(start, data={**data, "look_back": back, "horizon": ahead}, time_axis=1), None


def _of_images(name: str, start: Start, asked: Asked) -> Found:
    """The start for a folder of images. Those of one size, and not larger than MOST_SIDE, stay as they are."""
    path = asked.path
    if path is None:
        raise ConfigError(
            ["init image_folder needs the folder that has a folder of images for each class: --path FOLDER"]
        )
    sizes, colour = sizes_of(path)
    size = sizes[0] if len(sizes) == 1 and max(sizes[0]) <= MOST_SIDE else SIDES
    image, classes = (3 if colour else 1, *size), len(classes_of(path, "images"))
    data = {"path": str(path), "size": list(size), "colour": colour}
    return replace(start, features=math.prod(image), classes=classes, data=data, image=image), None


def _of_recordings(name: str, start: Start, asked: Asked) -> Found:
    """The start for the user's own recordings. The sensor is the smallest that all events fit on."""
    path = asked.path
    if path is None:
        raise ConfigError(["init event_npz needs the archive that save_event_npz wrote: --path FILE.npz"])
    arrays = members(path, "x", "y", "label")
    width, height = (int(arrays[name].max()) + 1 for name in "xy")
    data = {"path": str(path), "sensor": [width, height], "transforms": start.data["transforms"]}
    image, classes = (2, height, width), int(arrays["label"].max()) + 1
    return replace(start, features=math.prod(image), classes=classes, data=data, image=image), None


def _of_sounds(name: str, start: Start, asked: Asked) -> Found:
    """The start for a folder of WAV files: its classes, and how to divide files that are in no lists and no parts."""
    path = asked.path
    if path is None:
        raise ConfigError(["init wav_folder needs the folder that has a folder of WAV files a class: --path FOLDER"])
    divided = parts_of(path) or all((path / file).is_file() for file in LISTS)
    data = {"path": str(path), **({} if divided else {"split": "files"}), "transforms": start.data["transforms"]}
    return replace(start, classes=len(classes_of(path, *EXPECTED)), data=data), None


OF_OWN: Dict[str, Callable[[str, Start, Asked], Found]] = {
    **dict.fromkeys((*OWN, "csv"), _of_arrays),
    "series": _of_series,
    "image_folder": _of_images,
    "event_npz": _of_recordings,
    "wav_folder": _of_sounds,
}

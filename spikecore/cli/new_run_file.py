"""Run files to begin with: ``spikecore init``.

A file sets the keys that matter for its data set. All other keys stand in it with their defaults, behind a #. Their
descriptions and limits are those of the models that check run files, so that no key is described twice.
"""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
from pydantic_core import PydanticUndefined
from typing_extensions import Literal, get_args, get_origin

from spikecore.api.core.engines import engines
from spikecore.api.core.messages import warn
from spikecore.api.training.diagnosis import LARGE
from spikecore.cli import new_plasticity
from spikecore.cli.data_tables import TABLES
from spikecore.cli.messages import ConfigError, models_in
from spikecore.cli.new_network import architecture_table, comment, layer_table, takes_vectors
from spikecore.cli.new_recipe import WARP, WINDOWS, data_keys, network_lines, recipe_for, train_keys, warped
from spikecore.cli.run_file import RunFile
from spikecore.cli.starts import FOLDERS, OWN, STARTS, Start
from spikecore.cli.toml_text import toml_text
from spikecore.cli.track_table import Track
from spikecore.cli.train_table import Train
from spikecore.datasets.class_folders import classes_of, parts_of
from spikecore.datasets.csv_table import texts_of
from spikecore.datasets.image_folder import sizes_of
from spikecore.datasets.npz import members
from spikecore.datasets.wav_folder import EXPECTED, LISTS
from spikecore.recipes import Recipe
from spikecore.zoo import Card

STEPS = 15
MOST_SIDE, SIDES = 64, (32, 32)  # pixels of images
# what a key may be set to whose default is that it is absent
POSSIBLE: Dict[str, Any] = {
    "device": "cuda",
    "engine_options": {"sparse_backward": 0.02},
    "test_path": "test.npz",
    "inputs": "x_{part}",
    "size": [32, 32],
    "targets": "y_{part}",
    "lengths": "steps_{part}",
    "weights": "balanced",
    "bucket": 20,
    "scale": "standard",
    "target": "species",
    "numbers": True,
    "cache": "cache",
    "metric": "accuracy",
    "tensorboard": True,
    "csv": True,
    "jsonl": True,
    "mlflow": {"experiment": "spikecore"},
    "wandb": {"project": "spikecore", "offline": True},
    "compute": {"memory": "8GB", "accumulate": 2},
    "learning": {"kind": "bptt", "window": 5},
    "save_within": 20.0,
    "early_stopping": {"patience": 5, "monitor": "val_loss"},
    "pruning": {"amount": 0.9, "end": 10},
    "rewiring": {"amount": 0.9, "fraction": 0.3},
    "schedule": "cosine",
}
LIMITS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


def listing() -> str:
    """The data sets for which there are run files, a line each."""
    width = max(map(len, STARTS))
    return "\n".join(f"{name:<{width}}  {start.what}" for name, start in STARTS.items())


def new_run_file(
    name: str,
    path: Optional[Path] = None,
    card: Optional[Card] = None,
    time_axis: Optional[int] = None,
    plasticity: bool = False,
    numbers: bool = False,
    look_back: Optional[int] = None,
    horizon: Optional[int] = None,
) -> str:
    """The text of a run file to begin with.

    Args:
        name: a name in ``STARTS``.
        path: the folder of a data set that is downloaded, default "data"; for your own data the file or folder, whose
            arrays decide the sizes of the network.
        card: the architecture; None, the default: the recipe for your own tables, arrays, images, sounds and
            recordings, else two dense layers.
        time_axis: which axis of your own arrays is time; None, the default: samples have no time.
        plasticity: whether neurons that compete learn without labels, instead; default False.
        numbers: whether the targets of your own table or arrays are numbers, though all are whole; default False.
        look_back, horizon: how many steps of series are seen, and how many forecast; None, the defaults: four times the
            horizon, and 24 or a twentieth of a short series.

    Raises:
        ConfigError: ``path`` is missing, or the data set has none, or the archive holds no classes and no numbers, or
            the architecture or plasticity does not take such samples, or both are asked for, or there is no such axis.
        DataError: the archive cannot be read.
    """
    start = STARTS[name]
    samples: Any = None
    if path is not None and "path" not in TABLES[name].model_fields:
        raise ConfigError([f"--path {path}: the data set {name} comes with a package and has no path"])
    if time_axis is not None and name not in OWN:
        raise ConfigError([f"--time-axis {time_axis}: is for your own arrays: {', '.join(OWN)}"])
    if numbers and name not in (*OWN, "csv"):
        raise ConfigError([f"--numbers: is for your own table or arrays: csv, {', '.join(OWN)}"])
    if (look_back or horizon) and name != "series":
        raise ConfigError([f"--look-back, --horizon: are for series to forecast: spikecore init series, not {name}"])
    recipe: Optional[Recipe] = None
    if name in OWN or name == "csv":
        start, samples = _of_arrays(name, start, path, time_axis, plasticity, numbers)
    elif name == "series":
        start, time_axis = _of_series(start, path, look_back, horizon), 1
    elif name == "image_folder":
        start = _of_images(start, path)
    elif name == "event_npz":
        start = _of_recordings(start, path)
    elif name == "wav_folder":
        start = _of_sounds(start, path)
    if not start.classes and (plasticity or card is not None):
        option = "--plasticity" if card is None else f"--zoo {card.name}"
        raise ConfigError([f"{option}: is for classes, and the targets are numbers: leave it out"])
    if path is not None:
        start = replace(start, data={**start.data, "path": str(path)})
    if plasticity and card is not None:
        raise ConfigError([f"--plasticity has a network of its own: leave --zoo {card.name} out"])
    if plasticity:
        new_plasticity.check_static(start)
    elif card is None and (samples is not None or name in (*FOLDERS, "event_npz", "series")):
        if name == "event_npz":
            factor = math.ceil(max(start.data["sensor"]) / MOST_SIDE)
            smaller = [{"kind": "Downsample", "factor": factor}] if factor > 1 else []
            start = replace(start, data={**start.data, "transforms": [*smaller, *WINDOWS]})
        samples = TABLES[name](**start.data).load(0)[0] if samples is None else samples
        recipe = recipe_for(samples, start, 1 if name == "wav_folder" else time_axis)
        if name == "event_npz" and recipe is not None:
            recipe = warped(recipe)
            start = replace(start, data={**start.data, "transforms": [*smaller, WARP, *WINDOWS]})
    network = layer_table(start) if card is None else architecture_table(start, card)
    if card is not None and "image" in TABLES[name].model_fields and not takes_vectors(card):
        start = replace(start, data={**start.data, "image": True})
    usable = {status.name for status in engines() if status.available}
    set_at_top = {"engine": "torch" if "torch" in usable else "numpy", "seed": 0}
    data = {"name": name, **start.data, "batch_size": 128 if start.features == 784 else 32 if start.recorded else 64}
    train: Dict[str, Any] = {
        "epochs": start.epochs,
        "loss": {"kind": "ce_rate_loss"},
        "optimizer": {"kind": "Adam", "lr": start.lr},
    }
    encoder = _encoder(start, STEPS if card is None else card.num_steps)
    if recipe is not None:
        steps = recipe.feed.get("num_steps")  # None: step by step
        data = {"name": name, **data_keys(recipe, start, samples), "batch_size": recipe.training["batch_size"]}
        seen = replace(start, time_axis=None, recorded=False) if steps else start
        train, encoder = train_keys(recipe), _encoder(seen, steps or 0)
        network = network_lines(recipe, start.flatten and len(recipe.facts.shape) == 1)
    absent: Tuple[str, ...] = ()
    tables: List[str] = []
    if plasticity:
        set_at_top["engine"], network, encoder = "numpy", *new_plasticity.tables(start)
        data.update(batch_size=20, validation="none")
        train, absent, tables = new_plasticity.TRAIN, new_plasticity.ABSENT, new_plasticity.learning_tables(start)
    lines = [
        *_heading(name, start, card, plasticity, recipe),
        *_keys(RunFile, set_at_top, ("data", "encoder", "network", "train", "track")),
        "",
        "[data]",
        *_keys(TABLES[name], data),
        "",
        *encoder,
        "",
        *network,
        "",
        "[train]",
        *_keys(Train, train, absent),
        "",
        *(tables and [*tables, ""]),
        "[track]",
        *_keys(Track, {}),
    ]
    return "\n".join(lines) + "\n"


def _of_arrays(
    name: str, start: Start, path: Optional[Path], time_axis: Optional[int], plasticity: bool, numbers: bool
) -> Tuple[Start, Any]:
    """The start for the user's own arrays, and the training samples."""
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
    if plasticity and not numbers:
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


def _of_series(start: Start, path: Optional[Path], look_back: Optional[int], horizon: Optional[int]) -> Start:
    """The start for series to forecast. Columns without numbers, such as dates, are left out."""
    if path is None:
        raise ConfigError(["init series needs the table, a row per step and a column per series: --path FILE.csv"])
    texts, steps = texts_of(path)
    ahead = horizon or min(24, max(1, steps // 20))
    data: Dict[str, Any] = {"leave_out": texts} if texts else {}
    return replace(start, data={**data, "look_back": look_back or 4 * ahead, "horizon": ahead}, time_axis=1)


def _of_images(start: Start, path: Optional[Path]) -> Start:
    """The start for a folder of images. Those of one size, and not larger than MOST_SIDE, stay as they are."""
    if path is None:
        raise ConfigError(
            ["init image_folder needs the folder that has a folder of images for each class: --path FOLDER"]
        )
    sizes, colour = sizes_of(path)
    size = sizes[0] if len(sizes) == 1 and max(sizes[0]) <= MOST_SIDE else SIDES
    image, classes = (3 if colour else 1, *size), len(classes_of(path, "images"))
    data = {"path": str(path), "size": list(size), "colour": colour}
    return replace(start, features=math.prod(image), classes=classes, data=data, image=image)


def _of_recordings(start: Start, path: Optional[Path]) -> Start:
    """The start for the user's own recordings. The sensor is the smallest that all events fit on."""
    if path is None:
        raise ConfigError(["init event_npz needs the archive that save_event_npz wrote: --path FILE.npz"])
    arrays = members(path, "x", "y", "label")
    width, height = (int(arrays[name].max()) + 1 for name in "xy")
    data = {"path": str(path), "sensor": [width, height], "transforms": start.data["transforms"]}
    image, classes = (2, height, width), int(arrays["label"].max()) + 1
    return replace(start, features=math.prod(image), classes=classes, data=data, image=image)


def _of_sounds(start: Start, path: Optional[Path]) -> Start:
    """The start for a folder of WAV files: its classes, and how to divide files that are in no lists and no parts."""
    if path is None:
        raise ConfigError(["init wav_folder needs the folder that has a folder of WAV files a class: --path FOLDER"])
    divided = parts_of(path) or all((path / file).is_file() for file in LISTS)
    data = {"path": str(path), **({} if divided else {"split": "files"}), "transforms": start.data["transforms"]}
    return replace(start, classes=len(classes_of(path, *EXPECTED)), data=data)


# ---- the parts of the file -----------------------------------------------------------------------------------------


def _heading(name: str, start: Start, card: Optional[Card], plasticity: bool, recipe: Optional[Recipe]) -> List[str]:
    network = f"{start.features}-{start.hidden}-{start.classes} leaky neurons" if card is None else f"zoo.{card.name}"
    if plasticity:
        network = f"{new_plasticity.neurons(start)} neurons that learn without labels"
    if recipe is not None:
        network = "by the recipe, sc.recipe(x, y); the reasons are below"
    return [
        f"# A run file of spikecore. Data: {start.what}.",
        f"# Network: {network}.",
        "#",
        "#   spikecore train FILE              trains it, into runs/NAME-001",
        "#   spikecore train FILE --dry-run    shows what that would do",
        "#   spikecore config FILE             shows every value, and where it comes from",
        "#",
        "# Lines that begin with #key show keys that are not set: remove the # to set one. docs/run_files.md describes",
        "# all keys. The keys of a layer are the arguments of the class: sc.Leaky(beta=0.9) is",
        '# { kind = "Leaky", beta = 0.9 }.',
        "",
    ]


def _encoder(start: Start, steps: int) -> List[str]:
    if start.recorded or start.time_axis is not None:
        why = "recordings are sequences after the transforms" if start.recorded else "samples are sequences"
        batch = "(time, batch, ...)" if start.recorded else "axis 0 counts samples"
        return [
            "[encoder]",
            *comment(f"how a sample becomes a sequence: {why}, and are not encoded"),
            'kind = "sequence"',
            f"time_axis = {start.time_axis or 0} # where time stands in a batch: {batch}",
        ]
    kinds = ", ".join(_kinds(RunFile.model_fields["encoder"].annotation))
    several = "the network sees a sample whole at each step; if one of its axes is time: init --time-axis"
    return [
        "[encoder]",
        *(comment(several) if start.flatten and "size" not in start.data else []),  # images have no time
        *comment(f"how a sample becomes a sequence: {kinds}"),
        'kind = "constant" # the sample is a current that is the same at each step',
        f"num_steps = {steps} # time steps per sample; >= 1, default 25",
        *comment(
            'kind = "rate" makes random spikes instead: at most one per step, with the input (in [0, 1]) as its '
            "probability"
        ),
    ]


def _keys(model: Any, chosen: Dict[str, Any], without: Tuple[str, ...] = ()) -> Iterator[str]:
    """All keys of a table, those first that are set; the others behind a #."""
    names = [*chosen, *(name for name in model.model_fields if name not in chosen)]
    for name in names:
        if name in without:
            continue
        field = model.model_fields[name]
        default = field.get_default(call_default_factory=True)
        given = chosen[name] if name in chosen else POSSIBLE.get(name, default) if default in (None, {}) else default
        text = field.description or (model.__doc__ or "").splitlines()[0].rstrip(".")
        about = [text, *_allowed(field)]
        if default in (None, {}) and name not in chosen:
            about.append("not set by default")
        elif default not in (None, {}, PydanticUndefined) and (name in chosen or given != default):
            about.append(f"default {toml_text(default)}")
        yield from comment("; ".join(about))
        yield f"{'' if name in chosen else '#'}{name} = {toml_text(given)}"


def _allowed(field: Any) -> Iterator[str]:
    """Allowed values of a field, in words: its limits, its texts or its kinds."""
    for limit in field.metadata:
        for name, sign in LIMITS.items():
            if hasattr(limit, name):
                yield f"{sign} {getattr(limit, name)}"
    if get_origin(field.annotation) is Literal and len(get_args(field.annotation)) > 1:
        yield " or ".join(map(toml_text, get_args(field.annotation)))
    kinds = _kinds(field.annotation)
    if len(kinds) > 1:
        yield f"kinds: {', '.join(kinds)}"


def _kinds(annotation: Any) -> List[str]:
    """The names of the kinds among which a table chooses."""
    return [model.model_fields["kind"].default for model in models_in(annotation) if "kind" in model.model_fields]

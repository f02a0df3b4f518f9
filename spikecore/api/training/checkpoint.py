"""Model files: architecture and history as JSON, arrays as safetensors, in one file. Loading executes no code.

The JSON is in the safetensors header, so any safetensors reader can read the weights. A digest over the contents
reveals damage. It is not a signature: a malicious file can have a correct digest. So everything else is checked, too,
before anything is built from it or takes memory.
"""

from __future__ import annotations

import errno
import hashlib
import json
import math
import os
import pathlib
import stat
from typing import Any, Callable, Dict, Iterable, List, NamedTuple, Optional, Tuple

from spikecore.api.core.layer import Layer, shapes_of
from spikecore.api.core.sizes import is_finite, is_whole
from spikecore.api.layers.containers import walk
from spikecore.api.training.clipping import DivergedError
from spikecore.api.training.description import (
    CheckpointError,
    Classes,
    build,
    check_depth,
    classes_in,
    describe,
    import_layers,
    known_classes,
    numbers_in,
    odd_number,
    readable,
    resolved,
)
from spikecore.api.training.diagnosis import broken as not_finite
from spikecore.api.training.evaluate import Average
from spikecore.api.training.executor import fitting
from spikecore.api.training.optimizers import Optimizer
from spikecore.api.training.resuming import FitStart
from spikecore.files import plain, write_atomically

FORMAT = 2  # format 1 had the names of all classes without their modules
ARRAYS = ("params", "buffers", "optimizer")
ROWS = "callbacks may add numbers, text and lists of them"
NOTES = "model.notes may have numbers, text, None, and lists and dicts of them, by name"


# ---- writing -------------------------------------------------------------------------------------------------------


def save(model: Any, path: Any, check_finite: bool = True) -> None:
    """Write ``model`` to ``path`` in a single step; see ``Model.save``."""
    from safetensors.numpy import save as to_bytes

    model.trainer.settle()
    state = model.state()
    divided = model.trainer.executor.divided
    if divided is not None and divided.rank:  # all ranks gather the weights, and rank 0 writes
        return
    arrays = {f"{kind}/{name}": x for kind in ARRAYS for name, x in sorted(state[kind].items())}
    broken = not_finite(arrays) if check_finite else []
    if broken:
        raise DivergedError(
            f"{path} is not written: {broken[0]} holds NaN or infinity: training has diverged. Continue from an "
            "earlier file with a smaller learning rate or with clip_norm; save(..., check_finite=False) saves them"
        )
    if not isinstance(model.notes, dict):
        raise TypeError(f"model.notes={model.notes!r} must be a dict, e.g. {{'data': 'FashionMNIST'}}")
    about = {
        "format": FORMAT,
        "network": readable(model.network),
        "optimizer": readable(model.trainer.optimizer),
        "seed": model.seed,
        "engine": model.engine.name,
        "dtype": model.engine.dtype,
        "input_shape": model.input_shape,
        "step": state["step"],
        "lr": state["lr"],
        "scaler": state.get("scaler"),
        "epochs_done": model.epochs_done,
        "unfinished": None if model.trainer.unfinished is None else vars(model.trainer.unfinished),
        "fit_start": model.trainer.start._asdict(),
        "history": [_json(f"history[{i}]", row, ROWS) for i, row in enumerate(model.history)],
        "notes": _json("notes", model.notes, NOTES),
    }
    text = json.dumps(plain(about, odd_number), allow_nan=False)
    write_atomically(path, to_bytes(arrays, {"spikecore": text, "digest": digest_of(text, arrays)}))


def _json(name: str, value: Any, allowed: str) -> Any:
    try:
        return plain(value, odd_number)
    except TypeError as error:
        raise TypeError(f"{name} {error}; {allowed}") from None


# ---- reading -------------------------------------------------------------------------------------------------------


class Contents(NamedTuple):
    """The contents of a file, checked."""

    about: Dict[str, Any]  # the file's JSON
    network: Layer
    optimizer: Optional[Optimizer]
    state: Dict[str, Any]  # as ``Model.load_state`` takes it


def read(path: Any, classes: Classes = (), modules: Iterable[Any] = (), check_finite: bool = True) -> Contents:
    """The contents of a file that ``save`` wrote; for arguments and errors see ``load``."""
    about, arrays = content_of(pathlib.Path(path))
    names = [*classes_in([about["network"], about["optimizer"]])]
    import_layers(names)
    known = resolved(names, classes, about["format"] > 1)
    network, optimizer = build(about["network"], known), build(about["optimizer"], known)
    _fill(network, list(modules))
    return Contents(about, network, optimizer, _fitting(network, optimizer, about, arrays, check_finite))


def progress_of(path: Any) -> Tuple[int, int]:
    """Progress of the training of the model in a file: whole epochs, and batches of the next one."""
    about, _ = content_of(pathlib.Path(path))
    return about["epochs_done"], (about["unfinished"] or {"batches": 0})["batches"]


def notes_of(path: Any) -> Dict[str, Any]:
    """The notes of the model in a file."""
    about, _ = content_of(pathlib.Path(path))
    notes: Dict[str, Any] = about["notes"]
    return notes


def _fill(network: Any, modules: List[Any]) -> None:
    """Give layers around modules their modules, which a file only names."""
    layers: Any = walk(network) if isinstance(network, Layer) else ()
    lacking = [(name, layer) for name, layer in layers if getattr(layer, "lacks", "")]
    if len(lacking) != len(modules):
        listed = "; ".join(f"layer {name}: {layer.lacks}" for name, layer in lacking) or "none"
        raise CheckpointError(
            f"modules={len(modules)} given, but the network has {len(lacking)} sc.Torch layers, whose modules a file "
            f"does not hold ({listed}): give new ones in this order, load(path, modules=[...])"
        )
    for (name, layer), module in zip(lacking, modules):
        try:
            layer.fill(module)
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"modules, layer {name}: {error}") from None


def content_of(path: pathlib.Path) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The file's JSON and arrays; the digest and each entry of the JSON are checked."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    if not stat.S_ISREG(os.stat(path).st_mode) and not path.is_dir():
        raise CheckpointError("a device, a pipe or a socket, not a file")
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder; the model of a run is DIR/model.safetensors", str(path))
    data = path.read_bytes()
    if data.startswith(b"PK"):
        raise CheckpointError(
            "damaged or not a spikecore model: it is a zip archive, as torch.save writes it; give the weights to the "
            "torch network that they belong to, then write spikecore.nn.from_torch(net)"
        )
    try:
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        kinds = {entry["dtype"] for name, entry in header.items() if name != "__metadata__"}
        text, digest = header["__metadata__"]["spikecore"], header["__metadata__"]["digest"]
        about = json.loads(text)
        arrays = from_bytes(data) if kinds <= {"F32", "F64"} else {}
    except KeyError:
        raise CheckpointError("a safetensors file, but not one that spikecore wrote") from None
    except (SafetensorError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"damaged or not a spikecore model ({len(data)} bytes): {error}") from error
    if not kinds <= {"F32", "F64"}:
        raise CheckpointError(f"weights of type {', '.join(sorted(map(str, kinds)))}; spikecore writes F32 or F64")
    if digest != digest_of(text, arrays):
        raise CheckpointError("damaged: its contents do not match their digest")
    return _checked(about), arrays


def _checked(about: Any) -> Dict[str, Any]:
    """The file's JSON, after a check of each entry."""
    check_depth(about)
    if not isinstance(about, dict) or not is_whole(about.get("format"), 1):
        raise CheckpointError("damaged or not a spikecore model: it names no format")
    if about["format"] > FORMAT:
        raise CheckpointError(f"format {about['format']} is newer than this version of spikecore reads ({FORMAT})")
    missing = {"unfinished": None, "scaler": None, "notes": {}, "fit_start": FitStart()._asdict()}
    about = {**missing, **about}  # earlier versions did not write them
    for name, (fits, what) in ENTRIES.items():
        if name not in about or not fits(about[name]):
            problem = f"is {str(about[name])[:60]!r}" if name in about else "is missing"
            raise CheckpointError(f"{name} {problem}, expected {what}")
    start = FitStart(**about["fit_start"])
    if start.epochs > about["epochs_done"] or start.updates > about["step"]:
        raise CheckpointError(f"fit_start is {about['fit_start']}, more than the model has done")
    rows, unfinished = [*map(_entries, about["history"])], about["unfinished"] and _entries(about["unfinished"])
    return {**about, "history": rows, "notes": _entries(about["notes"]), "unfinished": unfinished}


def _entries(data: Dict[str, Any]) -> Dict[str, Any]:
    """A dict that stays one, whatever numbers are in it."""
    return {name: numbers_in(value) for name, value in data.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_average(value: Any) -> bool:
    """Whether a value is an ``Average`` as JSON, or None."""
    if not isinstance(value, dict) or set(value) != set(vars(Average())):
        return value is None
    number = lambda x: _is_number(x) or isinstance(x, dict)  # noqa: E731  (a dict: NaN or an infinity)
    sums = lambda x: isinstance(x, dict) and all(map(number, x.values()))  # noqa: E731
    kinds = {bool: lambda x: isinstance(x, bool), int: lambda x: is_whole(x, 0), float: number, dict: sums}
    return all(kinds[type(default)](value[name]) for name, default in vars(Average()).items())


def _is_start(value: Any) -> bool:
    """Whether a value is a ``FitStart`` as JSON."""
    return (
        isinstance(value, dict) and set(value) == set(FitStart._fields) and all(is_whole(n, 0) for n in value.values())
    )


#: For each entry of the file's JSON: whether a value is valid, and what is expected.
ENTRIES: Dict[str, Tuple[Callable[[Any], bool], str]] = {
    "network": (lambda x: isinstance(x, dict), "the description of a layer"),
    "optimizer": (lambda x: x is None or isinstance(x, dict), "the description of an optimiser, or null"),
    "seed": (lambda x: is_whole(x, -math.inf), "an int"),
    "dtype": (lambda x: x in ("float32", "float64"), "'float32' or 'float64'"),
    "input_shape": (lambda x: isinstance(x, list) and all(is_whole(n, 1) for n in x), "a list of ints >= 1"),
    "step": (lambda x: is_whole(x, 0), "an int >= 0"),
    "lr": (is_finite, "a finite number"),
    "scaler": (lambda x: x is None or isinstance(x, dict), "the scale of a loss in float16, or null"),
    "epochs_done": (lambda x: is_whole(x, 0), "an int >= 0"),
    "unfinished": (_is_average, "how far an epoch had come, or null"),
    "fit_start": (_is_start, "the numbers of epochs and updates before the last fit"),
    "notes": (lambda x: isinstance(x, dict), "an object"),
    "history": (lambda x: isinstance(x, list) and all(isinstance(row, dict) for row in x), "a list of rows"),
}


def _fitting(
    network: Any, optimizer: Any, about: Dict[str, Any], arrays: Dict[str, Any], finite: bool
) -> Dict[str, Any]:
    """The state of a model, after a check that arrays, network and optimiser fit each other."""
    for name, value, kind in (("network", network, Layer), ("optimizer", optimizer, Optimizer)):
        if not isinstance(value, kind) and (value is not None or kind is Layer):
            raise CheckpointError(f"{name} is {str(about[name])[:60]!r}, which is no {kind.__name__.lower()}")
    parts = [part for part in ARRAYS if part != "optimizer" or optimizer is not None]
    strange = [name for name in arrays if name.partition("/")[0] not in parts]
    if strange:
        raise CheckpointError(f"array {strange[0]!r} belongs to no part of the model in the file")
    for name, x in arrays.items():
        if x.dtype.name != about["dtype"]:
            raise CheckpointError(f"{name} has dtype {x.dtype}, but the model computed in {about['dtype']}")
    state: Dict[str, Any] = {name: about[name] for name in ("step", "lr", "scaler")}
    for part in ARRAYS:
        state[part] = {name[len(part) + 1 :]: x for name, x in arrays.items() if name.startswith(f"{part}/")}
    try:
        like = shapes_of(network, tuple(about["input_shape"]))
    except Exception as error:  # layers, those of users included, may raise anything
        raise CheckpointError(f"the network does not take samples of shape {about['input_shape']}: {error}") from error
    try:
        for part in ("params", "buffers"):
            fitting(part, state[part], getattr(like, part))
    except (KeyError, ValueError) as error:
        raise CheckpointError(f"weights and architecture do not belong together: {error.args[0]}") from error
    broken = not_finite(arrays) if finite else []
    if broken:
        raise CheckpointError(
            f"{broken[0]} holds NaN or infinity: training had diverged. To look at it: load(..., check_finite=False)"
        )
    return state


def digest_of(text: str, arrays: Dict[str, Any]) -> str:
    """The digest of a file's contents, which a whole file has."""
    total = hashlib.blake2b(text.encode(), digest_size=16)
    for name, x in sorted(arrays.items()):
        total.update(name.encode())
        total.update(str((x.dtype.str, x.shape)).encode())
        total.update(x.data if x.size and x.flags.c_contiguous else x.tobytes())
    return total.hexdigest()


__all__ = ["CheckpointError", "build", "describe", "known_classes", "read", "save", "write_atomically"]

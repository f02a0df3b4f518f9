"""Models as files: architecture and history as JSON, arrays as safetensors, in one file. Loading executes no code.

The JSON stands in the safetensors header, so any safetensors reader can look at the weights. A digest over everything
tells a damaged file from a good one before anything is built from it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import inspect
import json
import pathlib
from typing import Any, Dict, Iterable, Tuple, Type, Union

from spikecore.api import containers, layers, neurons, normalisation, optim, surrogate
from spikecore.api.engine import Engine, get_engine, unknown
from spikecore.api.files import write_atomically
from spikecore.api.functional import quant
from spikecore.api.layer import Layer
from spikecore.api.parameters import Fixed, Learn

FORMAT = 1
ARRAYS = ("params", "buffers", "optimizer")


class CheckpointError(ValueError):
    """A file cannot be loaded; the message says which and why. Nothing has been changed."""


# ---- architecture as JSON ------------------------------------------------------------------------------------------


def known_classes() -> Dict[str, Type[Any]]:
    """The library's own layers, surrogates and optimisers by name."""
    bases = (Layer, surrogate.Surrogate, optim.Optimizer, quant.state_quant)
    modules = (containers, layers, neurons, normalisation, optim, quant, surrogate)
    return {
        name: thing
        for module in modules
        for name, thing in vars(module).items()
        if isinstance(thing, type)
        and issubclass(thing, bases)
        and dataclasses.is_dataclass(thing)
        and not inspect.isabstract(thing)
        and not name.startswith("_")
    }


def describe(thing: Any) -> Any:
    """A layer, surrogate or optimiser as plain JSON data."""
    if isinstance(thing, Fixed):
        return {"array": thing.tolist()}
    if isinstance(thing, Learn):
        return {"learn": describe(thing.value), "per": thing.per, "dt": thing.dt}
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        fields = {f.name: describe(getattr(thing, f.name)) for f in dataclasses.fields(thing)}
        return {"class": type(thing).__name__, **fields}
    if isinstance(thing, (tuple, list)):
        return [describe(part) for part in thing]
    if thing is None or isinstance(thing, (bool, int, float, str)):
        return thing
    raise TypeError(f"cannot be written as JSON: {thing!r}")


def build(data: Any, classes: Dict[str, Type[Any]]) -> Any:
    """The inverse of ``describe``, from the classes named in ``classes`` and no others.

    Raises:
        CheckpointError: an unknown class, or fields that its constructor refuses.
    """
    if isinstance(data, list):
        return tuple(build(part, classes) for part in data)
    if not isinstance(data, dict):
        return data
    if "array" in data:
        return Fixed(data["array"])
    if "learn" in data:
        return Learn(build(data["learn"], classes), data["per"], data.get("dt"))
    name = data["class"]
    if name not in classes:
        raise CheckpointError(f"{unknown('class', name, classes)}. A class of your own: load(..., classes=[{name}])")
    fields = {key: build(value, classes) for key, value in data.items() if key != "class"}
    try:
        listed = fields.pop("layers") if issubclass(classes[name], containers.Listed) else ()
        return classes[name](*listed, **fields)
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{name} does not take what the file says: {error}") from error


# ---- the file ------------------------------------------------------------------------------------------------------


def save(model: Any, path: Any) -> None:
    """Write ``model`` to ``path``, atomically."""
    from safetensors.numpy import save as to_bytes

    state = model.state()
    arrays = {f"{kind}/{name}": x for kind in ARRAYS for name, x in sorted(state[kind].items())}
    about = {
        "format": FORMAT,
        "network": describe(model.network),
        "optimizer": None if model.optimizer is None else describe(model.optimizer),
        "seed": model.seed,
        "dtype": model.engine.dtype,
        "input_shape": model.input_shape,
        "step": state["step"],
        "lr": state["lr"],
        "epochs_done": model.epochs_done,
        "unfinished": None if model.unfinished is None else vars(model.unfinished),
        "history": model.history,
    }
    text = json.dumps(about)
    write_atomically(path, to_bytes(arrays, {"spikecore": text, "digest": _digest(text, arrays)}))


def load(path: Any, engine: Union[None, str, Engine] = None, classes: Iterable[Type[Any]] = (), **options: Any) -> Any:
    """Read a model that ``Model.save`` wrote.

    Args:
        path: the file.
        engine: an Engine or its name, whichever engine the model was trained on; default as in ``Model``.
        classes: layer and surrogate classes of your own that the network uses.
        **options: passed to the engine if it is given by name; ``dtype`` defaults to that of the file.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: not a spikecore model, damaged, of a newer format, or of a class that is not known.
    """
    from spikecore.api.model import Model
    from spikecore.api.training import Average

    about, arrays = _read(pathlib.Path(path))
    known = {**known_classes(), **{one.__name__: one for one in classes}}
    network, optimizer = build(about["network"], known), build(about["optimizer"], known)
    if not isinstance(engine, Engine):
        engine = get_engine(engine, **{"dtype": about["dtype"], **options})
    blank = Model(network, engine, about["seed"], input_shape=tuple(about["input_shape"]))
    blank.history, blank.epochs_done, blank.optimizer = about["history"], about["epochs_done"], optimizer
    try:
        blank.unfinished = Average(**about["unfinished"]) if about.get("unfinished") else None
    except TypeError as error:
        raise CheckpointError(f"{path}: does not say how far its epoch had come: {error}") from error
    state = {kind: {k[len(kind) + 1 :]: x for k, x in arrays.items() if k.startswith(f"{kind}/")} for kind in ARRAYS}
    try:
        return blank.restored({**state, "step": about["step"], "lr": about["lr"]}, engine)
    except KeyError as error:
        raise CheckpointError(f"{path}: weights and architecture do not belong together: {error.args[0]}") from error


def _read(path: pathlib.Path) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The file's JSON and arrays, checked against its digest."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    data = path.read_bytes()
    try:
        arrays = from_bytes(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        text, digest = header["__metadata__"]["spikecore"], header["__metadata__"]["digest"]
        about = json.loads(text)
    except KeyError:
        raise CheckpointError(f"{path}: a safetensors file, but not one that spikecore wrote") from None
    except (SafetensorError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged or not a spikecore model ({len(data)} bytes): {error}") from error
    if digest != _digest(text, arrays):
        raise CheckpointError(f"{path}: damaged: its contents do not match their digest")
    if about["format"] > FORMAT:
        raise CheckpointError(
            f"{path}: format {about['format']} is newer than this version of spikecore reads ({FORMAT})"
        )
    return about, arrays


def _digest(text: str, arrays: Dict[str, Any]) -> str:
    total = hashlib.blake2b(text.encode(), digest_size=16)
    for name in sorted(arrays):
        total.update(name.encode())
        total.update(str((arrays[name].dtype.str, arrays[name].shape)).encode())
        total.update(arrays[name].tobytes())
    return total.hexdigest()


__all__ = ["CheckpointError", "build", "describe", "known_classes", "load", "save", "write_atomically"]

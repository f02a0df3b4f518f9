"""Models as files: architecture and history as JSON, arrays as safetensors, in one file. Loading executes no code.

The JSON stands in the safetensors header, so any safetensors reader can look at the weights. A digest over everything
tells a damaged file from a good one. It is no signature: a file that somebody made on purpose has one that fits, so
everything else is checked, too, before anything is built of it or takes memory.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import pathlib
import stat
import warnings
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple, Union

from spikecore.api.containers import walk
from spikecore.api.description import (
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
from spikecore.api.engine import ENVIRONMENT, Engine, EngineUnavailable, engines, get_engine
from spikecore.api.executor import fitting
from spikecore.api.files import plain, write_atomically
from spikecore.api.layer import Layer, shapes_of
from spikecore.api.optim import Optimizer
from spikecore.api.sizes import is_finite, is_whole
from spikecore.api.training import Average, DivergedError
from spikecore.arguments import PathLike, checked

FORMAT = 2  # 1 named all classes without their modules
ARRAYS = ("params", "buffers", "optimizer")


# ---- writing -------------------------------------------------------------------------------------------------------


def save(model: Any, path: Any, check_finite: bool = True) -> None:
    """Write ``model`` to ``path``, atomically; see ``Model.save``."""
    from safetensors.numpy import save as to_bytes

    state = model.state()
    arrays = {f"{kind}/{name}": x for kind in ARRAYS for name, x in sorted(state[kind].items())}
    broken = not_finite(arrays) if check_finite else []
    if broken:
        raise DivergedError(
            f"{path} is not written: {broken[0]} holds NaN or infinity: training has diverged. Go on from an earlier "
            "file with a smaller learning rate, or with clip_norm; save(..., check_finite=False) keeps these weights"
        )
    about = {
        "format": FORMAT,
        "network": readable(model.network),
        "optimizer": readable(model.optimizer),
        "seed": model.seed,
        "engine": model.engine.name,
        "dtype": model.engine.dtype,
        "input_shape": model.input_shape,
        "step": state["step"],
        "lr": state["lr"],
        "epochs_done": model.epochs_done,
        "unfinished": None if model.unfinished is None else vars(model.unfinished),
        "history": [_row(i, row) for i, row in enumerate(model.history)],
    }
    text = json.dumps(plain(about, odd_number), allow_nan=False)
    write_atomically(path, to_bytes(arrays, {"spikecore": text, "digest": _digest(text, arrays)}))


def not_finite(arrays: Dict[str, Any]) -> List[str]:
    """The names of arrays that hold NaN or infinity."""
    ends = {name: (float(x.min()), float(x.max())) for name, x in arrays.items() if x.size}  # NaN is the end of both
    return [name for name, pair in ends.items() if not all(map(math.isfinite, pair))]


def _row(number: int, row: Any) -> Any:
    try:
        return plain(row, odd_number)
    except TypeError as error:
        raise TypeError(f"history[{number}] {error}; callbacks may add numbers, text and lists of them") from None


# ---- reading -------------------------------------------------------------------------------------------------------


@checked
def load(
    path: PathLike,
    engine: Union[None, str, Engine] = None,
    classes: Classes = (),
    *,
    modules: Iterable[Any] = (),
    check_finite: bool = True,
    **options: Any,
) -> Any:
    """Read a model that ``Model.save`` wrote.

    Nothing in a file is executed, and one that was made to do harm gets no further than one that is damaged: before any
    weight is placed, names, shapes and dtypes are compared with what the network needs.

    Args:
        path: the file.
        engine: an Engine or its name, whichever engine the model was saved from. None means ``$SPIKECORE_ENGINE``, and
            if that is unset the engine it was saved from.
        classes: layer, surrogate and optimiser classes of your own that the network uses, e.g. ``[MyNeuron]``. For a
            class that has been renamed since, a dict by its name in the file: ``{"old.module.MyNeuron": MyNeuron}``.
        modules: for networks with ``sc.Torch`` layers the modules that they are around, in their order, e.g.
            ``[nn.LayerNorm(100)]``; the weights come from the file.
        check_finite: whether weights that are NaN or infinite are refused; False reads a model that has diverged.
        **options: passed to the engine if it is given by name; ``dtype`` defaults to that of the file.

    Raises:
        FileNotFoundError: no such file.
        CheckpointError: not a spikecore model, damaged, of a newer format, of a class that is not known, or with
            weights that are not finite.

    Warns:
        UserWarning: the engine it was saved from cannot be used here; the model is on "numpy".
    """
    from spikecore.api.model import Model

    try:
        about, arrays = _read(pathlib.Path(path))
        names = [*classes_in([about["network"], about["optimizer"]])]
        import_layers(names)
        known = resolved(names, classes, about["format"] > 1)
        network, optimizer = build(about["network"], known), build(about["optimizer"], known)
        _fill(network, list(modules))
        state = _fitting(network, optimizer, about, arrays, check_finite)
        if not isinstance(engine, Engine):
            engine = _again(engine, about.get("engine"), path, {"dtype": about["dtype"], **options})
        try:
            model = Model.holding(network, engine, about["seed"], tuple(about["input_shape"]), state, optimizer)
        except (KeyError, ValueError) as error:  # of slots, or from an engine
            raise CheckpointError(str(error.args[0])) from error
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error.__cause__
    except MemoryError as error:
        raise CheckpointError(f"{path}: needs more memory than there is ({os.stat(path).st_size} bytes)") from error
    model.history, model.epochs_done = about["history"], about["epochs_done"]
    model.unfinished = about["unfinished"] and Average(**about["unfinished"])
    return model


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


def _again(name: Optional[str], saved: Optional[str], path: Any, options: Dict[str, Any]) -> Engine:
    """The engine to go on with: by name, else that of the environment, else the one the file was saved from.

    Args:
        name: what the caller asks for.
        saved: the name in the file; older ones have none.
        path: of the file, for the warning.
        options: passed to the engine.
    """
    if saved is None or name or os.environ.get(ENVIRONMENT):
        return get_engine(name, **options)
    try:
        if saved in [status.name for status in engines()]:
            return get_engine(saved, **options)
        why = f"engine {saved!r}: no engine of this name is installed"
    except EngineUnavailable as error:
        why = str(error)
    warnings.warn(
        f"{path} is loaded on 'numpy', since the engine it was saved from cannot be used here: {why}. "
        "Say engine='numpy' if this is meant, engine=... for another one",
        stacklevel=4,  # past this function, ``load`` and the check of its arguments
    )
    return get_engine("numpy", **options)


def _read(path: pathlib.Path) -> Tuple[Dict[str, Any], Dict[str, Any]]:
    """The file's JSON and arrays, checked against its digest, and each entry by itself."""
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes

    if not stat.S_ISREG(os.stat(path).st_mode) and not path.is_dir():  # of a folder, reading says what it is
        raise CheckpointError("a device, a pipe or a socket, not a file")
    data = path.read_bytes()
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
    if digest != _digest(text, arrays):
        raise CheckpointError("damaged: its contents do not match their digest")
    return _checked(about), arrays


def _checked(about: Any) -> Dict[str, Any]:
    """The file's JSON, if each of its entries is what it should be."""
    check_depth(about)
    if not isinstance(about, dict) or not is_whole(about.get("format"), 1):
        raise CheckpointError("damaged or not a spikecore model: it names no format")
    if about["format"] > FORMAT:
        raise CheckpointError(f"format {about['format']} is newer than this version of spikecore reads ({FORMAT})")
    about = {"unfinished": None, **about}  # which earlier versions did not write
    for name, (fits, what) in ENTRIES.items():
        if name not in about or not fits(about[name]):
            found = f"is {str(about[name])[:60]!r}" if name in about else "is missing"
            raise CheckpointError(f"{name} {found}, expected {what}")
    return {**about, **{name: numbers_in(about[name]) for name in ("history", "unfinished")}}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_average(value: Any) -> bool:
    """Whether a value is what became of an ``Average``: whole numbers, sums, which may have diverged, and answers."""
    if not isinstance(value, dict) or set(value) != set(vars(Average())):
        return value is None
    number = lambda x: _is_number(x) or isinstance(x, dict)  # noqa: E731  (a dict: a number that JSON does not know)
    sums = lambda x: isinstance(x, dict) and all(map(number, x.values()))  # noqa: E731
    kinds = {bool: lambda x: isinstance(x, bool), int: lambda x: is_whole(x, 0), float: number, dict: sums}
    return all(kinds[type(default)](value[name]) for name, default in vars(Average()).items())


#: Each entry of the file's JSON: whether a value fits, and what does.
ENTRIES: Dict[str, Tuple[Callable[[Any], bool], str]] = {
    "network": (lambda x: isinstance(x, dict), "the description of a layer"),
    "optimizer": (lambda x: x is None or isinstance(x, dict), "the description of an optimiser, or null"),
    "seed": (lambda x: is_whole(x, -math.inf), "an int"),
    "dtype": (lambda x: x in ("float32", "float64"), "'float32' or 'float64'"),
    "input_shape": (lambda x: isinstance(x, list) and all(is_whole(n, 1) for n in x), "a list of ints >= 1"),
    "step": (lambda x: is_whole(x, 0), "an int >= 0"),
    "lr": (is_finite, "a finite number"),
    "epochs_done": (lambda x: is_whole(x, 0), "an int >= 0"),
    "unfinished": (_is_average, "how far an epoch had come, or null"),
    "history": (lambda x: isinstance(x, list) and all(isinstance(row, dict) for row in x), "a list of rows"),
}


def _fitting(
    network: Any, optimizer: Any, about: Dict[str, Any], arrays: Dict[str, Any], finite: bool
) -> Dict[str, Any]:
    """The state of a model, if all of it belongs together."""
    for name, thing, kind in (("network", network, Layer), ("optimizer", optimizer, Optimizer)):
        if not isinstance(thing, kind) and (thing is not None or kind is Layer):
            raise CheckpointError(f"{name} is {str(about[name])[:60]!r}, which is no {kind.__name__.lower()}")
    parts = [part for part in ARRAYS if part != "optimizer" or optimizer is not None]
    strange = [name for name in arrays if name.partition("/")[0] not in parts]
    if strange:
        raise CheckpointError(f"array {strange[0]!r} belongs to nothing in the file")
    for name, x in arrays.items():
        if x.dtype.name != about["dtype"]:
            raise CheckpointError(f"{name} has dtype {x.dtype}, but the model computed in {about['dtype']}")
    state: Dict[str, Any] = {"step": about["step"], "lr": about["lr"]}
    for part in ARRAYS:
        state[part] = {name[len(part) + 1 :]: x for name, x in arrays.items() if name.startswith(f"{part}/")}
    try:
        like = shapes_of(network, tuple(about["input_shape"]))
    except Exception as error:  # from any layer, the user's own included
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


def _digest(text: str, arrays: Dict[str, Any]) -> str:
    total = hashlib.blake2b(text.encode(), digest_size=16)
    for name, x in sorted(arrays.items()):
        total.update(name.encode())
        total.update(str((x.dtype.str, x.shape)).encode())
        total.update(x.data if x.size and x.flags.c_contiguous else x.tobytes())
    return total.hexdigest()


__all__ = ["CheckpointError", "build", "describe", "known_classes", "load", "save", "write_atomically"]

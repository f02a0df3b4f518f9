"""Converts layers, surrogates and optimisers to plain JSON data and back. Building them executes no code of a file.

A class of the library is written as its name, any other class as module and name, so that they cannot be confused.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import sys
from typing import Any, Dict, Iterable, Iterator, List, Mapping, Type, Union

from spikecore.api import neurons, surrogate
from spikecore.api.core import initialisers, weight_initialisers
from spikecore.api.core.engines import LAYERS
from spikecore.api.core.initialisers import Initialiser
from spikecore.api.core.layer import Layer
from spikecore.api.core.messages import unknown
from spikecore.api.core.parameters import FixedArray, Learn, learn, learn_tau
from spikecore.api.functional import quant, quantisers
from spikecore.api.layers import (
    adaptive_pooling,
    arrangement,
    attention,
    containers,
    count_pool,
    delays,
    drop_connect,
    joins,
    linear,
    merges,
    normalisation,
    quantized,
    resizing,
    sample_normalisation,
    spatial,
    standardized_weights,
    temporal_normalisation,
    transposed,
)
from spikecore.api.training import optimizers
from spikecore.files import plain

Classes = Union[Iterable[Type[Any]], Mapping[str, Type[Any]]]
RENAMED = {"spikecore.nir.graph.Graph": "Graph"}  # names in files of earlier versions
DEEPEST = 100  # levels of data within data; a network of ten containers within one another has about thirty


class CheckpointError(ValueError):
    """A file cannot be loaded; the message says which file and why. Nothing is changed."""


def known_classes() -> Dict[str, Type[Any]]:
    """The library's own layers, surrogates and optimisers by name."""
    around = {name: place.partition(":")[0] for name, place in LAYERS.items()}
    return {
        **{name: vars(sys.modules[place])[name] for name, place in around.items() if place in sys.modules},
        **_of_the_core(),
    }


@functools.lru_cache(maxsize=None)  # each save and each export asks
def _of_the_core() -> Dict[str, Type[Any]]:
    bases = (
        Layer,
        merges.Merge,
        surrogate.Surrogate,
        optimizers.Optimizer,
        optimizers.Group,
        Initialiser,
        quant.state_quant,
        quantisers.Grid,
    )
    modules = (
        adaptive_pooling, arrangement, attention, containers, count_pool, delays, drop_connect, initialisers, joins,
        weight_initialisers, linear, merges, neurons, normalisation, optimizers, quant, quantisers, quantized,
        resizing, sample_normalisation, spatial, standardized_weights, surrogate, temporal_normalisation, transposed,
    )  # fmt: skip
    return {
        name: kind
        for module in modules
        for name, kind in ((name, getattr(module, name)) for name in dir(module))
        if isinstance(kind, type)
        and issubclass(kind, bases)
        and dataclasses.is_dataclass(kind)
        and kind not in (surrogate.Surrogate, optimizers.Optimizer, Initialiser)
        and not inspect.isabstract(kind)
        and not name.startswith("_")
    }


def import_layers(names: Iterable[str]) -> None:
    """Import those of the library's own layers, by name, that need an array library.

    Raises:
        CheckpointError: the library is not installed.
    """
    for place in (LAYERS[name].partition(":")[0] for name in set(names) & set(LAYERS)):
        try:
            importlib.import_module(place)
        except ImportError as error:
            raise CheckpointError(f"the network has a layer of {place}, which cannot be imported: {error}") from error


# ---- from objects to data ------------------------------------------------------------------------------------------


def describe(thing: Any) -> Any:
    """A layer, surrogate or optimiser as plain JSON data.

    Raises:
        TypeError: ``thing`` holds something that is neither a number, nor text, nor a dataclass.
    """
    return _described(thing, _names())


def readable(thing: Any) -> Any:
    """The result of ``describe``, after a check that ``build`` restores the same object from it.

    Raises:
        TypeError: ``describe`` refuses ``thing``, or a class cannot be built from its fields.
    """
    names = _names()
    description = _described(thing, names)
    try:
        again = _described(build(description, {name: kind for kind, name in names.items()}), names)
    except CheckpointError as error:
        raise TypeError(f"{_short(thing)} could be written, but not read again: {error}") from error
    if again != description:
        raise TypeError(f"{_short(thing)} could be written, but would be {_short(again)} when read again")
    return description


def _names() -> Dict[Type[Any], str]:
    return {kind: name for name, kind in known_classes().items()}


def _described(thing: Any, names: Dict[Type[Any], str]) -> Any:
    """The result of ``describe``; classes that are not in ``names`` are added to it."""
    if isinstance(thing, FixedArray):
        return {"array": thing.tolist()}
    if isinstance(thing, Learn):
        return {"learn": _described(thing.value, names), "per": thing.per, "dt": thing.dt}
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        kind = type(thing)
        name = names.setdefault(kind, qualified(kind))
        return {
            "class": name,
            **{f.name: _described(getattr(thing, f.name), names) for f in dataclasses.fields(thing) if f.init},
        }
    if isinstance(thing, (tuple, list)):
        return [_described(part, names) for part in thing]
    if getattr(thing, "ndim", 0):  # it would be read again as a tuple
        raise TypeError(f"an array cannot be written as JSON: {_short(thing)}; give it as sc.base.Param, or as a tuple")
    return plain(thing, odd_number)


def qualified(kind: Type[Any]) -> str:
    """The name of a class with its module."""
    return f"{kind.__module__}.{kind.__qualname__}"


def odd_number(value: float) -> Dict[str, str]:
    """NaN or an infinity as data that JSON can hold; ``numbers_in`` is the inverse."""
    return {"number": repr(float(value))}


ODD_NUMBERS = [odd_number(float(name)) for name in ("nan", "inf", "-inf")]


# ---- from data to objects ------------------------------------------------------------------------------------------


def build(data: Any, classes: Mapping[str, Type[Any]]) -> Any:
    """The inverse of ``describe``; it uses the classes in ``classes`` and no others.

    Raises:
        CheckpointError: a class is unknown, its constructor refuses the fields, or ``data`` is not a description.
    """
    check_depth(data)
    return _built(data, classes)


def check_depth(data: Any) -> None:
    """Refuse data nested so deeply that recursive functions would fail.

    Raises:
        CheckpointError: there are more than ``DEEPEST`` levels.
    """
    level = [data]
    for _ in range(DEEPEST):
        within = [part for part in level if isinstance(part, (dict, list))]
        level = [below for part in within for below in (part.values() if isinstance(part, dict) else part)]
        if not level:
            return
    raise CheckpointError(f"data are nested more than {DEEPEST} levels deep")


def _built(data: Any, classes: Mapping[str, Type[Any]]) -> Any:
    if isinstance(data, list):
        return tuple(_built(part, classes) for part in data)
    if isinstance(data, int) and not -(2**63) <= data < 2**63:  # no array or other JSON reader holds such an int
        raise CheckpointError(f"{_short(data)} does not fit into 64 bits")
    if not isinstance(data, dict):
        return data
    if "class" in data:
        return _made(data, classes)
    if data in ODD_NUMBERS:
        return float(data["number"])
    keys = set(data)
    try:
        if keys == {"array"}:
            return FixedArray(_numbers(data["array"]))
        if "learn" in keys and keys <= {"learn", "per", "dt"}:
            value, dt = _built(data["learn"], classes), data.get("dt")
            return learn(value, data["per"]) if dt is None else learn_tau(value, dt, data["per"])
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise CheckpointError(f"{_short(data)} is no parameter: {error}") from error
    raise CheckpointError(f"{_short(data)} is neither a layer nor a parameter")


def _made(data: Dict[str, Any], classes: Mapping[str, Type[Any]]) -> Any:
    name = data["class"]
    if not isinstance(name, str) or name not in classes:
        raise CheckpointError(unknown_class(name, classes))
    fields = {key: _built(value, classes) for key, value in data.items() if key != "class"}
    try:
        listed = fields.pop("layers") if issubclass(classes[name], containers.Listed) else ()
        return classes[name](*listed, **fields)
    except Exception as error:  # constructors, those of users' classes included, may raise anything
        raise CheckpointError(f"{name} refuses the fields in the file: {error}") from error


def _numbers(data: Any) -> Any:
    """``data``, after a check that they are nested lists of numbers."""
    for part in data if isinstance(data, list) else ():
        _numbers(part)
    if not isinstance(data, (list, int, float)) or isinstance(data, bool):
        raise TypeError(f"{_short(data)} is no number")
    return data


def numbers_in(data: Any) -> Any:
    """``data``, in which NaN and the infinities are numbers again; see ``odd_number``."""
    if isinstance(data, list):
        return [numbers_in(part) for part in data]
    if not isinstance(data, dict):
        return data
    if data in ODD_NUMBERS:
        return float(data["number"])
    return {key: numbers_in(part) for key, part in data.items()}


def _short(data: Any) -> str:
    text = repr(data)
    return text if len(text) <= 60 else f"{text[:57]}..."


# ---- the classes of a file -----------------------------------------------------------------------------------------


def classes_in(data: Any) -> Iterator[str]:
    """The names of all classes in a description."""
    waiting = [data]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if isinstance(part.get("class"), str):
                yield part["class"]
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part


def resolved(names: Iterable[str], given: Classes, by_module: bool = True) -> Dict[str, Type[Any]]:
    """The classes that the names in a file refer to, by these names.

    Args:
        names: the names in the file.
        given: the user's own classes; or a dict of them by their names in the file, for classes that were renamed.
        by_module: whether the file has users' classes with their modules. Files of format 1 do not; there, a name that
            both the library and the user have is refused.

    Raises:
        CheckpointError: a name is unknown, or may refer to two classes.
        TypeError: ``given`` holds something that is not a dataclass.
    """
    mapped: Dict[str, Type[Any]] = dict(given) if isinstance(given, Mapping) else {}
    listed: List[Type[Any]] = list(mapped.values() if isinstance(given, Mapping) else given)
    for kind in listed:
        if not isinstance(kind, type) or not dataclasses.is_dataclass(kind):
            raise TypeError(f"classes={kind!r} must be classes of layers, surrogates or optimisers, or such by name")
    ours, classes = known_classes(), {}
    for name in set(names):
        theirs = [kind for kind in listed if kind is not ours.get(name)]
        same = [kind for kind in theirs if qualified(kind) == name]
        same = same or [kind for kind in theirs if kind.__name__ == name.rpartition(".")[2]]
        if name in mapped:
            classes[name] = mapped[name]
        elif RENAMED.get(name) in ours:
            classes[name] = ours[RENAMED[name]]
        elif name in ours and (by_module or not same):
            classes[name] = ours[name]
        elif len(same) == 1 and name not in ours:
            classes[name] = same[0]
        elif same:
            others = ["the library's", *map(qualified, same)] if name in ours else map(qualified, same)
            raise CheckpointError(
                f"class {name!r} may be {' or '.join(others)}: say which, "
                f"load(..., classes={{{name!r}: {same[0].__name__}}})"
            )
        else:
            raise CheckpointError(unknown_class(name, ours))
    return classes


def unknown_class(name: Any, classes: Iterable[str]) -> str:
    """The message for an unknown class: the nearest known name, and how to pass a class to ``load``."""
    module, _, bare = str(name).rpartition(".")
    what = f"unknown class {name!r}" if module else unknown("class", name, classes)
    home = f", from {module}," if module else ""
    return f"{what}. A class of your own{home} must be given: load(..., classes=[{bare}])"

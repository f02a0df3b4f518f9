"""Classes and functions of the user's own in run files: ``kind = "module:Class"`` imports them.

layers = ["Flatten", { kind = "my_layers:Blur", width = 3 }]
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
from typing import Any, Callable, Dict, Iterator, List, Tuple, Type

from spikecore.arguments import shown

MARK = ":"  # no name of the library's has one
MODELS: Dict[str, Any] = {}  # of those that run files of this process have named, by "module:name"


def is_own(kind: Any) -> bool:
    """Whether a value of ``kind`` names something of the user's own."""
    return isinstance(kind, str) and MARK in kind


def imported(kind: str, bases: Tuple[type, ...], functions: bool = False) -> Callable[..., Any]:
    """The class, or function, that "module:name" means.

    Args:
        kind: the module, with dots, and the name in it.
        bases: of what a class must be a subclass.
        functions: whether a function will do.

    Raises:
        ValueError: it cannot be imported, or it is something else; says what is expected and the remedy.
    """
    wanted = " or ".join(base.__name__ for base in bases)
    try:
        home, name = _home(kind)
    except ModuleNotFoundError as error:
        raise ValueError(
            f"{kind!r} cannot be imported: {error}. Install its package, or name its folder: "
            "PYTHONPATH=FOLDER spikecore ..."
        ) from None
    except (ImportError, TypeError, ValueError) as error:
        raise ValueError(f"{kind!r} cannot be imported: {error}; write it as 'package.module:Class'") from None
    if not hasattr(home, name):
        raise ValueError(f"{kind!r}: module {home.__name__} has no {name!r}")
    found = getattr(home, name)
    if functions and inspect.isfunction(found):
        return with_options(found)
    if not (isinstance(found, type) and issubclass(found, bases) and dataclasses.is_dataclass(found)):
        also = ", or a function (out, targets)" if functions else ""
        raise ValueError(f"{kind!r} is {shown(found)}, expected a frozen dataclass derived from {wanted}{also}")
    return found


def with_options(
    function: Callable[..., Any], tried: Callable[[Any, Dict[str, Any]], Any] = lambda function, given: None
) -> Callable[..., Any]:
    """Options of a function (out, targets, options) -> the function with them: what it calls options has defaults.

    Args:
        function: the function.
        tried: called with the function that has the options, and with these: raises if they are wrong.
    """

    @functools.wraps(function)
    def options(**given: Any) -> Any:
        bound = functools.partial(function, **given) if given else function
        tried(bound, given)
        return bound

    signature = inspect.signature(function)
    own = [p for p in signature.parameters.values() if p.default is not p.empty and p.name != "lengths"]
    options.__signature__ = signature.replace(parameters=own)  # type: ignore[attr-defined]
    options.__annotations__ = {p.name: Any if p.annotation is p.empty else p.annotation for p in own}
    return options


def own_classes(data: Any) -> List[Type[Any]]:
    """The classes of the user's own that the keys and values of a run file name, for ``load``."""
    found: Dict[str, Any] = {kind: getattr(*_home(kind)) for kind in _named(data)}
    return [thing for thing in found.values() if isinstance(thing, type)]


def _named(data: Any) -> Iterator[str]:
    if isinstance(data, dict):
        if is_own(data.get("kind")):
            yield data["kind"]
        data = list(data.values())
    for part in data if isinstance(data, list) else ():
        yield from _named(part)


def _home(kind: str) -> Tuple[Any, str]:
    """The module of "module:name", imported, and the name."""
    module, _, name = kind.partition(MARK)
    return importlib.import_module(module), name

"""Messages: unknown names, with the nearest known one as a suggestion; warnings that point to the user's own line."""

from __future__ import annotations

import re
import sys
import warnings
from typing import Any, Dict, Iterable, Type

from spikecore.arguments import unknown as unknown

_OFFERED = re.compile(r"spikecore\.api\.(?!core\.)")  # modules that define public names


class TrainingWarning(UserWarning):
    """Training runs, but its network, data or gradients look wrong; the message says what, where, and what to change.

    ``warnings.simplefilter("ignore", sc.errors.TrainingWarning)`` switches these warnings off.
    """


def warn(message: str, category: Type[Warning] = TrainingWarning) -> None:
    """Give a warning for the line that called the library."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "spikecore":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)


def no_such(kind: str, name: str, namespace: Dict[str, Any], lazy: Iterable[str] = ()) -> AttributeError:
    """The error that a module's ``__getattr__`` raises for a name that the module lacks.

    It lists the module's public names: those defined in the module itself or in ``spikecore.api`` outside of its core.

    Args:
        kind: what the name was expected to be, e.g. "loss".
        name: the unknown name.
        namespace: the module's ``globals()``.
        lazy: further names that the module resolves at first use.
    """
    module = namespace["__name__"]
    homes = {public: str(getattr(value, "__module__", "")) for public, value in namespace.items()}
    ours = [x for x, home in homes.items() if x[0] != "_" and (home == module or _OFFERED.match(home))]
    return AttributeError(f"module {module}: {unknown(kind, name, {*ours, *lazy})}")

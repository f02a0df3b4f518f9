"""Error messages for unknown names, with the nearest known name as a suggestion."""

from __future__ import annotations

import difflib
import re
from typing import Any, Dict, Iterable

_OFFERED = re.compile(r"spikecore\.api\.(?!core\.)")  # modules that define public names


def unknown(kind: str, name: Any, known: Any) -> str:
    """The message for an unknown name: it lists the known names and suggests the nearest one."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(known)}"


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

"""Messages for names that do not exist."""

from __future__ import annotations

import difflib
import re
from typing import Any, Dict, Iterable

_OFFERED = re.compile(r"spikecore\.api\.(?!core\.)")  # where the names come from that a module offers


def unknown(kind: str, name: Any, known: Any) -> str:
    """The message for a name that does not exist: what is allowed and which one is nearest."""
    known = sorted(known)
    near = difflib.get_close_matches(str(name), known, n=1)
    hint = f"; did you mean {near[0]!r}?" if near else "."
    return f"unknown {kind} {name!r}{hint} Known: {', '.join(known)}"


def no_such(kind: str, name: str, namespace: Dict[str, Any], lazy: Iterable[str] = ()) -> AttributeError:
    """For a module's ``__getattr__``: the error for a name that it lacks, with what it has and which one is nearest.

    Its names are those of ``namespace`` that are its own or from ``spikecore.api``, its core excepted, and those of
    ``lazy``, found when somebody asks.
    """
    here = namespace["__name__"]
    homes = {offered: str(getattr(thing, "__module__", "")) for offered, thing in namespace.items()}
    ours = [x for x, home in homes.items() if x[0] != "_" and (home == here or _OFFERED.match(home))]
    return AttributeError(f"module {here}: {unknown(kind, name, {*ours, *lazy})}")

"""Values as TOML writes them inside of a line."""

from __future__ import annotations

import json
from typing import Any


def toml_text(value: Any) -> str:
    """A number, a text, a list or a table in one line of TOML, e.g. ``{ kind = "Adam", lr = 0.001 }``."""
    if isinstance(value, dict):
        inside = ", ".join(f"{key} = {toml_text(part)}" for key, part in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(toml_text, value))}]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)  # of int and float, and of inf and nan: as in TOML

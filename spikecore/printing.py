"""Printed forms of objects: dataclasses with the fields that matter, arrays by shape, and tables for notebooks."""

from __future__ import annotations

import html
import sys
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, ClassVar, Iterable, List, Sequence, Tuple

WIDTH = 100  # characters, above which a representation takes several lines
MOST_VALUES = 32  # of an array that is written out


class Concise:
    """Mixin: a dataclass prints as its user would write it, with the fields that differ from their defaults.

    Evaluating the text gives an equal object, unless it holds an array of more than 32 values or a function. A notebook
    shows a table of all fields instead. A class that has a ``__repr__`` of its own, or inherits one, keeps it.

    Attributes:
        _told: names of fields that are printed first, and although they have their default.
        _positional: whether fields without a default are printed without their names.
    """

    __slots__ = ()
    _told: ClassVar[Tuple[str, ...]] = ()
    _positional: ClassVar[bool] = True

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__repr__" not in vars(cls):  # else ``dataclass`` would write one, with every field
            cls.__repr__ = super(cls, cls).__repr__  # type: ignore[method-assign]

    def __repr__(self) -> str:
        if not is_dataclass(self):
            return object.__repr__(self)
        parts = []
        for f in _first(self._told, self):
            value = self._written(f.name)
            if f.default is MISSING and f.default_factory is MISSING and self._positional:
                parts.append(text_of(value))
            elif f.name in self._told or not _is_default(f, value):
                parts.append(f"{f.name}={text_of(value)}")
        return call(type(self).__name__, parts)

    def _written(self, name: str) -> Any:
        """The value of a field as it is printed."""
        return getattr(self, name)

    def _repr_html_(self) -> str:
        if not is_dataclass(self):
            return f"<pre>{html.escape(repr(self))}</pre>"
        given = [(f, self._written(f.name)) for f in _first(self._told, self)]
        rows = [(f.name, text_of(value)) for f, value in given]
        return table(type(self).__name__, rows, faint=[_is_default(f, value) for f, value in given])


def _first(told: Sequence[str], thing: Any) -> List[Any]:
    """The fields of a dataclass that print: those without a default, then those that are told, then the others."""
    printed = [f for f in fields(thing) if f.init and f.repr]
    return sorted(
        printed, key=lambda f: (f.default is not MISSING or f.default_factory is not MISSING, f.name not in told)
    )


def _is_default(field: Any, value: Any) -> bool:
    default = field.default if field.default_factory is MISSING else field.default_factory()
    same = value is default or value == default
    return same is True  # an array compares to an array


class PrintedText(str):
    """Text of several lines that a notebook and a Python prompt show as it is, not as a string with quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def in_notebook() -> bool:
    """Whether the program runs in a kernel of Jupyter's. IPython on a terminal has none."""
    ipython: Any = sys.modules.get("IPython")
    return hasattr(ipython.get_ipython(), "kernel") if ipython is not None else False


def call(name: str, parts: Sequence[str]) -> str:
    """The text of a call, on several lines if it is too long for one."""
    line = f"{name}({', '.join(parts)})"
    if len(line) <= WIDTH and "\n" not in line:
        return line
    return "\n".join([f"{name}(", *(f"    {line}" for part in parts for line in f"{part},".split("\n")), ")"])


def text_of(value: Any) -> str:
    """A value as its user would write it; a function by its name, and of an array the type and the shape."""
    if isinstance(value, (tuple, list)) and type(value) in (tuple, list):
        inner = ", ".join(map(text_of, value))
        return f"[{inner}]" if isinstance(value, list) else f"({inner}{',' * (len(value) == 1)})"
    if getattr(value, "shape", None) and hasattr(value, "dtype"):
        return array(value)
    if callable(value) and hasattr(value, "__qualname__"):
        return str(value.__qualname__).rpartition("<locals>.")[2]
    return repr(value)


def array(value: Any) -> str:
    """An array as its type and shape, such as ``float32 (25, 8, 10)``."""
    return f"{str(value.dtype).rpartition('.')[2]} {tuple(value.shape)}"


def numbers(values: Any) -> str:
    """A NumPy array of numbers written out, if there are few."""
    if values.size <= MOST_VALUES and values.shape:
        return repr(values.tolist())
    if not values.shape:
        return f"array({values.tolist()!r})"
    return f"array(shape {values.shape}, {values.min():g} to {values.max():g})"


def shortened(names: Sequence[Any], most: int = 12) -> str:
    """Names in a row; of many the first ones and their number."""
    some = ", ".join(map(str, names[:most]))
    return some if len(names) <= most else f"{some}, … ({len(names)})"


def columns(rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Rows of text as a table; all columns but the first ``left`` are aligned on the right."""
    rows = [list(row) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    aligned = ([c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths))] for row in rows)
    return "\n".join("  ".join(row).rstrip() for row in aligned)


def table(title: str, rows: Sequence[Sequence[str]], head: Sequence[str] = (), faint: Sequence[bool] = ()) -> str:
    """An HTML table for a notebook. It takes its colours from the page, light or dark.

    Args:
        title: text above the table.
        rows: cells as plain text.
        head: names of the columns; default: none.
        faint: which rows are less important; default: none.
    """
    style = "text-align:left;caption-side:top;white-space:nowrap"
    parts = [f"<table><caption style='{style}'><b>{html.escape(title)}</b></caption>"]
    if head:
        parts.append(f"<thead>{_row('th', head)}</thead>")
    dim = [*faint, *([False] * (len(rows) - len(faint)))]
    parts += ["<tbody>", *(_row("td", row, faint=each) for row, each in zip(rows, dim)), "</tbody></table>"]
    return "".join(parts)


def _row(cell: str, texts: Sequence[str], *, faint: bool = False) -> str:
    style = "text-align:left" + ";opacity:0.6" * faint
    return f"<tr>{''.join(f'<{cell} style={style!r}>{html.escape(str(text))}</{cell}>' for text in texts)}</tr>"


def in_bytes(count: float) -> str:
    """A number of bytes as text, e.g. "512 MB"."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:.3g} {unit}"

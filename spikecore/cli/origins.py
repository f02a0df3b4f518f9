"""Origin of each value of a run file: a line of the file, the command line, the environment, or a default."""

from __future__ import annotations

import re
from typing import Any, Dict, List, NamedTuple, Optional

try:
    import tomllib
except ImportError:  # Python < 3.11
    import tomli as tomllib  # type: ignore[no-redef]

DEFAULT = "default"
CHOICES = ("kind", "name")  # the keys for which a bare name may stand: schedule = "cosine"
NO_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|\'[^\']*\'|#.*')  # texts and comments
ALONE = re.compile(r"\.0\.")  # the first entry of a list, for which a table may stand: rules.1 = {kind = "STDP"}
CLOSING = str.maketrans("[{", "]}")


class Setting(NamedTuple):
    """One key of a resolved run file.

    Args:
        key: as ``--set`` takes it, e.g. "network.layers.1.beta".
        value: a number, a text, or a list of them.
        origin: "digits.toml:7", "--set train.epochs=3", "$SPIKECORE_ENGINE", "--engine" or "default".
    """

    key: str
    value: Any
    origin: str


def dotted(path: str, key: Any) -> str:
    """The dotted key of an entry of the table or list at ``path``. A name with a dot gets quotes, as in TOML."""
    name = f'"{key}"' if "." in str(key) else str(key)
    return f"{path}.{name}" if path else name


def parts_of(key: str) -> List[str]:
    """The names in a dotted key, without quotes."""
    return [quoted or bare for quoted, bare in re.findall(r'"([^"]*)"|([^."]+)', key)]


def leaves(value: Any, path: str = "", whole_lists: bool = False) -> Dict[str, Any]:
    """All single values of nested dicts and lists, by dotted key.

    Args:
        value: the dict or list.
        path: its own dotted key.
        whole_lists: whether a list of numbers or texts counts as a single value.
    """
    plain = whole_lists and isinstance(value, list) and not any(isinstance(part, (dict, list)) for part in value)
    if isinstance(value, (dict, list)) and not plain:
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        return {k: v for key, x in parts for k, v in leaves(x, dotted(path, key), whole_lists).items()}
    return {path: value}


def marked(value: Any, origins: Dict[str, str], other: str, path: str = "") -> Any:
    """Nested dicts and lists of the same form as ``value``, with the origin instead of each single value.

    Args:
        value: the dict, list or value.
        origins: by dotted key.
        other: origin of what is not among them.
        path: dotted key of ``value``.
    """
    if isinstance(value, dict):
        return {k: marked(part, origins, other, dotted(path, k)) for k, part in value.items()}
    if isinstance(value, list):
        return [marked(part, origins, other, f"{path}.{index}") for index, part in enumerate(value)]
    return origins.get(path, other)


def lines_of(text: str) -> Dict[str, int]:
    """The line, from 1, of each single value in the text of a TOML file, by dotted key.

    A TOML parser does not tell lines. So each statement is parsed alone, and one of several lines after each of them,
    with the brackets closed that are open there: a value that appears stands on this line. Where that is no TOML even
    so, as inside of a text of several lines, the value counts as that of the line with its end.
    """
    found: Dict[str, int] = {}
    table = ""  # the dotted key of the one to which statements belong
    entries: Dict[str, int] = {}  # by dotted key of a list of tables: the place of its last
    statement: List[str] = []  # the lines of one that has not ended
    open_brackets = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if not statement and line.lstrip().startswith("["):
            table = _table_of(line, entries)
            continue
        statement.append(line)
        for bracket in re.findall(r"[\[\]{}]", NO_BRACKETS.sub("", line)):
            open_brackets = open_brackets + bracket if bracket in "[{" else open_brackets[:-1]
        values = _values([*statement, open_brackets[::-1].translate(CLOSING)], table)
        if values is None:  # brackets in a text of several lines are none
            values = _values(statement, table)
            open_brackets = open_brackets if values is None else ""
        for key in values or ():
            found.setdefault(key, number)
        if values is not None and not open_brackets:
            statement = []
    return found


def _table_of(header: str, entries: Dict[str, int]) -> str:
    """The dotted key of the table below a header. The entries of lists of tables are counted."""
    part, place = tomllib.loads(header), ""
    while part:
        [(name, inner)] = part.items()
        place = dotted(place, name)
        if isinstance(inner, list):
            entries[place] = entries.get(place, -1) + 1
        part = inner[0] if isinstance(inner, list) else inner
        place = f"{place}.{entries[place]}" if place in entries else place
    return place


def _values(lines: List[str], table: str) -> Optional[Dict[str, Any]]:
    """The single values in these lines of a table; None if they are no TOML."""
    try:
        return leaves(tomllib.loads("\n".join(lines)), table)
    except ValueError:
        return None


def settings(resolved: Dict[str, Any], origins: Dict[str, str]) -> List[Setting]:
    """Every key of a resolved run file with its origin.

    Args:
        resolved: all keys and values, as ``RunFile.plain`` gives them.
        origins: of the values that are no defaults, by dotted key.
    """
    found = leaves(resolved, whole_lists=True)
    return [Setting(key, value, _origin(key, origins) or DEFAULT) for key, value in found.items()]


def _origin(key: str, origins: Dict[str, str]) -> Optional[str]:
    place, _, last = key.rpartition(".")
    places = [key, f"{key}.0"]  # the second of a whole list
    if last in CHOICES:
        places += [place, place.rpartition(".")[0]]  # the second of metric = "accuracy", a list with one entry
    places += [key[: at.start()] + key[at.end() - 1 :] for at in ALONE.finditer(key)]  # of a table that stands alone
    return next((origins[place] for place in places if place in origins), None)

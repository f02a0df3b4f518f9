"""Chip files: TOML files that say what is known of a chip, checked as a whole when they are read."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, Tuple

from spikecore.arguments import PathLike, checked, shown, unknown
from spikecore.hardware.chip import ENERGY, LIMITS, LISTS, NAMES, SUPPORTS, Chip, Known
from spikecore.hardware.names import known_names

FOLDER = Path(__file__).parent / "chips"
TOP = "name maker about sources limits supports energy notes".split()
ENTRY = "value source note".split()
MOST_BITS = 64


class ChipFileError(ValueError):
    """A chip file that cannot be used; the message lists all that is wrong with it."""


def chips() -> Tuple[str, ...]:
    """The names of the chips that this library describes, for ``sc.hardware.check`` and ``spikecore check --for``."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


@checked
def chip(name: PathLike) -> Chip:
    """Read the public facts about a chip.

    Args:
        name: one of ``hardware.chips()``, or the path of a chip file, which ends in .toml.

    Returns:
        ``Chip``: print it for all numbers with their sources.

    Raises:
        ValueError: there is no chip of this name.
        FileNotFoundError: there is no file at the path.
        ChipFileError: the file is wrong; the message lists every key, its value and what is allowed.
    """
    text = str(name)
    if not text.endswith(".toml"):
        if text not in chips():
            raise ValueError(f"{unknown('chip', text, chips())}; or give the path of a chip file, x.toml")
        return read(FOLDER / f"{text}.toml")
    return read(Path(text))


def read(path: Path) -> Chip:
    """The chip that a file describes."""
    try:
        content = path.read_bytes().decode("utf-8-sig")  # editors of Windows begin files with a mark
    except FileNotFoundError:
        raise FileNotFoundError(f"{path}: there is no such chip file") from None
    except OSError as error:
        raise ChipFileError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ChipFileError(f"{path}: not a text file in UTF-8: {error}") from None
    toml = _toml()
    try:
        tables = toml.loads(content)
    except toml.TOMLDecodeError as error:
        raise ChipFileError(f"{path}: {error}") from None
    reader = _Reader(tables)
    fields = reader.fields()
    if reader.problems:
        raise ChipFileError("\n".join(f"{path}: {problem}" for problem in reader.problems))
    return Chip(**fields)


def _toml() -> Any:
    """The reader of TOML: Python's own, or before Python 3.11 ``tomli``."""
    try:
        import tomllib
    except ImportError:
        try:
            import tomli as tomllib  # type: ignore[no-redef]  # the same module under its older name
        except ImportError as error:
            raise ImportError("chip files need tomli before Python 3.11: pip install tomli") from error
    return tomllib


class _Reader:
    """Turns the tables of a file into the fields of a ``Chip``, and collects what is wrong with them."""

    def __init__(self, tables: Mapping[str, Any]) -> None:
        self.tables = tables
        self.problems: List[str] = []
        self.sources: Dict[str, str] = {}

    def fields(self) -> Dict[str, Any]:
        self._known("", self.tables, TOP)
        name, maker, about = (self._text(key) for key in ("name", "maker", "about"))
        limits = self._table("limits")
        if "ram" in limits and "flash" not in limits:
            self.problems.append("limits.ram is of a processor, and limits.flash says that it is one: give both")
        self.sources = self._sources()
        energy = self._table("energy")
        conditions = energy.pop("conditions", "")
        if not isinstance(conditions, str):
            self._wrong("energy.conditions", conditions, "a text: process, voltage and method")
        if energy and not conditions:
            self.problems.append("energy.conditions is missing: say process, voltage and method, in a text")
        return dict(
            name=name,
            maker=maker,
            about=about,
            sources=self.sources,
            limits=self._entries("limits", limits, LIMITS, self._limit),
            supports=self._entries("supports", self._table("supports"), SUPPORTS, self._support),
            energy=self._entries("energy", energy, ENERGY, self._joules),
            conditions=conditions,
            notes=self._notes(),
        )

    # ---- tables ----

    def _text(self, name: str) -> str:
        value = self.tables.get(name)
        if not isinstance(value, str) or not value:
            self._wrong(name, value, "a text")
            return ""
        return value

    def _sources(self) -> Dict[str, str]:
        table = self._table("sources")
        for name, value in table.items():
            if not isinstance(value, str) or not value:
                self._wrong(f"sources.{name}", value, "a text: authors, title, place and address")
        return {name: str(value) for name, value in table.items()}

    def _table(self, name: str) -> Dict[str, Any]:
        value = self.tables.get(name, {})
        if not isinstance(value, dict):
            self._wrong(name, value, f"a table, [{name}]")
            return {}
        return dict(value)

    def _notes(self) -> Tuple[str, ...]:
        value = self.tables.get("notes", [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self._wrong("notes", value, "a list of texts")
            return ()
        return tuple(value)

    def _entries(
        self, place: str, table: Mapping[str, Any], allowed: Mapping[str, str], check: Callable[[str, str, Any], Any]
    ) -> Dict[str, Known]:
        """The entries ``{ value = …, source = "…" }`` of a table."""
        self._known(place, table, allowed)
        found = {}
        for name, entry in table.items():
            key = f"{place}.{name}"
            if name not in allowed:
                continue
            if not isinstance(entry, dict) or "value" not in entry or "source" not in entry:
                self._wrong(key, entry, '{ value = ..., source = "a key of [sources]" }')
                continue
            self._known(key, entry, ENTRY)
            note = entry.get("note", "")
            if not isinstance(note, str):
                self._wrong(f"{key}.note", note, "a text")
            found[name] = Known(check(key, name, entry["value"]), self._source(key, entry["source"]), str(note))
        return found

    # ---- values ----

    def _limit(self, key: str, name: str, value: Any) -> Any:
        if name not in LISTS:
            return self._count(key, value)
        if not isinstance(value, list) or not value or not all(_is_count(one) for one in value):
            self._wrong(key, value, "a list of whole numbers >= 1")
            return ()
        return tuple(value)

    def _count(self, key: str, value: Any) -> int:
        least = 0 if key.endswith("padding") else 1
        if not _is_count(value, least):
            self._wrong(key, value, f"a whole number >= {least}")
            return 1
        if key.endswith("_bits") and value > MOST_BITS:
            self._wrong(key, value, f"a whole number of bits <= {MOST_BITS}")
            return 1
        return int(value)

    def _support(self, key: str, name: str, value: Any) -> Any:
        if name not in NAMES:
            if not isinstance(value, bool):
                self._wrong(key, value, "true or false")
            return value is True
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            self._wrong(key, value, "a list of names")
            return ()
        known = known_names(name)
        self.problems += [f"{key}: {unknown(name[:-1], one, known)}" for one in value if one not in known]
        return tuple(value)

    def _joules(self, key: str, name: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0.0 < value < 1e-3:
            self._wrong(key, value, "joules, > 0 and < 1e-3, e.g. 23.6e-12")
            return 1.0
        return float(value)

    def _source(self, key: str, value: Any) -> str:
        if not isinstance(value, str):
            self._wrong(f"{key}.source", value, "a key of [sources]")
        elif value not in self.sources:
            self.problems.append(f"{key}.source: {unknown('source', value, self.sources)}; sources stand in [sources]")
        return str(value)

    # ---- problems ----

    def _known(self, place: str, table: Mapping[str, Any], allowed: Any) -> None:
        where = f"{place}: " if place else ""
        self.problems += [f"{where}{unknown('key', name, allowed)}" for name in table if name not in allowed]

    def _wrong(self, key: str, value: Any, allowed: str) -> None:
        given = "is missing" if value is None else f"= {shown(value)}"
        self.problems.append(f"{key} {given}: must be {allowed}")


def _is_count(value: Any, least: int = 1) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least

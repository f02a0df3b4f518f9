"""Messages about run files. Each names the file, the key, the value, what is allowed, and the nearest valid name."""

from __future__ import annotations

import difflib
import re
from typing import Any, Dict, Iterator, List, Tuple

from pydantic import BaseModel, ValidationError
from typing_extensions import get_args, get_origin

from spikecore.arguments import unknown
from spikecore.cli.origins import dotted, parts_of
from spikecore.cli.own_kinds import MODELS, is_own
from spikecore.cli.toml_text import toml_text


class ConfigError(ValueError):
    """A run file or an option of the command line cannot be used.

    Args:
        lines: one for each problem; together they are the message.
    """

    def __init__(self, lines: List[str]) -> None:
        super().__init__("\n".join(lines))


def problems(error: ValidationError, model: Any, data: Any, file: str, origins: Dict[str, str]) -> List[str]:
    """Describe each problem in one line.

    Args:
        error: the problems that pydantic reports.
        model: the pydantic model that checked the data.
        data: the data that were checked.
        file: name of the run file.
        origins: for each key whose value is not from the file: where the value comes from.
    """
    lines = []
    for problem in error.errors(include_url=False):
        keys, value, section = _locate(problem["loc"], model, data)
        table = data
        for key in keys[:-1]:
            table = _entry(table, key)
        keys, value, what = _moved(keys, table, section) or _explain(dict(problem), keys, value, section)
        sources = ", ".join(dict.fromkeys(origins[key] for key in origins if _within(key, keys)))
        origin = f" (from {sources})" if sources else ""
        shown = "" if value is None else f" = {_short(value)}"
        lines.append(": ".join([file, f"{_dotted(keys)}{shown}{origin}", what] if keys else [file, what]))
    return lines


def _moved(keys: Tuple[Any, ...], table: Any, section: Any) -> Any:
    """Keys, value and message, if a key of before is in another table now; else None."""
    moved = getattr(section, "moved", {})
    if not keys or keys[-1] not in moved:
        return None
    *places, name = keys
    place, value = moved[name], table[name]
    given = table.get(place, section.model_fields[place].default)
    if isinstance(given, dict) and (place in table or not given):
        line = f"{'.'.join(map(str, places))}.{place}.{name} = {toml_text(value)}"
    else:  # what stands there, or is the default, goes into a table, with all that has moved there
        own = {"kind": given} if isinstance(given, str) else given
        own = {**own, **{each: table[each] for each in moved if each in table and moved[each] == place}}
        line = f"{'.'.join(map(str, places))}.{place} = {toml_text(own)}"
    return keys, value, f"is in another table now: write {line}"


def _below(keys: Tuple[Any, ...], section: Any) -> str:
    """The end of a message about an unknown key that a table below this one has."""
    fields = section.model_fields.items()
    found = [name for name, each in fields for model in models_in(each.annotation) if keys[-1] in model.model_fields]
    return f". Write {'.'.join(map(str, (*keys[:-1], found[0], keys[-1])))}" if found else ""


def _explain(
    problem: Dict[str, Any], keys: Tuple[Any, ...], value: Any, section: Any
) -> Tuple[Tuple[Any, ...], Any, str]:
    """Keys, value and message of one problem."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return keys, None, unknown("key", keys[-1], section.model_fields) + _below(keys, section)
    if kind == "missing":
        return keys, None, "is required"
    if kind == "union_tag_invalid":
        tag, known = context["discriminator"].strip("'"), re.findall(r"'([^']*)'", context["expected_tags"])
        return (*keys, tag), context["tag"], unknown(tag, context["tag"], known)
    if kind == "union_tag_not_found":
        return keys, problem["input"], "must be a table with the key " + context["discriminator"].replace("'", "")
    if kind == "value_error":
        message = str(context["error"])
        return keys, None if isinstance(value, dict) and "learn" not in value else value, message
    if kind in ("too_short", "too_long"):
        few = kind == "too_short"
        limit = context["min_length" if few else "max_length"]
        return keys, value, f"must have at {'least' if few else 'most'} {limit} entr{'y' if limit == 1 else 'ies'}"
    tables = ("model_type", "model_attributes_type")
    message = "must be a table" if kind in tables else problem["msg"].replace("Input should", "must")
    if kind == "literal_error":
        near = difflib.get_close_matches(str(value), re.findall(r"'([^']*)'", context["expected"]), n=1)
        message += f"; did you mean {near[0]!r}?" if near else ""
    for words, sign in (("greater than or equal to", ">="), ("greater than", ">"), ("less than", "<")):
        message = message.replace(words, sign)
    return keys, value, message


def _locate(loc: Tuple[Any, ...], model: Any, data: Any) -> Tuple[Tuple[Any, ...], Any, Any]:
    """The user's keys, the user's value, and the model that has the last key as a field.

    A location of pydantic also has the names of the chosen kinds between the keys. They are left out here.
    """
    keys: List[Any] = []
    candidates, around, named = [model], model, False
    for part in loc:
        chosen = [candidate for candidate in candidates if _tag(candidate) == part]
        if chosen and part not in chosen[0].model_fields:
            candidates = chosen
            continue
        if isinstance(part, int) and not isinstance(data, list):
            continue  # a table or a name that stands alone for a list
        keys.append(part)
        data = _entry(data, part)
        if isinstance(part, str) and named:
            named = False  # the name of an entry, which the user has chosen
        elif isinstance(part, str):
            around = candidates[0] if candidates else None
            fields = around.model_fields if around is not None else {}
            candidates = list(models_in(fields[part].annotation)) if part in fields else []
            named = part in fields and get_origin(fields[part].annotation) is dict
        candidates = _own(data) or candidates
    return tuple(keys), data, around


def _own(data: Any) -> List[Any]:
    """The model of a table that names a class of the user's own, if there is one."""
    kind = data.get("kind") if isinstance(data, dict) else data
    return [MODELS[kind]] if is_own(kind) and kind in MODELS else []


def _tag(model: Any) -> Any:
    """The value of ``kind`` or ``name`` that selects this model among several."""
    fields = model.model_fields
    return fields["kind"].default if "kind" in fields else fields["name"].default if "name" in fields else None


def _entry(data: Any, part: Any) -> Any:
    try:
        return data[part]
    except (KeyError, IndexError, TypeError):
        return None


def models_in(annotation: Any) -> Iterator[Any]:
    """All pydantic models in the type of a field."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from models_in(part)


def _within(key: str, keys: Tuple[Any, ...]) -> bool:
    """Whether ``--set key=...`` changes the value at ``keys``, or a part of it."""
    mine, theirs = parts_of(key), [str(part) for part in keys]
    return theirs[: len(mine)] == mine or mine[: len(theirs)] == theirs


def _dotted(keys: Tuple[Any, ...]) -> str:
    text = ""
    for part in keys:
        text = f"{text}[{part}]" if isinstance(part, int) else dotted(text, part)
    return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

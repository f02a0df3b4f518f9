"""What is wrong with a run file, in a user's words: file, key, value, what is allowed, the nearest valid name."""

from __future__ import annotations

import difflib
import re
from typing import Any, Dict, Iterator, List, Tuple

from pydantic import BaseModel, ValidationError
from typing_extensions import get_args

from spikecore.api.core.messages import unknown


class ConfigError(ValueError):
    """A run file, or what overrides it, cannot be used; the message has one line for each problem."""

    def __init__(self, lines: List[str]) -> None:
        super().__init__("\n".join(lines))


def problems(error: ValidationError, model: Any, data: Any, file: str, origins: Dict[str, str]) -> List[str]:
    """One line for each problem.

    Args:
        error: what pydantic found.
        model: the model it checked.
        data: what it was given.
        file: name of the run file.
        origins: where values by key come from if not from the file.
    """
    lines = []
    for one in error.errors(include_url=False):
        keys, value, section = _locate(one["loc"], model, data)
        keys, value, what = _explain(dict(one), keys, value, section)
        origin = next((f" (from {origins[key]})" for key in origins if _within(key, keys)), "")
        shown = "" if value is None else f" = {_short(value)}"
        lines.append(": ".join([file, f"{_dotted(keys)}{shown}{origin}", what] if keys else [file, what]))
    return lines


def _explain(one: Dict[str, Any], keys: Tuple[Any, ...], value: Any, section: Any) -> Tuple[Tuple[Any, ...], Any, str]:
    """Keys, value and message of one problem."""
    kind, context = one["type"], one.get("ctx", {})
    if kind == "extra_forbidden":
        return keys, None, unknown("key", keys[-1], section.model_fields)
    if kind == "missing":
        return keys, None, "is required"
    if kind == "union_tag_invalid":
        tag, known = context["discriminator"].strip("'"), re.findall(r"'([^']*)'", context["expected_tags"])
        return (*keys, tag), context["tag"], unknown(tag, context["tag"], known)
    if kind == "union_tag_not_found":
        return keys, one["input"], "must be a table with the key " + context["discriminator"].replace("'", "")
    if kind == "value_error":
        message = str(context["error"])
        return keys, None if isinstance(value, dict) and "learn" not in value else value, message
    message = "must be a table" if kind == "model_type" else one["msg"].replace("Input should", "must")
    if kind == "literal_error":
        near = difflib.get_close_matches(str(value), re.findall(r"'([^']*)'", context["expected"]), n=1)
        message += f"; did you mean {near[0]!r}?" if near else ""
    for words, sign in (("greater than or equal to", ">="), ("greater than", ">"), ("less than", "<")):
        message = message.replace(words, sign)
    return keys, value, message


def _locate(loc: Tuple[Any, ...], model: Any, data: Any) -> Tuple[Tuple[Any, ...], Any, Any]:
    """The user's keys, the user's value and the model around it. pydantic's locations also hold the chosen kinds."""
    keys: List[Any] = []
    candidates, around = [model], model
    for part in loc:
        chosen = [one for one in candidates if _tag(one) == part]
        if chosen and len(candidates) > 1:
            candidates = chosen
            continue
        keys.append(part)
        data = _entry(data, part)
        if isinstance(part, str):
            around = candidates[0] if candidates else None
            fields = around.model_fields if around is not None else {}
            candidates = list(_models(fields[part].annotation)) if part in fields else []
    return tuple(keys), data, around


def _tag(model: Any) -> Any:
    fields = model.model_fields
    return fields["kind"].default if "kind" in fields else fields["name"].default if "name" in fields else None


def _entry(data: Any, part: Any) -> Any:
    try:
        return data[part]
    except (KeyError, IndexError, TypeError):
        return None


def _models(annotation: Any) -> Iterator[Any]:
    """The models that a key's type allows."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def _within(key: str, keys: Tuple[Any, ...]) -> bool:
    """Whether a ``--set`` of ``key`` touches these keys."""
    mine, theirs = key.split("."), [str(part) for part in keys]
    return theirs[: len(mine)] == mine or mine[: len(theirs)] == theirs


def _dotted(keys: Tuple[Any, ...]) -> str:
    text = ""
    for part in keys:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

"""The engines that the suite runs on: ``--engine NAME[:option=value,...]``, or all that can be used here."""

from __future__ import annotations

import ast
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple

import spikecore as sc


class Chosen(NamedTuple):
    """An engine to run on."""

    label: str  # in the names of tests, and in the report
    name: str  # what get_engine calls it
    options: Dict[str, Any]

    def make(self, dtype: str) -> sc.base.Engine:
        """The engine in one of its floating-point types."""
        return sc.get_engine(self.name, dtype=dtype, **self.options)


def chosen(text: str) -> Chosen:
    """Read ``[LABEL=]NAME[:option=value,...]``; the label is by default all that follows it.

    Raises:
        ValueError: an option has no value, or is the dtype.
    """
    head, _, tail = text.partition(":")
    label, separator, name = head.partition("=")
    options = {}
    for pair in tail.split(",") if tail else ():
        option, equals, value = pair.partition("=")
        if not equals or not option:
            raise ValueError(f"--engine {text}: {pair!r} must be option=value, as in torch:device=cuda")
        if option == "dtype":
            raise ValueError(f"--engine {text}: the suite runs in both dtypes, so leave dtype out")
        options[option] = _value(value)
    return Chosen(label, name, options) if separator else Chosen(text, head, options)


def _value(text: str) -> Any:
    """A number, true or false, else the text itself."""
    try:
        return ast.literal_eval(text.capitalize() if text in ("true", "false", "none") else text)
    except (ValueError, SyntaxError):
        return text


def selected(texts: Optional[Sequence[str]]) -> Tuple[List[Chosen], Dict[str, str]]:
    """The engines to run on, and why others that are known do not run.

    Args:
        texts: what stands behind each ``--engine``; None or none: every engine that can be used here.

    Raises:
        ValueError: a text cannot be read, or two engines have the same label.
    """
    if texts:
        found = {}
        for text in texts:
            one = chosen(text)
            if one.label in found:
                raise ValueError(
                    f"--engine {text}: there are two engines of this label; give one another, as in LABEL={one.name}"
                )
            found[one.label] = one
        return list(found.values()), {}
    known = sc.engines()
    missing = {status.name: status.why for status in known if not status.available}
    return [chosen(status.name) for status in known if status.available], missing

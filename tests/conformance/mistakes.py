"""A mutant made from the text of a function: one mistake in it."""

from __future__ import annotations

import inspect
import textwrap


def with_mistake(function, old, new):
    """The function with ``new`` in its text instead of ``old``, which stands there once."""
    source = textwrap.dedent(inspect.getsource(function))
    assert source.count(old) == 1, f"{old!r} stands {source.count(old)} times in\n{source}"
    made = dict(vars(inspect.getmodule(function)))
    exec(compile(source.replace(old, new), f"<mutant of {function.__qualname__}>", "exec"), made)
    return made[function.__name__]

"""Calls of the library that modes of an array library around them do not change: see ``Engine.isolated``."""

from __future__ import annotations

import functools
from typing import Any, Callable, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


def isolated(function: Function) -> Function:
    """A function whose first argument has an engine, run as that engine always computes."""

    @functools.wraps(function)
    def inside(owner: Any, *arguments: Any, **options: Any) -> Any:
        with owner.engine.isolated():
            return function(owner, *arguments, **options)

    return cast(Function, inside)

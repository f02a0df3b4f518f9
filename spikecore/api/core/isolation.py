"""Shields calls from modes of the array library that the caller has switched on: see ``Engine.isolated``."""

from __future__ import annotations

import functools
from typing import Any, Callable, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


def isolated(function: Function) -> Function:
    """Decorator: run the function inside ``engine.isolated()`` of its first argument's ``engine``."""

    @functools.wraps(function)
    def inside(owner: Any, *arguments: Any, **options: Any) -> Any:
        with owner.engine.isolated():
            return function(owner, *arguments, **options)

    return cast(Function, inside)

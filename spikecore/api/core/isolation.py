"""Decorators of public methods: modes of the array library are off inside (``Engine.isolated``), errors explained."""

from __future__ import annotations

import functools
from typing import Any, Callable, Tuple, Type, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])
EXPLAINED: Tuple[Type[Exception], ...] = (TypeError, ValueError, RuntimeError, AttributeError)


def isolated(function: Function) -> Function:
    """Decorator: run the function inside ``engine.isolated()`` of its first argument's ``engine``; ``explaining``."""

    @functools.wraps(function)
    def inside(owner: Any, *arguments: Any, **options: Any) -> Any:
        with owner.engine.isolated():
            try:
                return function(owner, *arguments, **options)
            except EXPLAINED as error:
                _explain(error)
                raise

    return cast(Function, inside)


def explaining(function: Function) -> Function:
    """Decorator: an error that comes from a part of the user's own says what to write instead."""

    @functools.wraps(function)
    def inside(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except EXPLAINED as error:
            _explain(error)
            raise

    return cast(Function, inside)


def _explain(error: Exception) -> None:
    from spikecore.api.core.own_parts import explain  # rarely needed

    explain(error)

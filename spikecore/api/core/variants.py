"""The same engine with other options, for ``verify``: another dtype, no kernels, exact gradients, smooth spikes."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Dict, TypeVar

from spikecore.api.core.extras import Variants, extra

if TYPE_CHECKING:
    from spikecore.api.core.engine import Engine

Kind = TypeVar("Kind", bound="Engine")


def remade(engine: Kind, **changes: Any) -> Kind:
    """An engine of the same class with the options that this one was made with, except for ``changes``."""
    kind, (arguments, options) = type(engine), engine._made_of
    signature = _signature(kind)
    given = signature.bind(None, *arguments, **options).arguments  # None stands for self
    given.pop(next(iter(given)))
    rest = next((name for name, p in signature.parameters.items() if p.kind is p.VAR_KEYWORD), "")
    return kind(**{**{n: x for n, x in given.items() if n != rest}, **given.get(rest, {}), **changes})


@functools.lru_cache(maxsize=None)
def _signature(kind: Any) -> inspect.Signature:
    """The constructor's signature; one that passes on ``*arguments`` has the options of the class above."""
    makers = (inspect.signature(base.__init__) for base in kind.__mro__ if "__init__" in vars(base))
    return next(s for s in makers if all(p.kind is not p.VAR_POSITIONAL for p in s.parameters.values()))


def with_dtype(engine: Kind, dtype: str) -> Kind:
    """The same engine on the same device with another floating-point type.

    Raises:
        ValueError: the engine does not have it.
    """
    others = extra(engine, Variants).other_dtype if dtype != engine.dtype else {}
    return remade(engine, dtype=dtype, **others)


def unfused(engine: Kind) -> Kind:
    """The same engine without compiled kernels; ``verify`` uses it as the reference."""
    changes = extra(engine, Variants).unfused
    return remade(engine, **changes) if changes else engine


def exact(engine: Kind) -> Kind:
    """The same engine without options that make its results approximate; ``verify`` judges by this one."""
    changes = _inexact(engine)
    return remade(engine, **changes) if changes else engine


def approximates(engine: Engine) -> str:
    """The options of an engine that make its results approximate, as text; "" if there are none."""
    found = [(name, getattr(engine, name)) for name in _inexact(engine)]
    return " and ".join(f"{name}={value!r}" if isinstance(value, str) else name for name, value in found)


def _inexact(engine: Engine) -> Dict[str, Any]:
    """The options by which this engine approximates, each with the value that would be exact."""
    return {name: x for name, x in extra(engine, Variants).exact.items() if getattr(engine, name) != x}


def smooth(engine: Engine) -> Engine:
    """The engine with spikes replaced by the surrogate's antiderivative, for finite differences.

    Raises:
        NotImplementedError: the engine has no such mode; only numpy has.
    """
    return extra(engine, Variants).smooth(engine)

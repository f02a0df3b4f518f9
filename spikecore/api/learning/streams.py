"""Sequences that come step by step: an iterator of steps (batch, *features) in place of an array."""

from __future__ import annotations

from typing import Any, Iterable, Iterator, Optional

from spikecore.api.core.layer import Shape, ShapeError
from spikecore.api.training.batching import check_axes, check_finite, check_numbers


def streams(x: Any) -> bool:
    """Whether ``x`` is an iterator of steps."""
    return not hasattr(x, "shape") and not isinstance(x, (list, tuple))


def steps_of(engine: Any, stream: Iterable[Any], shape: Optional[Shape], num_steps: Optional[int]) -> Iterator[Any]:
    """The steps of a stream, each as a sequence (1, batch, *features); only one is in memory.

    The loop waits for the next step; ``Engine.scan`` runs the steps, as everywhere.

    Args:
        engine: the engine.
        stream: iterator of steps (batch, *features).
        shape: shape of one sample; None: that of the first step.
        num_steps: number of steps; None: not known.

    Raises:
        TypeError, ValueError: a step is no array of numbers, has another shape or is not finite, or there are more or
            fewer steps than ``num_steps``; the message names the step.
    """
    count, samples = 0, None
    for data in stream:
        if count == num_steps:
            raise ValueError(
                f"num_steps={num_steps}, but the stream has more steps: itertools.islice(x, {num_steps}) takes the "
                "first ones"
            )
        try:
            x = _checked(engine, data, shape, samples)
        except (TypeError, ValueError) as error:
            raise type(error)(f"step {count} of the stream: {error}") from None
        samples, shape = int(x.shape[0]), tuple(x.shape[1:])
        yield engine.xp.expand_dims(x, axis=0)
        count += 1
    if num_steps is not None and count < num_steps:
        raise ValueError(f"num_steps={num_steps}, but the stream ended after {count} steps")


def _checked(engine: Any, data: Any, shape: Optional[Shape], samples: Optional[int]) -> Any:
    check_numbers(data)
    x = engine.asarray(data)
    check_axes(tuple(x.shape), shape, True)
    if samples is not None and x.shape[0] != samples:
        raise ShapeError(f"it has {x.shape[0]} samples, but those before have {samples}")
    check_finite(engine, x, "")
    return x

"""Converts a user's batch to a sequence on the engine: encoding, the time axis, and checks of inputs and targets."""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass
from functools import partial
from typing import Any, Callable, List, Optional, Protocol, Tuple, Union

from spikecore.api.core.extras import TrainingOptions, extra
from spikecore.api.core.host import not_finite
from spikecore.api.core.layer import Key, Shape, ShapeError
from spikecore.api.core.sizes import whole_number
from spikecore.api.core.words import Array
from spikecore.api.functional.loss import comparing, decoder_of, varies
from spikecore.api.functional.targets import targets_on
from spikecore.arguments import ArrayLike, is_array, shown

Input = Union[Array, ArrayLike]  # a batch; ``Feed`` checks it


class Encoder(Protocol):
    """A function from a batch to a sequence, like those of ``spikecore.spikegen``."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


@dataclass(frozen=True)
class Feed:
    """Converts batches to sequences.

    Args:
        num_steps: number of time steps. Without an encoder, the input is then a current that is constant in time.
        encoder: callable ``(x, num_steps=..., seed=..., first=...) -> (time, batch, *features)`` such as
            ``spikegen.rate``; it gets the keywords that it takes. Without ``num_steps``, x may also be a sequence that
            the encoder converts to a sequence, e.g. with ``spikegen.delta``.
        time_axis: the time axis of inputs that have one, and of targets that vary in time; default 0.
        check_finite: whether NaN and infinity are refused; default True.
        unread: where to put that check for a caller who makes it later: a pair of whether the input is finite, an array
            of the engine, and the function that says where it is not. None, the default: the check is made at once.
    """

    num_steps: Optional[int] = None
    encoder: Optional[Encoder] = None
    time_axis: int = 0
    check_finite: bool = True
    unread: Optional[List[Tuple[Any, Callable[[], None]]]] = None

    def __post_init__(self) -> None:
        if self.num_steps is not None:
            object.__setattr__(self, "num_steps", whole_number("num_steps", self.num_steps, 1))
        if self.encoder is not None and not callable(self.encoder):
            made = "; spikes that exist already are the input itself: leave encoder out, their time axis comes first"
            raise TypeError(
                f"encoder={shown(self.encoder)} must be callable, e.g. spikecore.spikegen.rate"
                f"{made if is_array(self.encoder) else ''}"
            )

    @property
    def static(self) -> bool:
        """Whether the user's batches have no time axis."""
        return self.num_steps is not None or self.encoder is not None

    def __call__(self, engine: Any, data: Any, shape: Optional[Shape], key: Key) -> Tuple[Any, Optional[int]]:
        """The batch on the engine as (time or 1, batch, *features), and the number of steps of a constant input.

        Args:
            engine: the engine.
            data: the user's batch.
            shape: shape of one sample; None if it is not known yet.
            key: names the encoder's random draws.

        Raises:
            ShapeError, ValueError: the input has a wrong shape, is empty or not finite; the message names axis and
                index.
        """
        check_numbers(data)
        x = engine.asarray(data)
        if self.check_finite and self.unread is not None:
            self.unread.append((engine.xp.all(engine.xp.isfinite(x)), partial(check_finite, engine, x)))
        elif self.check_finite:
            check_finite(engine, x)
        x = self._time_first(engine, x) if self.num_steps is None else x
        if self.encoder is not None:
            return self._encoded(engine, x, shape, key), None
        check_axes(tuple(x.shape), shape, self.static)
        if self.num_steps is not None:
            return engine.xp.expand_dims(x, axis=0), self.num_steps
        return x, None

    def _time_first(self, engine: Any, x: Any, what: str = "an input") -> Any:
        if self.time_axis == 0:
            return x
        if not -x.ndim <= self.time_axis < x.ndim:
            raise ValueError(f"time_axis={self.time_axis} is no axis of {what} of shape {tuple(x.shape)}")
        axis = self.time_axis % x.ndim
        return engine.xp.permute_dims(x, (axis, *(i for i in range(x.ndim) if i != axis)))

    def targets(self, engine: Any, loss: Any, targets: Any) -> Any:
        """The targets of a batch as a loss takes them: time, if they vary in time, as the first axis."""
        if self.time_axis == 0 or not varies(loss):
            return targets
        placed = targets_on(engine, targets)
        return placed if placed.ndim <= self.time_axis else self._time_first(engine, placed, "targets")

    def _encoded(self, engine: Any, x: Any, shape: Optional[Shape], key: Key) -> Any:
        check_axes(tuple(x.shape), None, True)
        offered = {"num_steps": self.num_steps, "seed": key.path, "first": key.first}
        keywords = keywords_of(self.encoder, offered)
        sequence = engine.asarray(self.encoder(x, **keywords))  # type: ignore[misc]
        axes = sequence.ndim - x.ndim
        remains = axes == 0 and self.num_steps is None and x.ndim > 1  # a sequence was converted to a sequence
        if not remains and axes != 1 or sequence.shape[1] != x.shape[1 - axes]:
            raise ShapeError(
                f"encoder returned shape {tuple(sequence.shape)} for a batch of {tuple(x.shape)}, expected "
                f"(time, {x.shape[0]}, *features)"
            )
        if shape is not None and tuple(sequence.shape[2:]) != tuple(shape):
            raise ShapeError(
                f"input of shape {tuple(x.shape)} is encoded as {tuple(sequence.shape)}, but the first layer takes "
                f"(time, batch, {', '.join(map(str, shape))})"
            )
        return sequence


def check_numbers(data: Any) -> None:
    """Refuse an input that is no array of numbers."""
    if not is_array(data):
        hint = ": the loader's samples, in the order in which answers are wanted" if hasattr(data, "batch_size") else ""
        from spikecore.other_names import instead  # rarely needed

        hint = hint or instead("input", data, "an array")
        raise TypeError(f"input={shown(data)} must be an array of numbers{hint}")
    if hasattr(data, "filled") and data.mask.any():
        raise TypeError("input: a masked array with missing values, which no engine leaves out; give x.filled(0)")


def keywords_of(function: Any, offered: dict) -> dict:
    """The entries of ``offered`` that the function takes as keywords."""
    try:
        known = inspect.signature(function).parameters
    except (TypeError, ValueError):  # a C function has no signature; every encoder takes num_steps
        return {"num_steps": offered["num_steps"]}
    if any(p.kind is p.VAR_KEYWORD for p in known.values()):
        return offered
    return {name: value for name, value in offered.items() if name in known}


def check_axes(found: Shape, shape: Optional[Shape], static: bool) -> None:
    """Refuse an input of shape ``found`` that is empty, or whose features do not fit; the message names the axis."""
    axes = ("batch",) if static else ("time", "batch")
    if len(found) < len(axes):
        hint = "; one series of one feature is x[:, None, None]" if len(found) == 1 and shape in (None, (1,)) else ""
        raise ShapeError(f"input of shape {found}: expected ({', '.join(axes)}, *features){hint}")
    for name, extent in zip(axes, found):
        if extent == 0:
            raise ShapeError(f"input of shape {found} is empty: its {name} axis has length 0")
    if shape is None or found[len(axes) :] == shape:
        return
    expected = f"({', '.join((*axes, *map(str, shape)))})"
    if len(found) != len(axes) + len(shape):
        raise ShapeError(f"input of shape {found}, expected {expected}{_axes_hint(found, shape, static)}")
    for i, (extent, wanted) in enumerate(zip(found[len(axes) :], shape), start=len(axes)):
        if extent != wanted:
            hint = _axes_hint(found, shape, static)
            raise ShapeError(
                f"input of shape {found}: axis {i} is {extent}, but the first layer takes {expected}{hint}"
            )


def _axes_hint(found: Shape, shape: Shape, static: bool) -> str:
    size = shape[0] if len(shape) == 1 else 0
    if len(found) > 2 and math.prod(found[1:]) == size:
        steps = "" if static else "; for images without a time axis pass num_steps, too"
        return f"; put a Flatten() before the first layer, or give x.reshape(len(x), -1){steps}"
    if len(found) > 3 and math.prod(found[2:]) == size:
        steps = "; it has a time axis of its own: leave out num_steps and encoder" if static else ""
        return f"; put a Flatten() before the first layer, or give x.reshape(*x.shape[:2], -1){steps}"
    if static and len(found) == 2 + len(shape):
        return "; it has a time axis of its own: leave out num_steps and encoder"
    if shape == (1,) and len(found) == 2 - static and found[-1] != 1:
        return "; a single feature needs an axis, too: x[..., None]"
    if not static and len(found) == 1 + len(shape):
        return "; for an input without time axis pass num_steps, for a single sequence x[:, None]"
    if static and len(found) == len(shape):
        return "; a single sample needs a batch axis: x[None]"
    return ""


def check_feeds(owner: str, x: Any, num_steps: Optional[int], encoder: Optional[Encoder]) -> None:
    """Refuse ``num_steps`` and an encoder without a batch, where x may be None.

    Raises:
        ValueError: names the function.
    """
    if x is None and (num_steps is not None or encoder is not None):
        raise ValueError(f"{owner}: num_steps and encoder need x, the batch that they are for")


# The index counts within the batch, whose samples ``fit`` has shuffled.
FIND = (
    " (in this batch; in your data np.argwhere(~np.isfinite(x)) finds all; in fit, "
    "compute=sc.Compute(check_finite=False) lets it through)"
)


def check_finite(engine: Any, x: Any, remedy: str = FIND) -> None:
    """Refuse NaN and infinity; the message names the index and the value of the first, and a remedy if there is one."""
    if extra(engine, TrainingOptions).all_finite(engine, x):
        return
    values = engine.to_numpy(x)
    index = not_finite(values)[0]
    raise ValueError(f"input[{', '.join(map(str, index))}] is {values[index]}: the input must be finite{remedy}")


def check_targets(
    engine: Any, loss: Any, x: Any, steps: Optional[int], targets: Any, classes: int, lengths: Optional[List[int]]
) -> None:
    """Refuse targets that do not fit the batch; the message says if time and batch axes look exchanged."""
    check_count(loss, x, steps, targets)
    time, batch = x.shape[:2]
    near = extra(engine, TrainingOptions).near(engine)  # what comes from the host is checked there
    for term in comparing(loss):
        held = targets_on(near, targets)
        counted = lengths or [steps or time] * batch
        term.check_targets(near, held, batch, classes, (steps or time) if varies(term) else None, counted)


def check_count(loss: Any, x: Any, steps: Optional[int], targets: Any) -> None:
    """Refuse one target per time step if the loss needs one per sample: the axes look exchanged."""
    if targets is None or steps is not None:
        return
    batch, time, count = x.shape[1], x.shape[0], len(targets)
    if count == batch or count != time:
        return
    read = decoder_of(loss)
    per_sample = read is not None and not varies(read)  # other targets may begin with time
    per_sample = per_sample or getattr(targets, "ndim", 1) == 1
    over_time = tuple(getattr(targets, "shape", ()))[:2] == (time, batch)
    if per_sample and not over_time:
        raise ShapeError(
            f"input has {time} time steps and {batch} samples, but there are {count} targets: time and batch axes look "
            "exchanged; pass time_axis=1 if it is (batch, time, *features), num_steps if it is (batch, *features)"
        )

"""The rows that a log has, beside those of a model that continues training.

Each tracker writes with the writer of its library. These compare rows, because no library knows whether a training
goes on: it would log the epochs since the last checkpoint twice.
"""

from __future__ import annotations

import math
from typing import Callable, Iterable, Mapping, Optional

from spikecore.api.training.history import Row


def numbers_of(row: Row) -> Row:
    """The columns of a row that are numbers, as Python's int and float."""
    plain = {name: value.item() if getattr(value, "ndim", None) == 0 else value for name, value in row.items()}
    return {name: +value for name, value in plain.items() if isinstance(value, (int, float))}  # +True is 1


def continued(held: Mapping[int, Row], past: Iterable[Row], exact: Callable[[float], float] = float) -> Optional[int]:
    """Number of rows of ``past``, from the first, that a log has; None if the log is that of another training.

    Args:
        held: the rows in the log, by epoch.
        past: the rows of the epochs that the model has done.
        exact: rounds a number as the log does.
    """
    count = 0
    for number, row in enumerate(past):
        there = held.get(row["epoch"])
        if there is None:
            continue
        if not _alike(there, numbers_of(row), exact):
            return None
        count += count == number
    return None if held and not count else count


def own_rows(
    log: str,
    held: Mapping[int, Row],
    past: Iterable[Row],
    overwrite: bool,
    exact: Callable[[float], float] = float,
) -> int:
    """Number of rows of ``past``, from the first, that a log has; 0 for another training's log that is overwritten.

    Args:
        log: what to call the log in a message.
        held, past, exact: as for ``continued``.
        overwrite: whether the log of another training may be overwritten.

    Raises:
        FileExistsError: the log is that of another training, and may not be overwritten.
    """
    count = continued(held, past, exact)
    if count is None and not overwrite:
        raise FileExistsError(
            f"{log} has {len(held)} epochs of another training. Name another place; or pass overwrite=True, which "
            "replaces the log of another training, and continues that of a model that goes on training"
        )
    return count or 0


def _alike(held: Row, row: Row, exact: Callable[[float], float]) -> bool:
    """Whether the columns of a row stand in a row of a log, where a missing one stands for NaN and infinities."""
    for name, value in row.items():
        there = held.get(name)
        there = math.nan if there is None else there
        if there != exact(value) and not (math.isnan(there) and not math.isfinite(value)):
            return False
    return True

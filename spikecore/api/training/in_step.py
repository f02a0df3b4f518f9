"""Evaluation on several ranks that each hold a part of the weights: all of them take part in each run."""

from __future__ import annotations

from typing import Callable, Iterator, Optional

from spikecore.api.core.ranks import RankError, Ranks
from spikecore.api.training.data import DeviceBatch


def in_step(
    given: Iterator[Optional[DeviceBatch]],
    count: Callable[[DeviceBatch], None],
    join_collectives: Callable[[], None],
    ranks: Ranks,
) -> None:
    """Count batches in step with the other ranks; as weights are divided, a rank without samples joins each run."""
    error: Optional[Exception] = None
    while True:
        batch, ended = None, False
        if error is None:
            try:
                batch = next(given)
            except StopIteration:
                ended = True
            except Exception as raised:  # of the data; all ranks hear of it when they meet
                error = raised
        if all(row[0] for row in ranks.meet(error, float(ended))):
            return
        try:
            join_collectives() if batch is None else count(batch)
        except RankError:
            raise
        except Exception as raised:  # of the loss or a metric; all ranks hear of it when they meet
            error = raised

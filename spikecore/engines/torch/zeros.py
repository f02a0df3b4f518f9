"""An update by torch.optim that keeps zeros: ``Optimizer.whole_rule`` for optimisers that are torch's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, Sequence

import torch

from spikecore.api.training.optimizers import TINY


@contextmanager
def keeping_zeros(weights: Sequence[Any], optimizer: Any) -> Iterator[None]:
    """A block that updates weights, in which those of exactly zero stay zero and no other one becomes zero.

    Args:
        weights: tensors with gradients. Where a weight is zero, so are its gradient from now on, and its moments after
            the block.
        optimizer: torch's optimiser, which has the moments.
    """
    with torch.no_grad():
        absent = [_own(x) == 0 for x in weights]
        for x, mask in zip(weights, absent):
            _own(x.grad).masked_fill_(mask, 0.0)
        yield
        for x, mask in zip(weights, absent):
            own = _own(x)
            own.masked_fill_(own == 0, TINY)
            moments = [m for m in optimizer.state.get(x, {}).values() if torch.is_tensor(m) and m.shape == x.shape]
            for array in (own, *map(_own, moments)):
                array.masked_fill_(mask, 0.0)


def _own(x: Any) -> Any:
    """This rank's part of a tensor that is divided among ranks; else the tensor."""
    return x.to_local() if hasattr(x, "to_local") else x.detach()

"""An update by torch.optim that keeps zeros: ``Optimizer.whole_rule`` for optimisers that are torch's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Iterator, List, Sequence, Tuple

import torch

from spikecore.api.training.optimizers import TINY


def existing(weights: Sequence[Any]) -> List[Tuple[Any, Any]]:
    """Weights, each with ones where it is not zero: numbers, which multiply several times as fast as truth values."""
    with torch.no_grad():
        return [(x, _own(x).sign().abs_()) for x in weights]


@contextmanager
def keeping_zeros(weights: Sequence[Tuple[Any, Any]], optimizer: Any) -> Iterator[None]:
    """A block that updates weights, in which those of zero stay zero and no other one becomes zero.

    Nothing is allocated: a gradient, which nobody needs after its update, holds what lies between.

    Args:
        weights: tensors with gradients, from ``existing``. Where a weight is zero, so are its gradient in the block and
            its moments after it.
        optimizer: torch's optimiser, which has the moments.
    """
    with torch.no_grad():
        for x, ones in weights:
            _own(x.grad).mul_(ones)
        yield
        for x, ones in weights:
            moments = [m for m in optimizer.state.get(x, {}).values() if torch.is_tensor(m) and m.shape == x.shape]
            for array in (x, *moments):
                _own(array).mul_(ones)
            new = torch.sign(_own(x), out=_own(x.grad)).abs_().neg_().add_(ones)  # one where a zero is new
            _own(x).add_(new, alpha=TINY)


def _own(x: Any) -> Any:
    """This rank's part of a tensor that is divided among ranks; else the tensor."""
    return x.to_local() if hasattr(x, "to_local") else x.detach()

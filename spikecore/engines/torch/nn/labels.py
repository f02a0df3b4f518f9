"""The labels of tensors while the reader of torch's modules runs ``forward``; its records and refusals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, Tuple

from torch import nn

APART = "takes the input apart"


class NoCounterpart(ValueError):
    """A layer has no counterpart in the other library; the message names it and says why."""


class Unreadable(NoCounterpart):
    """``forward`` computes something that no network of layers can express.

    Args:
        place: the layer or the call, as messages say it.
        why: the reason, and what to write instead.
    """

    def __init__(self, place: str, why: str) -> None:
        super().__init__(f"{place}: {why}")
        self.place, self.why = place, why


class Unfitting(Unreadable):
    """``forward`` fails on samples of this shape."""


class UnknownCall(Unreadable):
    """A function of torch that stands for no layer."""


class SignalLabel(NamedTuple):
    """The label of a tensor that is the result of a call at one step; ``step`` None: the same at every step."""

    name: str
    step: Optional[int]


class StepsLabel(NamedTuple):
    """The label of a tensor with the results of a call at several steps, along ``axis``; None: their sum or mean."""

    name: str
    steps: Tuple[int, ...]
    axis: Optional[int]
    returns: str = "steps"


class StateLabel(NamedTuple):
    """The label of a tensor that is a neuron's state after a step."""

    path: str
    step: int
    name: str


class UnknownLabel(NamedTuple):
    """The label of a tensor that no layer computes, with the reason."""

    place: str
    why: str = ""


class Factor(NamedTuple):
    """y = factor x, for a number or for a tensor of the network."""

    value: Any


@dataclass(frozen=True)
class LayerCall:
    """One operation of a network.

    Args:
        name: unique; that of the module, or of the function.
        place: what messages call it, e.g. "layer features.3 (ReLU)".
        does: a module that takes one signal, a ``Merge`` of several, or a ``Factor``.
        sources: names of the calls whose outputs it takes, ``INPUT`` for the network's input.
        shape: of its output, (batch, *features).
        called: whether ``forward`` calls a function of torch there, not a module.
        path: of the module in the network.
    """

    name: str
    place: str
    does: Any
    sources: Tuple[str, ...]
    shape: Tuple[int, ...]
    called: bool = False
    path: str = ""


class Reshaped(nn.Module):
    """A module that gives samples another shape.

    Args:
        shape: of one sample.
    """

    def __init__(self, shape: Tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape

    def forward(self, x: Any) -> Any:
        return x.reshape(len(x), *self.shape)

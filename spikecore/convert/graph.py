"""A network of torch as a graph of operations that conversion knows: what reading it gives and building it takes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Tuple

from spikecore.api.core.layer import Shape


@dataclass(frozen=True)
class Input:
    """The input of the network."""


@dataclass(frozen=True)
class Connection:
    """A convolution or a dense connection; ``weight`` (outs, ins, ...) and ``bias`` (outs,) are float64 or None."""

    layer: Any
    weight: Any
    bias: Any


@dataclass(frozen=True)
class Affine:
    """y = scale x + shift per channel: a batch norm in evaluation mode."""

    scale: Any
    shift: Any


@dataclass(frozen=True)
class Activation:
    """A ReLU, clipped or not; ``learned``: the threshold of a ``QCFS``, else None."""

    learned: Optional[float] = None


@dataclass(frozen=True)
class PassedThrough:
    """A layer without weights that spikes pass through: pooling, flattening."""

    layer: Any


@dataclass(frozen=True)
class Addition:
    """The sum of two signals."""


@dataclass(frozen=True)
class ChannelConcat:
    """Signals side by side along the axis of channels."""


@dataclass(frozen=True)
class Operation:
    """One operation.

    Args:
        name: unique; that of the call in ``forward``.
        place: what a user calls it, e.g. "layer features.3 (ReLU)".
        does: one of the records above.
        inputs: the names of the nodes whose outputs it takes.
        shape: shape of one sample of its output.
    """

    name: str
    place: str
    does: Any
    inputs: Tuple[str, ...]
    shape: Shape


@dataclass(frozen=True)
class OperationGraph:
    """Operations in an order in which they can be computed; the first is the input.

    Args:
        nodes: the operations by name.
        output: the name of the one whose output is the network's.
    """

    nodes: Dict[str, Operation]
    output: str

    def users(self) -> Dict[str, List[str]]:
        """The nodes that take each node's output, by name."""
        found: Dict[str, List[str]] = {name: [] for name in self.nodes}
        for node in self.nodes.values():
            for name in node.inputs:
                found[name].append(node.name)
        return found

    def activations(self) -> List[Operation]:
        """The nodes that become neurons."""
        return [node for node in self.nodes.values() if isinstance(node.does, Activation)]

"""Convolutions that are fast with spikes, as one node on a tape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Optional, Sequence, Tuple

import numpy as np

from spikecore.api.core.pull import Grads, accumulate
from spikecore.api.core.rules import rule_of
from spikecore.engines.numpy.tape import Var
from spikecore.kernels.runtime import allocator

if TYPE_CHECKING:
    from spikecore.kernels.sparse.maps import SpikeMaps


def spiking(conv: Callable[..., Any]) -> Callable[..., Any]:
    """The word ``conv`` with lists instead of a dense convolution where they are faster."""

    def word(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
        from spikecore.kernels.sparse.maps import spike_maps_of  # networks without convolutions do not need it

        arguments, options = (x, weight, bias), (stride, padding, dilation, groups)
        values = [a.value if type(a) is Var else a for a in arguments]
        present = [a for a in values if a is not None]
        usual = all(type(a) is np.ndarray and a.dtype == values[0].dtype for a in present)
        maps = spike_maps_of(values[0], values[1].shape, *options) if usual else None
        if maps is None:
            return conv(*arguments, *options)
        convolved = maps.convolved(*values[1:])
        out = allocator.copy(convolved, convolved.shape, convolved.dtype)
        tape = next((a.tape for a in arguments if type(a) is Var), None)
        slots = tuple(a.slot if type(a) is Var else None for a in arguments)
        if tape is None or not any(slots):
            return out if tape is None else Var(out, tape)
        result = tape.variable(out)
        tape.nodes.append(SpikeConv(maps, values[1:], options, slots, tape.count))
        return result

    word.__name__ = "conv"
    return word


@dataclass
class SpikeConv:
    """A convolution of spikes as one node. Where all spikes are one, it keeps a bit each."""

    maps: SpikeMaps
    weight_and_bias: Sequence[Any]
    options: Tuple[Any, ...]
    slots: Tuple[Optional[int], ...]
    out_slot: int

    def pull(self, xp: Any, grads: Grads) -> None:
        """Replace the cotangent of the result by those of input, weight and bias."""
        g = grads.pop(self.out_slot, None)
        if g is None:
            return
        by_weight = None if self.slots[1] is None else self.maps.by_weight(g)
        accumulate(grads, self.slots[1], by_weight)
        shape_alone = self.slots[1] is None or by_weight is not None
        x = np.broadcast_to(np.zeros((), g.dtype), self.maps.shape) if shape_alone else self.maps.dense(g.dtype)
        for i, (product, slot) in enumerate(zip(rule_of("conv"), self.slots)):
            if slot is not None and not (i == 1 and by_weight is not None):
                accumulate(grads, slot, product(xp, g, None, x, *self.weight_and_bias, *self.options))

"""Convolutions by lists, of spikes or of the entries of a pruned weight, as one node on a tape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional, Sequence, Tuple

import numpy as np

from spikecore.api.core.pull import Grads, accumulate
from spikecore.api.core.rules import rule_of
from spikecore.engines.numpy.tape import Var
from spikecore.kernels.runtime import allocator
from spikecore.kernels.sparse import taps
from spikecore.kernels.sparse.kept_taps import by_kept_taps
from spikecore.kernels.sparse.maps import SpikeMaps, spike_maps_of


def convolved(x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, groups: int) -> Any:
    """The convolution of arrays or ``Var``s, see the word ``conv``; None where a dense one is faster."""
    arguments, options = (x, weight, bias), (stride, padding, dilation, groups)
    values = [a.value if type(a) is Var else a for a in arguments]
    present = [a for a in values if a is not None]
    if not all(type(a) is np.ndarray and a.dtype == values[0].dtype for a in present):
        return None
    maps = spike_maps_of(values[0], values[1].shape, *options)
    most = taps.GUESSED if maps is None else min(taps.GUESSED, maps.relative_time)
    if taps.are_fewer(values[0].shape, values[1], options, most):
        out = taps.convolved(values[0], values[1], values[2], padding, dilation)
    elif maps is not None:
        made = maps.convolved(*values[1:])
        out = allocator.copy(made, made.shape, made.dtype)
    else:
        return None
    tape = next((a.tape for a in arguments if type(a) is Var), None)
    slots = tuple(a.slot if type(a) is Var else None for a in arguments)
    if tape is None or not any(slots):
        return out if tape is None else Var(out, tape)
    result = tape.variable(out)
    tape.nodes.append(ListedConv(maps, values if maps is None else [None, *values[1:]], options, slots, tape.count))
    return result


@dataclass
class ListedConv:
    """A convolution by lists as one node. Of spikes it keeps one bit each, and no input."""

    maps: Optional[SpikeMaps]
    arguments: Sequence[Any]
    options: Tuple[Any, ...]
    slots: Tuple[Optional[int], ...]
    out_slot: int

    def pull(self, xp: Any, grads: Grads) -> None:
        """Replace the cotangent of the result by those of input, weight and bias."""
        g = grads.pop(self.out_slot, None)
        if g is None:
            return
        (x, weight, _), maps = self.arguments, self.maps
        found: Dict[int, Any] = {}  # gradients by position of the argument
        shape = x.shape if maps is None else maps.shape
        if maps is not None and self.slots[1] is not None:
            found[1] = by_kept_taps(maps, weight, g)
            found[1] = maps.by_weight(g) if found[1] is None else found[1]
        if self.slots[0] is not None and taps.are_fewer(shape, weight, self.options):
            found[0] = taps.by_input(g, weight, *self.options[1:3])
        if maps is not None:
            shape_alone = self.slots[1] is None or found[1] is not None
            x = np.broadcast_to(np.zeros((), g.dtype), shape) if shape_alone else maps.dense(g.dtype)
        for i, (product, slot) in enumerate(zip(rule_of("conv"), self.slots)):
            if slot is not None:
                made = found.get(i)
                made = product(xp, g, None, x, *self.arguments[1:], *self.options) if made is None else made
                accumulate(grads, slot, made)

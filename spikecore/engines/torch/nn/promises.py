"""Values that are made when somebody asks for them: who asks decides how.

A neuron whose spikes go to a ``Linear`` alone gives its product, without the spikes. Layers over maps go through all of
them together, a few time steps at a time.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import torch

from spikecore.engines.torch.layout import FEW_BYTES, canonical
from spikecore.engines.torch.modes import casting
from spikecore.engines.torch.nn.engine import engine_for, working
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.over_time import OverTime, holding, memory_of

SPIKES, STATE = "the output of a neuron", "the state of a neuron"


class NeuronRun:
    """One neuron on one sequence: its spikes, its states, or a product of its spikes.

    Args:
        over: the run of the network.
        module: the neuron.
        x: the stand-in for its input.
        start: the states to start from.
        all_states: whether all states are wanted in any case.
    """

    def __init__(self, over: Any, module: Any, x: OverTime, start: Dict[str, Any], all_states: bool) -> None:
        self.over, self.module, self.x, self.start, self.all_states = over, module, x, start, all_states
        self.number, self.grad = len(over.made), torch.is_grad_enabled()
        self.values: Dict[str, Any] = {}
        self.last: Optional[Dict[str, Any]] = None

    def returned(self) -> Any:
        """What the module's call returns, in stand-ins; the module's states are stand-ins as well."""
        module = self.module
        like = working(torch.empty(0, dtype=self.x.dtype, device=self.x.device))
        alone = self.x.dim() == module.sample_axes  # a sample without batch axis
        shape = module._shape(torch.empty((1, *self.x.shape), device="meta"))[1:] if alone else module._shape(self.x)
        states = {name: OverTime(self.over, shape, like, partial(self.made, name), self.x) for name in module.states}
        module.__dict__.update(states)
        if type(module)._shape is Hidden._shape:  # the spikes are shaped like the input
            spk = OverTime(self.over, shape, self.x if self.x.is_floating_point() else like, self, self.x)
        else:
            spk = holding(self.over, self.made("spk"))
        names = module.returned_states()
        return (spk, *(states[name] for name in names)) if names else spk

    def __call__(self, stand_in: OverTime) -> Any:
        return self.made("spk")

    def made(self, what: str, *_: OverTime) -> Any:
        """Spikes or a state at every step; with them whatever was asked for in earlier runs of the network."""
        if what != "spk" or (self.last is not None and not self.values):
            self.over.wanted.add((self.number, what))
        if what not in self.values:
            names = (name for name in self.module.states if name != "spk")
            self._scan(tuple(n for n in names if self.all_states or (self.number, n) in self.over.wanted))
        return self.values[what]

    def readout(self, weight: Any, bias: Any = None) -> Any:
        """What a Linear makes of the spikes where that is faster together; None where it is not, or they are wanted."""
        if self.all_states or self.last is not None or any(number == self.number for number, _ in self.over.wanted):
            return None
        return self._scan((), (weight, bias))

    def finish(self) -> Dict[str, Any]:
        """The states after the last step, detached."""
        if self.last is None:
            self._scan(())
        return {name: value.detach() for name, value in (self.last or {}).items()}

    def _scan(self, names: Tuple[str, ...], behind: Any = None) -> Any:
        x, over = self.x.seq, self.over
        steps = over.steps if x.shape[0] == 1 and over.steps > 1 else None
        with torch._C.DisableTorchFunction(), torch.set_grad_enabled(self.grad):
            spk, states, self.last, merged = self.module.over_time(x, steps, self.start, names, over.fused, behind)
        over.owners.setdefault(memory_of(x), SPIKES)  # kernels keep their input, too: who edits it needs a copy
        if merged:
            return spk
        self.values.update(states, spk=spk)
        for name, value in self.values.items():
            over.owners[memory_of(value)] = STATE if name in self.module.states else SPIKES
        return None


class Maps:
    """Functions of maps, one behind the other: on the CPU large maps go through all of them a few steps at a time, so
    that what lies between stays in the cache and its memory is used again.

    Args:
        source: what enters the first one.
        links: the functions, of time and batch as one axis.
        step: what they make of the first step.
        largest: elements of one step that lie between them, at most.
    """

    def __init__(self, source: OverTime, links: Tuple[Callable[[Any], Any], ...], step: Any, largest: int) -> None:
        self.source, self.links, self.step, self.largest = source, links, step, largest
        self.extended, self.grad = False, torch.is_grad_enabled()

    @classmethod
    def behind(cls, x: OverTime) -> Optional[Maps]:
        """What a function of maps is put behind; None where the maps are small, or not on the CPU."""
        if isinstance(x.promise, Maps):
            x.promise.extended = True
            return x.promise
        seq = x.seq
        if x.dim() < 3 or not seq.is_cpu or seq.numel() * seq.element_size() < FEW_BYTES or casting("cpu"):
            return None
        return cls(x, (), canonical(seq[0]), 1)

    def then(self, link: Callable[[Any], Any]) -> OverTime:
        """A stand-in for what one more function makes of them."""
        over = self.source.over
        with torch.no_grad():
            step = link(self.step)
        maps = Maps(self.source, (*self.links, link), step, max(self.largest, step.numel()))
        stand_in = OverTime(over, step.shape, step, maps, self.source)
        if (stand_in.number, "maps") in over.wanted:
            stand_in.seq  # noqa: B018  (more than one function asks)
        return stand_in

    def __call__(self, stand_in: OverTime) -> Any:
        if self.extended:
            stand_in.over.wanted.add((stand_in.number, "maps"))
        seq, function = self.source.seq, partial(through, self.links)
        with torch.set_grad_enabled(self.grad):
            if len(self.links) == 1:
                return function(seq)
            return engine_for(seq.device, torch.float32).in_pieces(function, seq, self.largest)


def through(links: Sequence[Callable[[Any], Any]], seq: Any) -> Any:
    """Functions one behind the other, of time and batch as one batch."""
    flat = canonical(seq.flatten(0, 1))
    for link in links:
        flat = link(flat)
    return flat.unflatten(0, seq.shape[:2])

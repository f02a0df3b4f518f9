"""A neuron that meets a stand-in runs over all steps, as soon as it is known what of it is wanted."""

from __future__ import annotations

from typing import Any, Dict, Optional, Tuple

import torch

from spikecore.engines.torch.nn.engine import working
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.over_time import OverTime, holding


class NeuronRun:
    """One neuron on one sequence: its spikes, states or a product of its spikes, when somebody asks for them.

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
        self.done: Dict[str, Any] = {}
        self.last: Optional[Dict[str, Any]] = None

    def returned(self) -> Any:
        """What the module's call returns, in stand-ins; the module's states are stand-ins as well."""
        module = self.module
        like = working(torch.empty(0, dtype=self.x.dtype, device=self.x.device))
        alone = self.x.dim() == module.sample_axes  # a sample without batch axis
        shape = module._shape(torch.empty((1, *self.x.shape), device="meta"))[1:] if alone else module._shape(self.x)
        found = {name: self._promise(name, shape, like) for name in module.states}
        module.__dict__.update(found)
        if type(module)._shape is Hidden._shape:  # the spikes are shaped like the input
            spk = self._promise("spk", shape, self.x if self.x.is_floating_point() else like)
            spk.neuron = self
        else:
            spk = holding(self.over, self.made("spk"), "a neuron")
        names = module.returned_states()
        return (spk, *(found[name] for name in names)) if names else spk

    def _promise(self, name: str, shape: Any, like: Any) -> OverTime:
        made = OverTime(self.over, shape, like, lambda _: self.made(name))
        made.owner = "a neuron"
        return made

    def made(self, what: str) -> Any:
        """Spikes or a state at every step; with them whatever was asked for in earlier runs of the network."""
        if what != "spk" or (self.last is not None and not self.done):
            self.over.wanted.add((self.number, what))
        if what not in self.done:
            names = (name for name in self.module.states if name != "spk")
            self._scan(tuple(n for n in names if self.all_states or (self.number, n) in self.over.wanted))
        return self.done[what]

    def readout(self, weight: Any, bias: Any) -> Any:
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
        if not merged:
            self.done.update(states, spk=spk)
        return spk if merged else None

"""A neuron on a whole sequence that runs late: when the first of its results is used.

The first use decides how it runs. If a ``Linear`` takes the spikes, one kernel computes the product and never stores
the spikes. If the spikes or states are used themselves, they are computed and stored. If they are used after all once
the product is there, the neuron runs again, and later runs of the network store them at once.
"""

from __future__ import annotations

import weakref
from typing import Any, Dict, Optional, Set, Tuple

import torch
from torch import nn

from spikecore.engines.torch.nn.engine import working
from spikecore.engines.torch.nn.hidden import Hidden
from spikecore.engines.torch.nn.over_time import SequenceTensor, holding, memory_of

SPIKES, STATE = "the output of a neuron", "the state of a neuron"
#: What was asked for after a neuron had run without it: later runs of the network make it at once.
_MISSED: weakref.WeakKeyDictionary[nn.Module, Set[str]] = weakref.WeakKeyDictionary()


class NeuronRun:
    """One neuron on one sequence: its spikes, its states, or a product of its spikes.

    Args:
        over: the run of the network.
        module: the neuron.
        x: the stand-in for its input.
        start: the states to start from.
        all_states: whether all states are wanted in any case.
    """

    def __init__(self, over: Any, module: Any, x: SequenceTensor, start: Dict[str, Any], all_states: bool) -> None:
        self.over, self.module, self.x, self.start, self.all_states = over, module, x, start, all_states
        self.grad, self.missed = torch.is_grad_enabled(), _MISSED.setdefault(module, set())
        self.outputs: Dict[str, Any] = {}
        self.last: Optional[Dict[str, Any]] = None

    def returned(self) -> Any:
        """The results of the module's call, in stand-ins; the module's states are stand-ins as well."""
        module, x = self.module, self.x
        like = working(torch.empty(0, dtype=x.dtype, device=x.device))
        alone = x.dim() == module.sample_axes  # a sample without batch axis
        shape = module._shape(torch.empty((1, *x.shape), device="meta"))[1:] if alone else module._shape(x)
        states = {name: SequenceTensor(self.over, shape, like, self, name) for name in module.states}
        module.__dict__.update(states)
        if type(module)._shape is Hidden._shape:  # the spikes are shaped like the input
            spk = SequenceTensor(self.over, shape, x if x.is_floating_point() else like, self, "spk")
        else:
            spk = holding(self.over, self.made("spk"))
        return module._returned(spk, states)

    def made(self, what: str) -> Any:
        """The spikes, or the state ``what``, at every step; the neuron runs now if it has not, or without them."""
        if what not in self.outputs:
            if what != "spk" or self.last is not None:
                self.missed.add(what)
            names = (name for name in self.module.states if name != "spk")
            self._scan(tuple(name for name in names if self.all_states or name in self.missed))
        return self.outputs[what]

    def readout(self, weight: Any, bias: Any = None) -> Any:
        """A Linear's result for the spikes, if both are faster together; None if not, or if the spikes are wanted."""
        taken = self.all_states or self.missed or self.last is not None
        return None if taken else self._scan((), (weight, bias))

    def finish(self) -> Dict[str, Any]:
        """The states after the last step, detached."""
        if self.last is None:
            self._scan(())
        return {name: value.detach() for name, value in (self.last or {}).items()}

    def _scan(self, states: Tuple[str, ...], behind: Any = None) -> Any:
        x, over = self.x.seq, self.over
        steps = over.steps if x.shape[0] == 1 and over.steps > 1 else None
        with torch._C.DisableTorchFunction(), torch.set_grad_enabled(self.grad):
            spk, made, self.last, merged = self.module.over_time(x, steps, self.start, states, over.fused, behind)
        over.owners.setdefault(memory_of(x), SPIKES)  # kernels keep their input, too: who edits it needs a copy
        if merged:
            return spk
        self.outputs.update(made, spk=spk)
        for name, value in self.outputs.items():
            over.owners[memory_of(value)] = STATE if name in self.module.states else SPIKES
        return None

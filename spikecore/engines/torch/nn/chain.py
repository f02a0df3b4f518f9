"""Chains of neurons and Linears, which ``snn.run`` runs over time layer by layer, without a look at ``forward``."""

from __future__ import annotations

from typing import Any, Dict, Mapping, Optional

import torch
from torch import nn

from spikecore.engines.torch.modes import compiling, transformed
from spikecore.engines.torch.nn.hooks import heard
from spikecore.engines.torch.nn.neuron import SpikingNeuron
from spikecore.engines.torch.product import linear

SMALL = 1 << 14  # values of a step from which on a run over time is as fast as the loop's step
_FORWARD = nn.Linear.forward  # to notice a program that replaces it


def chain_of(net: nn.Module) -> Optional[Dict[str, Any]]:
    """The layers of a chain by name; None for other networks, and for chains with hooks on their layers."""
    named: Dict[str, Any] = dict(net._modules) if type(net) is nn.Sequential else {"": net}
    layers = [*named.values()]
    if not layers or not all(_is_product(layer) or _is_plain(layer) for layer in layers):
        return None
    if any(isinstance(layer, SpikingNeuron) and layer.returned_states() for layer in layers[:-1]):
        return None
    if len({*map(id, layers)}) < len(layers) or heard(net, *layers):
        return None
    return None if any("forward" in vars(layer) for layer in (net, *layers)) else named


def _is_product(layer: Any) -> bool:
    """Whether a layer is a Linear that does what torch's does, with a weight of plain numbers."""
    if type(layer) is not nn.Linear or nn.Linear.forward is not _FORWARD:
        return False
    return type(layer.weight) in (nn.Parameter, torch.Tensor) and layer.weight.layout is torch.strided


def _is_plain(neuron: Any) -> bool:
    """Whether a layer is a neuron whose code is ours and has the form of a scan over spikes and states."""
    if not isinstance(neuron, SpikingNeuron):
        return False
    ours = type(neuron).__module__.startswith("spikecore.") and not any(neuron._modules.values())
    return bool(ours and neuron.scans and neuron.states) and not (neuron.overridden() or neuron.by_protocol())


def run_chain(named: Dict[str, Any], x: Any, steps: int, state: Optional[Mapping[str, Any]], fused: bool) -> Any:
    """The network's results at each step; its neurons keep their last states. None where ``x`` is no plain batch.

    Args:
        named: of ``chain_of``.
        x: (time, batch, features), or a time axis of 1 with ``steps``.
        steps: number of steps.
        state: states to start from; None starts at rest.
        fused: whether kernels may run.
    """
    if type(x) is not torch.Tensor or x.dim() != 3 or not x.numel() or not x.is_floating_point():
        return None
    if compiling() or transformed() or torch.jit.is_tracing() or torch._C._len_torch_function_stack():
        return None
    if steps == 1 and fused and x.numel() < SMALL and not any(_is_parallel(layer) for layer in named.values()):
        return _one_step(named, x[0], state)
    skip, finals, following = False, [], [*named.values(), None][1:]
    out: Any = x
    for (name, layer), after in zip(named.items(), following):
        if skip:  # the neuron before has done its work
            skip = False
            continue
        if isinstance(layer, nn.Linear):
            flat = linear(out.flatten(0, 1), layer.weight, layer.bias, look=fused)
            out = flat.unflatten(0, out.shape[:2])
            continue
        behind = (after.weight, after.bias) if isinstance(after, nn.Linear) else None
        prefix = f"{name}." if name else ""
        start = layer.at_rest() if state is None else {n: state[prefix + n] for n in layer.states}
        names = layer.returned_states()
        count = steps if out.shape[0] == 1 and steps > 1 else None
        out, recorded, last, skip = layer.over_time(out, count, start, names, fused, behind)
        finals.append((layer, {name: value.detach() for name, value in last.items()}))
        if names:
            out = (out, *(recorded[name] for name in names))
    for layer, last in finals:
        layer.set_hidden(last)
    return out if isinstance(out, tuple) or len(out) == steps else out.expand(steps, *out.shape[1:])


def _is_parallel(layer: nn.Module) -> bool:
    return isinstance(layer, SpikingNeuron) and layer._neuron.parallel


def _one_step(named: Dict[str, Any], x: Any, state: Optional[Mapping[str, Any]]) -> Any:
    """A single step as in the loop over time: it has less to prepare than a run. Arguments as for ``run_chain``."""
    neurons = {name: layer for name, layer in named.items() if isinstance(layer, SpikingNeuron)}
    before = {name: layer.hidden() for name, layer in neurons.items()}
    try:
        for name, layer in neurons.items():
            prefix = f"{name}." if name else ""
            layer.set_hidden(layer.at_rest() if state is None else {n: state[prefix + n] for n in layer.states})
        for layer in named.values():
            x = layer(x)
    except BaseException:
        for name, layer in neurons.items():
            layer.set_hidden(before[name])
        raise
    for layer in neurons.values():
        layer.set_hidden({name: value.detach() for name, value in layer.hidden().items()})
    return tuple(value.unsqueeze(0) for value in x) if isinstance(x, tuple) else x.unsqueeze(0)

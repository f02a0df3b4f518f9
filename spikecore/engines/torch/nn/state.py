"""The states of all neurons of a network, and of no other network."""

from __future__ import annotations

from typing import Any, Dict, Iterator, Mapping, Tuple

from torch import nn

from spikecore.arguments import shown
from spikecore.engines.torch.nn.hidden import Hidden


def module_of(net: Any) -> nn.Module:
    """``net``, which must be a module: descriptions and models have no state to look for."""
    if not isinstance(net, nn.Module):
        raise TypeError(
            f"net={shown(net)} must be an nn.Module; a spikecore.Model needs no reset, it runs whole sequences by "
            "model(x, num_steps=...), each from rest"
        )
    return net


FOREIGN = {"snntorch": "SpikingNeuron", "spikingjelly": "MemoryModule", "sinabs": "StatefulLayer"}


def neurons_of(net: Any) -> Iterator[Tuple[str, Any]]:
    """Every module of the network that has a state, however deep, with its dotted name.

    Raises:
        TypeError: a neuron of another library, whose state is not seen here: it would be carried from run to run.
    """
    for name, module in module_of(net).named_modules():
        if isinstance(module, Hidden) and module.states:
            yield name, module
            continue
        owner = type(module).__module__.partition(".")[0]
        if FOREIGN.get(owner, "") in [kind.__name__ for kind in type(module).__mro__]:
            raise TypeError(
                f"layer {name or '(the network)'} is {owner}'s {type(module).__name__}, whose state spikecore does not "
                "see: put a neuron of spikecore.nn in its place"
            )


def reset(net: Any) -> None:
    """Put the states of all neurons to rest."""
    for _, neuron in neurons_of(net):
        neuron.reset_mem()


def detach(net: Any) -> None:
    """Cut the states of all neurons from the graphs that made them."""
    for _, neuron in neurons_of(net):
        neuron.detach_hidden()


def get_state(net: Any) -> Dict[str, Any]:
    """The states of all neurons by name, e.g. ``"lif1.mem"``."""
    return {f"{path}.{name}" if path else name: v for path, n in neurons_of(net) for name, v in n.hidden().items()}


def check_state(net: Any, state: Mapping[str, Any]) -> None:
    """Refuse a state with other names than the network's."""
    known, given = set(get_state(net)), set(state)
    if known != given:
        raise KeyError(
            f"state: missing {sorted(known - given) or 'nothing'}, unknown {sorted(given - known) or 'nothing'}"
        )


def set_state(net: Any, state: Mapping[str, Any]) -> None:
    """Set the states of all neurons; nothing is changed if a name does not fit."""
    check_state(net, state)
    for path, neuron in neurons_of(net):
        neuron.set_hidden({name: state[f"{path}.{name}" if path else name] for name in neuron.states})

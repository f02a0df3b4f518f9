"""Helpers for networks of ``spikecore.nn`` modules: their state. Everything acts on the network given, and on no other.

Needs the extra ``torch``.
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, Mapping, Tuple


def _neurons(net: Any) -> Iterator[Tuple[str, Any]]:
    """Every module of the network that has a state, however deep, with its dotted name."""
    from spikecore.nn import SpikingNeuron

    for name, module in net.named_modules():
        if isinstance(module, SpikingNeuron) and module.states:
            yield name, module


def reset(net: Any) -> None:
    """Put the states of all neurons of ``net`` to rest, nested ones and ``net`` itself included.

    Args:
        net: an ``nn.Module``.
    """
    for _, neuron in _neurons(net):
        neuron.reset_mem()


def detach(net: Any) -> None:
    """Cut the states of all neurons of ``net`` from the graphs that made them, for truncated BPTT."""
    for _, neuron in _neurons(net):
        neuron.detach_hidden()


def get_state(net: Any) -> Dict[str, Any]:
    """The states of all neurons, as tensors by name, e.g. ``"lif1.mem"``; empty tensors (or None) are at rest."""
    return {f"{path}.{name}" if path else name: v for path, n in _neurons(net) for name, v in n.hidden().items()}


def set_state(net: Any, state: Mapping[str, Any]) -> None:
    """Set the states of all neurons from a dict as ``get_state`` returns it.

    Raises:
        KeyError: names that the network does not have, or that are missing; nothing is changed then.
    """
    known, given = set(get_state(net)), set(state)
    if known != given:
        raise KeyError(
            f"state: missing {sorted(known - given) or 'nothing'}, unknown {sorted(given - known) or 'nothing'}"
        )
    for path, neuron in _neurons(net):
        neuron.set_hidden({name: state[f"{path}.{name}" if path else name] for name in neuron.states})

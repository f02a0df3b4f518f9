"""Helpers for networks of ``spikecore.nn`` modules: their state. Everything acts on the network given, and on no other.

The functions on states need the extra ``torch``.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping


def _states() -> Any:
    from spikecore.engines.torch.nn import state

    return state


def reset(net: Any) -> None:
    """Put the states of all neurons of ``net`` to rest, nested ones and ``net`` itself included.

    Args:
        net: an ``nn.Module``.
    """
    _states().reset(net)


def detach(net: Any) -> None:
    """Cut the states of all neurons of ``net`` from the graphs that made them, for truncated BPTT."""
    _states().detach(net)


def get_state(net: Any) -> Dict[str, Any]:
    """The states of all neurons, as tensors by name, e.g. ``"lif1.mem"``; empty tensors (or None) are at rest."""
    found: Dict[str, Any] = _states().get_state(net)
    return found


def set_state(net: Any, state: Mapping[str, Any]) -> None:
    """Set the states of all neurons from a dict as ``get_state`` returns it.

    Raises:
        KeyError: names that the network does not have, or that are missing; nothing is changed then.
    """
    _states().set_state(net, state)

"""A better message for a forgotten reset of states, where torch only says that a graph was freed.

A call leaves the states that the next call starts from. After ``backward()`` torch has freed what their graph saved,
so the next loss must not reach them. ``GraphSteps`` notices the backward pass by hooks on a neuron's first step. The
next step puts hooks on the nodes of the states that it starts from. A gradient that arrives there raises the message,
just before torch would raise its own. Other steps get no hooks.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Dict, List, Optional, Tuple

import torch

from spikecore.engines.torch.modes import transformed

MESSAGE = (
    "{}: backward() reaches its state {!r} of shape {}, which steps before the last backward() made, and torch has "
    "freed their graph. Was a reset forgotten? Write utils.reset(net) before each sequence, or utils.detach(net) to go "
    "on from the states without a gradient. A state that you pass yourself begins with lif.reset_mem() or "
    "mem.detach(). Losses of the steps of one sequence are added, for one backward()"
)
MOST = 200  # nodes that are looked at: a graph that was freed shows it within a few


class GraphSteps:
    """Steps of a neuron from the start of a graph; ``ended`` once a gradient has come back to the first of them."""

    __slots__ = ("ended",)

    def __init__(self) -> None:
        self.ended = False

    def end(self, grads: Any) -> None:
        """Hook of torch on the first step: a gradient has arrived, so a backward pass has gone through the run."""
        self.ended = True


def followed(
    run: Optional[GraphSteps], owner: str, before: Dict[str, Any], spk: Any, after: Any
) -> Optional[GraphSteps]:
    """The run of a neuron that a step belongs to: the last one, or a new one if the step starts a new graph.

    Args:
        run: that of the neuron's last step.
        owner: the neuron's name.
        before, after: states by name; those at rest may be None.
    """
    started = {name: x.grad_fn for name, x in before.items() if x is not None and x.grad_fn is not None}
    if (run is not None and not run.ended and started) or transformed():
        return run
    if run is not None and run.ended:
        for name, node in started.items():
            message = MESSAGE.format(owner, name, tuple(before[name].shape))
            node.register_prehook(partial(_refuse, message, [each for each, _ in node.next_functions]))
    run = GraphSteps()
    for node in {x.grad_fn for x in (spk, *after.values()) if x is not None and x.grad_fn is not None}:
        node.register_prehook(run.end)
    return run


def _refuse(message: str, nodes: List[Any], grads: Tuple[Any, ...]) -> None:
    """Hook of torch on a state from before: raise ``message`` if torch would reach freed nodes from ``nodes``."""
    found = set(nodes)
    nodes = list(nodes)
    while nodes and len(found) < MOST:
        node = nodes.pop(0)
        if node is None or not node.next_functions or not torch._C._will_engine_execute_node(node):
            continue  # a leaf keeps nothing
        try:
            for name in dir(node):
                if name == "saved_tensors" or name[:7] == "_saved_":
                    getattr(node, name)
        except RuntimeError as error:  # torch would raise it next
            raise RuntimeError(message) from error
        behind = [each for each, _ in node.next_functions if each not in found]
        found.update(behind)
        nodes += behind

"""The derivative of a step: the way back through its graph, written into the same graph."""

from __future__ import annotations

from typing import Any, Dict, Tuple

from spikecore.api.core.pull import Grads, accumulate
from spikecore.api.core.recorder import ElementWords, Symbol
from spikecore.kernels.trace import Trace


def adjoint(trace: Trace, recorded: Tuple[str, ...]) -> Dict[str, Any]:
    """Enter the derivative of a step into its graph.

    Args:
        trace: the step. Its graph gets new inputs, gradients of the loss: ``g`` by the step's output, ``c_<state>`` by
            the new state (what the steps after this one say, "carried") and ``r_<state>`` by the recorded state.
        recorded: names of the states that are recorded.

    Returns:
        the gradients by what the step reads, as values of the graph, or None for zero, by the names of the inputs:
        ``x``, ``s_<state>`` before the step, ``p_<parameter>``.

    The operations are visited from the last to the first, and each contribution is added to the sum so far, as autograd
    does it: that makes the kernel bit-identical to the loop.
    """
    xp, after = ElementWords(trace.graph), dict(zip(trace.states, trace.after))
    last_to_first, grads = trace.graph.ops[::-1], {}  # type: Any, Grads
    for name in recorded:
        accumulate(grads, after[name], xp.input(f"r_{name}"))
    accumulate(grads, trace.output, xp.input("g"))
    for name, value in after.items():
        accumulate(grads, value, xp.input(f"c_{name}"))
    return by_input(trace, xp.pull(last_to_first, grads))


def by_input(trace: Trace, grads: Grads) -> Dict[str, Any]:
    """The gradients by the input, the states before and the parameters, by name; see ``adjoint``."""
    names = ("x", *(f"s_{s}" for s in trace.states), *(f"p_{p}" for p in trace.params))
    symbols = {name: grads.get(trace.graph.inputs.get(name)) for name in names}
    return {name: g.value if isinstance(g, Symbol) else g for name, g in symbols.items()}

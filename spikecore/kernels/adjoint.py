"""The backward program of a step: the derivative rules, applied to symbols."""

from __future__ import annotations

from typing import Any, Dict, Sequence, Tuple

from spikecore.api.core.rules import rule_of
from spikecore.kernels.program import Op, Program
from spikecore.kernels.trace import Symbol, Trace, Words


def adjoint(trace: Trace, recorded: Tuple[str, ...]) -> Dict[str, Any]:
    """Extend the trace's program by its adjoint; the gradients by the input, the states before and the parameters.

    They are values of the program, or None where there is none, by the name of the input: ``x``, ``s_<state>``,
    ``p_<parameter>``. New inputs: ``g`` (by the output), ``c_<state>`` (by the new state, from the steps after) and
    ``r_<state>`` (by the state recorded at this step). Shares are added up in reverse program order, from left to
    right, as autograd does it: that makes the kernel bit-identical to the loop.
    """
    program = trace.program
    forward = list(program.ops)
    grads: Dict[int, Any] = {}

    def seed(value: int, name: str) -> None:
        share = Symbol(program, program.input(name))
        grads[value] = grads[value] + share if value in grads else share

    after = dict(zip(trace.states, trace.after))
    for name in recorded:
        seed(after[name], f"r_{name}")
    seed(trace.output, "g")
    for name, value in after.items():
        seed(value, f"c_{name}")
    pull(program, forward, grads)
    return by_input(trace, grads)


def pull(program: Program, forward: Sequence[Op], grads: Dict[int, Any]) -> None:
    """Extend a program by the way back through the operations ``forward``: from the gradients by their results, by
    value, to those by what they are computed from, in the same dictionary.
    """
    xp = Words(program)
    for op in reversed(forward):
        g = grads.pop(op.out, None)
        if g is None:
            continue
        args = [Symbol(program, a) if type(a) is int else a for a in op.args]
        options = () if op.option is None else (op.option,)
        word = "astype" if op.word == "float" else op.word
        for product, arg in zip(rule_of(word), args):
            if isinstance(arg, Symbol) and arg.dtype == "float":
                share = product(xp, g, Symbol(program, op.out), *args, *options)
                if share is not None:
                    grads[arg.value] = grads[arg.value] + share if arg.value in grads else share


def by_input(trace: Trace, grads: Dict[int, Any]) -> Dict[str, Any]:
    """The gradients by the input, the states before and the parameters, by name; see ``adjoint``."""
    names = ("x", *(f"s_{s}" for s in trace.states), *(f"p_{p}" for p in trace.params))
    found = {name: grads.get(trace.program.inputs.get(name, -1)) for name in names}
    return {name: g.value if isinstance(g, Symbol) else g for name, g in found.items()}

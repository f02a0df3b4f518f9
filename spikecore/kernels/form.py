"""What compiled code depends on: a step and its derivative without the numbers and the names in them.

A constant is an input, like a parameter that is one number: another value needs no other code. States and parameters
are numbered, so that generated code has no names of the user's, which may look alike, collide or be no identifiers.
"""

from __future__ import annotations

import math
from typing import Dict, List, NamedTuple, Sequence, Tuple

from spikecore.kernels.adjoint import Adjoint
from spikecore.kernels.program import Arg, Op, Program
from spikecore.kernels.trace import Trace

PLAIN = (-1.0, 0.0, 1.0, 2.0)  # stay in the code: compilers simplify what is done with them
CONSTANT = "k_"  # begins the names of inputs that are constants


class Form(NamedTuple):
    """A step and its derivative as kernels are made of them.

    Args:
        trace: the step; states and parameters are called "0", "1", ..., constants are inputs "k_0", "k_1", ...
        adjoint: its derivative.
        constants: the values of the constants, in order.
    """

    trace: Trace
    adjoint: Adjoint
    constants: Tuple[float, ...]


def form_of(trace: Trace, adjoint: Adjoint) -> Form:
    """The form of a traced step."""
    states, params = numbers_of(trace.states, trace.states), numbers_of(trace.params, trace.params)
    names = {"x": "x", "g": "g", **{f"p_{p}": f"p_{i}" for p, i in zip(trace.params, params)}}
    names.update({f"{kind}_{s}": f"{kind}_{i}" for s, i in zip(trace.states, states) for kind in "scr"})
    inputs = {names[name]: value for name, value in trace.program.inputs.items() if name in names}
    program, constants = without_constants(Program(inputs, trace.program.ops, trace.program.kinds))
    return Form(Trace(program, states, params, trace.output, trace.after), adjoint, constants)


def without_constants(program: Program) -> Tuple[Program, Tuple[float, ...]]:
    """The program with inputs in the place of constants, and their values.

    Each place has an input of its own: which values happen to be equal changes nothing.
    """
    found: List[float] = []
    inputs, kinds, ops = dict(program.inputs), list(program.kinds), []

    def moved(word: str, place: int, arg: Arg) -> Arg:
        if type(arg) is int or _stays(word, place, arg):
            return arg
        inputs[f"{CONSTANT}{len(found)}"] = len(kinds)
        found.append(float(arg))
        kinds.append("float")
        return len(kinds) - 1

    for op in program.ops:
        ops.append(Op(op.out, op.word, tuple(moved(op.word, i, a) for i, a in enumerate(op.args)), op.option))
    return Program(inputs, ops, kinds), tuple(found)


def _stays(word: str, place: int, value: float) -> bool:
    """Whether a constant belongs to the code: one that is simplified, or an exponent with a spelling of its own."""
    exponent = word == "pow" and place == 1 and abs(value) <= 3.0 and value % 0.5 == 0.0
    return value in PLAIN or not math.isfinite(value) or exponent


def numbers_of(names: Sequence[str], some: Sequence[str]) -> Tuple[str, ...]:
    """What ``some`` of the names are called in a form."""
    return tuple(str(names.index(name)) for name in some)


def constants_in(program: Program) -> Dict[str, int]:
    """The inputs that are constants, each with its place among them."""
    names = (name for name in program.inputs if name.startswith(CONSTANT))
    return {name: int(name[len(CONSTANT) :]) for name in names}

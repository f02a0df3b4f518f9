"""All derivatives of a neuron's step: by each state, the input and each parameter, of the output and of each new state.

Learning forward in time needs them at every step. A tape finds them by one run backwards for each result. Here they are
one program, made once, in which equal operations are entered once. What is the same number at every step, such as the
decay of a membrane, is known before any array is.
"""

from __future__ import annotations

import operator
from typing import Any, Callable, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

from spikecore.api.core.graph import Op, Value, WordGraph, run
from spikecore.api.core.recorder import ElementWords, Untraceable
from spikecore.kernels.adjoint import by_input
from spikecore.kernels.form import ParamValues
from spikecore.kernels.step_kernel import array_words
from spikecore.kernels.trace import trace

OUT = "output"
ONE = "one"  # the input of the graph that stands for the derivative of a result by itself
Number = Union[Value, float]  # a value of the graph, or a number
Row = Dict[str, Number]
_ARITHMETIC: Dict[str, Callable[..., float]] = {
    "add": operator.add,
    "subtract": operator.sub,
    "multiply": operator.mul,
    "divide": operator.truediv,
    "negative": operator.neg,
}


class Jacobian(NamedTuple):
    """The derivatives of a step as operations of a graph.

    Args:
        inputs: values that are given, by name: ``x``, ``s_<state>``, ``p_<parameter>``.
        ops: the operations that lead from there to the derivatives.
        rows: for the output (``OUT``) and each new state, by name, its derivatives by the inputs, by their names:
            values of the graph, or numbers, which are the same for every neuron and at every step.
    """

    inputs: Mapping[str, Value]
    ops: Tuple[Op, ...]
    rows: Mapping[str, Row]

    def at(self, engine: Any, given: Mapping[str, Any]) -> Dict[str, Dict[str, Any]]:
        """The derivatives in the words of an engine, from arrays of it by the names of the inputs."""
        values = run(array_words(engine), self.ops, {value: given[name] for name, value in self.inputs.items()})
        return {
            result: {name: values[v] if type(v) is Value else v for name, v in row.items()}
            for result, row in self.rows.items()
        }


def jacobian(stepper: Any, param_values: ParamValues, sparse_backward: float = 0.0) -> Optional[Jacobian]:
    """The derivatives of a neuron's step, or None if the step is not elementwise; arguments as for ``trace``."""
    try:
        step = trace(stepper, dict(param_values), sparse_backward)
        graph, xp = step.graph, ElementWords(step.graph)
        last_to_first, one = graph.ops[::-1], xp.input(ONE)
        results = zip((OUT, *step.states), (step.output, *step.after))
        rows = {name: by_input(step, xp.pull(last_to_first, {value: one})) for name, value in results}
    except Untraceable:
        return None
    known, ops = _folded(graph)
    derivatives = {result: {n: _in(known, v) for n, v in row.items()} for result, row in rows.items()}
    folded = WordGraph({n: v for n, v in graph.inputs.items() if n != ONE}, ops, graph.types)
    needed, leaves = folded.needed(v for row in derivatives.values() for v in row.values())
    return Jacobian({n: v for n, v in folded.inputs.items() if v in leaves}, tuple(needed), derivatives)


def _in(known: Dict[Value, Number], value: Any) -> Number:
    """A value after ``_folded``: a number, another value, or itself. A derivative that is not there is 0.0."""
    return 0.0 if value is None else known.get(value, value) if type(value) is Value else float(value)


def _folded(graph: WordGraph) -> Tuple[Dict[Value, Number], List[Op]]:
    """Fold constants with ``ONE`` = 1: values that are numbers or other values, and the operations that are left."""
    known: Dict[Value, Number] = {graph.inputs[ONE]: 1.0}
    ops = []
    for op in graph.ops:
        args = tuple(known.get(a, a) if type(a) is Value else a for a in op.args)
        simple = _simplified(op.word, args)
        if simple is None:
            ops.append(op._replace(args=args))
        else:
            known[op.out] = simple
    return known, ops


def _simplified(word: str, args: Tuple[Number, ...]) -> Optional[Number]:
    """The result of an operation on numbers, or the factor beside a one; None: it is to be computed."""
    numbers = [a for a in args if type(a) is float]
    if word in _ARITHMETIC and len(numbers) == len(args) and not (word == "divide" and numbers[1] == 0.0):
        return _ARITHMETIC[word](*numbers)
    if word == "multiply" and 1.0 in numbers:
        return next(a for a in args if type(a) is Value)
    return args[0] if word == "divide" and type(args[1]) is float and args[1] == 1.0 else None

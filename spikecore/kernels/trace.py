"""A neuron's step as a graph of words on single elements: ``trace`` runs the step once on symbols.

The graph of ``sc.Leaky(beta=0.9)`` stands at the head of ``api/core/graph.py``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

from spikecore.api.core.graph import Value, WordGraph
from spikecore.api.core.recorder import ElementWords, Symbol, Untraceable
from spikecore.api.core.tree import State, nested
from spikecore.api.neurons.stepper import one_step
from spikecore.api.surrogate.base import Surrogate
from spikecore.api.surrogate.truncated import truncated


class SymbolicEngine:
    """The engine that ``trace`` hands to a step: it has what an elementwise step may use, and records words."""

    name, device, dtype = "symbolic", "", "float"

    def __init__(self, sparse_backward: float = 0.0) -> None:
        self.xp, self.sparse_backward = ElementWords(WordGraph()), sparse_backward

    def spike(self, u: Any, surrogate: Surrogate) -> Any:
        return self.xp.spike(u, truncated(surrogate, self.sparse_backward))

    def stop_gradient(self, x: Any) -> Any:
        return self.xp.stop_gradient(x)

    def asarray(self, x: Any, dtype: Optional[str] = None) -> Any:
        raise Untraceable("it brings an array of its own into the step")


@dataclass(frozen=True)
class Trace:
    """A step as a graph.

    Args:
        graph: the operations.
        states, params: names, in order.
        output: value of the step's output.
        after: values of the new states, in the order of ``states``.
    """

    graph: WordGraph
    states: Tuple[str, ...]
    params: Tuple[str, ...]
    output: Value
    after: Tuple[Value, ...]

    def begins(self, other: Trace) -> bool:
        """Whether the other trace is of the same step; its graph may go on, e.g. with the derivative."""
        ops, values = len(self.graph.ops), len(self.graph.types)

        def parts(t: Trace) -> Any:
            return t.states, t.params, t.output, t.after, t.graph.ops[:ops], t.graph.types[:values]

        return bool(parts(self) == parts(other))


def trace(stepper: Any, params: Dict[str, Any], sparse_backward: float = 0.0) -> Trace:
    """Run ``stepper.step`` on symbols.

    Args:
        stepper: the neuron.
        params: prepared parameters by dotted name: a float is a constant, anything else becomes an input.
        sparse_backward: derivatives of spikes up to this magnitude count as zero.

    Raises:
        Untraceable: the step is more than elementwise.
    """
    engine = SymbolicEngine(sparse_backward)
    xp, graph = engine.xp, engine.xp.graph
    values = {name: value if type(value) is float else xp.input(f"p_{name}") for name, value in params.items()}
    before = {name: xp.input(f"s_{name}") for name in stepper.state}
    x = xp.input("x")
    try:
        y, after = one_step(engine, stepper, nested(values), State(before), x)
    except Exception as error:  # noqa: BLE001  (the loop runs the step instead; if it is wrong, the loop says so)
        known = isinstance(error, Untraceable)
        raise error if known else Untraceable(f"on symbols it raises {type(error).__name__}: {error}") from error
    if not isinstance(y, Symbol) or any(not isinstance(after[name], Symbol) for name in stepper.state):
        raise Untraceable("a constant stands where an array is expected")
    ends = tuple(after[name].value for name in stepper.state)
    _, read = graph.needed([y.value, *ends])
    names = tuple(name for name in params if graph.inputs.get(f"p_{name}") in read)  # a step may read some only
    return Trace(graph, tuple(stepper.state), names, y.value, ends)

"""``StepGraph``: one time step of a network, written down as words on arrays of known shapes.

Every writer (C, ONNX) reads this graph and knows nothing of layers and neurons. What a word means stands in
``api/core/words.py``; ``recording.py`` makes the graph by running the network once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Set, Tuple, Union

import numpy as np

from spikecore.engines.numpy.engine import NumpyEngine

Shape = Tuple[int, ...]


class Value(NamedTuple):
    """An array that a step computes or reads, by its number."""

    number: int


#: A value, an array that never changes, or a number, a flag or a key of ``take_slice``.
Argument = Union[Value, np.ndarray, Any]


@dataclass(frozen=True, eq=False)
class Node:
    """A word applied to arguments.

    Args:
        out: the value that it gives.
        word: the word.
        arguments: in order; of ``concat`` and ``stack``, the arrays.
        options: the word's keyword options.
        layer: dotted name of the layer that says it; "" for a network that is a single layer.
        kind: the class of that layer.
    """

    out: Value
    word: str
    arguments: Tuple[Argument, ...]
    options: Mapping[str, Any]
    layer: str
    kind: str

    @property
    def where(self) -> str:
        """The layer, for messages and comments."""
        return named(self.layer, self.kind)

    def reads(self) -> List[Value]:
        """The values among the arguments, in order."""
        return [a for a in self.arguments if type(a) is Value]


@dataclass(frozen=True, eq=False)
class StepState:
    """A state that passes from one step to the next.

    Args:
        name: dotted name, as in ``out.state`` and in checkpoints of streams: "1.mem".
        before, after: its value before and after the step.
        rest: what it is at the start of a sequence.
    """

    name: str
    before: Value
    after: Value
    rest: np.ndarray


@dataclass(frozen=True, eq=False)
class StepGraph:
    """One time step of a network.

    Args:
        x: the input, (batch, *features).
        output: the output, (batch, *features).
        states: the states, in the order of the network.
        nodes: the words, in an order in which they can be computed. The word "constant" gives its argument, an array;
            "layer" is a layer as a whole, where a writer has asked for it.
        shapes, dtypes: of each value; a dtype is "float32", "float64", "bool" or "int64".
        layers: the network's layers, names and classes, in order; those that compute nothing included.
        dtype: the floating-point type of the step.
    """

    x: Value
    output: Value
    states: Tuple[StepState, ...]
    nodes: Tuple[Node, ...]
    shapes: Mapping[Value, Shape]
    dtypes: Mapping[Value, str]
    layers: Tuple[Tuple[str, str], ...] = ()
    dtype: str = "float32"

    @property
    def batch_size(self) -> int:
        """Samples of a step."""
        return self.shapes[self.x][0]

    def ends(self) -> List[Value]:
        """The results that the step must compute: the output and the states after it."""
        return [self.output, *(state.after for state in self.states)]

    def rest(self) -> List[np.ndarray]:
        """The states at the start of a sequence, in order."""
        return [state.rest for state in self.states]

    def step(self, x: np.ndarray, states: Iterable[np.ndarray]) -> Tuple[np.ndarray, List[np.ndarray]]:
        """Compute one step in NumPy: what a writer's result is compared with.

        Args:
            x: the input, (batch, *features).
            states: the states before the step, in order.

        Returns:
            the output, and the states after the step.
        """
        values = self.values(x, states)
        return values[self.output], [values[state.after] for state in self.states]

    def values(self, x: np.ndarray, states: Iterable[np.ndarray]) -> Dict[Value, np.ndarray]:
        """Every value of one step, by its number; arguments as for ``step``."""
        words = {**NumpyEngine(self.dtype, fused=False).raw_words(), "layer": whole_layer}
        found: Dict[Value, np.ndarray] = {self.x: np.asarray(x, self.dtype)}
        found.update((state.before, np.asarray(given)) for state, given in zip(self.states, states))
        for node in self.nodes:
            arguments: List[Any] = [found[a] if type(a) is Value else a for a in node.arguments]
            found[node.out] = arguments[0] if node.word == "constant" else words[node.word](*arguments, **node.options)
        return found

    def readers(self) -> Dict[Value, List[Node]]:
        """For each value, the nodes that read it."""
        found: Dict[Value, List[Node]] = {}
        for node in self.nodes:
            for value in dict.fromkeys(node.reads()):
                found.setdefault(value, []).append(node)
        return found


def whole_layer(x: Any, engine: Any, layer: Any, params: Any, buffers: Any, **_: Any) -> Any:
    """The word "layer": a step of a layer without state that a target has an operator of its own for."""
    y, _ = layer.apply(engine, params, buffers, engine.xp.expand_dims(x, axis=0), train=False, key=None)
    return engine.xp.reshape(y, y.shape[1:])


def named(layer: str, kind: str) -> str:
    """A layer in messages and comments.

    Args:
        layer: its dotted name; "" for a network that is a single layer.
        kind: its class.
    """
    return f"layer {layer} ({kind})" if layer else kind


def needed(nodes: Iterable[Node], ends: Iterable[Value]) -> Tuple[Node, ...]:
    """The nodes that lead to ``ends``, in order."""
    wanted: Set[Value] = set(ends)
    kept = []
    for node in reversed(list(nodes)):
        if node.out in wanted:
            kept.append(node)
            wanted.update(node.reads())
    return tuple(kept[::-1])

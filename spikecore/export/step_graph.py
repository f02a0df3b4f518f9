"""``StepGraph``: one time step of a network, written down as words on arrays of known shapes.

Every writer (C, ONNX) reads this graph and knows nothing of layers and neurons. What a word means stands in
``api/core/words.py``; ``recording.py`` makes the graph by running the network once.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import SimpleNamespace
from typing import Any, Dict, Iterable, List, Mapping, Tuple

import numpy as np

from spikecore.api.core.graph import Op, Value, WordGraph, run
from spikecore.engines.numpy.engine import NumpyEngine

Shape = Tuple[int, ...]


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
        graph: the words. The word "constant" gives its argument, an array; "layer" is a layer as a whole, where a
            writer has asked for it. A dtype is "float32", "float64", "bool" or "int64".
        x: the input, (batch, *features).
        output: the output, (batch, *features).
        states: the states, in the order of the network.
        layers: the network's layers, names and classes, in order; those that compute nothing included.
        dtype: the floating-point type of the step.
    """

    graph: WordGraph
    x: Value
    output: Value
    states: Tuple[StepState, ...]
    layers: Tuple[Tuple[str, str], ...] = ()
    dtype: str = "float32"

    @property
    def ops(self) -> List[Op]:
        """The words, in an order in which they can be computed."""
        return self.graph.ops

    @cached_property
    def shapes(self) -> Mapping[Value, Shape]:
        """The shape of each value."""
        return {Value(i): kind.shape or () for i, kind in enumerate(self.graph.types)}

    @cached_property
    def dtypes(self) -> Mapping[Value, str]:
        """The dtype of each value."""
        return {Value(i): kind.dtype for i, kind in enumerate(self.graph.types)}

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
        """Compute one step in NumPy; tests and writers compare what they write with it.

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
        words = vars(NumpyEngine(self.dtype, fused=False).xp)
        values = {self.x: np.asarray(x, self.dtype)}
        values.update((state.before, np.asarray(before)) for state, before in zip(self.states, states))
        return run(SimpleNamespace(**words, constant=np.asarray, layer=whole_layer), self.ops, values)

    def readers(self) -> Dict[Value, List[Op]]:
        """For each value, the words that read it."""
        readers: Dict[Value, List[Op]] = {}
        for op in self.ops:
            for value in dict.fromkeys(op.reads()):
                readers.setdefault(value, []).append(op)
        return readers


def whole_layer(x: Any, engine: Any, layer: Any, params: Any, buffers: Any, **_: Any) -> Any:
    """The word "layer": a step of a layer without state that a target has an operator of its own for."""
    y, _ = layer.apply(engine, params, buffers, engine.xp.expand_dims(x, axis=0), train=False, key=None)
    return engine.xp.reshape(y, y.shape[1:])

"""``Body``: the nodes and constants of an ONNX graph, made from the words of a ``StepGraph``.

A node, and the value that it makes, has the name of the layer and the word. Of a Linear and the Leaky behind it::

    "0/linear" = Gemm <transB: int = 1> (input, "0.weight", "0.bias")
    "1/multiply" = Mul ("1/multiply.constant", "1.mem")
    "1/add" = Add ("1/multiply", "0/linear")
"""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
import onnx
from onnx import helper, numpy_helper

from spikecore.api.core.graph import Op, Value
from spikecore.export.errors import ExportError
from spikecore.export.step_graph import StepGraph
from spikecore.export.weight_names import fingerprint

#: Of a constant as a word takes it: a value, an array, or a number.
Operand = Union[Value, np.ndarray, float, int, bool]

Sizes = Tuple[int, ...]
Axes = Union[None, int, Tuple[int, ...]]


def element(dtype: Any) -> int:
    """ONNX's number for an element type."""
    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


class Body:
    """A graph that computes one step.

    Args:
        graph: the step.
        weights: names of arrays that the user knows, by ``fingerprint``: a constant that is one of them gets its name.
        prefix: of the names of input, states and output; a graph within another needs names of its own.
    """

    def __init__(self, graph: StepGraph, weights: Mapping[Any, str], prefix: str = "") -> None:
        self.graph, self.weights, self.prefix = graph, weights, prefix
        self.nodes: List[onnx.NodeProto] = []
        self.constants: Dict[str, onnx.TensorProto] = {}
        self._known: Dict[Any, str] = {}
        self._taken: Dict[str, int] = {}
        starts = [f"{prefix}input", *(f"{prefix}{state.name}" for state in graph.states)]
        self.ends = [f"{prefix}output", *(f"{prefix}{state.name}.next" for state in graph.states)]
        for name in (*self.ends, *starts):
            if self.unused(name) != name:
                raise ExportError(f"state {name}: the file's own input or output has this name; give it another one")
        self.names = dict(zip([graph.x, *(state.before for state in graph.states)], starts))

    def unused(self, name: str) -> str:
        """The name, with a number behind it if it is taken."""
        count = self._taken[name] = self._taken.get(name, 0) + 1
        return name if count == 1 else self.unused(f"{name}_{count}")

    def constant(self, array: Any, name: str, shared: bool = True) -> str:
        """An array as a constant of the graph; if ``shared``, the same numbers are kept once."""
        array = np.asarray(array)
        key = fingerprint(array) if shared else object()
        if key not in self._known:
            name = self._known[key] = self.unused(self.weights.get(key, name))
            self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        return self._known[key]

    def add(self, kind: str, inputs: Sequence[str], out: str, about: str = "", **attributes: Any) -> str:
        """An operator."""
        node = helper.make_node(kind, list(inputs), [out], name=out, **attributes)
        node.doc_string = about
        self.nodes.append(node)
        return out

    def finish(self) -> None:
        """Give output and states after the step their names, and states the type that they have before it."""
        graph = self.graph
        for name, value, like in zip(self.ends, graph.ends(), self._likes()):
            if graph.dtypes[value] != graph.dtypes[like]:
                self.add("Cast", [self.names[value]], name, to=element(graph.dtypes[like]))
            elif self.names[value] != name:
                self.add("Identity", [self.names[value]], name)

    def named_ends(self) -> Dict[Value, str]:
        """The values whose own name is that of an output: those that a word gives in its type, each once."""
        graph, found = self.graph, {}  # type: StepGraph, Dict[Value, str]
        made = {node.out for node in graph.ops}
        for name, value, like in zip(self.ends, graph.ends(), self._likes()):
            if value in made and graph.dtypes[value] == graph.dtypes[like]:
                found.setdefault(value, name)
        return found

    def _likes(self) -> List[Value]:
        """For the output and each state after the step, the value whose type and shape it has."""
        graph = self.graph
        for state in graph.states:
            if graph.shapes[state.before] != graph.shapes[state.after]:
                raise ExportError(
                    f"state {state.name} has the shape {graph.shapes[state.before]} at rest and "
                    f"{graph.shapes[state.after]} after a step: let the neuron's rest return the second"
                )
        return [graph.output, *(state.before for state in graph.states)]


class Call:
    """A word that is being written: what the functions in ``operators.py`` work with.

    Args:
        body: where it goes.
        node: the word.
        name: of its result; None for any.
    """

    def __init__(self, body: Body, node: Op, name: Optional[str]) -> None:
        self.body, self.node, self.graph = body, node, body.graph
        self.scope = f"{node.layer or node.kind}/{node.word}"
        self._name = name

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the result."""
        return np.dtype(self.graph.dtypes[self.node.out])

    @property
    def shape(self) -> Tuple[int, ...]:
        """Shape of the result."""
        return tuple(self.graph.shapes[self.node.out])

    def refused(self, reason: str) -> ExportError:
        """The error of a word that ONNX cannot say."""
        return ExportError(f"{self.node.where}: {reason}")

    def dtype_of(self, *operands: Operand) -> np.dtype[Any]:
        """The type in which NumPy computes with these operands."""
        return np.result_type(*(a if isinstance(a, (bool, int, float)) else self._own(a) for a in operands))

    def _own(self, operand: Operand) -> np.dtype[Any]:
        return np.dtype(self.graph.dtypes[operand]) if type(operand) is Value else np.asarray(operand).dtype

    def shape_of(self, operand: Operand) -> Tuple[int, ...]:
        """Shape of an operand."""
        return self.graph.shapes[operand] if isinstance(operand, Value) else np.shape(operand)

    def read(self, operand: Operand, dtype: Any = None) -> str:
        """The name of an operand, cast where it has another type."""
        dtype = np.dtype(self._own(operand) if dtype is None else dtype)
        if type(operand) is not Value:
            return self.body.constant(np.asarray(operand, dtype), f"{self.scope}.constant")
        name = self.body.names[operand]
        return name if self._own(operand) == dtype else self.part("Cast", name, to=element(dtype))

    def ints(self, numbers: Sequence[int]) -> str:
        """A constant that says a shape or axes."""
        return self.body.constant(np.array(tuple(numbers), np.int64), f"{self.scope}.ints", shared=False)

    def part(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """An operator on the way; ``domain`` among the attributes is that of an operator of your own."""
        out = self.body.unused(f"{self.scope}.{kind}")
        return self.body.add(kind, inputs, out, self._about(), **attributes)

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """The operator that gives the result; attributes as for ``part``."""
        out = self._name or self.body.unused(self.scope)
        return self.body.add(kind, inputs, out, self._about(), **attributes)

    def _about(self) -> str:
        return f"{self.node.where}: {self.node.word}"

    def cast(self, name: str) -> str:
        """The result, out of a value of another type."""
        return self.op("Cast", name, to=element(self.dtype))

    def reshaped(self, name: str, shape: Sequence[int]) -> str:
        """A value in another shape, on the way."""
        return self.part("Reshape", name, self.ints(shape))

    def reshape(self, name: str) -> str:
        """The result, out of a value of another shape."""
        return self.op("Reshape", name, self.ints(self.shape))


def axes_of(axis: Axes, ndim: int) -> Sizes:
    """Axes as a tuple of numbers >= 0; None is all of them."""
    axes = range(ndim) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    return tuple(int(a) % ndim for a in axes)

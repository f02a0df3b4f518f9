"""A file for batches of any size, out of the files for two sizes: what differs between them is the batch's size.

That size is an axis with a name::

    net (float[batch,4] input, float[batch,6] "1.mem", float[batch,3] "3.mem") => (float[batch,3] output,
"""

from __future__ import annotations

from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import onnx
from onnx import numpy_helper

from spikecore.export.errors import ExportError

SIZES = 2, 9  # of the batches of the two files: far apart, since a layer may compute with its half or its quarter
BATCH = "batch"  # name of the axis in the file
#: Operators whose operands broadcast, so that a constant that is the same for all samples needs no axis for them.
BROADCASTING = frozenset(
    "Add Sub Mul Div Max Min Pow Where Greater GreaterOrEqual Less LessOrEqual Equal And Or".split()
)


def joined(one: onnx.ModelProto, other: onnx.ModelProto) -> onnx.ModelProto:
    """A file for batches of any size; its states have no default, which would have a size.

    Args:
        one, other: the files of the same network for the two ``SIZES``.

    Raises:
        ExportError: something else than a shape depends on the size of the batch; names the layer.
    """
    made = onnx.ModelProto()
    made.CopyFrom(one)
    states = {given.name for given in made.graph.input}
    _same_nodes(made.graph, other.graph)
    users = _users(made.graph)
    theirs = {tensor.name: tensor for tensor in other.graph.initializer}
    kept = []
    for tensor in made.graph.initializer:
        if tensor.name in states:
            continue
        if tensor.name not in theirs:
            raise _refused(users[tensor.name][0][0])
        kept.append(_constant(tensor, theirs[tensor.name], users[tensor.name]))
    del made.graph.initializer[:]
    made.graph.initializer.extend(kept)
    _name_axes(made.graph, other.graph)
    return made


def _refused(node: onnx.NodeProto) -> ExportError:
    where = node.doc_string or node.name
    return ExportError(f"{where} depends on the number of samples; export with batch_size=, which fixes it")


def _bodies(nodes: Sequence[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
    for node in nodes:
        yield from (attribute.g for attribute in node.attribute if attribute.type == onnx.AttributeProto.GRAPH)


def _same_nodes(one: onnx.GraphProto, other: onnx.GraphProto) -> None:
    """Refuse graphs with other operators, names or options; constants may differ."""
    for a, b in zip(one.node, other.node):
        plain = [[x for x in n.attribute if x.type != onnx.AttributeProto.GRAPH] for n in (a, b)]
        if (a.op_type, a.input, a.output, plain[0]) != (b.op_type, b.input, b.output, plain[1]):
            raise _refused(a)
    if len(one.node) != len(other.node):
        raise _refused((*one.node, *other.node)[min(len(one.node), len(other.node))])
    for inner, theirs in zip(_bodies(one.node), _bodies(other.node)):
        _same_nodes(inner, theirs)
        _name_axes(inner, theirs)


def _users(graph: onnx.GraphProto) -> Dict[str, List[Tuple[onnx.NodeProto, int]]]:
    """For each name, the nodes that read it, each with the place among its inputs; graphs within included."""
    users: Dict[str, List[Tuple[onnx.NodeProto, int]]] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            users.setdefault(name, []).append((node, place))
    for inner in _bodies(graph.node):
        for name, readers in _users(inner).items():
            users.setdefault(name, []).extend(readers)
    return users


def _constant(
    one: onnx.TensorProto, other: onnx.TensorProto, users: Sequence[Tuple[onnx.NodeProto, int]]
) -> onnx.TensorProto:
    """A constant that serves every size of the batch, from those of two files."""
    a, b = numpy_helper.to_array(one), numpy_helper.to_array(other)
    if a.shape == b.shape and np.array_equal(a, b, equal_nan=a.dtype.kind == "f"):
        return one
    if a.shape == b.shape and a.ndim == 1 and a.dtype == np.int64:
        return numpy_helper.from_array(_shape(a, b, users), one.name)
    axes = [axis for axis, sizes in enumerate(zip(a.shape, b.shape)) if sizes == SIZES]
    if a.ndim == b.ndim and len(axes) == 1 and all(node.op_type in BROADCASTING for node, _ in users):
        first = np.take(a, [0], axis=axes[0])
        if np.array_equal(np.broadcast_to(first, a.shape), a) and np.array_equal(np.broadcast_to(first, b.shape), b):
            return numpy_helper.from_array(first, one.name)
    raise _refused(users[0][0])


def _shape(a: np.ndarray, b: np.ndarray, users: Sequence[Tuple[onnx.NodeProto, int]]) -> np.ndarray:
    """A shape with -1 for the axis of the batch; where the input over time is spread, with 1 for it."""
    spread = all((node.op_type, place, node.input[0]) == ("Expand", 1, "input") for node, place in users)
    reshaped = all((node.op_type, place) == ("Reshape", 1) for node, place in users)
    if not (spread or reshaped) or (a != b).sum() > 1 or (a < 1).any():
        raise _refused(users[0][0])
    return np.where(a == b, a, 1 if spread else -1)


def _name_axes(one: onnx.GraphProto, other: onnx.GraphProto) -> None:
    """Name the axis of the batch in the types of what goes in and out."""
    both: Any = zip((*one.input, *one.output), (*other.input, *other.output))
    for mine, theirs in both:
        for axis, its in zip(mine.type.tensor_type.shape.dim, theirs.type.tensor_type.shape.dim):
            if axis != its:
                axis.dim_param = BATCH

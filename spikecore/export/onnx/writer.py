"""``sc.export(model, "net.onnx", to="onnx")``: the file with its inputs, outputs and notes."""

from __future__ import annotations

import json
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from spikecore.api.training.model import Model
from spikecore.export.errors import ExportError
from spikecore.export.front import Draft
from spikecore.export.onnx.body import Body, element, fingerprint
from spikecore.export.onnx.operators import write
from spikecore.export.recording import step_graph
from spikecore.export.step_graph import StepGraph

OPSET = 17  # what onnxruntime has had since 1.12
IR_VERSION = 8  # the format of that opset
LARGEST = 2**31 - 1  # a file of protobuf holds no more


def files(
    model: Model, stem: str, *, batch_size: int = 1, sequence: bool = False, num_steps: Optional[int] = None
) -> Draft:
    """A model as an ONNX file.

    Args:
        model: a model with weights.
        stem: name of the file without its ending, and of the graph.
        batch_size: samples that the file takes, >= 1; default 1.
        sequence: whether it takes all steps at once, (time, batch, *features); default False: it takes one step.
        num_steps: of an input that is constant in time: the file takes (batch, *features) and gives this many steps.
    """
    for name, number in (("batch_size", batch_size), ("num_steps", 1 if num_steps is None else num_steps)):
        if isinstance(number, bool) or not isinstance(number, int) or number < 1:
            raise ValueError(f"export: {name}={number!r} must be a whole number >= 1")
    if sequence and num_steps is not None:
        raise ValueError(
            "export: sequence=True takes an input with a time axis, num_steps= one without it: pass one of them"
        )
    graph = step_graph(model, batch_size)
    weights = {fingerprint(np.asarray(a, graph.dtype)): name for name, a in model.params().items()}
    made = _whole(graph, weights, stem, num_steps) if sequence or num_steps else _step(graph, weights, stem)
    made.metadata_props.extend(_facts(model, graph, sequence, num_steps))
    size = made.ByteSize()
    if size > LARGEST:
        raise ExportError(f"the file would have {size:,} bytes, and ONNX files have 2 GiB at most: use fewer weights")
    onnx.checker.check_model(made, full_check=True)
    return Draft({f"{stem}.onnx": made.SerializeToString()}, _notes(graph, sequence, num_steps))


def _written(graph: StepGraph, weights: Dict[Any, str], prefix: str = "") -> Body:
    """The step as nodes."""
    body = Body(graph, weights, prefix)
    ends = body.named_ends()
    for node in graph.nodes:
        body.names[node.out] = write(body, node, ends.get(node.out))
    body.finish()
    return body


def _step(graph: StepGraph, weights: Dict[Any, str], stem: str) -> onnx.ModelProto:
    body = _written(graph, weights)
    inputs = [_typed(graph, "input", graph.shapes[graph.x])]
    outputs = [_typed(graph, "output", graph.shapes[graph.output])]
    return _model(graph, body.nodes, stem, inputs, outputs, body)


def _whole(graph: StepGraph, weights: Dict[Any, str], stem: str, num_steps: Optional[int]) -> onnx.ModelProto:
    """The step as the body of a Scan, whose loop-carried values are the states."""
    body = _written(graph, weights, "step/")
    x, y = graph.shapes[graph.x], graph.shapes[graph.output]
    states = [(state, graph.shapes[state.after]) for state in graph.states]
    inner = helper.make_graph(
        body.nodes,
        "step",
        [*(_typed(graph, f"step/{s.name}", shape) for s, shape in states), _typed(graph, "step/input", x)],
        [*(_typed(graph, f"step/{s.name}.next", shape) for s, shape in states), _typed(graph, "step/output", y)],
    )
    nodes, rows, steps = [], "input", num_steps or "time"
    if num_steps is not None:
        rows = "input over time"
        shape = body.constant(np.array((num_steps, *x), np.int64), "input over time.shape")
        nodes.append(helper.make_node("Expand", ["input", shape], [rows], name=rows))
    nodes.append(
        helper.make_node(
            "Scan",
            [*(s.name for s, _ in states), rows],
            [*(f"{s.name}.next" for s, _ in states), "output"],
            name="time",
            body=inner,
            num_scan_inputs=1,
        )
    )
    inputs = [_typed(graph, "input", x if num_steps else (steps, *x))]
    return _model(graph, nodes, stem, inputs, [_typed(graph, "output", (steps, *y))], body)


def _model(
    graph: StepGraph,
    nodes: Sequence[onnx.NodeProto],
    stem: str,
    inputs: List[onnx.ValueInfoProto],
    outputs: List[onnx.ValueInfoProto],
    body: Body,
) -> onnx.ModelProto:
    """A file whose states have a default, so that a run that is not given any starts at rest."""
    states = [(state, graph.shapes[state.after]) for state in graph.states]
    rest = [numpy_helper.from_array(np.array(np.broadcast_to(s.rest, shape)), s.name) for s, shape in states]
    whole = helper.make_graph(
        list(nodes),
        stem,
        [*inputs, *(_typed(graph, s.name, shape) for s, shape in states)],
        [*outputs, *(_typed(graph, f"{s.name}.next", shape) for s, shape in states)],
        [*rest, *body.constants.values()],
    )
    from spikecore import __version__

    return helper.make_model(
        whole,
        producer_name="spikecore",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
    )


def _typed(graph: StepGraph, name: str, shape: Sequence[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element(graph.dtype), list(shape))


def _facts(
    model: Model, graph: StepGraph, sequence: bool, num_steps: Optional[int]
) -> List[onnx.StringStringEntryProto]:
    """What a reader of the file may want to know, as JSON by key."""
    facts = {
        "network": repr(model.network),
        "layers": dict(graph.layers),
        "states": {state.name: list(graph.shapes[state.after]) for state in graph.states},
        "steps": num_steps if num_steps is not None else "time" if sequence else 1,
    }
    return [
        onnx.StringStringEntryProto(
            key=f"spikecore.{key}", value=value if isinstance(value, str) else json.dumps(value)
        )
        for key, value in facts.items()
    ]


def _notes(graph: StepGraph, sequence: bool, num_steps: Optional[int]) -> Tuple[str, ...]:
    shape = list(graph.shapes[graph.x])
    takes = f"{num_steps} steps of a constant input {shape}" if num_steps else f"one step {shape}"
    takes = f"all steps [time, {str(shape)[1:]}" if sequence else takes
    names = ", ".join(state.name for state in graph.states)
    after = f"states: {names}; those after it end in '.next'" if names else "no states"
    return (f"ONNX opset {OPSET}, float32; takes {takes}", f"{after}; a state that is not passed is at rest")

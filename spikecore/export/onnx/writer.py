"""``sc.export(model, "net.onnx", to="onnx")``: the file with its inputs, outputs and notes.

The graph of ``Linear(4, 6), Leaky(beta=0.9), Linear(6, 3), LI()``, one step: states are inputs and outputs::

    net (float[1,4] input, float[1,6] "1.mem", float[1,3] "3.mem") => (float[1,3] output, float[1,6] "1.mem.next",
"""

from __future__ import annotations

import json
from collections.abc import Mapping as MappingABC
from types import MappingProxyType
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np
import onnx
from onnx import helper, numpy_helper

from spikecore import Model
from spikecore.api.core.graph import Value
from spikecore.api.core.sizes import whole_number
from spikecore.api.layers.containers import walk
from spikecore.export.errors import ExportError
from spikecore.export.front import Draft
from spikecore.export.onnx.any_batch import SIZES, joined
from spikecore.export.onnx.body import Body, Call, element
from spikecore.export.onnx.operators import write
from spikecore.export.recording import step_graph
from spikecore.export.step_graph import StepGraph, StepState
from spikecore.export.weight_names import weight_names

OPSET = 17  # what onnxruntime has had since 1.12
IR_VERSION = 8  # the format of that opset
LARGEST = 2**31 - 1  # a file of protobuf holds no more
STEPS = 5  # that are compared where a user writes operators

#: (call, layer, its arrays by name, the name of its input) -> the name of its result
OwnOperator = Callable[[Call, Any, Dict[str, np.ndarray], str], str]


def files(
    model: Model,
    stem: str,
    *,
    batch_size: Optional[int] = 1,
    sequence: bool = False,
    num_steps: Optional[int] = None,
    operators: Mapping[type, OwnOperator] = MappingProxyType({}),
) -> Draft:
    """A model as an ONNX file.

    Args:
        model: a model with weights.
        stem: name of the file without its ending, and of the graph.
        batch_size: samples that the file takes, >= 1; default 1. None: any number, and states have no default.
        sequence: whether it takes all steps at once, (time, batch, *features); default False: it takes one step.
        num_steps: of an input that is constant in time: the file takes (batch, *features) and gives this many steps.
        operators: by class of layers without state, a function that writes such a layer by operators of its choice,
            ``write(call, layer, arrays, x)``: ``call.op(KIND, x, **attributes)`` makes the operator that gives the
            result, whose name the function returns; ``call.part`` makes one on the way, ``call.read(array)`` a
            constant; ``arrays`` are the layer's parameters and statistics by name, x is the name of its input (batch,
            *features). ``domain=`` is that of an operator that ONNX does not have. Default: all layers are written by
            their words.
    """
    sizes = SIZES if batch_size is None else (whole_number("export: batch_size", batch_size, 1),)
    own_notes: Tuple[str, ...] = ()
    num_steps = None if num_steps is None else whole_number("export: num_steps", num_steps, 1)
    if not isinstance(sequence, bool):
        raise TypeError(f"export: sequence={sequence!r} must be True or False")
    if sequence and num_steps is not None:
        raise ValueError(
            "export: sequence=True takes an input with a time axis, num_steps= one without it: pass one of them"
        )
    _check_operators(model, operators)
    graph, *_ = graphs = [step_graph(model, size, whole=operators) for size in sizes]
    weights = weight_names(model, graph.dtype)
    whole = sequence or num_steps is not None
    made, *others = (
        sequence_model(each, weights, stem, num_steps) if whole else step_model(each, weights, stem) for each in graphs
    )
    for other in others:
        made = joined(made, other)
    made.metadata_props.extend(_facts(model, made, graph, sequence, num_steps))
    if operators:
        try:
            own_notes = _compared(graph, weights, stem)
        except ExportError:
            raise
        except Exception as error:  # onnx's checker and its evaluator raise anything
            raise ExportError(f"with operators= for {_own_layers(graph)} the file does not run: {error}") from error
    content = checked(made).SerializeToString()
    return Draft({f"{stem}.onnx": content}, (*_notes(made, graph, batch_size is None), *own_notes))


def checked(made: onnx.ModelProto) -> onnx.ModelProto:
    """The file, whose types and shapes onnx has found right."""
    size = made.ByteSize()
    if size > LARGEST:
        raise ExportError(f"the file would have {size:,} bytes, and ONNX files have 2 GiB at most: use fewer weights")
    onnx.checker.check_model(made, full_check=True)
    return made


def _compared(graph: StepGraph, weights: Mapping[Any, str], stem: str) -> Tuple[str, ...]:
    """Refuse operators of the user's own that give something else than their layer; a note where nobody can tell."""
    from onnx.reference import ReferenceEvaluator

    made, random = checked(step_model(graph, weights, stem)), np.random.default_rng(0)
    domains = sorted({one.domain for one in made.opset_import} - {""})
    if domains:
        return (f"operators of domain {', '.join(domains)}: not compared with the network, for want of a runtime here",)
    runtime, states = ReferenceEvaluator(made), graph.rest()
    names = [state.name for state in graph.states]
    for _ in range(STEPS):
        x = random.normal(size=graph.shapes[graph.x]).astype(graph.dtype)
        computed = runtime.run(None, {"input": x, **dict(zip(names, states))})
        y, states = graph.step(x, states)
        for what, a, b in zip(("its output", *names), computed, (y, *states)):
            if np.shape(a) != np.shape(b) or not np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True):
                raise ExportError(
                    f"with operators= for {_own_layers(graph)} the file does not compute what the network does: {what} "
                    "differs"
                )
    return ()


def _own_layers(graph: StepGraph) -> str:
    """The layers that the user's own functions write."""
    return ", ".join(node.where for node in graph.ops if node.word == "layer")


def _check_operators(model: Model, operators: Any) -> None:
    """Refuse ``operators`` that are not functions by classes of layers in the network."""
    if not isinstance(operators, MappingABC) or not all(map(callable, operators.values())):
        raise TypeError(
            f"export: operators={operators!r} must be functions by class of layer, e.g. {{MyPool: write_my_pool}}"
        )
    kinds = {type(layer): None for _, layer in walk(model.network)}
    for kind in operators:
        if kind not in kinds:
            known = ", ".join(one.__name__ for one in kinds)
            raise ValueError(f"export: operators: the network has no layer of class {kind!r}; it has {known}")


def _written(graph: StepGraph, weights: Mapping[Any, str], prefix: str = "") -> Body:
    """The step as nodes."""
    body = Body(graph, weights, prefix)
    ends = body.named_ends()
    for node in graph.ops:
        body.names[node.out] = write(body, node, ends.get(node.out))
    body.finish()
    return body


def step_model(graph: StepGraph, weights: Mapping[Any, str], stem: str) -> onnx.ModelProto:
    """A file that computes one step."""
    body = _written(graph, weights)
    return _model(graph, body.nodes, stem, _typed(graph, "input", graph.x), _typed(graph, "output", graph.output), body)


def sequence_model(
    graph: StepGraph, weights: Mapping[Any, str], stem: str, num_steps: Optional[int] = None
) -> onnx.ModelProto:
    """A file that computes all steps: the step is the body of a Scan, whose loop-carried values are the states."""
    body = _written(graph, weights, "step/")
    before = [_typed(graph, f"step/{s.name}", s.before) for s in graph.states]
    after = [_typed(graph, f"step/{s.name}.next", s.before) for s in graph.states]
    inner = helper.make_graph(
        body.nodes,
        "step",
        [*before, _typed(graph, "step/input", graph.x)],
        [*after, _typed(graph, "step/output", graph.output)],
    )
    nodes, rows, steps = [], "input", [num_steps or "time"]
    if num_steps is not None:
        rows = "input over time"
        shape = body.constant(np.array((num_steps, *graph.shapes[graph.x]), np.int64), "input over time.shape")
        nodes.append(helper.make_node("Expand", ["input", shape], [rows], name=rows))
    scan = helper.make_node(
        "Scan",
        [*(s.name for s in graph.states), rows],
        [*(f"{s.name}.next" for s in graph.states), "output"],
        name="time",
        body=inner,
        num_scan_inputs=1,
    )
    x = _typed(graph, "input", graph.x, [] if num_steps else steps)
    return _model(graph, [*nodes, scan], stem, x, _typed(graph, "output", graph.output, steps), body)


def _model(
    graph: StepGraph,
    nodes: Sequence[onnx.NodeProto],
    stem: str,
    x: onnx.ValueInfoProto,
    output: onnx.ValueInfoProto,
    body: Body,
) -> onnx.ModelProto:
    """A file whose states have a default, so that a run that is not given any starts at rest."""
    from spikecore import __version__

    whole = helper.make_graph(
        list(nodes),
        stem,
        [x, *(_typed(graph, s.name, s.before) for s in graph.states)],
        [output, *(_typed(graph, f"{s.name}.next", s.before) for s in graph.states)],
        [*(numpy_helper.from_array(np.array(s.rest), s.name) for s in graph.states), *body.constants.values()],
    )
    return helper.make_model(
        whole,
        producer_name="spikecore",
        producer_version=__version__,
        ir_version=IR_VERSION,
        opset_imports=[
            helper.make_opsetid("", OPSET),
            *(helper.make_opsetid(domain, 1) for domain in sorted({one.domain for one in body.nodes} - {""})),
        ],
    )


def _typed(graph: StepGraph, name: str, value: Value, steps: Sequence[Any] = ()) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, element(graph.dtypes[value]), [*steps, *graph.shapes[value]])


def _shape(typed: onnx.ValueInfoProto) -> List[Any]:
    """The sizes of a value, and the names of axes whose sizes are not fixed."""
    return [axis.dim_param or axis.dim_value for axis in typed.type.tensor_type.shape.dim]


def _facts(
    model: Model, made: onnx.ModelProto, graph: StepGraph, sequence: bool, num_steps: Optional[int]
) -> List[onnx.StringStringEntryProto]:
    """Facts for a reader of the file, as JSON by key."""
    facts = {
        "network": repr(model.network),
        "layers": dict(graph.layers),
        "states": {typed.name: _shape(typed) for typed in made.graph.input[1:]},
        "rest": {state.name: _rest(state) for state in graph.states},
        "steps": num_steps if num_steps is not None else "time" if sequence else 1,
    }
    return [
        onnx.StringStringEntryProto(
            key=f"spikecore.{key}", value=value if isinstance(value, str) else json.dumps(value)
        )
        for key, value in facts.items()
    ]


def _rest(state: StepState) -> Any:
    """A state at rest: one number, or those of a sample."""
    numbers = np.unique(state.rest)
    return numbers.item() if numbers.size == 1 else state.rest[0].tolist()


def _notes(made: onnx.ModelProto, graph: StepGraph, any_batch: bool) -> Tuple[str, ...]:
    shapes = (f"[{', '.join(map(str, _shape(typed)))}]" for typed in (made.graph.input[0], made.graph.output[0]))
    first = f"ONNX opset {OPSET}, float32; input {next(shapes)}, output {next(shapes)}"
    names = ", ".join(state.name for state in graph.states)
    if not names:
        return first, "no states"
    rest = "pass them all: the first time, at rest" if any_batch else "one that is not passed is at rest"
    return first, f"states: {names}; those after a call end in '.next'; {rest}"

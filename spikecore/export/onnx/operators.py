"""Each word as operators of ONNX: a function takes a ``Call`` and the word's own arguments, and returns the name of the
result.
"""

from __future__ import annotations

from typing import Callable, Dict, Optional

from spikecore.export.onnx.arithmetic import ARITHMETIC
from spikecore.export.onnx.body import Body, Call
from spikecore.export.onnx.shapes import SHAPES
from spikecore.export.step_graph import Node

OPERATORS: Dict[str, Callable[..., str]] = {**ARITHMETIC, **SHAPES}


def write(body: Body, node: Node, name: Optional[str]) -> str:
    """Write a word into a graph; returns the name of its result."""
    call = Call(body, node, name)
    if node.word not in OPERATORS:
        raise call.refused(f"the word {node.word!r} has no form in ONNX; export to C, or compute it by other words")
    return OPERATORS[node.word](call, *node.arguments, **node.options)

"""Each word as operators of ONNX.

A function for each word takes a ``Call`` and the word's own arguments, and returns the name of the result. Most words
are one operator, some are several::

    "1/subtract" = Sub ("1.mem.next", "1/greater.constant")
    "1/spike.Greater" = Greater ("1/subtract", "1/spike.constant")
    "1/spike" = Cast <to: int = 1> ("1/spike.Greater")
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

import numpy as np

from spikecore.api.core.graph import Op
from spikecore.api.core.tree import flatten
from spikecore.export.errors import ExportError
from spikecore.export.onnx.arithmetic import ARITHMETIC
from spikecore.export.onnx.body import Body, Call
from spikecore.export.onnx.shapes import SHAPES

OPERATORS: Dict[str, Callable[..., str]] = {**ARITHMETIC, **SHAPES}


def write(body: Body, node: Op, name: Optional[str]) -> str:
    """Write a word into a graph; returns the name of its result."""
    call = Call(body, node, name)
    if node.word == "layer":
        return _own(call, node, name)
    if node.word not in OPERATORS:
        raise call.refused(f"the word {node.word!r} has no form in ONNX; export to C, or compute it by other words")
    return OPERATORS[node.word](call, *node.args, **node.options)


def _own(call: Call, node: Op, name: Optional[str]) -> str:
    """Write a layer by the function of the user's own; returns the name of its result."""
    options: Any = node.options
    values = {key: np.asarray(value) for part in ("params", "buffers") for key, value in flatten(options[part]).items()}
    made = options["write"](call, options["layer"], values, *(call.read(x) for x in node.reads()))
    if made not in {out for one in call.body.nodes for out in one.output}:
        raise ExportError(
            f"{node.where}: its function in operators= returned {made!r}, expected the name of a value that it made: "
            "return call.op(KIND, x)"
        )
    return made if name in (None, made) else call.op("Identity", made)

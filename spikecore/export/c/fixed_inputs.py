"""The format of a network's input: as the user says, or that of the quantiser with which the network begins."""

from __future__ import annotations

from typing import Any, Dict, Optional

import numpy as np

from spikecore.api.core.graph import Op, Value
from spikecore.export.c.fixed import Fixed
from spikecore.export.errors import ExportError
from spikecore.export.step_graph import StepGraph

FOLLOWING = {"multiply": "add", "add": "floor", "floor": "clip"}  # the words of a quantiser


def input_format(graph: StepGraph, inputs: Any = None) -> Fixed:
    """The format of the input of a step.

    Args:
        graph: the step.
        inputs: "spikes" (0 and 1), a ``FixedPoint``, or None: the grid to which the network brings its input.

    Raises:
        ExportError: ``inputs`` is something else, or None and the network does not begin with a quantiser.
    """
    if inputs is None:
        inferred = _first_quantiser(graph)
        if inferred is None:
            raise ExportError(
                "the network does not begin with a quantiser, so it is not known which numbers come in: quantise it by "
                'sc.compression.quantize(model, inputs=8, ...); or pass inputs="spikes" for zeros and ones, or '
                "inputs=sc.compression.FixedPoint(8, 4), say: bits, and how many of them are behind the binary point"
            )
        return inferred
    if inputs == "spikes":
        return Fixed(0, 0, 1)
    if not hasattr(inputs, "limits") or not hasattr(inputs, "fraction"):
        raise ExportError(
            f'inputs={inputs!r} must be "spikes", a grid such as sc.compression.FixedPoint(8, 4), or None'
        )
    return Fixed(inputs.fraction, *inputs.limits)


def _first_quantiser(graph: StepGraph) -> Optional[Fixed]:
    """The grid to which the network brings its input before all else: clip(floor(2^f x + 1/2), low, high)."""
    readers, value, word = graph.readers(), graph.x, "multiply"
    chain: Dict[str, Op] = {}
    while "clip" not in chain:
        nodes = readers.get(value, [])
        if len(nodes) != 1 or value in graph.ends():
            return None
        (node,) = nodes
        value = node.out
        if node.word in ("reshape", "permute_dims"):
            continue
        if node.word != word:
            return None
        chain[word] = node
        word = FOLLOWING.get(word, "")
    scale, half = (_constant_of(chain[name]) for name in ("multiply", "add"))
    if scale is None or half != 0.5 or scale <= 0 or np.frexp(scale)[0] != 0.5:
        return None
    low, high = (float(np.asarray(end)) for end in chain["clip"].args[1:])
    return Fixed(int(np.frexp(scale)[1]) - 1, int(low), int(high))


def _constant_of(node: Op) -> Optional[float]:
    """The argument of a word of two that is a number."""
    numbers = [a for a in node.args if type(a) is not Value]
    return float(np.asarray(numbers[0]).ravel()[0]) if len(numbers) == 1 and np.size(numbers[0]) == 1 else None

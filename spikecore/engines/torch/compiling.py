"""Kernels inside ``torch.compile``: operators that the compiler passes through without looking inside.

Dynamo would trace the making of a kernel. What it sees instead is one call with tensors, numbers and words
(``nonstrict_trace``), behind which kernels are chosen as always, from the shapes of fake tensors. The neuron is named
by its number, because such a call takes no objects. Imported only where something compiles: it imports Dynamo.
"""

from __future__ import annotations

from typing import Any, Dict

import torch

from spikecore.api.core.engines import get_engine
from spikecore.api.core.tree import Params, State, flatten, nested
from spikecore.api.neurons.stepper import Stepper
from spikecore.engines.torch.operators import number_of, of_number


def _number(stepper: Stepper) -> int:
    return number_of(stepper)


# Dynamo takes what a function gives for a constant (``assume_constant_result``). Functions get no neurons from it,
# methods are called on the neuron itself, so this is one while Dynamo is in use.
_number._dynamo_marked_constant = True  # type: ignore[attr-defined]
Stepper._number = _number  # type: ignore[attr-defined]


def scan(
    engine: Any, stepper: Any, params: Params, state: State, inputs: Any, steps: int, record: Any, window: Any
) -> Any:
    """``Engine.scan``, called while Dynamo traces."""
    id(stepper)  # a guard: another neuron in its place compiles anew
    number = stepper._number() + 0  # a sum has no source that Dynamo would guard
    words = engine.device, engine.dtype, str(engine.fused), engine.truncation, ".".join(record)
    out, recorded, final = _scan(number, words, flatten(params), flatten(state), inputs, steps, window or 0)
    return out, State(recorded), State(final)


@torch._dynamo.nonstrict_trace  # type: ignore[attr-defined,untyped-decorator]
def _scan(
    number: int, words: Any, params: Dict[str, Any], state: Dict[str, Any], inputs: Any, steps: int, window: int
) -> Any:
    device, dtype, fused, truncation, record = words
    option: Any = {"fused": {"auto": "auto", "True": True}[fused], "sparse_backward": float(truncation)}
    engine = get_engine("torch", device=device, dtype=dtype, **option)
    held = {name: x if isinstance(x, torch.Tensor) else float(x) for name, x in params.items()}
    names = tuple(record.split(".")) if record else ()
    run = of_number(number), nested(held), State(nested(state)), inputs
    out, recorded, final = engine.scan(*run, steps=steps, record=names, window=window or None)
    return out, dict(recorded), dict(final)

"""Half precision from layer to layer, on devices whose kernels read and write it.

With ``precision="bf16"`` a product rounds its result to half precision, and the next one its input. Between them there
is often a neuron alone, whose arithmetic is in float32 in any case. So what lies between stays in half precision: the
same bits, in half the memory, and without the conversions.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

from spikecore.api.core.layer import Params, Pass, Result, Tree
from spikecore.api.core.lowering import Alone, Stage, Trees
from spikecore.api.layers.linear import Flatten, Linear
from spikecore.api.layers.spatial import Conv1d, Conv2d, Conv3d, MaxPool1d, MaxPool2d, MaxPool3d
from spikecore.api.neurons.stepper import Stepper
from spikecore.engines.stages import Maps

PRODUCTS = (Linear, Conv1d, Conv2d, Conv3d)
POOLS = (MaxPool1d, MaxPool2d, MaxPool3d)


@dataclass(frozen=True)
class Halves(Stage):
    """Stages from a product to a product, between which there is half precision."""

    stages: Tuple[Stage, ...]

    @property
    def covers(self) -> Tuple[str, ...]:
        return tuple(name for stage in self.stages for name in stage.covers)

    def run(self, run: Pass, params: Params, buffers: Tree, state: Optional[Tree], x: Any) -> Result:
        inner, trees = run, Trees()
        if not any(run.child(name).records for name in self.covers):  # records are in float32
            engine = copy.copy(run.engine)
            engine.xp = engine.halves
            inner = replace(run, engine=engine)
        *between, last = self.stages
        for stage in between:
            x = trees.update(stage.run(inner, params, buffers, state, x))
        return trees.result(trees.update(last.run(run, params, buffers, state, x)))

    def explain(self, engine: Any) -> str:
        lines = [f"\n  {' + '.join(stage.covers)}: {stage.explain(engine)}" for stage in self.stages]
        return f"{engine.precision} between these layers, too{''.join(lines)}"


def halved(stages: Sequence[Stage]) -> Tuple[Stage, ...]:
    """Stages in a row, of which those from a product to a later one are one, if all between keep half precision."""
    left: List[Stage] = list(stages)
    found: List[Stage] = []
    while left:
        kinds: Dict[int, str] = {}
        for i, stage in enumerate(left):
            kinds[i] = kind_of(stage)
            if not kinds[i]:
                break
        ends = [i for i, kind in kinds.items() if kind == "product"]
        count = ends[-1] + 1 if ends and kinds[0] == "product" else 1
        found.append(Halves(tuple(left[:count])) if count > 1 else left[0])
        left = left[count:]
    return tuple(found)


def kind_of(stage: Stage) -> str:
    """A "product", what may lie "between" products in half precision with the same bits, or ""."""
    layers = [layer for _, layer in stage.layers] if isinstance(stage, Maps) else [getattr(stage, "layer", None)]
    if not isinstance(stage, (Alone, Maps)) or not all(map(exact, layers)):
        return ""
    return "product" if any(type(layer) in PRODUCTS for layer in layers) else "between"


def exact(layer: Any) -> bool:
    """Whether a layer takes and gives half precision with the bits of float32: no sum of its own is in half precision.

    A maximum that several windows share would get a sum of their gradients.
    """
    if type(layer) in POOLS:
        return layer.stride is None or layer.stride == layer.kernel_size
    if isinstance(layer, Stepper):
        return layer.scans and not layer.parallel and not layer.projects
    return type(layer) in (*PRODUCTS, Flatten)

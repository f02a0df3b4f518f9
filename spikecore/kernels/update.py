"""An optimiser's update in one pass over memory, made from its ``rule``: the same operations, so the same bits."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np

from spikecore.api.core.graph import WordGraph
from spikecore.api.core.recorder import ElementWords, Symbol, Untraceable
from spikecore.kernels.elementwise import elementwise
from spikecore.kernels.form import without_constants
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import CHUNK
from spikecore.kernels.runtime.openmp import several


def update(
    optimizer: Any, param: Any, grad: Any, slots: Dict[str, Any], step: int, lr: float
) -> Tuple[Any, Dict[str, Any]]:
    """``optimizer.update`` on NumPy arrays of one dtype.

    Raises:
        Untraceable: its rule is more than elementwise, or a field of it cannot be hashed.
        ValueError: an array of another shape or dtype than the parameter: the kernel looks at no sizes.
    """
    for name, array in (("grad", grad), *slots.items()):
        if array.shape != param.shape or array.dtype != param.dtype:
            raise ValueError(
                f"{name} is {array.dtype} of shape {array.shape}, its parameter {param.dtype} of shape {param.shape}"
            )
    try:
        hash(optimizer)
    except TypeError as reason:
        raise Untraceable(str(reason)) from None
    now, number = optimizer.scalars(step, lr), param.dtype.type
    threads, arrays = several(param.size, CHUNK + 1), {"param": param, "grad": grad, **slots}
    kernel, constants = _kernel(optimizer, tuple(now), tuple(slots), str(param.dtype))
    reads = {name: np.ascontiguousarray(a) for name, a in arrays.items()}
    reads.update({f"now_{name}": number(value) for name, value in now.items()})
    outs = [allocator.empty(param.shape, param.dtype) for _ in kernel.outs]
    kernel(reads, constants, outs, threads)
    return outs[0], dict(zip(optimizer.slots, outs[1:]))


@Remembered
def _kernel(optimizer: Any, scalars: Tuple[str, ...], slots: Tuple[str, ...], dtype: str) -> Any:
    """The compiled rule, and its constants."""
    xp = ElementWords(WordGraph())

    def symbols(prefix: str, names: Tuple[str, ...]) -> Dict[str, Symbol]:
        return {name: xp.input(prefix + name) for name in names}

    begun, before, now = symbols("", ("param", "grad")), symbols("", slots), symbols("now_", scalars)
    param, after = optimizer.whole_rule(xp, begun["param"], begun["grad"], before, now)
    results = {"param": param.value, **{name: after[name].value for name in optimizer.slots}}
    graph, constants = without_constants(xp.graph)
    numbers = [f"now_{name}" for name in scalars]
    kernel = elementwise("update", graph, xp.graph.inputs, results, dtype, numbers=numbers)
    return kernel, np.array(constants, dtype)

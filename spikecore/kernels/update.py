"""An optimiser's update in one pass over memory, made from its ``rule``: the same operations, so the same bits."""

from __future__ import annotations

from typing import Any, Dict, Tuple

import numpy as np

from spikecore.kernels.emit import Source, chunks, constant_lines, load_lines, spelled, value_of
from spikecore.kernels.form import constants_in, without_constants
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.program import Program
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import build
from spikecore.kernels.sequence import several
from spikecore.kernels.trace import NotElementwise, Symbol, Words


def update(
    optimizer: Any, param: Any, grad: Any, slots: Dict[str, Any], step: int, lr: float
) -> Tuple[Any, Dict[str, Any]]:
    """``optimizer.update`` on NumPy arrays of one dtype.

    Raises:
        NotElementwise: its rule is more than elementwise, or a field of it cannot be hashed.
        ValueError: an array of another shape or dtype than the parameter: the kernel looks at no sizes.
    """
    for name, array in (("grad", grad), *slots.items()):
        if array.shape != param.shape or array.dtype != param.dtype:
            raise ValueError(
                f"{name} is {array.dtype} of shape {array.shape}, its parameter {param.dtype} of shape {param.shape}"
            )
    now = optimizer.scalars(step, lr)
    dtype = str(param.dtype)
    names = optimizer.slots
    try:
        hash(optimizer)
    except TypeError as reason:
        raise NotElementwise(str(reason)) from None
    kernel, constants = _kernel(optimizer, tuple(now), tuple(slots), dtype, several(param.shape))
    number = param.dtype.type
    arrays = [np.ascontiguousarray(a).reshape(-1) for a in (param, grad, *slots.values())]
    made = [allocator.empty(param.shape, param.dtype) for _ in range(1 + len(names))]
    kernel(*arrays, *(number(value) for value in now.values()), constants, *(a.reshape(-1) for a in made))
    return made[0], dict(zip(names, made[1:]))


@Remembered
def _kernel(optimizer: Any, scalars: Tuple[str, ...], slots: Tuple[str, ...], dtype: str, parallel: bool) -> Any:
    """The compiled rule, and its constants."""
    program = Program()

    def symbol(name: str) -> Symbol:
        return Symbol(program, program.input(name))

    held, now = {name: symbol(name) for name in slots}, {name: symbol(f"now_{name}") for name in scalars}
    param, after = optimizer.rule(Words(program), symbol("param"), symbol("grad"), held, now)
    results = {"param": param.value, **{name: after[name].value for name in optimizer.slots}}
    program, constants = without_constants(program)
    arrays = ("param", "grad", *slots)
    source = Source()
    names = (*arrays, *(f"now_{name}" for name in scalars), "constants", *(f"new_{name}" for name in results))
    source.add(0, f"def update({', '.join(names)}):")
    source.add(1, "count = param.shape[0]", *constant_lines(program))
    chunks(source, ())
    source.add(2, *(f"row_{a} = {a}[lo:hi]" for a in (*arrays, *(f"new_{name}" for name in results))))
    source.add(2, "for j in range(width):")
    ops, leaves = program.needed(results.values())
    loads = {**{a: f"row_{a}[j]" for a in arrays}, **{f"now_{name}": f"now_{name}" for name in scalars}}
    loads.update({name: name for name in constants_in(program)})
    source.add(3, *load_lines(program.inputs, leaves, loads), *(spelled(op, value_of) for op in ops))
    source.add(3, *(f"row_new_{name}[j] = {value_of(value)}" for name, value in results.items()))
    return build(source.text(), "update", dtype, parallel), np.array(constants, dtype)

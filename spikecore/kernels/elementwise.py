"""Straight-line programs over whole arrays, element by element: steps, steps backwards and optimisers alike."""

from __future__ import annotations

from typing import Any, Callable, Collection, Dict, Iterable, NamedTuple, Tuple

from spikecore.kernels.emit import Source, constant_lines, loads_of, spelled, value_of
from spikecore.kernels.program import Program
from spikecore.kernels.runtime.build import build


class Elementwise(NamedTuple):
    """A compiled program.

    Args:
        reads: names of what it reads: the function's first arguments. Behind them come the program's constants.
        outs: names of what it writes: the last arguments.
        function: of flat arrays, and of numbers.
    """

    reads: Tuple[str, ...]
    outs: Tuple[str, ...]
    function: Callable[..., Any]

    def __call__(self, given: Dict[str, Any], constants: Any, outs: Iterable[Any]) -> None:
        """Compute from arrays and numbers by name."""
        self.function(*[given[name] for name in self.reads], constants, *outs)


def elementwise(
    name: str, program: Program, inputs: Dict[str, int], outputs: Dict[str, Any], dtype: str, threads: bool, **how: Any
) -> Elementwise:
    """A program that is compiled for a type, on several threads or on one; the rest as for ``elementwise_source``."""
    reads, source = elementwise_source(name, program, inputs, outputs, **how)
    return Elementwise(reads, tuple(outputs), build(source, name, dtype, threads))


def elementwise_source(
    name: str,
    program: Program,
    inputs: Dict[str, int],
    outputs: Dict[str, Any],
    numbers: Collection[str] = (),
    added: Collection[str] = (),
) -> Tuple[Tuple[str, ...], str]:
    """The code of a program over chunks of elements, and the names of what it reads, in the order of its arguments.

    Args:
        name: of the function.
        program: the operations.
        inputs: values that are given, by name; of the others it computes those that it needs.
        outputs: values that it stores, by name.
        numbers: inputs that are one number for all elements.
        added: outputs that are added to what is there.
    """
    ops, leaves = program.needed([v for v in outputs.values() if type(v) is int], inputs.values())
    read = [given for given, value in inputs.items() if value in leaves]
    places = {given: given if given in numbers else f"row_{given}[j]" for given in read}
    rows = [*(given for given in read if given not in numbers), *(f"to_{out}" for out in outputs)]
    source = Source()
    source.add(0, f"def {name}({', '.join((*read, 'constants', *(f'to_{out}' for out in outputs)))}):")
    source.add(1, f"count = {rows[-1]}.shape[0]", *constant_lines(program))
    source.add(1, "for chunk in prange((count + CHUNK - 1) // CHUNK):", "    lo = chunk * CHUNK")
    source.add(2, "hi = min(count, lo + CHUNK)", *(f"row_{array} = {array}[lo:hi]" for array in rows))
    source.add(2, "for j in range(hi - lo):")
    source.add(3, *(f"v{inputs[given]} = {place}" for given, place in places.items()))
    source.add(3, *(f"v{value} = {place}" for value, place in loads_of(program, leaves, {}).items()))
    source.add(3, *map(spelled, ops))
    for out, value in outputs.items():
        source.add(3, f"row_to_{out}[j] {'+=' if out in added else '='} {value_of(value)}")
    return tuple(read), source.text()

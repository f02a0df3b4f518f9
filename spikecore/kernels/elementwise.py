"""Graphs of single elements over whole arrays: steps, steps backwards and optimisers alike.

One step of ``sc.Leaky(beta=0.9)``::

    def forward(worker, workers, table):                # the table has the number of elements, then addresses
        count, fixed = table[0], row(table[1])
        k_0 = fixed[0]
        s_0 = table[2]                                  # what is read: the state, the input
        x = table[3]
        to_out = table[4]                               # what is written: the output, the state after the step
        to_a_0 = table[5]
        for chunk in range(worker * chunks // workers, (worker + 1) * chunks // workers):
            row_s_0 = row(s_0 + lo * SIZE)
            for j in range(width):
                v0 = row_s_0[j]
                v2 = v0 > F(1.0)
                row_to_out[j] = v9
                row_to_a_0[j] = v7
"""

from __future__ import annotations

from array import array
from typing import Any, Collection, Dict, Iterable, List, NamedTuple, Tuple

import numpy as np

from spikecore.api.core.graph import Value, WordGraph
from spikecore.kernels.emit import Source, constant_lines, loads_of, spelled, value_of
from spikecore.kernels.runtime.build import KernelRecipe, kernel_of, recipe_of_run
from spikecore.kernels.runtime.openmp import most_threads


class Elementwise(NamedTuple):
    """A compiled graph that computes whole arrays at each call. It gets one table: the number of elements, and the
    addresses of its constants, of what it reads, and of what it writes.

    Args:
        reads: names of what it reads: arrays without gaps, or single numbers.
        outs: names of what it writes.
        recipe: what it is compiled from.
        dtype: of all arrays.
    """

    reads: Tuple[str, ...]
    outs: Tuple[str, ...]
    recipe: KernelRecipe
    dtype: str

    def __call__(self, given: Dict[str, Any], constants: Any, outs: Iterable[Any], threads: bool) -> None:
        """Compute from arrays and numbers by name, on several threads or on one."""
        written = [*outs]
        arrays = [constants, *(np.ascontiguousarray(given[name], self.dtype) for name in self.reads), *written]
        table = array("q", (written[-1].size, *map(address_of, arrays)))
        kernel_of(self.recipe, self.dtype).start(workers(threads), table.buffer_info()[0])


def arrays_of(step: Any, params: Dict[str, Any], shape: Tuple[int, ...]) -> List[Any]:
    """A step's parameters for kernels that take all neurons at once: a row of one value per neuron, or a number."""
    number = np.dtype(step.dtype).type
    return [
        np.ascontiguousarray(np.broadcast_to(params[name], shape), step.dtype).reshape(-1)
        if i in step.rows
        else number(np.reshape(params[name], ()))
        for i, name in zip(step.trace.params, step.params)
    ]


def workers(threads: bool) -> int:
    """Number of threads for a program."""
    return most_threads() if threads else 1


def address_of(a: Any) -> int:
    """Address of an array."""
    return int(a.__array_interface__["data"][0])


def elementwise(
    name: str, graph: WordGraph, inputs: Dict[str, Value], outputs: Dict[str, Any], dtype: str, **how: Any
) -> Elementwise:
    """The program for a graph and a dtype; other arguments as for ``elementwise_source``."""
    reads, source = elementwise_source(name, graph, inputs, outputs, **how)
    return Elementwise(reads, tuple(outputs), recipe_of_run(source, name, dtype), dtype)


def elementwise_source(
    name: str,
    graph: WordGraph,
    inputs: Dict[str, Value],
    outputs: Dict[str, Any],
    numbers: Collection[str] = (),
    added: Collection[str] = (),
) -> Tuple[Tuple[str, ...], str]:
    """The source of a function that computes a graph, and the names of what it reads, in the order of its table.

    Args:
        name: of the function.
        graph: the operations.
        inputs: values that are given, by name; of the others it computes those that it needs.
        outputs: values that it stores, by name.
        numbers: inputs that are one number for all elements.
        added: outputs that are added to what is there.
    """
    ops, leaves = graph.needed(outputs.values(), inputs.values())
    read = [input_name for input_name, value in inputs.items() if value in leaves]
    places = {each: f"number_{each}" if each in numbers else f"row_{each}[j]" for each in read}
    rows = [*(each for each in read if each not in numbers), *(f"to_{out}" for out in outputs)]
    source = Source()
    source.add(0, f"def {name}(worker, workers, table):")
    source.add(1, "count, fixed = table[0], row(table[1])", *constant_lines(graph, "fixed"))
    for i, array_name in enumerate((*read, *(f"to_{out}" for out in outputs)), 2):
        number = array_name in read and array_name in numbers
        source.add(1, f"number_{array_name} = row(table[{i}])[0]" if number else f"{array_name} = table[{i}]")
    source.add(1, "chunks = (count + CHUNK - 1) // CHUNK")
    source.add(1, "for chunk in range(worker * chunks // workers, (worker + 1) * chunks // workers):")
    source.add(2, "lo = chunk * CHUNK", "width = min(CHUNK, count - lo)")
    source.add(2, *(f"row_{each} = row({each} + lo * SIZE)" for each in rows), "for j in range(width):")
    source.add(3, *(f"{inputs[each]} = {place}" for each, place in places.items()))
    source.add(3, *(f"{value} = {place}" for value, place in loads_of(graph, leaves, {}).items()))
    source.add(3, *map(spelled, ops))
    for out, value in outputs.items():
        target = f"row_to_{out}[j]"
        source.add(3, f"{target} = {target} + {value_of(value)}" if out in added else f"{target} = {value_of(value)}")
    return tuple(read), source.text()

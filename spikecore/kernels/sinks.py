"""Sinks, which store or multiply the spikes of a chunk where they are made: a part of the kernels of whole runs.

``Sink`` itself writes one line for each of the two steps at once: where their spikes go in memory::

    row_0_out = row(out + ((t + 0) * step_out + lo) * SIZE)
    row_1_out = row(out + ((t + 1) * step_out + lo) * SIZE)

``readout.py``, ``sparse/packed.py`` and ``large.py`` have others.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, Sequence, Tuple

from spikecore.kernels.emit import row_code
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import CHUNK, EVERY, KernelRecipe
from spikecore.kernels.runtime.openmp import most_threads, several

PAIR = 2  # steps at once; four are little faster than two, and large steps then no longer vectorise
LONG = 8 * CHUNK
MANY = 64  # chunks that are enough for all cores
CORES = os.cpu_count() or 1


def workers(shape: Tuple[int, ...]) -> int:
    """Number of threads that a run over a layer of ``shape``, batch included, is worth: one where it is one chunk."""
    return most_threads() if several(math.prod(shape), CHUNK + 1) else 1


@dataclass(frozen=True)
class Sink:
    """The use that a kernel makes of spikes: here they go to memory, and the gradients by them come from there.

    A kernel takes a chunk of neurons through time, ``PAIR`` steps at once: it makes the spikes of these steps, one
    array after the other, and hands them to the sink. Backwards it takes the gradients by them from the sink.

    The first methods return code: lines, or where an array begins. In it ``k`` is one of the steps that are done at
    once and ``t`` its number in the run. The others are about the arrays that this code works on.
    """

    params: ClassVar[Tuple[str, ...]] = ()  # names of what a sink needs besides the spikes, as engines hand it in
    unread: ClassVar[Tuple[str, ...]] = ()  # those of which the way back does not read the values
    every: ClassVar[int] = EVERY  # steps of a block, see sequence_numba.py
    numbers: ClassVar[Tuple[str, ...]] = ()  # names of the integers it needs
    remakes: ClassVar[bool] = False  # whether spikes are made once more on the way back, in place of their gradients
    first_chunk: ClassVar[str] = "{worker} * chunks // workers"

    def behind(self, back: bool) -> Tuple[str, ...]:
        """Names of the sink's arrays, which follow the kernel's other arrays in its table."""
        return ()

    def chunk(self, back: bool) -> List[str]:
        """Code before the first step of a chunk."""
        return []

    def spikes(self, array: str, k: int, t: str) -> str:
        """The place of the spikes ("out"), or of the gradients by them ("g")."""
        return row_code(array, t)

    def row(self, array: str, k: int = 0, t: str = "") -> str:
        """The place of row t of another array that is written, or of x; without t, of a row of neurons."""
        return row_code(array, t)

    def ahead(self, array: str, t: str, lo: str = "lo", rows: int = PAIR) -> List[str]:
        """Code before some steps: rows of an array that are read next, from t on, of the chunk that begins at lo."""
        return []

    def written(self, arrays: Sequence[str], steps: Sequence[str]) -> List[str]:
        """Code after rows of these steps, or of neurons, are written."""
        return []

    def end(self, states: Sequence[str]) -> List[str]:
        """Code after the last step of a chunk, one level in, and after the last chunk."""
        return []

    def made(self, k: int, t: str) -> List[str]:
        """Code after the spikes of a step are made."""
        return []

    def block(self) -> List[str]:
        """Code before a block of steps, backwards."""
        return []

    def gradients(self, k: int, t: str) -> List[str]:
        """Code before the gradients by the spikes of a step are read."""
        return []

    def remade(self, k: int, t: str) -> List[str]:
        """Code after a step backwards."""
        return []

    def block_end(self) -> List[str]:
        """Code after a block of steps, backwards."""
        return []

    def wanting(self, params: Tuple[str, ...]) -> Sink:
        """The sink of a run backwards that makes the gradients by ``params``."""
        return self

    def out_shape(self, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        """Shape of one step's output, from that of its input."""
        return shape

    def out(self, shape: Tuple[int, ...], steps: int, dtype: str) -> Any:
        """The array for the outputs of all steps."""
        return allocator.empty((steps, *self.out_shape(shape)), dtype)

    def chunk_of(self, shape: Tuple[int, ...], back: bool = False, steps: int = EVERY) -> int:
        """Number of neurons of a run at once. Forwards rows are read and written, so the longer, the better, if there
        are some for each core; backwards a chunk's states must fit the cache, and those of few steps take less of it.
        """
        if back:
            longer = CHUNK * max(1, min(4, (EVERY + 1) // (steps + 1)))
            return longer if math.prod(shape) >= MANY * longer else CHUNK
        return LONG if math.prod(shape) >= 2 * LONG * CORES else CHUNK

    def table(self, shape: Tuple[int, ...], dtype: str, back: bool) -> Tuple[int, ...]:
        """The values of ``numbers``."""
        return ()

    def recipes(self, dtype: str, back: bool) -> List[KernelRecipe]:
        """The C functions that kernels call for it."""
        return []

    def room(self, shape: Tuple[int, ...]) -> int:
        """Number of elements of scratch memory for each worker, before the states."""
        return 0

    def arrays(self, params: Dict[str, Any], shape: Tuple[int, ...], dtype: str, back: bool) -> List[Any]:
        """The arrays ``behind`` the others."""
        return []

    def results(self, arrays: Sequence[Any], shape: Tuple[int, ...]) -> Dict[str, Any]:
        """The gradients by ``params``, from ``arrays`` after a run backwards."""
        return {}

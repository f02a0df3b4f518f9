"""A sink that multiplies: a neuron and the narrow Linear behind it in one run, and spikes are never stored.

A readout's few sums over many spikes cost the way of the spikes to memory and back, and once more for their gradients.
Here a chunk is some whole rows of neurons. Two steps' spikes of it are made in first-level cache, multiplied by the
weights (``tiles.py``) and forgotten. Backwards the gradients by two steps' spikes are made there, then used by the
neuron's step backwards, which makes the spikes once more in their place, for the gradient by the weights.

Sums over samples and steps, as the gradient by the weights is one, are those of some chunks each, of at most ``PARTS``
parts, added up in order: threads do not change the bits.

What it adds to the forward kernel of ``sequence_numba.py``, with three outs: spikes go to a row of their own, and after
two steps the compiled products of ``tiles.py`` are called::

    spikes_0 = spikes + (worker * step_spikes + 0 * chunk) * SIZE
    for t in range(begin, begin + length - 1, 2):
        row_0_out = row(spikes_0)
        row_1_out = row(spikes_1)
        call(product, spikes_0, weight, bias, out + ((t + 0) * step_out + rows_before * 3) * SIZE,
        call(product, spikes_1, weight, bias, out + ((t + 1) * step_out + rows_before * 3) * SIZE,
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, Sequence, Tuple

import numpy as np

from spikecore.kernels.emit import filled
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import KernelRecipe
from spikecore.kernels.sinks import PAIR, Sink, workers
from spikecore.kernels.tiles import TILES, VECTOR, recipe_of, tile, wide

WEIGHT, BIAS = "(weight)", "(bias)"  # no names that a neuron's parameters can have
MOST = 16  # outs; beyond it libraries do well
CHUNK = 4096  # neurons at once, about
ROWS = 4  # of them, or a multiple
SHORTEST, LONGEST = 64, 2 * CHUNK  # neurons of a row
PARTS = 32  # how many threads a run can use, and sums of the weight's size it makes


@dataclass(frozen=True)
class Multiply(Sink):
    """Products of the spikes with a weight, plus a bias, instead of the spikes.

    Args:
        outs: rows of the weight.
        learned: whether the gradients by weight and bias are asked for.
    """

    outs: int
    learned: bool = True

    params: ClassVar[Tuple[str, ...]] = (WEIGHT, BIAS)
    unread: ClassVar[Tuple[str, ...]] = (BIAS,)
    every: ClassVar[int] = 16  # 272 KB for each state of a chunk
    numbers: ClassVar[Tuple[str, ...]] = ("inner", "wide", "parts", *TILES)
    first_chunk: ClassVar[str] = "{worker} * parts // workers * chunks // parts"

    @property
    def remakes(self) -> bool:  # type: ignore[override]
        return self.learned

    def behind(self, back: bool) -> Tuple[str, ...]:
        return (*(["gw"] if self.learned else []), "weight", "spikes") if back else ("weight", "bias", "spikes")

    def chunk(self, back: bool) -> List[str]:
        lines = ["rows_done, rows_before = width // inner, lo // inner"]
        lines += [f"spikes_{k} = spikes + (worker * step_spikes + {k} * chunk) * SIZE" for k in range(PAIR)]
        if not (back and self.learned):
            return lines
        return [
            *lines,
            f"recent_at, size = room, {self.outs} * wide + {VECTOR}",  # sums of a block lie before its states
            "recent, room = row(recent_at), room + size * SIZE",
            "part = ((own + 1) * parts - 1) // chunks",
            "sums = row(gw + part * step_gw * SIZE)",
            "if own == part * chunks // parts:",
            *(f"    {line}" for line in filled("sums", "F(0.0)", "size")),
        ]

    def spikes(self, array: str, k: int, t: str) -> str:
        return f"row(spikes_{k})"

    def made(self, k: int, t: str) -> List[str]:
        return [f"call(product, spikes_{k}, weight, bias, {self._products('out', t)}, rows_done, inner, wide)"]

    def block(self) -> List[str]:
        return filled("recent", "F(0.0)", "size") if self.learned else []

    def gradients(self, k: int, t: str) -> List[str]:
        return [f"call(by_rows, {self._products('g', t)}, weight, spikes_{k}, rows_done, inner, wide)"]

    def remade(self, k: int, t: str) -> List[str]:
        if not self.learned:
            return []
        return [f"call(by_weight, {self._products('g', t)}, spikes_{k}, recent_at, rows_done, inner, wide)"]

    def block_end(self) -> List[str]:
        """Code that adds the sums of a block to those of the part: sums over all steps at once would lose digits."""
        return filled("sums", "sums[j] + recent[j]", "size") if self.learned else []

    def _products(self, array: str, t: str) -> str:
        """The address of the chunk's part of row ``t`` of products, or of the gradients by them."""
        return f"{array} + (({t}) * step_{array} + rows_before * {self.outs}) * SIZE"

    def wanting(self, params: Tuple[str, ...]) -> Multiply:
        return Multiply(self.outs, not {WEIGHT, BIAS}.isdisjoint(params))

    def out_shape(self, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        return (*shape[:-1], self.outs)

    def chunk_of(self, shape: Tuple[int, ...], back: bool = False, steps: int = 0) -> int:
        """Number of neurons of a run at once: whole rows, four or more where they are not too long."""
        inner = shape[1]
        rows = CHUNK // inner // ROWS * ROWS
        return (rows or max(1, CHUNK // inner)) * inner

    def table(self, shape: Tuple[int, ...], dtype: str, back: bool) -> Tuple[int, ...]:
        needed = self._tiles(back)
        of = (tile(name, self.outs, dtype).address if name in needed else 0 for name in TILES)
        return (shape[1], wide(shape[1]), self._parts(shape), *of)

    def recipes(self, dtype: str, back: bool) -> List[KernelRecipe]:
        return [recipe_of(name, self.outs, dtype) for name in self._tiles(back)]

    def _tiles(self, back: bool) -> Tuple[str, ...]:
        return ("by_rows", *(["by_weight"] if self.learned else [])) if back else ("product",)

    def room(self, shape: Tuple[int, ...]) -> int:
        return self.outs * wide(shape[1]) + VECTOR  # the gradient by the bias behind that by the weight

    def arrays(self, params: Dict[str, Any], shape: Tuple[int, ...], dtype: str, back: bool) -> List[Any]:
        sums = [allocator.empty((self._parts(shape), self.room(shape)), dtype)] if back and self.learned else []
        factors = [np.ascontiguousarray(params[name], dtype) for name in ((WEIGHT,) if back else (WEIGHT, BIAS))]
        # as much is read behind the spikes of all steps that are done at once
        spikes = allocator.empty((workers(shape), PAIR * self.chunk_of(shape) + 2 * VECTOR), dtype)
        return [*sums, *factors, spikes]

    def results(self, arrays: Sequence[Any], shape: Tuple[int, ...]) -> Dict[str, Any]:
        if not self.learned:
            return {}
        with np.errstate(over="ignore", invalid="ignore"):  # what lies between rows means nothing
            total = arrays[0].sum(axis=0)
        whole = self.room(shape) - VECTOR
        rows = total[:whole].reshape(self.outs, -1)[:, : shape[1]]
        return {WEIGHT: np.ascontiguousarray(rows), BIAS: total[whole : whole + self.outs]}

    def _parts(self, shape: Tuple[int, ...]) -> int:
        """In how many parts the chunks are shared out."""
        return max(1, min(PARTS, -(-shape[0] * shape[1] // self.chunk_of(shape))))


def fits(shape: Tuple[int, ...], weight: Tuple[int, ...]) -> bool:
    """Whether a run of (time, batch, neurons) is worth these kernels with a weight of this shape, and can have them."""
    if len(shape) != 3 or 0 in shape or len(weight) != 2 or weight[1] != shape[2]:
        return False
    return 1 <= weight[0] <= MOST and SHORTEST <= weight[1] <= LONGEST


def bias_fits(weight: Any, bias: Any) -> bool:
    """Whether a bias, if there is one, has a value for each row of a weight; others are a library's to refuse."""
    return bias is None or tuple(bias.shape) == tuple(weight.shape[:1])

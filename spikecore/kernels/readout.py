"""A neuron and the narrow Linear behind it in one run: spikes are weighed where they are made.

A readout's few sums over many spikes cost the way of the spikes to memory and back, and once more for their gradients.
Here a chunk is some whole rows of neurons. Two steps' spikes of it are made in first-level cache, multiplied by the
weights (``tiles.py``) and forgotten. Backwards the gradients by two steps' spikes are made there, then used by the
neuron's step backwards, which makes the spikes once more in their place, for the gradient by the weights.

Sums over samples and steps, as the gradient by the weights is one, are those of some chunks each, of at most ``PARTS``
parts, added up in order: threads do not change the bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Dict, List, Optional, Sequence, Tuple

import numpy as np

from spikecore.kernels.form import numbers_of
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.runtime import allocator
from spikecore.kernels.runtime.build import build_run
from spikecore.kernels.sequence import Fused, Gradients, Made, flat, reduced, workers
from spikecore.kernels.sequence_numba import PAIR, TILES, Wanted, backward_source, forward_source
from spikecore.kernels.tiles import VECTOR, tile, wide

WEIGHT, BIAS = "(weight)", "(bias)"  # no names that a neuron's parameters can have
MOST = 16  # outs; beyond it libraries do well
CHUNK = 4096  # neurons at once, about
ROWS = 4  # of them, or a multiple
SHORTEST, LONGEST = 64, 2 * CHUNK  # neurons of a row
PARTS = 32  # how many threads a run can use, and sums of the weight's size it makes
EVERY = 16  # see runs.py; 272 KB for each state of a chunk


@dataclass(frozen=True)
class Narrow:
    """Kernels of a neuron with weight and bias behind it; called like ``Fused``.

    Args:
        part: kernels of the neuron.
        outs: rows of the weight.
    """

    part: Fused
    outs: int

    shares: ClassVar[bool] = False
    unread: ClassVar[Tuple[str, ...]] = (BIAS,)

    @property
    def states(self) -> Tuple[str, ...]:
        """Names of the states, in order."""
        return self.part.states

    @property
    def params(self) -> Tuple[str, ...]:
        """Names of the parameters that are arrays."""
        return (WEIGHT, BIAS, *self.part.params)

    @property
    def record(self) -> Tuple[str, ...]:
        """Names of the states that are returned for every step: a neuron that is recorded shows its spikes, too."""
        return ()

    def out_shape(self, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        """Shape of one step's output, from that of its input."""
        return (*shape[:-1], self.outs)

    def forward(self, x: Any, state: Sequence[Any], params: Dict[str, Any], steps: int, keep: bool = True) -> Made:
        """A run of ``steps`` steps; ``keep`` says that a backward run will follow."""
        part, shape = self.part, tuple(x.shape[1:])
        out = allocator.empty((steps, *self.out_shape(shape)), part.dtype)
        final = [allocator.empty(shape, part.dtype) for _ in state]
        kept = [allocator.empty(s, part.dtype) for s in self.saved_shapes(steps if keep else 0, shape)]
        first = (part.start_of(s) for s in state)
        arrays = part.rows_of(x), *part.held(params, shape), *first, flat(out), *final
        held = *map(flat, kept), self.array(params[WEIGHT]), self.array(params[BIAS]), self.spikes(shape)
        numbers = self.numbers(steps, shape, int(keep), ("product",))
        forward_of(part, self.outs)(workers(shape), numbers, (*arrays, *held))
        return Made(out, [], final, tuple(kept) if keep else ())

    def saved_shapes(self, steps: int, shape: Tuple[int, ...]) -> List[Tuple[int, ...]]:
        """Shapes of what ``forward`` saves: the states before every block of steps."""
        return [((steps + EVERY - 1) // EVERY, *shape) for _ in self.states]

    def backward(
        self,
        x: Any,
        state: Sequence[Any],
        params: Dict[str, Any],
        g: Any,
        g_recorded: Sequence[Any],
        g_final: Sequence[Any],
        by_x: bool,
        by_params: Tuple[str, ...],
        window: Optional[int],
        saved: Tuple[Any, ...] = (),
    ) -> Gradients:
        """Gradients by input, first state and the parameters named in ``by_params``; ``saved``: of ``forward``."""
        part, shape, steps = self.part, tuple(x.shape[1:]), g.shape[0]
        own, summed = tuple(p for p in by_params if p in part.params), x.shape[0] == 1 < steps
        weight, by = not {WEIGHT, BIAS}.isdisjoint(by_params), numbers_of(part.params, own)
        wanted = Wanted(("sum" if summed else "rows") if by_x else "", by, weight)
        gx = allocator.empty(x.shape if by_x else (1, 1), part.dtype)
        ginit, sums = ([allocator.empty(shape, part.dtype) for _ in some] for some in (g_final, own))
        numbers = self.numbers(steps, shape, window or 0, ("by_rows", *(["by_weight"] if wanted.weight else [])))
        whole = self.outs * wide(shape[1])
        size = whole + VECTOR  # the gradient by the bias behind that by the weight
        by_weight = [allocator.empty((_parts(shape), size), part.dtype)] if wanted.weight else []
        room = len(self.states) * (EVERY + 1) * numbers[2] + size
        scratch = allocator.empty((workers(shape), room + -room % VECTOR), part.dtype)
        kept = *(part.rows_of(a) for a in saved), scratch, *map(part.start_of, g_final)
        arrays = part.rows_of(x), *part.held(params, shape), part.rows_of(g), *kept, *ginit, flat(gx), *sums
        held = *by_weight, self.array(params[WEIGHT]), self.spikes(shape)
        backward_of(part, self.outs, wanted)(workers(shape), numbers, (*arrays, *held))
        found = {name: reduced(total, np.shape(params[name])) for name, total in zip(own, sums)}
        for shares in by_weight:
            with np.errstate(over="ignore", invalid="ignore"):  # what lies between rows means nothing
                total = shares.sum(axis=0)
            rows = total[:whole].reshape(self.outs, -1)[:, : shape[1]]
            found.update({WEIGHT: np.ascontiguousarray(rows), BIAS: total[whole : whole + self.outs]})
        return Gradients(gx if by_x else None, ginit, found)

    def numbers(self, steps: int, shape: Tuple[int, ...], option: int, products: Sequence[str]) -> Tuple[int, ...]:
        """The numbers with which a kernel's table begins; ``products`` are those of ``TILES`` that it needs."""
        of = (tile(name, self.outs, self.part.dtype).address if name in products else 0 for name in TILES)
        return steps, shape[0] * shape[1], chunk_of(shape), option, shape[1], wide(shape[1]), _parts(shape), *of

    def array(self, x: Any) -> Any:
        """Weight or bias, without gaps."""
        return np.ascontiguousarray(x, self.part.dtype)

    def spikes(self, shape: Tuple[int, ...]) -> Any:
        """Room for the spikes of each worker's chunk, of steps done at once, and for what is read behind them."""
        return allocator.empty((workers(shape), PAIR * chunk_of(shape) + 2 * VECTOR), self.part.dtype)


def fits(shape: Tuple[int, ...], weight: Tuple[int, ...]) -> bool:
    """Whether a run of (time, batch, neurons) is worth these kernels with a weight of this shape, and can have them."""
    if len(shape) != 3 or 0 in shape or len(weight) != 2 or weight[1] != shape[2]:
        return False
    return 1 <= weight[0] <= MOST and SHORTEST <= weight[1] <= LONGEST


def bias_fits(weight: Any, bias: Any) -> bool:
    """Whether a bias, if there is one, has a value for each row of a weight; others are a library's to refuse."""
    return bias is None or tuple(bias.shape) == tuple(weight.shape[:1])


def chunk_of(shape: Tuple[int, ...]) -> int:
    """How many neurons a run does at once: whole rows, four or more where they are not too long."""
    inner = shape[1]
    rows = CHUNK // inner // ROWS * ROWS
    return (rows or max(1, CHUNK // inner)) * inner


def _parts(shape: Tuple[int, ...]) -> int:
    """In how many parts the chunks are shared out."""
    return max(1, min(PARTS, -(-shape[0] * shape[1] // chunk_of(shape))))


@Remembered
def forward_of(part: Fused, outs: int) -> Any:
    """The compiled forward run."""
    return build_run(forward_source(part.program(outs)), "forward", part.dtype, EVERY)


@Remembered
def backward_of(part: Fused, outs: int, wanted: Wanted) -> Any:
    """The compiled backward run."""
    source = backward_source(part.program(outs), part.form.adjoint, wanted)
    return build_run(source, "backward", part.dtype, EVERY)

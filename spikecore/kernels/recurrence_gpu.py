"""Dense recurrence on a GPU: at each step a matrix product, and everything else of the step in one kernel.

``recurrence.py`` has the equations. The kernels read the product P[t] in place of the spikes that return. A step of
``sc.Recurrent(sc.Leaky(beta=0.9), sc.Linear(n, n, bias=False))``, forwards, in CUDA C::

    const F v1 = F(product[t * step_product + i]);          // P[t]
    const F v2 = F(kept_1[t * step_kept_1 + i]);          // U[t-1]
    const F v3 = F(x[t * step_x + i]);
    const F v4 = v3 + v1;
    kept_0[(t + 1) * step_kept_0 + i] = F(v12);           // S[t], which the next product reads
    kept_1[(t + 1) * step_kept_1 + i] = F(v10);           // U[t]

and backwards::

    const F v13 = F(g[t * step_g + i]);                     // the gradient by S[t], of the layers behind
    const F v14 = F(c_0[i]);                                // the same, of the step behind: a product
    gp_product[t * count + i] = F(v22);                     // the gradient by P[t], which the next product reads
    c_1[i] = F(v25);                                        // the gradient by U[t-1]
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Callable, ClassVar, Dict, List, Sequence, Tuple

from spikecore.kernels.base import Gradients, Kernels, Request, Results, Upstream, Wanted, reduced
from spikecore.kernels.device import OnDevice, named
from spikecore.kernels.form import WEIGHT, Step, indices_of, reads_products
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.sequence_gpu import GpuKernelBody, GpuSource
from spikecore.kernels.target import Target


@dataclass(frozen=True, eq=False)
class RecurrenceOnDevice(Kernels):
    """Kernels of one step for ``Recurrent(neuron, Linear)``.

    Args:
        step: the elementwise part; its first state is P[t] before the step and S[t] after it.
        kind: the class of kernels for the device.
    """

    kind: Any

    by_step: ClassVar[bool] = True
    shares: ClassVar[bool] = True  # spikes and recorded states are what it saves

    @property
    def language(self) -> str:  # type: ignore[override]  # a property in place of a constant
        return str(self.kind.language)

    @property
    def params(self) -> Tuple[str, ...]:
        return (WEIGHT, *self.step.params)

    def forward(self, request: Request, keep: bool = True) -> Results:
        device, step, x, shape, steps = on(self), self.step, request.inputs, request.shape, request.steps
        full = [keep or s == "spk" or s in step.record for s in self.states]
        rows = [device.empty(x, (1 + steps * f, *shape), True) for f in full]  # row 0 before the first step
        for its_rows, first in zip(rows, request.state):
            its_rows[0] = first
        products = device.empty(x, (steps if keep and reads_products(step) else 1, *shape), True)
        over_time = {"x": x, "product": products, **named("kept", step.trace.states, rows)}
        start = _starter(device, forward_step(device), device.given(request), over_time)
        across, spikes, into = request.params[WEIGHT].T, _matrices(rows[0]), _matrices(products)
        for t in range(steps):
            device.multiply(spikes[t], across, into[t % len(into)])
            start(t)
        final = [device.empty(x, shape, True) for _ in rows]
        for last, its_rows in zip(final, rows):
            last[...] = its_rows[-1]  # no view: it would keep the whole run alive
        results = dict(zip(self.states, map(device.without_first, rows)))
        out = device.cast(results["spk"], x.dtype)
        return Results(out, [results[s] for s in self.record], final, (products, *rows) if keep else ())

    def saved_shapes(self, steps: int, shape: Tuple[int, ...]) -> List[Tuple[int, ...]]:
        """Shapes of the products, and of the states before the first step and after each."""
        products = steps if reads_products(self.step) else 1
        return [(n, *shape) for n in (products, *(steps + 1 for _ in self.states))]

    def backward(self, request: Request, upstream: Upstream, wanted: Wanted) -> Gradients:
        device, step, x, shape = on(self), self.step, request.inputs, request.shape
        names = tuple(p for p in wanted.params if p != WEIGHT)
        by, sum_x = indices_of(step.params, names), wanted.inputs and request.constant
        by_product = device.empty(x, (request.steps, *shape), True)
        carry = [device.empty(x, shape, True) for _ in self.states]
        sums = [device.empty(x, shape, True) for _ in (*by, *(["x"] if sum_x else []))]
        for array, first in zip((*carry, *sums), (*upstream.final, *(None for _ in sums))):
            if first is None:
                device.clear(array)
            else:
                array[...] = first
        products, *rows = upstream.saved
        arrays = {**device.given(request), "gp_product": by_product, **named("c", step.trace.states, carry)}
        arrays.update({**named("gp", by, sums), **({"gp_x": sums[-1]} if sum_x else {})})
        over_time = {"x": x, "product": products, **named("kept", step.trace.states, rows), "g": upstream.outputs}
        over_time.update(named("r", step.recorded, upstream.recorded))
        start = _starter(device, backward_step(device, by, sum_x), arrays, over_time)
        weight, by_products, back = request.params[WEIGHT], _matrices(by_product), _matrices(carry[0][None])[0]
        for t in range(request.steps - 1, -1, -1):
            start(t)
            device.multiply(by_products[t], weight, back)
            if wanted.window and t and t % wanted.window == 0:
                for c in carry:
                    device.clear(c)
        wide = [device.cast(total, "float64") for total in sums[: len(by)]]
        by_params = {
            p: device.cast(reduced(s, tuple(request.params[p].shape)), request.params[p].dtype)
            for p, s in zip(names, wide)
        }
        if WEIGHT in wanted.params:
            by_params[WEIGHT] = device.empty(x, tuple(weight.shape), True)
            g, spikes = (a.reshape(-1, shape[-1]) for a in (by_product, rows[0][:-1]))
            device.multiply(g.T, spikes, by_params[WEIGHT])
        by_x = sums[-1][None] if sum_x else by_product
        return Gradients(device.cast(by_x, x.dtype) if wanted.inputs else None, carry, by_params)


@Remembered
def on(kernels: RecurrenceOnDevice) -> OnDevice:
    """The arrays and kernels of the device."""
    return kernels.kind(kernels.step)  # type: ignore[no-any-return]


def _matrices(rows: Any) -> Sequence[Any]:
    """The rows of an array over time as matrices (batch, neurons)."""
    return [row.reshape(-1, row.shape[-1]) for row in rows]


def _starter(
    device: OnDevice, kernel: GpuSource, arrays: Dict[str, Any], rows: Dict[str, Any]
) -> Callable[[int], None]:
    """A function that does a step, given its number."""
    x, count = rows["x"], math.prod(rows["x"].shape[1:])
    numbers = {"count": count, **device.place_rows(kernel, arrays, rows)}
    ordered = [arrays[name] for name in kernel.arrays]

    def start(t: int) -> None:
        if count:
            device.start(kernel, ordered, [t if name == "t" else numbers[name] for name in kernel.numbers], x, count)

    return start


@Remembered
def forward_step(device: OnDevice) -> GpuSource:
    """The kernel of a step, but for the product."""
    trace, body = device.step.trace, _body(device)
    ops, leaves = trace.graph.needed([trace.output, *trace.after])
    body.params(leaves)
    body.read_now(leaves, {"x": "x", **_before(device.step)})
    body.ops(ops)
    for s, value in zip(trace.states, trace.after):
        body.store(f"kept_{s}", body.now(f"kept_{s}", "(t + 1)"), value)
    return body.kernel("forward")


@Remembered
def backward_step(device: OnDevice, by_params: Tuple[str, ...], sum_x: bool) -> GpuSource:
    """The kernel of a step backwards, but for the product; see ``backward_kernel``.

    ``sum_x``: the input is the same at every step, and its gradient is wanted.
    """
    step, body = device.step, _body(device)
    states, (results, ops, leaves) = step.trace.states, step.way_back(False, by_params)
    body.params(leaves)
    over_time = {name: name for name in ("x", "g", *(f"r_{s}" for s in states))}
    body.read_now(leaves, {**over_time, **_before(step)})
    carried = (f"c_{s}" for s in states)
    body.inputs(leaves, {c: body.load(c, "i") for c in carried if body.graph.inputs.get(c) in leaves})
    after = {step.known[f"a_{s}"]: s for s in states if step.known.get(f"a_{s}") in leaves}
    for value, s in after.items():
        body.fixed(value, body.load(f"kept_{s}", body.now(f"kept_{s}", "(t + 1)")))
    body.ops(ops)
    body.store("gp_product", "t * count + i", results[f"s_{states[0]}"])
    for s in states[1:]:
        body.store(f"c_{s}", "i", results[f"s_{s}"])
    sums = {f"gp_{p}": results[f"p_{p}"] for p in by_params}
    for array, value in {**sums, **({"gp_x": results[f"s_{states[0]}"]} if sum_x else {})}.items():
        body.store(array, "i", f"{body.load(array, 'i')} + {body.target.value(value)}")
    return body.kernel("backward")


def _before(step: Step) -> Dict[str, str]:
    """The arrays that a step reads for its states; its first state is the product."""
    first, *others = step.trace.states
    return {f"s_{first}": "product", **{f"s_{s}": f"kept_{s}" for s in others}}


class GpuStepBody(GpuKernelBody):
    """Lines of a kernel for one step ``t``."""

    def __init__(self, target: Target, step: Step) -> None:
        super().__init__(target, step)
        self.numbers.append("t")

    def now(self, array: str, t: str = "t") -> str:
        """The place of an element in the row ``t`` of an array, whose rows may be the same at every step."""
        name = f"step_{array}"
        self.numbers += [] if name in self.numbers else [name]
        return f"{t} * {name} + i"

    def read_now(self, leaves: Any, arrays: Dict[str, str]) -> None:
        """Read the inputs of a step from arrays over time, named by input."""
        for name, value in self.graph.inputs.items():
            if value in leaves and name in arrays:
                self.fixed(value, self.load(arrays[name], self.now(arrays[name])))


def _body(device: OnDevice) -> GpuStepBody:
    return GpuStepBody(device.target(device.step.dtype), device.step)

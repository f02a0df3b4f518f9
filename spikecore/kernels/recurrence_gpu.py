"""Dense recurrence on a GPU: at each step a matrix product, and everything else of the step in one kernel.

``recurrence.py`` has the equations. The kernels read the product P[t] in place of the spikes that return; ``gated.py``
says what an LSTM, which has several products for each neuron, has in their place. A step of
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
from typing import Any, Callable, ClassVar, Dict, List, NamedTuple, Sequence, Tuple

from spikecore.kernels.base import Gradients, Kernels, Request, Results, Upstream, Wanted, reduced
from spikecore.kernels.device import OnDevice, named
from spikecore.kernels.form import WEIGHT, Step, indices_of, reads_products
from spikecore.kernels.lifetimes import Remembered
from spikecore.kernels.sequence_gpu import GpuKernelBody, GpuSource
from spikecore.kernels.target import Target


class Feedback(NamedTuple):
    """The product of a step.

    Args:
        weight: the name of its weight.
        state: the state that it reads.
        gates: products for each neuron, in rows behind each other, each to be added to as many inputs. They take the
            place of the part's first states, which are in front of the neuron's own. 0: one, for the first state.
    """

    weight: str = WEIGHT
    state: str = "spk"
    gates: int = 0


@dataclass(frozen=True, eq=False)
class RecurrenceOnDevice(Kernels):
    """Kernels of one step for ``Recurrent(neuron, Linear)`` and LSTMs.

    Args:
        step: the elementwise part; its first state is P[t] before the step and S[t] after it, or see ``feedback``.
        kind: the class of kernels for the device.
        feedback: the product.
    """

    kind: Any
    feedback: Feedback = Feedback()

    by_step: ClassVar[bool] = True
    shares: ClassVar[bool] = True  # spikes and recorded states are what it saves

    @property
    def language(self) -> str:  # type: ignore[override]  # a property in place of a constant
        return str(self.kind.language)

    @property
    def states(self) -> Tuple[str, ...]:
        return self.step.states[self.feedback.gates :]

    @property
    def params(self) -> Tuple[str, ...]:
        return (self.feedback.weight, *self.step.params)

    def out_shape(self, shape: Tuple[int, ...]) -> Tuple[int, ...]:
        return (shape[0], shape[1] // self.feedback.gates, *shape[2:]) if self.feedback.gates else shape

    @property
    def fed(self) -> int:
        """The number of the state that the product reads."""
        return self.states.index(self.feedback.state)

    def forward(self, request: Request, keep: bool = True) -> Results:
        device, step, x, steps = on(self), self.step, request.inputs, request.steps
        shape, gates = self.out_shape(request.shape), self.feedback.gates
        full = [keep or s == self.feedback.state or s in step.record for s in self.states]
        rows = [device.empty(x, (1 + steps * f, *shape), True) for f in full]  # row 0 before the first step
        for its_rows, first in zip(rows, request.state):
            its_rows[0] = first
        kept = keep and (gates or reads_products(step))
        products = device.empty(x, (steps if kept else 1, *request.shape), True)
        arrays, out = device.given(request, shape), None
        if gates:  # spikes are no state
            arrays["out"] = out = device.empty(x, (steps, *shape), False)
        over_time = {"x": x, "product": products, **named("kept", _own(self), rows)}
        start = _starter(device, forward_step(self), arrays, over_time, shape)
        across, read, into = request.params[self.feedback.weight].T, _matrices(rows[self.fed]), _matrices(products)
        for t in range(steps):
            device.multiply(read[t], across, into[t % len(into)])
            start(t)
        final = [device.empty(x, shape, True) for _ in rows]
        for last, its_rows in zip(final, rows):
            last[...] = its_rows[-1]  # no view: it would keep the whole run alive
        results = dict(zip(self.states, map(device.without_first, rows)))
        out = device.cast(results["spk"], x.dtype) if out is None else out
        return Results(out, [results[s] for s in self.record], final, (products, *rows) if keep else ())

    def saved_shapes(self, steps: int, shape: Tuple[int, ...]) -> List[Tuple[int, ...]]:
        """Shapes of the products, and of the states before the first step and after each."""
        products = steps if self.feedback.gates or reads_products(self.step) else 1
        return [(products, *shape), *((steps + 1, *self.out_shape(shape)) for _ in self.states)]

    def backward(self, request: Request, upstream: Upstream, wanted: Wanted) -> Gradients:
        device, step, x, shape = on(self), self.step, request.inputs, self.out_shape(request.shape)
        weight_name, fed = self.feedback.weight, self.fed
        names = tuple(p for p in wanted.params if p != weight_name)
        by, sum_x = indices_of(step.params, names), wanted.inputs and request.constant
        by_product = device.empty(x, (request.steps, *request.shape), True)
        carry = [device.empty(x, shape, True) for _ in self.states]
        sums = [device.empty(x, shape, True) for _ in by]
        sums += [device.empty(x, request.shape, True)] if sum_x else []
        for array, first in zip((*carry, *sums), (*upstream.final, *(None for _ in sums))):
            if first is None:
                device.clear(array)
            else:
                array[...] = first
        products, *rows = upstream.saved
        arrays = {**device.given(request, shape), "gp_product": by_product, **named("c", _own(self), carry)}
        arrays.update({**named("gp", by, sums), **({"gp_x": sums[-1]} if sum_x else {})})
        over_time = {"x": x, "product": products, **named("kept", _own(self), rows), "g": upstream.outputs}
        over_time.update(named("r", step.recorded, upstream.recorded))
        start = _starter(device, backward_step(self, by, sum_x), arrays, over_time, shape)
        weight, by_products, back = request.params[weight_name], _matrices(by_product), _matrices(carry[fed][None])[0]
        add = _reads_fed(self)
        for t in range(request.steps - 1, -1, -1):
            start(t)
            device.multiply(by_products[t], weight, back, add)
            if wanted.window and t and t % wanted.window == 0:
                for c in carry:
                    device.clear(c)
        wide = [device.cast(total, "float64") for total in sums[: len(by)]]
        by_params = {
            p: device.cast(reduced(s, tuple(request.params[p].shape)), request.params[p].dtype)
            for p, s in zip(names, wide)
        }
        if weight_name in wanted.params:
            by_params[weight_name] = device.empty(x, tuple(weight.shape), True)
            g, read = (a.reshape(-1, a.shape[-1]) for a in (by_product, rows[fed][:-1]))
            device.multiply(g.T, read, by_params[weight_name])
        by_x = sums[-1][None] if sum_x else by_product
        return Gradients(device.cast(by_x, x.dtype) if wanted.inputs else None, carry, by_params)


@Remembered
def on(kernels: RecurrenceOnDevice) -> OnDevice:
    """The arrays and kernels of the device."""
    return kernels.kind(kernels.step)  # type: ignore[no-any-return]


def _own(kernels: RecurrenceOnDevice) -> Tuple[str, ...]:
    """The neuron's own states as the kernels name them: those of the part but for gates."""
    return kernels.step.trace.states[kernels.feedback.gates :]


@Remembered
def _reads_fed(kernels: RecurrenceOnDevice) -> bool:
    """Whether a step has a gradient by the state that the product reads, to which that through the product is added."""
    name = f"s_{_own(kernels)[kernels.fed]}"
    return bool(kernels.feedback.gates) and kernels.step.gradients[name] is not None


def _matrices(rows: Any) -> Sequence[Any]:
    """The rows of an array over time as matrices (batch, neurons)."""
    return [row.reshape(-1, row.shape[-1]) for row in rows]


def _starter(
    device: OnDevice, kernel: GpuSource, arrays: Dict[str, Any], rows: Dict[str, Any], shape: Tuple[int, ...]
) -> Callable[[int], None]:
    """A function that does a step on neurons of a shape, given its number."""
    x, count = rows["x"], math.prod(shape)
    numbers = {"count": count, "step_gate": math.prod(shape[1:]), **device.place_rows(kernel, arrays, rows)}
    ordered = [arrays[name] for name in kernel.arrays]

    def start(t: int) -> None:
        if count:
            device.start(kernel, ordered, [t if name == "t" else numbers[name] for name in kernel.numbers], x, count)

    return start


@Remembered
def forward_step(kernels: RecurrenceOnDevice) -> GpuSource:
    """The kernel of a step, but for the product."""
    trace, body, gates = kernels.step.trace, _body(kernels), kernels.feedback.gates
    ops, leaves = trace.graph.needed([trace.output, *trace.after])
    body.params(leaves)
    body.read_before(leaves)
    body.ops(ops)
    if gates:
        body.store("out", "t * count + i", trace.output)
    for s, value in zip(_own(kernels), trace.after[gates:]):
        body.store(f"kept_{s}", body.now(f"kept_{s}", "(t + 1)"), value)
    return body.kernel("forward")


@Remembered
def backward_step(kernels: RecurrenceOnDevice, by_params: Tuple[str, ...], sum_x: bool) -> GpuSource:
    """The kernel of a step backwards, but for the product; see ``backward_kernel``.

    ``sum_x``: the input is the same at every step, and its gradient is wanted.
    """
    step, body, own, gates = kernels.step, _body(kernels), _own(kernels), kernels.feedback.gates
    states, (results, ops, leaves) = step.trace.states, step.way_back(False, by_params)
    body.params(leaves)
    body.read_now(leaves, {name: name for name in ("g", *(f"r_{s}" for s in own))})
    body.read_before(leaves)
    carried = {f"c_{s}": body.load(f"c_{s}", "i") for s in own if body.graph.inputs.get(f"c_{s}") in leaves}
    carried.update({f"c_{s}": body.target.number(0.0) for s in states[:gates]})  # nothing reads a gate after its step
    body.inputs(leaves, carried)
    after = {step.known[f"a_{s}"]: s for s in own if step.known.get(f"a_{s}") in leaves}
    for value, s in after.items():
        body.fixed(value, body.load(f"kept_{s}", body.now(f"kept_{s}", "(t + 1)")))
    body.ops(ops)
    by_products = [results[f"s_{s}"] for s in states[: max(1, gates)]]
    for k, value in enumerate(by_products):
        at = f"t * {len(by_products)} * count + {body.gate(k)}" if gates else "t * count + i"
        body.store("gp_product", at, value)
    for s in own if gates else own[1:]:  # that by S[t-1] is a product
        if s != own[kernels.fed] or _reads_fed(kernels):
            body.store(f"c_{s}", "i", results[f"s_{s}"])
    for p in by_params:
        body.add(f"gp_{p}", "i", results[f"p_{p}"])
    for k, value in enumerate(by_products if sum_x else ()):
        body.add("gp_x", body.gate(k) if gates else "i", value)
    return body.kernel("backward")


class GpuStepBody(GpuKernelBody):
    """Lines of a kernel for one step ``t``."""

    def __init__(self, target: Target, step: Step, gates: int) -> None:
        super().__init__(target, step)
        self.numbers.append("t")
        self.gates = gates
        if gates:
            self.numbers.append("step_gate")
            self.write("first_gate", others=gates - 1)

    def gate(self, k: int) -> str:
        """The place of a neuron's gate in an array that has them all."""
        return f"first + {k} * step_gate"

    def now(self, array: str, t: str = "t", place: str = "i") -> str:
        """The place of an element in the row ``t`` of an array, whose rows may be the same at every step."""
        name = f"step_{array}"
        self.numbers += [] if name in self.numbers else [name]
        return f"{t} * {name} + {place}"

    def read_now(self, leaves: Any, arrays: Dict[str, str]) -> None:
        """Read the inputs of a step from arrays over time, named by input."""
        for name, value in self.graph.inputs.items():
            if value in leaves and name in arrays:
                self.fixed(value, self.load(arrays[name], self.now(arrays[name])))

    def read_before(self, leaves: Any) -> None:
        """Read the product, the states before the step, and the input; gates are input and product together."""
        states = self.step.trace.states
        for k, name in enumerate(f"s_{s}" for s in states[: self.gates]):
            if self.graph.inputs[name] in leaves:
                at = self.gate(k)
                parts = (self.load(array, self.now(array, place=at)) for array in ("x", "product"))
                self.fixed(self.graph.inputs[name], " + ".join(parts))
        kept = {f"s_{s}": f"kept_{s}" for s in states[self.gates :]}
        self.read_now(leaves, kept if self.gates else {"x": "x", **kept, f"s_{states[0]}": "product"})

    def add(self, array: str, at: str, value: Any) -> None:
        """Add a value to an element."""
        self.store(array, at, f"{self.load(array, at)} + {self.target.value(value)}")


def _body(kernels: RecurrenceOnDevice) -> GpuStepBody:
    return GpuStepBody(on(kernels).target(kernels.step.dtype), kernels.step, kernels.feedback.gates)

"""Forward and backward kernels for GPUs, in any ``Target``: a neuron per thread, its state in registers.

A thread cannot compute a whole run of states again on its way back through time, having no room for them, so the
forward kernel writes down the states that the backward kernel reads: T + 1 rows, the first one the initial state.
Operations stand in the order of the loop over steps, each once: with contraction switched off the bits agree.

``cuda.py`` and ``triton.py`` begin with a forward kernel in their languages. The loop of the backward kernel of
``sc.Leaky(beta=0.9)``, in CUDA C::

    for (long long t = steps - 1; t >= 0; --t) {
        const F before_0 = F(kept_0[at]);
        const F v10 = F(g[t * step_g + i]);         // the gradient by the spike
        const F v11 = carry_0;                      // the gradient by the state after the step
        const F v7 = after_0;
        const F v16 = v10 * v15;
        const F v17 = v11 + v16;
        gx[at] = X(v17);
        carry_0 = v20;
        after_0 = before_0;
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from spikecore.api.core.graph import Op, Value
from spikecore.kernels.form import Step, constants_in
from spikecore.kernels.target import Target


class GpuSource(NamedTuple):
    """A kernel's source and its arguments in order: arrays, then numbers."""

    name: str
    source: str
    arrays: Tuple[str, ...]
    numbers: Tuple[str, ...]


class _Body:
    """Lines of a kernel, and the arrays that they read and write."""

    def __init__(self, target: Target, step: Step) -> None:
        self.target, self.step, self.graph = target, step, step.trace.graph
        self.lines: List[str] = []
        self.read: List[str] = []
        self.written: List[str] = []
        self.numbers = ["count", "steps"]
        self.depth = 1

    def load(self, array: str, at: str) -> str:
        """An element; rows of ``x``, ``g`` and ``r_...`` may repeat in time, so each has its own step."""
        _once(self.read, array)
        if at == "row":
            _once(self.numbers, f"step_{array}")
            at = f"t * step_{array} + i"
        return self.target.text("load", array=array, at=at)

    def write(self, statement: str, **parts: Any) -> None:
        """A line, or the head of a block and what stands first in it; a ``value`` may be one of the graph."""
        value = parts.get("value", "")
        parts["value"] = value if isinstance(value, str) else self.target.value(value)
        head, *inside = self.target.text(statement, **parts).splitlines()
        self.lines += ["    " * self.depth + head, *("    " * (self.depth + 1) + line for line in inside)]

    def fixed(self, value: Value, text: str) -> None:
        self.write("fixed", kind=self.graph.type_of(value).dtype, name=str(value), value=text)

    def store(self, array: str, at: str, value: Any) -> None:
        _once(self.written, array)
        self.write("store", array=array, at=at, value=value)

    def params(self, leaves: Iterable[Value]) -> None:
        """Parameters and constants are read once, before the loop."""
        for param in self.step.trace.params:
            array = f"p_{param}"
            if self.graph.inputs[array] in leaves:
                _once(self.read, array)
                text = self.target.text("scalar", array=array, at=0)
                self.fixed(self.graph.inputs[array], self.load(array, "i") if param in self.step.rows else text)
        for name, place in constants_in(self.graph).items():
            if self.graph.inputs[name] in leaves:
                _once(self.read, "constants")
                self.fixed(self.graph.inputs[name], self.target.text("scalar", array="constants", at=place))

    def inputs(self, leaves: Iterable[Value], texts: Dict[str, str]) -> None:
        """Values of a step's inputs, in the graph's order."""
        for name, value in self.graph.inputs.items():
            if value in leaves and name in texts:
                self.fixed(value, self.load(name, "row") if texts[name] == "row" else texts[name])

    def ops(self, ops: Iterable[Op]) -> None:
        for op in ops:
            self.fixed(op.out, self.target.spelled(op))

    @contextmanager
    def block(self, statement: str) -> Iterator[None]:
        """A loop or a branch."""
        self.write(statement)
        self.depth += 1
        yield
        self.depth -= 1
        self.lines += ["    " * self.depth + line for line in self.target.closing]

    def kernel(self, name: str) -> GpuSource:
        arrays = (*self.read, *self.written)
        head = self.target.head(name, arrays, self.written, self.numbers)
        text = "\n".join([*head, *self.lines, *self.target.closing]) + "\n"
        return GpuSource(name, text, arrays, tuple(self.numbers))


def _once(names: List[str], name: str) -> None:
    if name not in names:
        names.append(name)


def forward_kernel(target: Target, step: Step, kept: Sequence[str], constant: bool) -> GpuSource:
    """The forward kernel.

    Args:
        target: the language.
        step: the neuron's step.
        kept: states to write down for the backward kernel.
        constant: the input is the same at every step.
    """
    trace, body = step.trace, _Body(target, step)
    states = dict(zip(trace.states, trace.after))
    ops, leaves = trace.graph.needed([trace.output, *trace.after])
    for s in states:
        body.write("variable", name=f"now_{s}", value=body.load(f"init_{s}", "i"))
        if s in kept:
            body.store(f"kept_{s}", "i", f"now_{s}")
    body.params(leaves)
    if constant:
        body.inputs(leaves, {"x": body.load("x", "i")})
    with body.block("forwards"):
        texts = {f"s_{s}": f"now_{s}" for s in states}
        body.inputs(leaves, texts if constant else {"x": "row", **texts})
        body.ops(ops)
        body.store("out", "at", trace.output)
        for s, value in states.items():
            body.write("assign", name=f"now_{s}", value=value)
            if s in step.recorded:
                body.store(f"rec_{s}", "at", value)
            if s in kept:
                body.store(f"kept_{s}", "at + count", value)
    for s in states:
        body.store(f"fin_{s}", "i", f"now_{s}")
    return body.kernel("forward")


def backward_kernel(
    target: Target, step: Step, by_x: bool, by_params: Sequence[str], constant: bool, windowed: bool
) -> GpuSource:
    """The backward kernel: from the last step to the first, reading what the forward kernel kept.

    ``by_params`` names the parameters whose gradient is wanted; each gets one sum over time per neuron.
    """
    graph, states, body = step.trace.graph, step.trace.states, _Body(target, step)
    results, ops, leaves = step.way_back(by_x, by_params)
    sums = {f"gp_{p}": results[f"p_{p}"] for p in by_params}
    if by_x and constant:
        sums["gx"] = results["x"]
    # of the states after the step, those that the derivative reads; of two states with one value, one
    by_value = {step.known[f"a_{s}"]: s for s in states if step.known.get(f"a_{s}") in leaves}
    after = {s: value for value, s in by_value.items()}
    before = [s for s in states if s in after or graph.inputs.get(f"s_{s}") in leaves]
    _opening(body, leaves, sums, after, constant)
    with body.block("backwards"):
        for s in before:
            body.write("fixed", kind="float", name=f"before_{s}", value=body.load(f"kept_{s}", "at"))
        texts = {f"s_{s}": f"before_{s}" for s in states}
        texts.update({f"c_{s}": f"carry_{s}" for s in states}, g="row", **{f"r_{s}": "row" for s in states})
        body.inputs(leaves, texts if constant else {"x": "row", **texts})
        for s, value in after.items():
            body.fixed(value, f"after_{s}")
        body.ops(ops)
        if by_x and not constant:
            body.store("gx", "at", results["x"])
        for array, value in sums.items():
            body.write("assign", name=f"sum_{array}", value=f"sum_{array} + {target.value(value)}")
        for s in states:
            body.write("assign", name=f"carry_{s}", value=results[f"s_{s}"])
        for s in after:
            body.write("assign", name=f"after_{s}", value=f"before_{s}")
        if windowed:
            body.numbers.append("window")
            with body.block("cut"):
                for s in states:
                    body.write("assign", name=f"carry_{s}", value=None)
    for s in states:
        body.store(f"ginit_{s}", "i", f"carry_{s}")
    for array in sums:
        body.store(array, "i", f"sum_{array}")
    return body.kernel("backward")


def _opening(body: _Body, leaves: Any, sums: Any, after: Any, constant: bool) -> None:
    """The code of a backward kernel before its loop."""
    for s in body.step.trace.states:
        body.write("variable", name=f"carry_{s}", value=body.load(f"c_{s}", "i"))
    for array in sums:
        body.write("variable", name=f"sum_{array}", value=body.target.number(0.0))
    for s in after:
        body.write("variable", name=f"after_{s}", value=body.load(f"kept_{s}", "steps * count + i"))
    body.params(leaves)
    if constant and body.graph.inputs.get("x") in leaves:
        body.inputs(leaves, {"x": body.load("x", "i")})

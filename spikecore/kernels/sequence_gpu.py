"""Forward and backward kernels for GPUs, in any ``Target``: a neuron per thread, its state in registers.

A thread cannot compute a whole run of states again on its way back through time, having no room for them, so the
forward kernel writes down the states that the backward kernel reads: T + 1 rows, the first one the initial state.
Operations stand in the order of the loop over steps, each once: with contraction switched off the bits agree.

``cuda.py`` and ``triton.py`` begin with a forward kernel in their languages. The loop of the backward kernel of
``sc.Leaky(beta=0.9)``, in CUDA C::

    for (long long t = steps - 1; t >= 0; --t) {
        const F kept_0_now = F(kept_0_0);           // the state before the step
        kept_0_5 = t >= 6 ? kept_0[(t - 6) * count + i] : F(0.0f);
        const F v10 = g_now;                        // the gradient by the spike
        const F v11 = carry_0;                      // the gradient by the state after the step
        const F v7 = after_0;
        const F v16 = v10 * v15;
        const F v17 = v11 + v16;
        gx[t * count + i] = X(v17);
        carry_0 = v20;
        after_0 = kept_0_now;

Memory takes hundreds of cycles to answer, so rows are read some steps before they are used.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from spikecore.api.core.graph import Op, Value
from spikecore.kernels.form import Step, constants_in
from spikecore.kernels.target import Target

IN_FLIGHT, STEPS_AHEAD = 12, 8  # loads of a thread that wait for memory at the same time, of so many steps at most
UNROLLED = 128  # operations in an unrolled loop: more take long to compile
BLOCKS = (128, 64, 32)  # neurons per block, one for each thread
ENOUGH = 384  # blocks: three for each multiprocessor of a large GPU. Not measured
ROWS = {  # of the rows that are read before a loop and in it: which one, and where there is one
    "forwards": ("{}", "(t + {})", "{} < steps", "t + {} < steps"),
    "backwards": ("(steps - 1 - {})", "(t - {})", "{} < steps", "t >= {}"),
}


class GpuSource(NamedTuple):
    """A kernel's source and its arguments in order: arrays, then numbers."""

    name: str
    source: str
    arrays: Tuple[str, ...]
    numbers: Tuple[str, ...]


def block_of(count: int) -> int:
    """The number of neurons per block, for so many in all: as many as leave enough blocks."""
    return next((block for block in BLOCKS if count >= block * ENOUGH), BLOCKS[-1])


class GpuKernelBody:
    """Lines of a kernel, and the arrays that they read and write; ``i`` is the neuron."""

    def __init__(self, target: Target, step: Step) -> None:
        self.target, self.step, self.graph = target, step, step.trace.graph
        self.lines: List[str] = []
        self.read: List[str] = []
        self.written: List[str] = []
        self.numbers = ["count"]
        self.depth = 1

    def load(self, array: str, at: str) -> str:
        """An element."""
        _once(self.read, array)
        return self.target.text("load", array=array, at=at)

    def load_row(self, array: str, t: str, inside: str) -> str:
        """An element of the row ``t`` where there is such a row, or else zero.

        Rows of ``x``, ``g`` and ``r_...`` may repeat in time, so each array has its own step.
        """
        _once(self.read, array)
        step = "count" if array.startswith("kept_") else f"step_{array}"
        _once(self.numbers, step)
        return self.target.text("load_row", array=array, at=f"{t} * {step} + i", inside=inside)

    @contextmanager
    def loop(self, statement: str, rows: Sequence[str], ops: Sequence[Op]) -> Iterator[Dict[str, str]]:
        """The loop over time, of ``ops``. Yields the variables that hold this step's elements of ``rows``, by array.

        Each array has as many variables as steps are read ahead: at every step they move on by one, and the last one
        starts a load. The loop is unrolled as often, which turns the moves into names.
        """
        ahead = max(1, min(STEPS_AHEAD, IN_FLIGHT // max(1, len(rows)), UNROLLED // max(1, len(ops))))
        first, later, inside, there = ROWS[statement]
        _once(self.numbers, "steps")
        for array in rows:
            for n in range(ahead):
                value = self.load_row(array, first.format(n), inside.format(n))
                self.write("row_variable", array=array, name=f"{array}_{n}", value=value)
        with self.block(statement, unroll=ahead if rows else 1):
            for array in rows:
                self.write(
                    "row_now", name=f"{array}_now", value=f"{array}_0"
                )  # converted when it is used: no wait before
                for n in range(1, ahead):
                    self.write("assign", name=f"{array}_{n - 1}", value=f"{array}_{n}")
                value = self.load_row(array, later.format(ahead), there.format(ahead))
                self.write("assign", name=f"{array}_{ahead - 1}", value=value)
            yield {array: f"{array}_now" for array in rows}

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
                self.fixed(value, texts[name])

    def ops(self, ops: Iterable[Op]) -> None:
        for op in ops:
            self.fixed(op.out, self.target.spelled(op))

    @contextmanager
    def block(self, statement: str, **parts: Any) -> Iterator[None]:
        """A loop or a branch."""
        self.write(statement, **parts)
        self.depth += 1
        yield
        self.depth -= 1
        self.lines += ["    " * self.depth + line for line in self.target.closing]

    def kernel(self, name: str) -> GpuSource:
        arrays = (*(a for a in self.read if a not in self.written), *self.written)
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
        kept: states to write down for the backward kernel; if they are recorded, too, this is the record.
        constant: the input is the same at every step.
    """
    trace, body = step.trace, GpuKernelBody(target, step)
    states = dict(zip(trace.states, trace.after))
    ops, leaves = trace.graph.needed([trace.output, *trace.after])
    for s in states:
        body.write("variable", name=f"now_{s}", value=body.load(f"init_{s}", "i"))
        if s in kept:
            body.store(f"kept_{s}", "i", f"now_{s}")
    body.params(leaves)
    if constant:
        body.inputs(leaves, {"x": body.load("x", "i")})
    reads_x = trace.graph.inputs.get("x") in leaves
    with body.loop("forwards", ["x"] if reads_x and not constant else [], ops) as rows:
        body.inputs(leaves, {**rows, **{f"s_{s}": f"now_{s}" for s in states}})
        body.ops(ops)
        body.store("out", "t * count + i", trace.output)
        for s, value in states.items():
            body.write("assign", name=f"now_{s}", value=value)
            if s in kept:  # what was kept is what is recorded
                body.store(f"kept_{s}", "(t + 1) * count + i", value)
            elif s in step.recorded:
                body.store(f"rec_{s}", "t * count + i", value)
    for s in states:
        body.store(f"fin_{s}", "i", f"now_{s}")
    return body.kernel("forward")


def backward_kernel(
    target: Target, step: Step, by_x: bool, by_params: Sequence[str], constant: bool, windowed: bool
) -> GpuSource:
    """The backward kernel: from the last step to the first, reading what the forward kernel kept.

    ``by_params`` names the parameters whose gradient is wanted; each gets one sum over time per neuron.
    """
    graph, states, body = step.trace.graph, step.trace.states, GpuKernelBody(target, step)
    results, ops, leaves = step.way_back(by_x, by_params)
    sums = {f"gp_{p}": results[f"p_{p}"] for p in by_params}
    if by_x and constant:
        sums["gx"] = results["x"]
    # of the states after the step, those that the derivative reads; of two states with one value, one
    by_value = {step.known[f"a_{s}"]: s for s in states if step.known.get(f"a_{s}") in leaves}
    after = {s: value for value, s in by_value.items()}
    before = [s for s in states if s in after or graph.inputs.get(f"s_{s}") in leaves]
    _opening(body, leaves, sums, after, constant)
    over_time = [*([] if constant else ["x"]), "g", *(f"r_{s}" for s in states)]
    rows = [*(f"kept_{s}" for s in before), *(a for a in over_time if graph.inputs.get(a) in leaves)]
    with body.loop("backwards", rows, ops) as now:
        texts = {f"s_{s}": now[f"kept_{s}"] for s in before}
        body.inputs(leaves, {**now, **texts, **{f"c_{s}": f"carry_{s}" for s in states}})
        for s, value in after.items():
            body.fixed(value, f"after_{s}")
        body.ops(ops)
        if by_x and not constant:
            body.store("gx", "t * count + i", results["x"])
        for array, value in sums.items():
            body.write("assign", name=f"sum_{array}", value=f"sum_{array} + {target.value(value)}")
        for s in states:
            body.write("assign", name=f"carry_{s}", value=results[f"s_{s}"])
        for s in after:
            body.write("assign", name=f"after_{s}", value=f"kept_{s}_now")
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


def _opening(body: GpuKernelBody, leaves: Any, sums: Any, after: Any, constant: bool) -> None:
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

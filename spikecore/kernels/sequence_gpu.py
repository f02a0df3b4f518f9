"""Forward and backward kernels for GPUs, in any ``Target``: a neuron per thread, its state in registers.

A thread cannot compute a whole run of states again on its way back through time, having no room for them, so the
forward kernel writes down the states that the backward kernel reads: T + 1 rows, the first one the initial state.
Operations stand in the order of the loop over steps, each once: with contraction switched off the bits agree.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, List, NamedTuple, Sequence, Tuple

from spikecore.kernels.adjoint import Adjoint
from spikecore.kernels.emit import needs_of
from spikecore.kernels.form import constants_in
from spikecore.kernels.program import Op
from spikecore.kernels.target import Target
from spikecore.kernels.trace import Trace


class Kernel(NamedTuple):
    """A kernel's source and its arguments in order: arrays, then numbers."""

    name: str
    source: str
    arrays: Tuple[str, ...]
    numbers: Tuple[str, ...]


class _Body:
    """Lines of a kernel, and the arrays that they read and write."""

    def __init__(self, target: Target, trace: Trace, rows: Sequence[str]) -> None:
        self.target, self.trace, self.rows = target, trace, rows
        self.lines: List[str] = []
        self.read: List[str] = []
        self.written: List[str] = []
        self.numbers = ["count", "steps"]
        self.depth = 1

    def line(self, text: str) -> None:
        self.lines.append("    " * self.depth + text)

    def load(self, array: str, at: str) -> str:
        """An element; rows of ``x``, ``g`` and ``r_...`` may repeat in time, so each has its own step."""
        self._once(self.read, array)
        if at == "row":
            self._once(self.numbers, f"step_{array}")
            at = f"t * step_{array} + i"
        return self.target.load(array, at)

    def fixed(self, value: int, text: str) -> None:
        self.line(self.target.fixed(self.trace.program.kinds[value], f"v{value}", text))

    def variable(self, name: str, text: str) -> None:
        self.line(self.target.variable(name, text))

    def assign(self, name: str, value: Any) -> None:
        self.line(self.target.assign(name, value if isinstance(value, str) else self.target.value(value)))

    def store(self, array: str, at: str, value: Any) -> None:
        self._once(self.written, array)
        self.line(self.target.store(array, at, value if isinstance(value, str) else self.target.value(value)))

    def params(self, leaves: Iterable[int]) -> None:
        """Parameters and constants are read once, before the loop."""
        for param in self.trace.params:
            value = self.trace.program.inputs[f"p_{param}"]
            if value in leaves:
                array = f"p_{param}"
                self._once(self.read, array)
                text = self.target.load(array, "i") if param in self.rows else self.target.scalar(array)
                self.fixed(value, text)
        for name, place in constants_in(self.trace.program).items():
            if self.trace.program.inputs[name] in leaves:
                self._once(self.read, "constants")
                self.fixed(self.trace.program.inputs[name], self.target.scalar("constants", place))

    def inputs(self, leaves: Iterable[int], texts: Dict[str, str]) -> None:
        """Values of a step's inputs, in the program's order."""
        for name, value in self.trace.program.inputs.items():
            if value in leaves and name in texts:
                self.fixed(value, self.load(name, "row") if texts[name] == "row" else texts[name])

    def ops(self, ops: Iterable[Op]) -> None:
        for op in ops:
            self.fixed(op.out, self.target.spelled(op))

    @contextmanager
    def loop(self, reverse: bool = False) -> Iterator[None]:
        head = self.target.loop(reverse)
        self.line(head[0])
        self.depth += 1
        for text in (*head[1:], self.target.at()):
            self.line(text)
        yield
        self.depth -= 1
        self._close()

    def cut(self, names: Sequence[str]) -> None:
        """Variables that are set to zero where truncated BPTT cuts."""
        self.numbers.append("window")
        self.line(self.target.cut())
        self.depth += 1
        for name in names:
            self.assign(name, None)
        self.depth -= 1
        self._close()

    def kernel(self, name: str) -> Kernel:
        arrays = (*self.read, *self.written)
        head = self.target.head(name, arrays, self.written, self.numbers)
        text = "\n".join([*head, *self.lines, *self.target.closing]) + "\n"
        return Kernel(name, text, arrays, tuple(self.numbers))

    def _close(self) -> None:
        for text in self.target.closing:
            self.line(text)

    @staticmethod
    def _once(names: List[str], name: str) -> None:
        if name not in names:
            names.append(name)


def forward_kernel(
    target: Target,
    trace: Trace,
    rows: Sequence[str],
    recorded: Sequence[str],
    kept: Sequence[str],
    constant: bool,
) -> Kernel:
    """The forward kernel.

    Args:
        target: the language.
        trace: the step.
        rows: parameters that come as one value per neuron; the others are one number.
        recorded: states to return for every step.
        kept: states to write down for the backward kernel.
        constant: the input is the same at every step.
    """
    body, states = _Body(target, trace, rows), dict(zip(trace.states, trace.after))
    ops, leaves = trace.program.needed([trace.output, *trace.after])
    for s in states:
        body.variable(f"now_{s}", body.load(f"init_{s}", "i"))
        if s in kept:
            body.store(f"kept_{s}", "i", f"now_{s}")
    body.params(leaves)
    if constant:
        body.inputs(leaves, {"x": body.load("x", "i")})
    with body.loop():
        texts = {f"s_{s}": f"now_{s}" for s in states}
        body.inputs(leaves, texts if constant else {"x": "row", **texts})
        body.ops(ops)
        body.store("out", "at", trace.output)
        for s, value in states.items():
            body.assign(f"now_{s}", value)
            if s in recorded:
                body.store(f"rec_{s}", "at", value)
            if s in kept:
                body.store(f"kept_{s}", "at + count", value)
    for s in states:
        body.store(f"fin_{s}", "i", f"now_{s}")
    return body.kernel("forward")


def backward_kernel(
    target: Target,
    trace: Trace,
    found: Adjoint,
    rows: Sequence[str],
    by_x: bool,
    by_params: Sequence[str],
    constant: bool,
    windowed: bool,
) -> Kernel:
    """The backward kernel: from the last step to the first, reading what the forward kernel kept.

    ``by_params`` names the parameters whose gradient is wanted; each gets one sum over time per neuron.
    """
    program, body = trace.program, _Body(target, trace, rows)
    after = dict(zip(trace.states, trace.after))
    results, ops, leaves = needs_of(trace, found, by_x, by_params)
    sums = {f"gp_{p}": results[f"p_{p}"] for p in by_params}
    if by_x and constant:
        sums["gx"] = found.x
    given = {v: s for s, v in after.items() if v in leaves and v not in program.inputs.values()}  # each value once
    ahead = {s: v for v, s in given.items()}
    behind = [s for s in trace.states if s in ahead or program.inputs.get(f"s_{s}") in leaves]
    _opening(body, leaves, sums, ahead, constant)
    with body.loop(reverse=True):
        for s in behind:
            body.line(target.fixed("float", f"before_{s}", body.load(f"kept_{s}", "at")))
        texts = {f"s_{s}": f"before_{s}" for s in after}
        texts.update({f"c_{s}": f"carry_{s}" for s in after}, g="row", **{f"r_{s}": "row" for s in after})
        body.inputs(leaves, texts if constant else {"x": "row", **texts})
        for s, value in ahead.items():
            body.fixed(value, f"after_{s}")
        body.ops(ops)
        _shares(body, found, sums, ahead, by_x and not constant)
        if windowed:
            body.cut([f"carry_{s}" for s in after])
    for s in after:
        body.store(f"ginit_{s}", "i", f"carry_{s}")
    for array in sums:
        body.store(array, "i", f"sum_{array}")
    return body.kernel("backward")


def _opening(body: _Body, leaves: Any, sums: Any, ahead: Any, constant: bool) -> None:
    """What a backward kernel does before its loop."""
    for s in body.trace.states:
        body.variable(f"carry_{s}", body.load(f"c_{s}", "i"))
    for array in sums:
        body.variable(f"sum_{array}", body.target.number(0.0))
    for s in ahead:
        body.variable(f"after_{s}", body.load(f"kept_{s}", "steps * count + i"))
    body.params(leaves)
    if constant and body.trace.program.inputs.get("x") in leaves:
        body.inputs(leaves, {"x": body.load("x", "i")})


def _shares(body: _Body, found: Adjoint, sums: Any, ahead: Any, by_x: bool) -> None:
    """What a step of a backward kernel hands on."""
    if by_x:
        body.store("gx", "at", found.x)
    for array, value in sums.items():
        body.assign(f"sum_{array}", f"sum_{array} + {body.target.value(value)}")
    for s, value in zip(body.trace.states, found.before):
        body.assign(f"carry_{s}", value)
    for s in ahead:
        body.assign(f"after_{s}", f"before_{s}")

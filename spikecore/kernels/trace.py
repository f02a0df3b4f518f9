"""Running a step once on symbols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Tuple

from spikecore.api.core.tree import State, nested
from spikecore.api.core.words import OPERATORS, REFLECTED, WORDS
from spikecore.api.neurons.stepper import one_step
from spikecore.api.surrogate.base import Surrogate
from spikecore.api.surrogate.truncated import truncated
from spikecore.kernels.program import Program

FLOAT = (
    "add subtract multiply divide negative pow abs maximum minimum clip exp log sqrt sin cos tanh atan sign floor ceil "
    "round where"
).split()
BOOL = "greater greater_equal less less_equal equal not_equal logical_and logical_or logical_not".split()


class NotElementwise(Exception):
    """A step does something that no elementwise kernel can; the message says what."""


class Symbol:
    """The value of one element, yet to be computed."""

    __slots__ = ("program", "value")
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, program: Program, value: int) -> None:
        self.program, self.value = program, value

    @property
    def dtype(self) -> str:
        """Either "float" or "bool"."""
        return self.program.kinds[self.value]

    def __getattr__(self, name: str) -> Any:
        raise NotElementwise(f"it looks at .{name} of an array")

    def __bool__(self) -> bool:
        raise NotElementwise("it branches on data")


class Words:
    """The vocabulary on symbols of a program; words that are not elementwise raise."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def enter(self, word: str, args: Tuple[Any, ...], kind: str = "float", option: Any = None) -> Symbol:
        """An operation of the program."""
        return Symbol(self.program, self.program.add(word, tuple(_arg(a) for a in args), kind, option))

    def spike(self, u: Any, surrogate: Surrogate) -> Symbol:
        """A spike, with its surrogate."""
        if surrogate.stochastic:
            raise NotElementwise(f"the derivative of {type(surrogate).__name__} is random")
        return self.enter("spike", (u,), option=surrogate)

    def stop_gradient(self, x: Any) -> Symbol:
        """The value alone."""
        return self.enter("stop_gradient", (x,))

    def astype(self, x: Any, dtype: str) -> Symbol:
        """Zeros and ones from a comparison; everything else is a float already."""
        return x if x.dtype == "float" else self.enter("float", (x,))

    def zeros_like(self, x: Any) -> float:
        """A constant: kernels see one element."""
        return 0.0

    def ones_like(self, x: Any) -> float:
        """A constant: kernels see one element."""
        return 1.0


def _entered(word: str, kind: str) -> Callable[..., Symbol]:
    return lambda self, *args: self.enter(word, args, kind)


def _refused(word: str) -> Callable[..., Any]:
    def refuse(self: Words, *_: Any, **__: Any) -> Any:
        raise NotElementwise(f"it uses {word!r}, which is not elementwise")

    return refuse


for _word in WORDS:
    if not hasattr(Words, _word):
        _kind = "bool" if _word in BOOL else "float"
        setattr(Words, _word, _entered(_word, _kind) if _word in (*FLOAT, *BOOL) else _refused(_word))


def _arg(x: Any) -> Any:
    if isinstance(x, Symbol):
        return x.value
    if isinstance(x, (int, float)):
        return float(x)
    raise NotElementwise(f"it mixes in {type(x).__name__}")


def _operator(word: str) -> Callable[..., Any]:
    return lambda self, *others: getattr(Words(self.program), word)(self, *others)


def _reflected(word: str) -> Callable[..., Any]:
    return lambda self, other: getattr(Words(self.program), word)(other, self)


for _name, _word in OPERATORS.items():
    setattr(Symbol, _name, _operator(_word))
for _name in REFLECTED:
    setattr(Symbol, _name.replace("__", "__r", 1), _reflected(OPERATORS[_name]))


class SymbolicEngine:
    """As much of an engine as an elementwise step may ask for."""

    name, device, dtype = "symbolic", "", "float"

    def __init__(self, program: Program, least: float = 0.0) -> None:
        self.xp, self.least = Words(program), least

    def spike(self, u: Any, surrogate: Surrogate) -> Any:
        return self.xp.spike(u, truncated(surrogate, self.least))

    def stop_gradient(self, x: Any) -> Any:
        return self.xp.stop_gradient(x)

    def asarray(self, x: Any, dtype: Optional[str] = None) -> Any:
        raise NotElementwise("it brings an array of its own into the step")


@dataclass(frozen=True)
class Trace:
    """A step as a program.

    Args:
        program: the operations.
        states, params: names, in order.
        output: value of the step's output.
        after: values of the new states, in the order of ``states``.
    """

    program: Program
    states: Tuple[str, ...]
    params: Tuple[str, ...]
    output: int
    after: Tuple[int, ...]

    def begins(self, other: Trace) -> bool:
        """Whether the other one is the same step, its program perhaps extended by a derivative."""
        ops, values = len(self.program.ops), len(self.program.kinds)

        def parts(t: Trace) -> Any:
            return t.states, t.params, t.output, t.after, t.program.ops[:ops], t.program.kinds[:values]

        return bool(parts(self) == parts(other))


def trace(stepper: Any, params: Dict[str, Any], sparse_backward: float = 0.0) -> Trace:
    """Run ``stepper.step`` on symbols.

    Args:
        stepper: the neuron.
        params: prepared parameters by dotted name: a float is a constant, anything else becomes an input.
        sparse_backward: derivatives of spikes up to this magnitude count as zero.

    Raises:
        NotElementwise: the step is more than elementwise.
    """
    program = Program()
    engine = SymbolicEngine(program, sparse_backward)
    given = {n: v if type(v) is float else Symbol(program, program.input(f"p_{n}")) for n, v in params.items()}
    before = {name: Symbol(program, program.input(f"s_{name}")) for name in stepper.state}
    x = Symbol(program, program.input("x"))
    try:
        y, after = one_step(engine, stepper, nested(given), State(before), x)
    except Exception as error:  # noqa: BLE001  (whatever a step does with symbols; the loop shows if it is wrong)
        known = isinstance(error, NotElementwise)
        raise error if known else NotElementwise(f"on symbols it raises {type(error).__name__}: {error}") from error
    if not isinstance(y, Symbol) or any(not isinstance(after[name], Symbol) for name in stepper.state):
        raise NotElementwise("a constant stands where an array is expected")
    ends = tuple(after[name].value for name in stepper.state)
    _, read = program.needed([y.value, *ends])
    names = tuple(name for name in params if program.inputs.get(f"p_{name}") in read)  # a step may read some only
    return Trace(program, tuple(stepper.state), names, y.value, ends)

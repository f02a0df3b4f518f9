"""Symbols, on which code runs in place of arrays: each word that it applies is entered into a ``WordGraph``.

    graph = WordGraph()
    xp = ElementWords(graph)
    mem = 0.9 * xp.input("s_mem") + xp.input("x")        # now the graph is
                                                         #     v0 = input s_mem
                                                         #     v1 = input x
                                                         #     v2 = multiply(0.9, v0)
                                                         #     v3 = add(v2, v1)

A symbol is one element of an array of any shape, for kernels, or a whole array whose shape is known, for exports.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Mapping, Tuple

from spikecore.api.core.graph import BOOL, FLOAT, NO_OPTIONS, Op, Type, Value, WordGraph
from spikecore.api.core.pull import AppliedWord, Grads, pull
from spikecore.api.core.rules import rule_of
from spikecore.api.core.words import VARIADIC, WORDS, with_operators

FLOATS = (
    "add subtract multiply divide negative pow abs maximum minimum clip exp log sqrt sin cos tanh atan sign floor ceil "
    "round where"
).split()
FLAGS = "greater greater_equal less less_equal equal not_equal logical_and logical_or logical_not".split()


class Untraceable(Exception):
    """Code does something that its graph could not repeat; the message says what."""


@with_operators
class Symbol:
    """A value of a graph in place of an array.

    Args:
        xp: the words that write into the graph.
        value: the value.
        sample: an array like it, which says its shape; None: a single element.
    """

    __slots__ = ("sample", "value", "xp")
    __array_ufunc__ = None  # so that array + symbol calls Symbol.__radd__
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, xp: SymbolicWords, value: Value, sample: Any = None) -> None:
        self.xp, self.value, self.sample = xp, value, sample

    @property
    def dtype(self) -> Any:
        """Dtype of the array; of a single element "float" or "bool"."""
        return self.xp.graph.types[self.value.number].dtype if self.sample is None else self.sample.dtype

    def __getattr__(self, name: str) -> Any:
        return self.xp.attribute(self, name)

    def __bool__(self) -> bool:
        raise Untraceable("it branches on data")

    def become(self, result: Symbol) -> Symbol:
        """This symbol with another value, wherever code holds it: a change in place."""
        # of a whole array (one with a sample) it is not known whether another symbol is a view of it
        if self.sample is not None or self.value in self.xp.graph.inputs.values():
            raise Untraceable("it writes into an array that others have as well, such as its input or a state")
        if self.dtype != result.dtype:
            raise Untraceable(f"it writes {result.dtype} values into an array of {self.dtype} values")
        self.value = result.value
        return self


class SymbolicWords:
    """An ``xp`` whose words enter operations into a graph and return symbols. ``ElementWords`` computes nothing else;
    ``ArrayWords`` also applies each word to the samples of its symbols, to learn the shapes.

    Args:
        graph: the graph that gets the operations.
    """

    def __init__(self, graph: WordGraph) -> None:
        self.graph = graph

    def apply(self, word: str, args: Tuple[Any, ...], options: Dict[str, Any]) -> Any:
        """The result of a word on symbols and numbers."""
        raise NotImplementedError

    def attribute(self, symbol: Symbol, name: str) -> Any:
        """An attribute that ``Symbol`` itself does not have, such as ``shape``; what a graph cannot know raises."""
        raise Untraceable(f"it looks at {'the numbers' if name.startswith('__array') else f'.{name}'} of an array")


def _writes(word: str) -> Callable[..., Any]:
    if word in VARIADIC:
        return lambda self, arrays, **options: self.apply(word, tuple(arrays), options)
    return lambda self, *args, **options: self.apply(word, args, options)


for _word in WORDS:
    setattr(SymbolicWords, _word, _writes(_word))


class ElementWords(SymbolicWords):
    """The words on single elements: ``FLOATS``, ``FLAGS`` and those below; all others raise ``Untraceable``."""

    def input(self, name: str) -> Symbol:
        """An input of the graph."""
        return Symbol(self, self.graph.input(name))

    def apply(self, word: str, args: Tuple[Any, ...], options: Mapping[str, Any]) -> Symbol:
        raise Untraceable(f"it uses {word!r}, which kernels do not have")

    def enter(self, word: str, args: Iterable[Any], type_: Type, options: Mapping[str, Any] = NO_OPTIONS) -> Symbol:
        """The result of a word on single elements."""
        values = tuple([a.value if type(a) is Symbol else _number(a) for a in args])
        return Symbol(self, self.graph.add(word, values, type_, options))

    def spike(self, u: Any, surrogate: Any) -> Symbol:
        """A spike, with its surrogate."""
        if surrogate.stochastic:
            raise Untraceable(f"the derivative of {type(surrogate).__name__} is random")
        return self.enter("spike", (u,), FLOAT, {"surrogate": surrogate})

    def stop_gradient(self, x: Any) -> Symbol:
        """The value alone."""
        return self.enter("stop_gradient", (x,), FLOAT)

    def astype(self, x: Any, dtype: str) -> Any:
        """Zeros and ones from a comparison; everything else is a float already."""
        return x if x.dtype == "float" else self.enter("astype", (x,), FLOAT)

    def zeros_like(self, x: Any) -> float:
        """A constant: it is the same for every element."""
        return 0.0

    def ones_like(self, x: Any) -> float:
        """A constant: it is the same for every element."""
        return 1.0

    def pull(self, ops: Iterable[Op], grads: Grads) -> Grads:
        """Enter the derivative of some of the graph's operations into the graph.

        Args:
            ops: the operations, from the last to the first.
            grads: as for ``pull``: symbols of gradients; the slot of a value is the value itself.
        """
        return pull(self, map(self._call, ops), grads)

    def _call(self, op: Op) -> AppliedWord:
        args = [Symbol(self, a) if type(a) is Value else a for a in op.args]
        slots = [a.value if type(a) is Symbol and a.dtype == "float" else None for a in args]
        products = rule_of(op.word)
        # e.g. ``pow``, whose rule has no product for a symbol as exponent: zero would be wrong
        if products and op.word not in VARIADIC and any(slot is not None for slot in slots[len(products) :]):
            raise Untraceable(f"{op.word!r} has no derivative by its argument number {len(products) + 1}")
        return AppliedWord(op.word, args, slots, op.options, Symbol(self, op.out), op.out, products, shapes=False)


def _enters(word: str, type_: Type) -> Callable[..., Symbol]:
    return lambda self, *args: self.enter(word, args, type_)


for _word, _type in {**dict.fromkeys(FLOATS, FLOAT), **dict.fromkeys(FLAGS, BOOL)}.items():
    setattr(ElementWords, _word, _enters(_word, _type))


def _number(x: Any) -> float:
    if isinstance(x, (int, float)):
        return float(x)
    raise Untraceable(f"it mixes in {type(x).__name__}")


class ArrayWords(SymbolicWords):
    """The words on whole arrays. What depends on no symbol is computed at once, and is a constant of the graph.

    Args:
        graph: the graph that gets the operations.
        engine: the engine of the symbols, for those who ask for it.
        raw: the words as functions of plain arrays, by name; from their results come the shapes.
    """

    def __init__(self, graph: WordGraph, engine: Any, raw: Mapping[str, Callable[..., Any]]) -> None:
        super().__init__(graph)
        self.engine, self.raw = engine, raw

    def input(self, name: str, sample: Any) -> Symbol:
        """An input of the graph, like an array."""
        return Symbol(self, self.graph.input(name, type_like(sample)), sample)

    def apply(self, word: str, args: Tuple[Any, ...], options: Dict[str, Any]) -> Any:
        out = self.raw[word](*[a.sample if type(a) is Symbol else a for a in args], **options)
        if word in ("zeros_like", "ones_like") or not any(type(a) is Symbol for a in args):
            return out  # a constant: of a symbol, these two read the shape alone, which is known
        return self.enter(word, args, options, out)

    def enter(self, word: str, args: Iterable[Any], options: Mapping[str, Any], out: Any) -> Symbol:
        """The result of a word, an array like ``out``, as a value of the graph."""
        arguments = tuple([a.value if type(a) is Symbol else a for a in args])
        return Symbol(self, self.graph.add(word, arguments, type_like(out), options), out)

    def attribute(self, symbol: Symbol, name: str) -> Any:
        if name in ("shape", "ndim"):
            return getattr(symbol.sample, name)
        if name == "engine":
            return self.engine
        if name == "__array_namespace__":
            return lambda api_version=None: self
        return super().attribute(symbol, name)


def type_like(array: Any) -> Type:
    """The type of a value like an array."""
    return Type(str(array.dtype), tuple(array.shape))

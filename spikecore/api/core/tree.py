"""Immutable named collections: parameters, states and buffers.

A ``Tree`` maps names to leaves (arrays, numbers) or to further trees and can be read by attribute::

    params = Params(beta=0.9, threshold=1.0)
    params.beta
    params.replace(beta=0.8)      # a new tree; nothing is ever changed in place

Flattened, a leaf is named by its path: ``{"0.weight": ..., "1.beta": ...}``.
"""

from __future__ import annotations

from collections.abc import Mapping as MappingABC
from typing import (
    Any,
    Callable,
    ClassVar,
    Dict,
    ItemsView,
    Iterator,
    KeysView,
    List,
    Mapping,
    Tuple,
    Type,
    TypeVar,
    ValuesView,
)

from spikecore.printing import call, table, text_of

T = TypeVar("T", bound="Tree")


class Tree:
    """An ordered, immutable mapping with attribute access.

    It is registered as a ``Mapping`` and has all of its methods. It does not inherit from it, because ``isinstance(x,
    Tree)``, which runs for every leaf of every call, would then take five times as long.
    """

    __slots__ = ("_items",)
    __hash__ = None  # type: ignore[assignment]  # compared by content, which may be arrays
    _items: Dict[str, Any]
    hint: ClassVar[str] = ""  # added to the error for a missing entry

    def __init__(self, items: Any = (), **named: Any) -> None:
        object.__setattr__(self, "_items", dict(items, **named))

    def __getitem__(self, name: str) -> Any:
        return self._items[name]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_items":  # copy and compilers look these up before _items is set
            raise AttributeError(name)
        try:
            return self._items[name]
        except KeyError:
            known = ", ".join(self._items) or "nothing"
            raise AttributeError(f"no {name!r} in this {type(self).__name__}; it holds {known}{self.hint}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{type(self).__name__} is immutable; use .replace({name}=...)")

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, name: object) -> bool:
        return name in self._items

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Tree):
            return self._items == other._items
        return self._items == dict(other) if isinstance(other, MappingABC) else NotImplemented

    def keys(self) -> KeysView[str]:
        """The names, in order."""
        return self._items.keys()

    def values(self) -> ValuesView[Any]:
        """The entries, in order."""
        return self._items.values()

    def items(self) -> ItemsView[str, Any]:
        """Names and entries, in order."""
        return self._items.items()

    def get(self, name: str, default: Any = None) -> Any:
        """The entry ``name``, or ``default`` if there is none."""
        return self._items.get(name, default)

    def __repr__(self) -> str:
        return call(type(self).__name__, [f"{name}={text_of(value)}" for name, value in self._items.items()])

    def _repr_html_(self) -> str:
        return table(type(self).__name__, [(path, text_of(value)) for path, value in leaves(self)])

    def __reduce__(self) -> Tuple[Any, ...]:
        return type(self), (self._items,)

    def replace(self: T, **changes: Any) -> T:
        """A copy in which the named entries are replaced or added."""
        return type(self)({**self._items, **changes})


MappingABC.register(Tree)


class Params(Tree):
    """The parameters of one layer, by name, or of a network, by layer name."""

    hint = " (fields of a neuron annotated as sc.base.Param, e.g. beta: sc.base.Param = 0.9, are among them)"


class State(Tree):
    """The states that a neuron passes from one time step to the next, by name."""


def leaves(tree: Any, path: str = "") -> List[Tuple[str, Any]]:
    """Every leaf of a tree with its dotted path, in order."""
    if not isinstance(tree, Tree):
        return [(path, tree)]
    flat = []
    for name, value in tree.items():
        flat += leaves(value, f"{path}.{name}" if path else name)
    return flat


def map_leaves(function: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """A tree of the same shape, each leaf replaced by ``function(leaf, *leaves of the others)``."""
    if not isinstance(tree, Tree):
        return function(tree, *others)
    if others:
        pairs = ((name, value, [o[name] for o in others]) for name, value in tree.items())
        return type(tree)({name: map_leaves(function, value, *rest) for name, value, rest in pairs})
    # the usual case, at every step of every run: without a call for each leaf
    return type(tree)(
        {n: map_leaves(function, v) if isinstance(v, Tree) else function(v) for n, v in tree._items.items()}
    )


def rebuild(like: Any, values: Iterator[Any]) -> Any:
    """A tree shaped like ``like`` whose leaves are taken from ``values`` in order."""
    return map_leaves(lambda _: next(values), like)


def flatten(tree: Any) -> Dict[str, Any]:
    """The leaves of a tree by dotted path."""
    if isinstance(tree, Tree) and not any(isinstance(value, Tree) for value in tree._items.values()):
        return dict(tree._items)
    return dict(leaves(tree))


def unflatten(flat: Mapping[str, Any], like: Any) -> Any:
    """The inverse of ``flatten``: a tree with the structure of ``like`` and the leaves of ``flat``.

    Raises:
        KeyError: a leaf of ``like`` is missing in ``flat``, or ``flat`` has a leaf that ``like`` lacks.
        ValueError: an array in ``flat`` has another shape than its counterpart in ``like``.
    """
    wanted = flatten(like)
    names = list(wanted)
    missing, extra = sorted(set(names) - set(flat)), sorted(set(flat) - set(names))
    if missing or extra:
        raise KeyError(f"names do not match: missing {missing or 'none'}, unknown {extra or 'none'}")
    for name, leaf in wanted.items():
        actual, shape = tuple(getattr(flat[name], "shape", ())), tuple(getattr(leaf, "shape", ()))
        if actual != shape:
            raise ValueError(f"{name} has shape {actual}, expected {shape}")
    return rebuild(like, iter([flat[name] for name in names]))


def replaced(tree: Any, flat: Mapping[str, Any]) -> Any:
    """The tree with some of its leaves replaced: ``flat`` has the new ones, by dotted path."""
    return rebuild(tree, iter([flat.get(name, value) for name, value in leaves(tree)]))


def nested(flat: Dict[str, Any], kind: Type[Tree] = Params) -> Any:
    """A tree from leaves by dotted name: {"1.beta": 0.9} gives a tree with an entry "1", a tree with an entry "beta".
    All of them are of the class ``kind``.
    """
    tree: Dict[str, Any] = {}
    for path, value in flat.items():
        *heads, last = path.split(".")
        place = tree
        for head in heads:
            place = place.setdefault(head, {})
        place[last] = value
    return kind({name: nested(value, kind) if isinstance(value, dict) else value for name, value in tree.items()})


def at(tree: Any, path: str) -> Any:
    """The subtree at a dotted name; an empty one if there is none."""
    for name in path.split(".") if path else ():
        tree = tree.get(name, Tree())
    return tree

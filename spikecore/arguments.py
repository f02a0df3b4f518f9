"""Arguments compared with the annotations that stand beside them.

``@checked`` before a function, ``Checked`` among the bases of a class: a value that is not what its parameter's
annotation says is refused, with a message that names it. Looked at are the annotations in ``KINDS``, tuples and
sequences of them, and Optional and Union of them; a parameter's default is always allowed. Another annotation says
nothing here. Each module adds its own classes by ``argument_kind``. Ranges, and the words that an option knows, are
checked by the function or class that has the parameter.

Annotations are looked up as objects, which ``hints_of`` gives: what they name must be there when the program runs. Only
a class of which ``argument_kind`` was told by its place may be imported for type checkers alone.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import re
import sys
import types
import typing
import weakref
from collections import abc
from numbers import Integral, Real
from typing import (
    TYPE_CHECKING,
    Any,
    Callable,
    Dict,
    FrozenSet,
    Iterable,
    List,
    NamedTuple,
    Optional,
    Sequence,
    Tuple,
    Union,
)

if TYPE_CHECKING:
    import numpy as np

    class HasArray(typing.Protocol):
        """A NumPy array, a tensor of torch, a data frame: what NumPy can make an array of."""

        def __array__(self) -> Any: ...

    class Weighted(typing.Protocol):
        """A layer of a library, whose ``weight`` is an array."""

        @property
        def weight(self) -> Any: ...

    # Lists within lists, by depth: a type that contains itself would take a str, whose parts are str without end.
    Row = Sequence[Union[float, HasArray]]
    Table = Sequence[Union[float, HasArray, Row]]
    Cube = Sequence[Union[float, HasArray, Table]]
    Cubes = Sequence[Union[float, HasArray, Cube]]
    PathLike = Union[str, "os.PathLike[str]"]
    Size = int  # at least 1
    Count = int  # at least 0
    Sizes = Union[int, Tuple[int, ...]]  # for all axes, or one for each; checked where they are used
    Record = Union[bool, str, Iterable[str]]  # checked where it is used
    ArrayLike = Union[HasArray, Sequence[Union[float, HasArray, Cubes]]]
    HostArray = Any  # an ArrayLike that is kept as an array of NumPy's
    NumpyArray = np.ndarray[Any, Any]  # what is returned as one
    Numbers = Union[float, ArrayLike]  # a finite number or an array of such
    Seed = Union[int, Tuple[Union[int, str], ...]]
    Colour = Union[str, Tuple[float, ...]]  # what matplotlib takes for one
else:  # what says more than a type of Python's is a class of its own here, for ``KINDS`` to name
    PathLike, Size, Count, Sizes, Record, ArrayLike, Numbers, Seed, Weighted, Colour = (
        type(name, (), {}) for name in "PathLike Size Count Sizes Record ArrayLike Numbers Seed Weighted Colour".split()
    )
    HostArray = NumpyArray = ArrayLike
NUMBERS, NUMBER_TYPES = frozenset("biuf"), re.compile("float|int|bool")  # NumPy's kinds, whose names it spells slowly
Refusal = Optional[typing.Type[Exception]]
Anything = typing.TypeVar("Anything", bound=Callable[..., Any])


class ArgumentRule(NamedTuple):
    """The check of an annotation: a test of values, and the words for what is allowed."""

    holds: Callable[[Any], bool]
    words: str


class CheckPlan(NamedTuple):
    """The parameters of a callable by position, the rules of those that have one, and all keywords that it takes."""

    names: Tuple[str, ...]
    rules: Dict[str, ArgumentRule]
    keywords: Optional[FrozenSet[str]]  # None: any keyword
    several: bool  # whether any number of values may come by position
    needed: Tuple[str, ...]  # those without a default


_PLANS: weakref.WeakKeyDictionary[type, CheckPlan] = weakref.WeakKeyDictionary()  # by class


def shown(thing: Any, most: int = 100) -> str:
    """A representation for messages, on one line and not longer than ``most``."""
    text = " ".join(repr(thing).split())
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def unknown(kind: str, name: Any, known: Iterable[str]) -> str:
    """The message for an unknown name: it lists the known names and suggests the nearest one."""
    from spikecore.other_names import unknown as message  # rarely needed

    return message(kind, name, known)


def numbered(values: Any) -> str:
    """The end of an error message about strings or unequal rows instead of numbers; "" for other values."""
    if hasattr(values, "columns") and hasattr(values, "dtypes"):  # a data frame, of which a column holds text
        return "; leave out the columns of text: x.select_dtypes('number')"
    kind = getattr(getattr(values, "dtype", None), "kind", None)
    column = isinstance(values, (list, tuple)) or kind == "O" and getattr(values, "ndim", 0) == 1
    if column and len({getattr(row, "shape", None) for row in values}) > 1:
        return "; for targets at each step of unequal sequences pass spikecore.datasets.Loader(inputs, targets)"
    named = isinstance(next(iter(values), None), str) if column else kind in ("U", "S")
    return "; number classes that have names: np.unique(names, return_inverse=True)[1]" if named else ""


def checked(function: Anything, refusal: Refusal = None) -> Anything:
    """Decorate a function, so that its arguments are compared with their annotations at each call.

    Args:
        function: the function.
        refusal: what it raises; None: a ValueError for a number that is not of the kind wanted, else a TypeError.
    """
    owner = function.__qualname__
    method = "" if function.__name__ in ("__init__", "__call__") else f".{function.__name__}"
    plan: List[CheckPlan] = []  # made at the first call: modules that import one another are complete by then

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        if not plan:
            parameters = [*inspect.signature(function).parameters.values()]
            plan.append(_plan(parameters, hints_of(function), parameters))
        of_object = given and plan[0].names[:1] == ("self",)  # users know its class, and not the base with the method
        _check(f"{type(given[0]).__name__}{method}" if of_object else owner, plan[0], given, named, refusal)
        return function(*given, **named)

    return call  # type: ignore[return-value]


class Checked:
    """Base of classes whose constructors compare their arguments with the annotations of this library.

    Attributes:
        _refusal: as in ``checked``.
    """

    __slots__ = ()
    _refusal: typing.ClassVar[Refusal] = None

    if not TYPE_CHECKING:  # type checkers look at ``__init__``, which says what the arguments are

        def __new__(cls, *given: Any, **named: Any) -> Any:
            if given or named:  # copies and pickles make an object of no arguments first
                _check(cls.__name__, _PLANS.get(cls) or _plan_of(cls), given, named, cls._refusal)
            return super().__new__(cls)


def _plan_of(kind: type) -> CheckPlan:
    """The plan of a class. In a subclass of the user's own, what it declares itself is not looked at."""
    home = next(base for base in kind.__mro__ if base.__module__.startswith("spikecore."))
    own, ours = ([*inspect.signature(each.__init__).parameters.values()][1:] for each in (kind, home))  # type: ignore[misc]
    declared = {p.name: p.annotation for p in ours}
    _PLANS[kind] = _plan(own, hints_of(home), [p for p in own if declared.get(p.name) == p.annotation])
    return _PLANS[kind]


def _plan(parameters: List[inspect.Parameter], hints: Dict[str, Any], compared: List[inspect.Parameter]) -> CheckPlan:
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    single = [p for p in compared if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name in hints]
    rules = {p.name: _or_default(rule_of(hints[p.name]), p.default) for p in single}
    any_keyword = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    keywords = frozenset(named[named[:1] == ["self"] :])
    looked_at = {name: rule for name, rule in rules.items() if rule is not None}
    several = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    needed = tuple(p.name for p in parameters if p.default is p.empty and p.name in keywords)
    return CheckPlan(tuple(plain), looked_at, None if any_keyword else keywords, several, needed)


def hints_of(thing: Any) -> Dict[str, Any]:
    """The annotations of a function's parameters, or of a dataclass's fields, as objects.

    Raises:
        TypeError: names an annotation's name that is nowhere to be found.
    """
    try:
        if isinstance(thing, type):
            return typing.get_type_hints(thing)
        own = {name: annotation for name, annotation in thing.__annotations__.items() if name != "return"}
        known = {**_NAMED, **inspect.unwrap(thing).__globals__}
        return typing.get_type_hints(types.SimpleNamespace(__annotations__=own), known)
    except NameError as error:
        raise TypeError(
            f"an annotation of {thing.__qualname__} has no value: {error}. Import or define it at the top of module "
            f"{thing.__module__}, or leave out 'from __future__ import annotations' there"
        ) from error


def _or_default(rule: Optional[ArgumentRule], default: Any) -> Optional[ArgumentRule]:
    if rule is None or rule is BOOL or default is inspect.Parameter.empty:
        return rule
    named = default is None or default is False
    told = str(default) in re.split(r",? or ", rule.words)
    words = f"{rule.words}, or {default}" if named and not told else rule.words
    return ArgumentRule(lambda value: value is default or rule.holds(value), words)


def _check(owner: str, plan: CheckPlan, given: Tuple[Any, ...], named: Dict[str, Any], refusal: Refusal) -> None:
    rules = plan.rules
    if plan.keywords and plan.keywords - {*plan.names} and len(given) > len(plan.names) and not plan.several:
        first, taken = given[len(plan.names)], [name for name in plan.names if name != "self"]
        rest = ", ".join(sorted(plan.keywords - {*taken}))
        raise TypeError(f"{owner}: {shown(first)} must have a name; by position come {', '.join(taken)}. Names: {rest}")
    for name, value in named.items():
        if plan.keywords is not None and name not in plan.keywords:
            from spikecore.other_names import no_argument

            raise TypeError(f"{owner}: {no_argument(name, value, plan.keywords)}")
    for name, value in (*zip(plan.names, given), *named.items()):
        if name in rules and not rules[name].holds(value):
            hint = "; give arguments by keyword" if rules[name] is BOOL and name not in named else numbered(value)
            if not hint:
                from spikecore.other_names import instead

                hint = instead(name, value, rules[name].words)
            kind = refusal or (ValueError if isinstance(value, Real) else TypeError)
            raise kind(f"{owner}: {name}={shown(value)} must be {rules[name].words}{hint}")
    lacking = [name for name in plan.needed if name not in named and name not in plan.names[: len(given)]]
    if lacking:
        raise TypeError(f"{owner}: {' and '.join(lacking)} missing: write {owner}({', '.join(plan.needed)})")


# ---- what annotations say ------------------------------------------------------------------------------------------


def rule_of(annotation: Any) -> Optional[ArgumentRule]:
    """The rule of an annotation; None where it says nothing that is looked at."""
    outer, parts = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in KINDS or outer in KINDS:
        return KINDS[annotation if annotation in KINDS else outer]
    if isinstance(annotation, type) and _place(annotation) in KINDS:
        return KINDS[_place(annotation)]
    if outer is Union:
        rules = [rule for rule in map(rule_of, parts) if rule is not None]
        words = ", or ".join(dict.fromkeys(rule.words for rule in rules))
        known = len(rules) == len(parts)
        return ArgumentRule(lambda value: any(rule.holds(value) for rule in rules), words) if known else None
    if outer is typing.Literal:
        return KINDS[str]
    if outer in (tuple, list, abc.Sequence, abc.Iterable):
        several = outer is not tuple or parts[-1] is Ellipsis
        rule = rule_of(parts[0]) if several or len(set(parts)) == 1 else None
        return rule and _each(rule, None if several else len(parts))
    return None


def _each(rule: ArgumentRule, count: Optional[int]) -> ArgumentRule:
    def holds(value: Any) -> bool:
        if isinstance(value, (str, bytes, dict)) or not hasattr(value, "__iter__"):
            return False
        if count is not None and (not hasattr(value, "__len__") or len(value) != count):
            return False
        return not isinstance(value, (list, tuple)) or all(rule.holds(one) for one in value)

    each = "" if rule is ANYTHING else f", each {rule.words}"
    return ArgumentRule(holds, f"{'several' if count is None else count} values{each}")


def is_int(value: Any) -> bool:
    """Whether a value is a whole number, of Python or NumPy, no bool, and not beyond any index."""
    return isinstance(value, Integral) and not isinstance(value, bool) and abs(int(value)) <= sys.maxsize


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, of Python or an array library, and no bool."""
    scalar = getattr(value, "shape", None) == () and hasattr(value, "__float__")
    if isinstance(value, bool) or not (isinstance(value, Real) or scalar and of_numbers(getattr(value, "dtype", ""))):
        return False
    try:
        return math.isfinite(float(value.detach() if hasattr(value, "detach") else value))
    except OverflowError:
        return False


def is_array(value: Any) -> bool:
    """Whether a value is an array of real numbers, or can be made one; sparse tensors are none."""
    import numpy as np

    if hasattr(value, "dtype"):
        return of_numbers(value.dtype) and "sparse" not in str(getattr(value, "layout", ""))
    if hasattr(value, "__cuda_array_interface__"):  # on a GPU, where NumPy does not look
        return True
    try:
        return of_numbers(np.asarray(value).dtype)
    except (TypeError, ValueError, RuntimeError):  # ragged rows, tensors that want a gradient
        return False


def real(array: Any) -> Any:
    """The array as it is.

    Raises:
        TypeError: its entries are no real numbers, which a cast would not say.
    """
    if not of_numbers(array.dtype):
        raise TypeError(f"{shown(array)} has entries of type {array.dtype}, expected real numbers{numbered(array)}")
    return array


def of_numbers(dtype: Any) -> bool:
    """Whether entries of this type are real numbers."""
    return getattr(dtype, "kind", None) in NUMBERS or NUMBER_TYPES.search(str(dtype)) is not None


def _are_numbers(value: Any) -> bool:
    import numpy as np

    if not isinstance(value, (list, tuple, np.ndarray)):
        return is_array(value) if getattr(value, "shape", ()) else is_number(value)
    return is_array(value) and bool(np.isfinite(value).all())


def _is_colour(value: Any) -> bool:
    from matplotlib.colors import is_color_like

    return bool(is_color_like(value))


def _is_seed(value: Any) -> bool:
    parts = value if isinstance(value, tuple) else (value,)
    return all(isinstance(one, (Integral, str)) and not isinstance(one, bool) for one in parts)


def _is_bool(value: Any) -> bool:
    whole = isinstance(value, Integral) and int(value) in (0, 1)  # as programs for snnTorch have them
    return whole or is_instance(value, "numpy", "bool_")


ANYTHING = ArgumentRule(lambda value: True, "anything")
BOOL = ArgumentRule(_is_bool, "True or False")
KINDS: Dict[Any, ArgumentRule] = {
    bool: BOOL,
    int: ArgumentRule(is_int, "an int"),
    Size: ArgumentRule(lambda value: is_int(value) and value >= 1, "an int >= 1"),
    Count: ArgumentRule(lambda value: is_int(value) and value >= 0, "an int >= 0"),
    float: ArgumentRule(is_number, "a finite number"),
    str: ArgumentRule(lambda value: isinstance(value, str), "a str"),
    PathLike: ArgumentRule(lambda value: isinstance(value, (str, os.PathLike)), "a path"),
    ArrayLike: ArgumentRule(is_array, "an array of numbers"),
    Numbers: ArgumentRule(_are_numbers, "a finite number or an array of such"),
    Colour: ArgumentRule(_is_colour, "a colour of matplotlib's"),
    Weighted: ArgumentRule(lambda value: hasattr(value, "weight"), "a layer with a weight"),
    Seed: ArgumentRule(_is_seed, "an int, or a tuple of ints and strings"),
    type(None): ArgumentRule(lambda value: value is None, "None"),
    abc.Iterator: ArgumentRule(lambda value: hasattr(value, "__next__"), "an iterator"),
    abc.Mapping: ArgumentRule(lambda value: isinstance(value, abc.Mapping), "a dict or another mapping"),
    abc.Callable: ArgumentRule(lambda value: callable(value) and not isinstance(value, type), "a callable"),
    Sequence[Any]: _each(ANYTHING, None),
}


# ---- classes, which those tell who have them -----------------------------------------------------------------------

_NAMED: Dict[str, type] = {}  # what stands for a class that an annotation names and its module does not import


def argument_kind(of: Union[str, type], words: str = "", holds: Optional[Callable[[Any], bool]] = None) -> None:
    """Register a class that annotations may name: an argument so annotated must be an instance of it.

    Args:
        of: the class; or "module:class", for one that annotated modules import for type checkers alone. It is looked up
            where arguments are checked, and not imported for that.
        words: what a message says that an argument must be; the default is "a" or "an" and the name of the class.
        holds: whether a value is taken, where that is not for its class to say but for what is read of it.
    """
    place = of if isinstance(of, str) else _place(of)
    module, _, name = place.partition(":")
    if isinstance(of, str):
        _NAMED[name] = type(name, (), {"__module__": module, "__qualname__": name})
    words = words or f"a{'n' if name[0] in 'AEIOU' else ''} {name}"
    KINDS[place] = ArgumentRule(holds or (lambda value: is_instance(value, module, name)), words)


def _place(of: type) -> str:
    return f"{of.__module__}:{of.__qualname__}"


def is_instance(value: Any, module: str, name: str) -> bool:
    """Whether a value is an instance of a class whose module need not be imported: without it, no value is one."""
    of = getattr(sys.modules.get(module), name, None)
    return of is not None and isinstance(value, of)

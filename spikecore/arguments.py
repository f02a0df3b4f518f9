"""Arguments compared with the annotations that stand beside them.

``@checked`` before a function, ``Checked`` among the bases of a class: a value that is not what its parameter's
annotation says is refused, with a message that names it. Looked at are the annotations in ``KINDS``, tuples and
sequences of them, and Optional and Union of them; a parameter's default is always allowed. Another annotation says
nothing here, and ranges are for whoever declares the parameter to check.
"""

from __future__ import annotations

import functools
import inspect
import math
import os
import re
import sys
import weakref
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, Callable, ClassVar, Dict, List, NamedTuple, Optional, Tuple, Type, TypeVar, Union

PathLike = Union[str, "os.PathLike[str]"]
# Annotations that say more than Python's own.
Size = int  # at least 1
Count = int  # at least 0
Array = Any  # what is, or can be made, an array of numbers: a list, a NumPy array, a tensor
Numbers = Any  # the same, or a finite number
Weighted = Any  # a layer of a library, whose ``weight`` is an array
Colour = Any  # what matplotlib takes for one
Seed = Any  # an int, or a tuple of ints and strings
NUMBERS = frozenset("biuf")  # NumPy's kinds of real numbers, whose names it takes long to spell
Anything = TypeVar("Anything", bound=Callable[..., Any])


class Rule(NamedTuple):
    """Whether a value is what an annotation says, and that in words."""

    holds: Callable[[Any], bool]
    words: str


class Plan(NamedTuple):
    """The parameters of a callable by position, and the rules of those that have one."""

    names: Tuple[str, ...]
    rules: Dict[str, Rule]


_PLANS: weakref.WeakKeyDictionary[type, Plan] = weakref.WeakKeyDictionary()  # by class


def shown(thing: Any, most: int = 100) -> str:
    """A representation for messages, on one line and not longer than ``most``."""
    text = " ".join(repr(thing).split())
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def checked(function: Anything, refusal: Optional[Type[Exception]] = None) -> Anything:
    """Decorate a function, so that its arguments are compared with their annotations at each call.

    Args:
        function: the function.
        refusal: what it raises; None: a ValueError for a number that is not of the kind wanted, else a TypeError.
    """
    plan = _plan(inspect.signature(function))
    owner = function.__qualname__.replace(".__init__", "")

    @functools.wraps(function)
    def call(*given: Any, **named: Any) -> Any:
        _check(owner, plan, given, named, refusal)
        return function(*given, **named)

    return call  # type: ignore[return-value]


class Checked:
    """Base of classes whose constructors compare their arguments with the annotations of this library.

    Attributes:
        refusal: as in ``checked``.
    """

    __slots__ = ()
    refusal: ClassVar[Optional[Type[Exception]]] = None

    def __new__(cls, *given: Any, **named: Any) -> Any:
        _check(cls.__name__, _plan_of(cls), given, named, cls.refusal)
        return super().__new__(cls)


def _plan_of(kind: type) -> Plan:
    """The plan of a class. In a subclass of the user's own, what it declares itself is not looked at."""
    if kind in _PLANS:
        return _PLANS[kind]
    home = next(one for one in kind.__mro__ if one.__module__.startswith("spikecore."))
    own, ours = (_plan(inspect.signature(one.__init__), 1) for one in (kind, home))  # type: ignore[misc]
    _PLANS[kind] = Plan(own.names, {name: rule for name, rule in ours.rules.items() if name in own.rules})
    return _PLANS[kind]


def _plan(signature: inspect.Signature, skipped: int = 0) -> Plan:
    parameters = list(signature.parameters.values())[skipped:]
    plain = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    single = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    rules = {p.name: _or_default(rule_of(p.annotation), p.default) for p in single}
    return Plan(tuple(plain), {name: rule for name, rule in rules.items() if rule is not None})


def _or_default(rule: Optional[Rule], default: Any) -> Optional[Rule]:
    if rule is None or rule is BOOL or default is inspect.Parameter.empty:
        return rule
    named = default is None or default is False
    words = f"{rule.words}, or {default}" if named and not rule.words.endswith(str(default)) else rule.words
    return Rule(lambda value: value is default or rule.holds(value), words)


def _check(
    owner: str, plan: Plan, given: Tuple[Any, ...], named: Dict[str, Any], refusal: Optional[Type[Exception]]
) -> None:
    rules = plan.rules
    for name, value in (*zip(plan.names, given), *named.items()):
        if name in rules and not rules[name].holds(value):
            hint = "; give arguments by keyword" if rules[name] is BOOL and name not in named else ""
            kind = refusal or (ValueError if isinstance(value, Real) else TypeError)
            raise kind(f"{owner}: {name}={shown(value)} must be {rules[name].words}{hint}")


# ---- what annotations say ------------------------------------------------------------------------------------------


def rule_of(annotation: Any) -> Optional[Rule]:
    """The rule of an annotation, a type or its text; None where it says nothing that is looked at."""
    text = annotation.__name__ if isinstance(annotation, type) else str(annotation).replace("typing.", "")
    return _rule(text.strip("'\""))


def _rule(text: str) -> Optional[Rule]:
    name = text if text in KINDS or "[" in text else text.rpartition(".")[2]
    if name in KINDS:
        return KINDS[name]
    outer, _, inner = text.partition("[")
    parts = _parts(inner[:-1])
    if outer in ("Callable", "Iterator", "Mapping"):
        return KINDS[outer]
    if outer in ("Optional", "Union"):
        return _either([_rule(part) for part in (*parts, *(["None"] if outer == "Optional" else []))])
    if outer == "Literal":
        names = [part.strip("'\"") for part in parts]
        allowed = ", ".join(map(repr, names[:-1])) + f" or {names[-1]!r}"
        return Rule(lambda value: isinstance(value, str) and value in names, allowed)
    if outer in ("Tuple", "List", "Sequence", "Iterable"):
        several = outer != "Tuple" or parts[-1] == "..."
        same = several or len(set(parts)) == 1
        rule = ANYTHING if text == "Sequence[Any]" else _rule(parts[0])
        return _each(rule, None if several else len(parts)) if same else None
    return None


def _parts(inner: str) -> List[str]:
    """The arguments of a subscript; commas within brackets do not part them."""
    return re.findall(r"(?:[^,\[\]]|\[(?:[^\[\]]|\[[^\[\]]*\])*\])+", inner.replace(" ", ""))


def _either(rules: List[Optional[Rule]]) -> Optional[Rule]:
    known = [rule for rule in rules if rule is not None]
    if len(known) < len(rules):
        return None
    return Rule(lambda value: any(rule.holds(value) for rule in known), ", or ".join(rule.words for rule in known))


def _each(rule: Optional[Rule], count: Optional[int]) -> Optional[Rule]:
    if rule is None:
        return None

    def holds(value: Any) -> bool:
        if isinstance(value, (str, bytes, dict)) or not hasattr(value, "__iter__"):
            return False
        if count is not None and (not hasattr(value, "__len__") or len(value) != count):
            return False
        return not isinstance(value, (list, tuple)) or all(rule.holds(one) for one in value)

    each = "" if rule is ANYTHING else f", each {rule.words}"
    return Rule(holds, f"{'several' if count is None else count} values{each}")


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
    """Whether a value is an array of real numbers, or can be made one."""
    import numpy as np

    if hasattr(value, "dtype"):
        return of_numbers(value.dtype)
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
        raise TypeError(f"{shown(array)} has entries of type {array.dtype}, expected real numbers")
    return array


def of_numbers(dtype: Any) -> bool:
    """Whether entries of this type are real numbers."""
    return getattr(dtype, "kind", None) in NUMBERS or re.search("float|int|bool", str(dtype)) is not None


CLASSES = "Axes Colormap Energy Engine EventDataset Events Figure Model Output Source nn.Module".split()


def _of_class(name: str) -> Rule:
    """The rule that a value is of a class of this name: the class itself may be in a package that is not here."""
    last, article = name.rpartition(".")[2], "an" if name[0] in "AEOn" else "a"
    return Rule(lambda value: any(one.__name__ == last for one in type(value).__mro__), f"{article} {name}")


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


def _is_function(value: Any) -> bool:
    return callable(value) and not isinstance(value, type)


def _is_bool(value: Any) -> bool:
    whole = isinstance(value, Integral) and int(value) in (0, 1)  # as programs for snnTorch have them
    return whole or type(value).__name__ in ("bool_", "bool")  # NumPy's


ANYTHING = Rule(lambda value: True, "anything")
BOOL = Rule(_is_bool, "True or False")
KINDS: Dict[str, Rule] = {
    "bool": BOOL,
    "int": Rule(is_int, "an int"),
    "Size": Rule(lambda value: is_int(value) and value >= 1, "an int >= 1"),
    "Count": Rule(lambda value: is_int(value) and value >= 0, "an int >= 0"),
    "float": Rule(is_number, "a finite number"),
    "str": Rule(lambda value: isinstance(value, str), "a str"),
    "PathLike": Rule(lambda value: isinstance(value, (str, os.PathLike)), "a path"),
    "Array": Rule(is_array, "an array of numbers"),
    "Numbers": Rule(_are_numbers, "a finite number or an array of such"),
    "Colour": Rule(_is_colour, "a colour of matplotlib's"),
    "Weighted": Rule(lambda value: hasattr(value, "weight"), "a layer with a weight"),
    "Seed": Rule(_is_seed, "an int, or a tuple of ints and strings"),
    "Iterator": Rule(lambda value: hasattr(value, "__next__"), "an iterator"),
    "Report": Rule(lambda value: hasattr(value, "table"), "a report of sc.verify"),
    "Mapping": Rule(lambda value: isinstance(value, Mapping), "a dict or another mapping"),
    "None": Rule(lambda value: value is None, "None"),
    **dict.fromkeys(("Callable", "Weighing", "Function"), Rule(_is_function, "a callable")),
    **{name: _of_class(name) for name in CLASSES},
}

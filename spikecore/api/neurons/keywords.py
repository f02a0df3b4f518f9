"""Errors for arguments that a neuron does not take, with the remedy; many such arguments come from snnTorch."""

from __future__ import annotations

import inspect
from dataclasses import field, fields
from typing import TYPE_CHECKING, Any, Dict, Iterable, List, Tuple

from spikecore.api.core.messages import unknown

if TYPE_CHECKING:
    from typing_extensions import dataclass_transform
else:

    def dataclass_transform(**options: Any) -> Any:
        """A decorator for type checkers."""
        return lambda kind: kind


SNNTORCH: Dict[str, str] = {
    "spike_grad": "write surrogate=...",
    "learn_recurrent": "a dense connection is always learned; for one-to-one write V=sc.learn(...) or V=a number",
    "init_hidden": "leave it out: a Model runs whole sequences and keeps no state",
    "output": "leave it out: a call of a Model returns spikes and states",
    "surrogate_disable": "leave it out: the surrogate is used only where a gradient is wanted",
}
OTHERS: Dict[str, str] = {
    **dict.fromkeys(("reset", "v_reset"), "write reset_mechanism='subtract', 'zero' or 'none'"),
    **dict.fromkeys(("tau", "tau_mem", "tau_m"), "write beta=sc.decay(tau), the decay of one step"),
    "decay": "write beta=...",
    "init_tau": "write beta=sc.learn(1 - 1/tau)",
    "detach_reset": "write reset_delay=True for True, reset_delay=False for False",
}  # words of other libraries
SHARED = (
    *("threshold", "surrogate", "graded_spikes_factor", "reset_mechanism", "reset_delay", "inhibition", "state_quant"),
    *("parallel", "initial_mem"),
)
DECAYS = ("beta", "alpha")
FACE = "spikecore.nn has modules with snnTorch's arguments"


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class ByKeyword:
    """Base of dataclasses whose fields are keywords: ``kw_only`` is younger than Python 3.8.

    Fields of a base class come first, so ``Leaky(0.5)`` would set the threshold.
    """

    if not TYPE_CHECKING:

        def __new__(cls, *args: Any, **fields: Any) -> Any:
            refuse(cls, args, fields)
            return super().__new__(cls, *args, **fields)


def refuse(kind: type, values: Tuple[Any, ...], names: Iterable[str]) -> None:
    """Refuse positional arguments and unknown keywords of a neuron; the message says what to write instead.

    Args:
        kind: the neuron's class, a dataclass.
        values: the positional arguments of the call.
        names: the keywords of the call.

    Raises:
        TypeError: there is a positional argument or an unknown keyword.
    """
    if values:
        names, size, hint = _positional(kind), type(values[0]) is int and values[0] > 1, ""
        if size and names[0] in DECAYS:  # a number of neurons, as other libraries' layers take it
            names = [name for name in names if name.endswith("features")]
            hint = (
                "" if names else f"{kind.__name__}(beta=0.9): there are as many neurons as inputs, Linear says how many"
            )
        meant = ", ".join(f"{name}={value!r}" for name, value in zip(names, values))
        raise TypeError(f"{kind.__name__} takes keyword arguments only, e.g. {hint or f'{kind.__name__}({meant})'}")
    known = _fields(kind)
    for name in names:
        if name not in known and name not in inspect.signature(kind.__init__).parameters:  # type: ignore[misc]
            raise TypeError(f"{kind.__name__}: {_remedy(kind, name, known)}")


def _fields(kind: type) -> List[str]:
    return [field.name for field in fields(kind)]  # type: ignore[arg-type]


def _positional(kind: type) -> List[str]:
    """The fields in snnTorch's order: sizes or decays first, without those that no call gives by position."""
    return [name for name in _fields(kind) if name not in SHARED] or ["threshold"]


def _remedy(kind: type, name: str, known: List[str]) -> str:
    learned = name[len("learn_") :]
    if name.startswith("learn_") and learned in known:
        return f"unknown argument {name!r}: write {learned}=sc.learn(...); {FACE}"
    if name in SNNTORCH:
        return f"unknown argument {name!r}: {SNNTORCH[name]}; {FACE}"
    if name in OTHERS and ("beta" not in OTHERS[name] or "beta" in known):
        return f"unknown argument {name!r}: {OTHERS[name]}"
    if "__dataclass_fields__" not in vars(kind) and name in vars(kind).get("__annotations__", ()):
        return f"{name!r} is annotated but no field: is the class decorated with @dataclass(frozen=True)?"
    return unknown("argument", name, known)
